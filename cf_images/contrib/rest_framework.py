"""Django REST framework: a field with the addresses of all variants, and errors that clients understand.

The only module that imports DRF, which the package does not depend on.
"""

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
from cf_images.delivery import is_flexible
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
from cf_images.flexible import FlexibleVariant
from cf_images.permitted import permitted_variant
from cf_images.validators import validate_image
from cf_images.variants import variant_url

logger = logging.getLogger(__name__)


class CloudflareImageField(ImageField):  # type: ignore[misc]  # DRF has no types
    """DRF's ``ImageField`` that is read as ``{"avatar": "https://…", …}``, or ``null`` for an empty field.

    ``variants`` are names, or flexible variants; without them all declared ones. An undeclared name is an
    ``InvalidVariantError`` where the field is made. Writing refuses what Cloudflare would refuse.
    """

    def __init__(self, *, variants: Sequence[str | FlexibleVariant] | None = None, **kwargs: Any) -> None:
        self._variants = None if variants is None else _checked(variants)
        super().__init__(**kwargs)
        if validate_image not in self.validators:
            self.validators.append(validate_image)

    def to_representation(self, value: Any) -> dict[str, str] | None:
        """The address of each variant, absolute where the serializer knows the request."""
        if not value:
            return None
        request = self.context.get("request")
        absolute = request.build_absolute_uri if request else str
        names = conf.variants() if self._variants is None else self._variants
        return {name: absolute(variant_url(value, name)) for name in names}


def exception_handler(exc: Exception, context: Any) -> Response | None:
    """Answer our errors with their ``http_status`` and a sentence for clients; DRF answers the others.

    For ``REST_FRAMEWORK = {"EXCEPTION_HANDLER": "cf_images.contrib.rest_framework.exception_handler"}``. What
    really happened goes to the log.
    """
    if not isinstance(exc, CloudflareImagesError):
        response: Response | None = drf_exception_handler(exc, context)
        return response
    is_ours_to_mend = exc.http_status >= 500
    logger.log(
        logging.ERROR if is_ours_to_mend else logging.WARNING, "An image failed: %s", exc, exc_info=exc
    )
    set_rollback()
    return Response({"detail": _in_words(exc)}, status=exc.http_status, headers=_headers(exc))


def _checked(variants: Sequence[str | FlexibleVariant]) -> list[str]:
    """The variants as text; ``InvalidVariantError`` names the declared ones."""
    if isinstance(variants, str):
        raise TypeError(f"variants is a list of names: give [{variants!r}]")
    names = [permitted_variant(variant) for variant in variants]
    declared = conf.variants()
    unknown = [name for name in names if not is_flexible(name) and name not in declared]
    if unknown or not names:
        what = f"variant {unknown[0]!r} is not declared" if unknown else "variants is empty"
        raise InvalidVariantError(f'{what}; CF_IMAGES["VARIANTS"] has {", ".join(declared)}')
    return names


def _in_words(error: CloudflareImagesError) -> str:
    """For a person at the other end: nothing of our settings, our account, or Cloudflare's answer."""
    if type(error) is ImageRejectedError:
        return error.message  # about the very file that was sent
    for kind, sentence in _sentences():
        if isinstance(error, kind):
            return sentence
    return _("Images have a problem that has to be mended on our side.")


def _sentences() -> tuple[tuple[type[Exception], str], ...]:
    return (
        (CloudflareUnavailableError, _("Images cannot be reached. Please try again in a few minutes.")),
        (ImageNotFoundError, _("There is no such image.")),
        (ImageExistsError, _("There is an image with this name already.")),
        (InvalidNameError, _("An image cannot have this name.")),
        (ValueError, _("There is no such variant of the image.")),  # the variant or its lifetime
        (RenderingError, _("This variant cannot be made from the image.")),
    )


def _headers(error: CloudflareImagesError) -> dict[str, str]:
    seconds = error.retry_after if isinstance(error, RateLimitedError) else None
    return {} if seconds is None else {"Retry-After": str(math.ceil(seconds))}
