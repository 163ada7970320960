"""Settle an unclear answer by asking: is the image there, and is it the one that we sent?"""

from __future__ import annotations

from cf_images.background.claims import Claim
from cf_images.client import CloudflareImagesClient, Image
from cf_images.exceptions import (
    CloudflareImagesError,
    CloudflareUnavailableError,
    CredentialsRefusedError,
    ImageNotFoundError,
    ImageRejectedError,
    RateLimitedError,
)
from cf_images.metadata import FACTS, token_of
from cf_images.models import Upload


def is_ours(image: Image, upload: Upload) -> bool:
    """Whether the image carries the token of this very upload."""
    return bool(upload.token) and token_of(image.metadata) == upload.token


def look(claim: Claim, client: CloudflareImagesClient) -> Image | None:
    """The image as Cloudflare has it now, perhaps a draft; ``None`` when it says that there is none.

    That counts for little: an ID that was just used is "not found" at times. Every other failure is
    transient, or is about the account.
    """
    claim.renew()
    try:
        image = client.details(claim.upload.remote_id)
    except ImageNotFoundError:
        return None
    except (RateLimitedError, CredentialsRefusedError, CloudflareUnavailableError):
        raise
    except CloudflareImagesError as error:
        raise CloudflareUnavailableError(
            f"Cloudflare does not say whether it has the image: {error.message}",
            status=error.status,
            code=error.code,
        ) from None
    if not is_ours(image, claim.upload):
        # no repetition mends that
        raise ImageRejectedError(f"Cloudflare has another image under the ID {image.id}.", code=5409)
    return image


def find_by_token(claim: Claim, client: CloudflareImagesClient) -> Image | None:
    """Our image among all of the account, for an upload whose ID we never learned."""
    claim.renew()
    images = client.list_images(per_page=10, meta={f"{FACTS}.token": claim.upload.token})
    return next((image for image in images if is_ours(image, claim.upload)), None)


def is_odd_success(error: CloudflareUnavailableError) -> bool:
    """Whether Cloudflare answered 2xx with a body that cannot be read: done, most likely."""
    return error.status is not None and error.status // 100 == 2
