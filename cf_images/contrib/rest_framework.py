"""Django REST framework: a field with the URLs of all variants, and errors that clients understand."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from rest_framework import serializers
from rest_framework.response import Response
from rest_framework.views import exception_handler as drf_exception_handler
from rest_framework.views import set_rollback

from cf_images import conf, error_messages, forms
from cf_images.exceptions import CloudflareImagesError, InvalidVariantError
from cf_images.markup import variant_url
from cf_images.validators import validate_image
from cf_images.variants import FlexibleVariant
from cf_images.variants.grammar import is_flexible

logger = logging.getLogger(__name__)


class ImageField(serializers.ImageField):  # type: ignore[misc]  # DRF has no types
    """DRF's ``ImageField``, which refuses what Cloudflare would refuse, with the reason.

    Model serializers have the validator of the model's field; this is for fields that are declared by hand.
    It accepts HEIC and SVG as ``cf_images.forms.ImageField`` does.
    """

    def __init__(self, *, allow_svg: bool = False, **kwargs: Any) -> None:
        kwargs.setdefault("_DjangoImageField", partial(forms.ImageField, allow_svg=allow_svg))
        super().__init__(**kwargs)
        if validate_image not in self.validators:
            self.validators.append(validate_image)


class CloudflareImageField(ImageField):
    """DRF's ``ImageField``, serialized as ``{"avatar": "https://…", …}``, or ``null`` for an empty field.

    ``variants`` are names or flexible variants, by default all named variants. An undeclared name raises
    ``InvalidVariantError`` when the field is created. Uploads that Cloudflare would refuse are invalid.
    """

    def __init__(self, *, variants: Sequence[str | FlexibleVariant] | None = None, **kwargs: Any) -> None:
        self._variants = None if variants is None else _checked(variants)
        super().__init__(**kwargs)

    def to_representation(self, value: Any) -> dict[str, str] | None:
        """Return the URL of each variant, absolute if the serializer has the request."""
        if not value:
            return None
        request = self.context.get("request")
        absolute = request.build_absolute_uri if request else str
        names = conf.variant_names() if self._variants is None else self._variants
        urls = {name: variant_url(value, name) for name in names}
        return {name: url and absolute(url) for name, url in urls.items()}


def exception_handler(exc: Exception, context: Any) -> Response | None:
    """Respond to this package's errors with their ``http_status`` and a message for clients; log the details.

    For ``REST_FRAMEWORK = {"EXCEPTION_HANDLER": "cf_images.contrib.rest_framework.exception_handler"}``.
    DRF handles other exceptions.
    """
    if not isinstance(exc, CloudflareImagesError):
        response: Response | None = drf_exception_handler(exc, context)
        return response
    error_messages.log(logger, exc)
    set_rollback()
    detail = {"detail": error_messages.message(exc)}
    return Response(detail, status=exc.http_status, headers=error_messages.headers(exc))


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
