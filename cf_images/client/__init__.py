"""Cloudflare Images' management API over HTTP; knows no Django, and nothing else imports httpx.

``api`` has the calls about images, ``account`` the others, ``caller`` how they are made; ``values`` what
they return, ``forms`` what an upload consists of, ``answers`` what an answer means; ``door`` is the only
way to the network, over the process's ``connection``; ``deliveries`` sees an image as a browser does.
"""

from cf_images.client.api import CloudflareImagesClient
from cf_images.client.caller import DEFAULT_API_URL
from cf_images.client.deliveries import Delivered, deliver
from cf_images.client.door import Download
from cf_images.client.values import BatchToken, Config, DirectUpload, Image, SigningKey, Stats, Variant

__all__ = [
    "DEFAULT_API_URL",
    "BatchToken",
    "CloudflareImagesClient",
    "Config",
    "Delivered",
    "DirectUpload",
    "Download",
    "Image",
    "SigningKey",
    "Stats",
    "Variant",
    "deliver",
]
