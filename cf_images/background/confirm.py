"""Confirm an unclear response by asking Cloudflare: is the image there, and is it the one that was sent?"""

from __future__ import annotations

from itertools import islice
from typing import Any

from cf_images.background.leases import Claim
from cf_images.client import CloudflareImagesClient, Image
from cf_images.exceptions import (
    CloudflareImagesError,
    CloudflareUnavailableError,
    CredentialsRefusedError,
    ImageNotFoundError,
    ImageRejectedError,
    RateLimitedError,
)
from cf_images.images import metadata
from cf_images.models import ANOTHER_HAS_IT, MAX_NAME_LENGTH, LeasedRow

_PER_PAGE = 10


class AnotherImageError(ImageRejectedError):
    """Cloudflare has another image with the ID of this upload."""


def is_same(image: Image, upload: LeasedRow) -> bool:
    """Return whether the image carries the token of this very upload."""
    return bool(upload.token) and metadata.token_of(image.metadata) == upload.token


def confirm(claim: Claim[Any], client: CloudflareImagesClient) -> Image | None:
    """Return the image as Cloudflare has it now, perhaps a draft; ``None`` when it says that there is none.

    "None" proves little: an ID that was just used is "not found" at times. Every other failure is transient,
    or is about the account.
    """
    image = look(claim, client)
    if image and not is_same(image, claim.row):
        # Trying again would not change that.
        raise AnotherImageError(f"Cloudflare has another image with the ID {image.id}.", code=ANOTHER_HAS_IT)
    return image


def look(claim: Claim[Any], client: CloudflareImagesClient) -> Image | None:
    """Return the same, or another image with its ID."""
    claim.renew()
    try:
        return client.details(claim.row.remote_id)
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


def find_by_token(claim: Claim[Any], client: CloudflareImagesClient) -> Image | None:
    """Return the upload's image among all of the account, where its ID is not known."""
    claim.renew()
    listed = client.list_images(per_page=_PER_PAGE, meta={f"{metadata.KEY}.token": claim.row.token})
    images = islice(listed, _PER_PAGE)  # one request, for which the lease lasts
    return next((image for image in images if is_same(image, claim.row) and _fits(image.id)), None)


def _fits(image_id: str) -> bool:
    """Return whether every database can hold the ID."""
    return len(image_id) <= MAX_NAME_LENGTH and image_id.isprintable()


def is_unreadable_success(error: CloudflareUnavailableError) -> bool:
    """Return whether Cloudflare responded with 2xx and an unreadable body: the request was probably carried
    out.
    """
    return error.status is not None and error.status // 100 == 2
