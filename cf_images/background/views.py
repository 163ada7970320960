"""Show an image that waits; afterwards lead to Cloudflare, so that no address ever dies."""

from __future__ import annotations

import logging
import time
from base64 import b64decode
from typing import Any

from django.core.files.storage import InvalidStorageError, storages
from django.http import (
    FileResponse,
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseForbidden,
    HttpResponseRedirect,
)
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_safe

from cf_images import conf, naming, rendering
from cf_images.background import pieces
from cf_images.background.database import uploads
from cf_images.declared import DeclaredVariant
from cf_images.exceptions import CloudflareImagesError, InvalidVariantError, RenderingError
from cf_images.models import HELD, State, Upload
from cf_images.permitted import permitted_variant
from cf_images.waiting import signed_until

logger = logging.getLogger("cf_images.background")

# What we have sniffed ourselves and browsers show; anything else is only handed over.
_SHOWN = frozenset({"image/avif", "image/gif", "image/heic", "image/jpeg", "image/png", "image/webp"})
_SVG = "image/svg+xml"
_MOST_PIXELS = 25_000_000  # a rendition costs up to four bytes of memory a pixel, in a web process
_BLOCK_BYTES = 64 * 1024

# One light gray pixel. Not the source: it may be private, and is on a host the site's policy may forbid.
_PLACEHOLDER = b64decode("R0lGODlhAQABAIAAAOXl5QAAACH5BAAAAAAALAAAAAABAAEAAAICRAEAOw==")


@require_safe
def pending_image(request: HttpRequest, variant: str, name: str) -> HttpResponseBase:
    """``variant`` of an image that is still here, else a redirect to it; private ones need our signature."""
    variant = _cleaned(variant)
    upload = _row(name)
    private = naming.is_private(name) or (upload is not None and upload.require_signed_urls)
    ends_at = _permitted_until(request, variant, name)
    if private and ends_at is None and not conf.is_never_signed(variant):
        response: HttpResponseBase = _forbidden()
    elif upload is None or upload.state not in HELD:
        response = _redirect(name, variant, upload, ends_at=ends_at)
    else:
        response = _held(request, variant, upload, ends_at=ends_at, only_rendered=private and not ends_at)
    response["Cache-Control"] = "private, no-store" if private or ends_at else "no-cache"
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return response


def _row(name: str) -> Upload | None:
    if "\0" in name:
        raise Http404("There is no such image.")  # PostgreSQL would refuse the question
    return uploads().filter(name=name).first()


def _permitted_until(request: HttpRequest, variant: str, name: str) -> int | None:
    """When the permission ends that this address carries; ``None`` without one, or after its end."""
    ends_at = signed_until(name, variant, request.GET.dict())
    return ends_at if ends_at and time.time() < ends_at else None


def _forbidden() -> HttpResponse:
    return HttpResponseForbidden("The address has expired.", content_type="text/plain")


def placeholder() -> HttpResponse:
    """In place of an image that is yet to be fetched, or that this variant must not show."""
    return HttpResponse(_PLACEHOLDER, content_type="image/gif", headers={"Cache-Control": "no-cache"})


def _held(
    request: HttpRequest, variant: str, upload: Upload, *, ends_at: int | None, only_rendered: bool
) -> HttpResponseBase:
    """The bytes that are here; ``only_rendered`` where all may see the variant, but not the original."""
    if upload.source_url:
        return placeholder()
    try:
        file = pieces.copy(upload)
    except pieces.BytesGoneError:  # delivered in this very moment
        return _redirect(upload.name, variant, uploads().filter(name=upload.name).first(), ends_at=ends_at)
    if rendered := _rendered(request, variant, upload, file):
        return rendered
    if only_rendered:
        file.close()
        return placeholder()
    return _original(upload, file)


def _redirect(name: str, variant: str, upload: Upload | None, *, ends_at: int | None) -> HttpResponseBase:
    """To Cloudflare; of a name without a row (pruned, or never ours), where new images go to.

    Signed only until ``ends_at``: anybody may ask for any name, also for the bare ID of a private image.
    """
    if upload is not None and upload.state == State.DOOMED:
        raise Http404("The image has been deleted.")
    if "://" in name:  # an address that older recipes stored; from a stranger it would lead anywhere
        raise Http404("There is no such image.")
    for alias in [upload.storage] if upload else [conf.selected_alias(), conf.package("CLOUDFLARE_ALIAS")]:
        try:
            storage: Any = storages[alias]
        except InvalidStorageError:
            continue
        if hasattr(storage, "delivery_address"):
            return _at_cloudflare(storage, name, variant, ends_at=ends_at)
    raise Http404("There is no such image.")


def _at_cloudflare(storage: Any, name: str, variant: str, *, ends_at: int | None) -> HttpResponseBase:
    try:
        address = storage.delivery_address(name, variant, ends_at=ends_at, signed=ends_at is not None)
        return HttpResponseRedirect(address)
    except CloudflareImagesError as error:  # the signing keys cannot be had
        logger.warning("%r cannot be shown: %s", name, error)
        text = "The image cannot be reached at the moment."
        return HttpResponse(text, status=error.http_status, content_type="text/plain")


def _rendered(request: HttpRequest, variant: str, upload: Upload, file: Any) -> HttpResponse | None:
    """A declared variant; ``None`` for any other, which anybody could make us render at will."""
    options = conf.variants().get(variant)
    pixels = (upload.width or 0) * (upload.height or 0)
    if options is None or upload.content_type not in _SHOWN or not 0 < pixels <= _MOST_PIXELS:
        return None
    try:
        transform = DeclaredVariant.from_options(variant, options).transform
        rendition = rendering.render(file, transform, accept=request.headers.get("Accept", ""))
    except (RenderingError, InvalidVariantError):
        file.seek(0)
        return None
    file.close()
    response = HttpResponse(rendition.body, content_type=rendition.content_type)
    patch_vary_headers(response, ["Accept"])
    return response


def _original(upload: Upload, file: Any) -> FileResponse:
    known = upload.content_type in {*_SHOWN, _SVG}
    response = FileResponse(
        file,
        content_type=upload.content_type if known else "application/octet-stream",
        as_attachment=upload.content_type not in _SHOWN,
        filename=upload.filename,
    )
    response.block_size = _BLOCK_BYTES
    return response


def _cleaned(variant: str) -> str:
    try:
        return permitted_variant(variant)
    except InvalidVariantError as error:
        raise Http404(error.message) from None
