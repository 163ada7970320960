"""Django REST framework: a field with the URLs of all variants, and errors that clients understand."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

from django.utils.translation import gettext as _
from rest_framework.response import Response
from rest_framework.serializers import ImageField
from rest_framework.views import exception_handler as drf_exception_handler
from rest_framework.views import set_rollback

from cf_images import conf
from cf_images.exceptions import (
    CloudflareImagesError,
    CloudflareUnavailableError,
    ImageExistsError,
    ImageNotFoundError,
    ImageRejectedError,
    InvalidNameError,
    InvalidVariantError,
    RateLimitedError,
    RenderingError,
)
from cf_images.markup import variant_url
from cf_images.validators import validate_image
from cf_images.variants import FlexibleVariant
from cf_images.variants.grammar import is_flexible

logger = logging.getLogger(__name__)


class CloudflareImageField(ImageField):  # type: ignore[misc]  # DRF has no types
    """DRF's ``ImageField``, serialized as ``{"avatar": "https://…", …}``, or ``null`` for an empty field.

    ``variants`` are names or flexible variants, by default all named variants. An undeclared name raises
    ``InvalidVariantError`` when the field is created. Uploads that Cloudflare would refuse are invalid.
    """

    def __init__(self, *, variants: Sequence[str | FlexibleVariant] | None = None, **kwargs: Any) -> None:
        self._variants = None if variants is None else _checked(variants)
        super().__init__(**kwargs)
        if validate_image not in self.validators:
            self.validators.append(validate_image)

    def to_representation(self, value: Any) -> dict[str, str] | None:
        """Return the URL of each variant, absolute if the serializer has the request."""
        if not value:
            return None
        request = self.context.get("request")
        absolute = request.build_absolute_uri if request else str
        names = conf.variant_names() if self._variants is None else self._variants
        return {name: absolute(variant_url(value, name)) for name in names}


def exception_handler(exc: Exception, context: Any) -> Response | None:
    """Respond to this package's errors with their ``http_status`` and a message for clients; log the details.

    For ``REST_FRAMEWORK = {"EXCEPTION_HANDLER": "cf_images.contrib.rest_framework.exception_handler"}``.
    DRF handles other exceptions.
    """
    if not isinstance(exc, CloudflareImagesError):
        response: Response | None = drf_exception_handler(exc, context)
        return response
    level = logging.ERROR if exc.http_status >= 500 else logging.WARNING
    logger.log(level, "An image failed: %s", exc, exc_info=exc)
    set_rollback()
    return Response({"detail": _message(exc)}, status=exc.http_status, headers=_headers(exc))


def _checked(variants: Sequence[str | FlexibleVariant]) -> list[str]:
    """Return the variants as text; ``InvalidVariantError`` lists the declared ones."""
    if isinstance(variants, str):
        raise TypeError(f"variants is a list of names: give [{variants!r}]")
    names = [conf.clean_variant(variant) for variant in variants]
    declared = conf.variant_names()
    unknown = [name for name in names if not is_flexible(name) and name not in declared]
    if unknown or not names:
        what = f"variant {unknown[0]!r} is not declared" if unknown else "variants is empty"
        raise InvalidVariantError(f'{what}; CF_IMAGES["VARIANTS"] has {", ".join(declared)}')
    return names


def _message(error: CloudflareImagesError) -> str:
    """Return a message without settings, account, or Cloudflare's response."""
    if isinstance(error, ImageRejectedError) and not isinstance(error, InvalidNameError):
        return error.message  # about the file that the client sent
    for kind, message in _messages():
        if isinstance(error, kind):
            return message
    return _("The server cannot process images at the moment.")


def _messages() -> tuple[tuple[type[Exception], str], ...]:
    return (
        (CloudflareUnavailableError, _("Images are not available. Please try again in a few minutes.")),
        (ImageNotFoundError, _("This image does not exist.")),
        (ImageExistsError, _("An image with this name already exists.")),
        (InvalidNameError, _("This is not a valid name for an image.")),
        (ValueError, _("This variant of the image does not exist.")),  # the variant or its lifetime
        (RenderingError, _("This variant cannot be created from the image.")),
    )


def _headers(error: CloudflareImagesError) -> dict[str, str]:
    seconds = error.retry_after if isinstance(error, RateLimitedError) else None
    return {} if seconds is None else {"Retry-After": str(math.ceil(seconds))}
