"""Cloudflare Images' management API over HTTP; knows no Django, and nothing else imports httpx or httpcore.

``api`` has the requests about images, ``account`` the others, ``base`` credentials and retries of both;
``values`` what they return, ``multipart`` what an upload consists of, ``responses`` what a response means;
``transport`` sends over the process's ``pool`` of ``streams``; ``delivery`` fetches an image as a browser
does, ``fetching`` a file from another server; ``sources`` tells what may be fetched.

The names below are loaded when they are first used, so that ``guard`` costs a test run next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cf_images.client.api import CloudflareImagesClient
    from cf_images.client.base import DEFAULT_API_URL
    from cf_images.client.delivery import DeliveryResponse, fetch_delivery_url
    from cf_images.client.fetching import fetch
    from cf_images.client.transport import Download
    from cf_images.client.values import BatchToken, Config, DirectUpload, Image, SigningKey, Stats, Variant

__all__ = [
    "DEFAULT_API_URL",
    "BatchToken",
    "CloudflareImagesClient",
    "Config",
    "DeliveryResponse",
    "DirectUpload",
    "Download",
    "Image",
    "SigningKey",
    "Stats",
    "Variant",
    "fetch",
    "fetch_delivery_url",
]
_MODULES = {
    "CloudflareImagesClient": "api",
    "DEFAULT_API_URL": "base",
    "DeliveryResponse": "delivery",
    "Download": "transport",
    "fetch": "fetching",
    "fetch_delivery_url": "delivery",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES.get(name, 'values')}"), name)
    globals()[name] = value
    return value
