"""Django REST framework: a field with the URLs of all variants, uploads straight to the storage, and errors
that clients understand.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from django.utils.translation import gettext as _
from rest_framework import serializers
from rest_framework.fields import empty
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView, set_rollback
from rest_framework.views import exception_handler as drf_exception_handler

from cf_images import conf, error_messages, forms
from cf_images.browser import api as browser
from cf_images.browser import reservations, targets
from cf_images.browser.direct_upload import DirectUpload
from cf_images.browser.owners import owner_of
from cf_images.browser.problems import UploadProblem
from cf_images.browser.targets import Target
from cf_images.browser.views import in_no_transaction
from cf_images.exceptions import CloudflareImagesError, InvalidVariantError
from cf_images.markup import variant_url
from cf_images.validators import validate_image
from cf_images.variants import FlexibleVariant
from cf_images.variants.grammar import is_flexible

logger = logging.getLogger(__name__)

_KEPT = "upload_not_ready"  # of an upload that may be saved later


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

    It is written as a file, or as the ``value`` of an upload straight to the storage that this user has
    reserved for the same field: that of the serializer's model, or ``upload_for``, "app.Model.field".
    """

    def __init__(
        self,
        *,
        variants: Sequence[str | FlexibleVariant] | None = None,
        upload_for: str | None = None,
        **kwargs: Any,
    ) -> None:
        self._variants = None if variants is None else _checked(variants)
        self._upload_for = upload_for
        super().__init__(**kwargs)

    def run_validation(self, data: Any = empty) -> Any:
        """Return the file; an upload that a validator refuses is discarded."""
        try:
            return super().run_validation(data)
        except serializers.ValidationError as error:
            request = self.context.get("request")
            if isinstance(data, str) and request and _KEPT not in error.get_codes():
                reservations.discard_after_commit(data, owner=owner_of(request))
            raise

    def to_internal_value(self, data: Any) -> Any:
        """Return the file, or what the server has verified of an upload; nothing is consumed."""
        if not isinstance(data, str) or not data:
            return super().to_internal_value(data)
        request, target = self.context.get("request"), self._target()
        if request is None or target is None:
            raise serializers.ValidationError(self.error_messages["invalid"], code="invalid")
        try:
            verified = reservations.verify(data, target, owner=owner_of(request))
        except UploadProblem as problem:
            code = "upload_refused" if problem.is_final else _KEPT
            raise serializers.ValidationError(problem.message, code=code) from None
        return DirectUpload(verified, data)

    def _target(self) -> Target | None:
        if self._upload_for:
            return targets.of_label(self._upload_for)
        model = getattr(getattr(self.parent, "Meta", None), "model", None)
        return targets.of_label(f"{model._meta.label}.{self.source}") if model else None

    def to_representation(self, value: Any) -> dict[str, str] | None:
        """Return the URL of each variant, absolute if the serializer has the request."""
        if not value:
            return None
        request = self.context.get("request")
        absolute = request.build_absolute_uri if request else str
        names = conf.variant_names() if self._variants is None else self._variants
        urls = {name: variant_url(value, name) for name in names}
        return {name: url and absolute(url) for name, url in urls.items()}


class _UploadView(APIView):  # type: ignore[misc]  # DRF has no types
    """A request about uploads straight to the storage, from users as the API authenticates them."""

    permission_classes = [IsAuthenticated]

    @in_no_transaction
    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        return super().dispatch(request, *args, **kwargs)

    def handle_exception(self, exc: Exception) -> Response:
        if not isinstance(exc, UploadProblem):
            response: Response = super().handle_exception(exc)
            return response
        headers = {"Retry-After": str(exc.retry_after)} if exc.retry_after else None
        return Response({"error": exc.message}, status=exc.status, headers=headers)


class ReserveUploadView(_UploadView):
    """Reserve an upload: ``{"field": "app.Model.field", "filename", "size", "type"}``.

    The response has the ``upload_url`` to which the file is posted, and the ``value`` for
    ``CloudflareImageField``.
    """

    def post(self, request: Request) -> Response:
        """Return the reservation."""
        return Response(browser.reserve(request, _object(request)), status=201)


class UploadStatusView(_UploadView):
    """Say what has become of an upload: ``{"value"}``."""

    def post(self, request: Request) -> Response:
        """Return its state."""
        return Response(browser.status(request, _object(request)))


class DiscardUploadView(_UploadView):
    """Delete an upload that was not saved: ``{"value"}``."""

    def post(self, request: Request) -> Response:
        """Return nothing."""
        browser.discard(request, _object(request))
        return Response(status=204)


def _object(request: Request) -> Any:
    if not isinstance(request.data, dict):
        raise UploadProblem(_("The request is not a JSON object."), 400)
    return request.data


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
