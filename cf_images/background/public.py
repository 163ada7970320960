"""One attempt to upload a public image: POST with our own ID, which makes a repetition harmless."""

from __future__ import annotations

from cf_images.background import pieces
from cf_images.background.asking import is_odd_success, look
from cf_images.background.claims import Claim
from cf_images.client import CloudflareImagesClient, Image
from cf_images.exceptions import CloudflareUnavailableError, ImageExistsError


def upload(claim: Claim, client: CloudflareImagesClient) -> Image:
    """The image as Cloudflare has confirmed it; every other answer is one of the package's errors."""
    try:
        return _send(claim, client)
    except ImageExistsError:
        pass  # as a rule the work of an attempt of ours whose answer was lost
    except CloudflareUnavailableError as error:
        if not is_odd_success(error):
            raise
    return _asked(claim, client)


def _send(claim: Claim, client: CloudflareImagesClient) -> Image:
    row = claim.upload
    creator = row.creator or None
    if row.source_url:
        return client.upload_url(
            row.source_url, image_id=row.remote_id, metadata=row.metadata, creator=creator
        )
    with pieces.copy(row) as file:
        claim.renew()
        return client.upload(
            file,
            image_id=row.remote_id,
            filename=row.filename,
            content_type=row.content_type,
            metadata=row.metadata,
            creator=creator,
        )


def _asked(claim: Claim, client: CloudflareImagesClient) -> Image:
    image = look(claim, client)
    if image is None or image.draft:
        raise CloudflareUnavailableError("Cloudflare does not confirm the image yet.", code=5409)
    return image
