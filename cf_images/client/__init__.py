"""Cloudflare Images' management API over HTTP; knows no Django, and nothing else imports httpx.

``api`` has the calls, ``values`` what they return, ``forms`` what an upload consists of, ``answers`` what
an answer means; ``door`` is the only way to the network, over the process's ``connection``.
"""

from cf_images.client.api import DEFAULT_API_URL, CloudflareImagesClient
from cf_images.client.door import Download
from cf_images.client.values import BatchToken, DirectUpload, Image, Stats, Variant

__all__ = [
    "DEFAULT_API_URL",
    "BatchToken",
    "CloudflareImagesClient",
    "DirectUpload",
    "Download",
    "Image",
    "Stats",
    "Variant",
]
