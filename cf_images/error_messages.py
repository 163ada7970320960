"""What a person reads about an error of this package, and what goes into the log and the response's headers.

For the middleware, Django REST framework and the admin alike. The status is the error's own ``http_status``.
"""

from __future__ import annotations

import logging
import math
from typing import Any

from django.utils.translation import gettext as _

from cf_images.exceptions import (
    CloudflareImagesError,
    CloudflareUnavailableError,
    ImageExistsError,
    ImageNotFoundError,
    ImageRejectedError,
    InvalidNameError,
    RateLimitedError,
    RenderingError,
)
from cf_images.translation import rejection


def message(error: CloudflareImagesError) -> str:
    """Return a sentence for a visitor, without settings, account, or Cloudflare's response."""
    if isinstance(error, ImageRejectedError) and not isinstance(error, InvalidNameError):
        return rejection(error)  # about the file that the visitor sent
    for kind, text in _messages():
        if isinstance(error, kind):
            return text
    return _("The server cannot process images at the moment.")


def headers(error: CloudflareImagesError) -> dict[str, str]:
    """Return ``Retry-After`` in whole seconds where it is known."""
    seconds = error.retry_after if isinstance(error, RateLimitedError) else None
    return {} if seconds is None else {"Retry-After": str(math.ceil(seconds))}


def log(logger: logging.Logger, error: CloudflareImagesError, **extra: Any) -> None:
    """Log what really happened: an ERROR if the visitor is not at fault, else a WARNING."""
    level = logging.ERROR if error.http_status >= 500 else logging.WARNING
    logger.log(level, "An image failed: %s", error, exc_info=error, extra=extra)


def _messages() -> tuple[tuple[type[Exception], str], ...]:
    return (
        (CloudflareUnavailableError, _("Images are not available. Please try again in a few minutes.")),
        (ImageNotFoundError, _("This image does not exist.")),
        (ImageExistsError, _("An image with this name already exists.")),
        (InvalidNameError, _("This is not a valid name for an image.")),
        (ValueError, _("This variant of the image does not exist.")),  # the variant or its lifetime
        (RenderingError, _("This variant cannot be created from the image.")),
    )
