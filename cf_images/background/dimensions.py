"""What an image from a URL turned out to be: size and dimensions, from the head of the original."""

from __future__ import annotations

from typing import Any

from cf_images import images
from cf_images.background.claims import Claim
from cf_images.client import CloudflareImagesClient
from cf_images.exceptions import CloudflareImagesError
from cf_images.files import downloaded


def learned(claim: Claim, client: CloudflareImagesClient, image_id: str) -> dict[str, Any]:
    """The columns to fill, by name; none where they are known, or where Cloudflare does not tell."""
    if not claim.upload.source_url:
        return {}
    claim.renew()
    try:
        with downloaded(client.download(image_id)) as file:
            info = images.inspect(file)
    except CloudflareImagesError:
        return {}
    return {
        "content_type": info.content_type,
        "size": info.size,
        "width": info.width,
        "height": info.height,
    }
