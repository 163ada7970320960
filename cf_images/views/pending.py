"""Serve a pending image; once it is stored, redirect to Cloudflare, so that its URL never dies.

Whoever knows the name of a public image may request it, so that a request costs little: a variant is rendered
once and kept beside the bytes, and what would take long is a placeholder until Cloudflare has the image.
Rendered are named variants, and flexible ones in a URL that this site has signed; for any other the original
is served, where Cloudflare, too, would give it to everyone, by a flexible variant.
"""

from __future__ import annotations

import hashlib
import logging
import time
from typing import BinaryIO, cast

from django.contrib.auth.decorators import login_not_required
from django.core.files.storage import InvalidStorageError, storages
from django.db import connections, transaction
from django.http import (
    FileResponse,
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseForbidden,
    HttpResponseRedirect,
)
from django.utils.cache import get_conditional_response, patch_vary_headers
from django.utils.http import quote_etag
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from cf_images import background, conf, rendering
from cf_images.background import chunks
from cf_images.background.renditions import (
    claim_rendition,
    find_rendition,
    give_up_rendition,
    keep_rendition,
    wait_for_rendition,
)
from cf_images.background.rows import database, remember_remote_id, uploads
from cf_images.delivery.urls import leads_elsewhere
from cf_images.exceptions import CloudflareImagesError, InvalidVariantError, RenderingError
from cf_images.images import names
from cf_images.models import UNCONFIRMED, Rendition, State, Upload
from cf_images.storage import ImageStorage
from cf_images.storage.pending_urls import is_requested, signed_until
from cf_images.variants import Transform, grammar
from cf_images.views.render_slots import MAX_PIXELS, MAX_SECONDS, BusyError, render_once
from cf_images.views.responses import placeholder

logger = logging.getLogger("cf_images.background")

# Detected by this package and displayed by browsers; any other type is only offered as a download.
_DISPLAYED = frozenset({"image/avif", "image/gif", "image/heic", "image/jpeg", "image/png", "image/webp"})
_SVG = "image/svg+xml"
_MAX_RENDITION_BYTES = 4 * 1024 * 1024  # to keep in the database; a larger one is not worth a web process
_BLOCK_BYTES = 64 * 1024


@login_not_required  # as the images at Cloudflare; private ones need a signature here and there
@require_safe
def pending_image(request: HttpRequest, variant: str, name: str) -> HttpResponseBase:
    """Serve ``variant`` of a pending image, else redirect to it; private ones need this site's signature."""
    variant = _clean(variant)
    upload = _row(name)
    background.refresh_names()  # for pages of async code, which know only what others have read
    private = names.is_private(name) or (upload is not None and upload.require_signed_urls)
    expires_at = _expiry(request, variant, name)
    if private and expires_at is None and not conf.is_never_signed(variant):
        response: HttpResponseBase = _forbidden()
    elif upload is None or upload.state not in UNCONFIRMED:
        response = _redirect(name, variant, upload, expires_at=expires_at)
    else:
        try:
            requested = not private and is_requested(name, variant, request.GET.dict())
            transform = _transform(variant, requested=requested)
            response = _serve(request, transform, upload, private=private)
        except chunks.BytesGoneError:  # stored in this moment
            response = _redirect(name, variant, _row(name), expires_at=expires_at)
    if private or expires_at:
        response["Cache-Control"] = "private, no-store"
    response.setdefault("Cache-Control", "no-cache")
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return response


# With ATOMIC_REQUESTS, the row of the image would stay locked while it is rendered, for workers and for other
# visitors.
for _alias in connections:
    transaction.non_atomic_requests(using=_alias)(pending_image)


def _row(name: str) -> Upload | None:
    # PostgreSQL refuses to search for a NUL. A name with ".." would redirect to another account.
    if "\0" in name or leads_elsewhere(name):
        raise Http404("There is no such image.")
    return uploads().filter(name=name).first()


def _expiry(request: HttpRequest, variant: str, name: str) -> int | None:
    """Return when the request's signature expires; ``None`` for none, a wrong one, or an expired one."""
    expires_at = signed_until(name, variant, request.GET.dict())
    return expires_at if expires_at and time.time() < expires_at else None


def _forbidden() -> HttpResponse:
    return HttpResponseForbidden(_("The URL has expired."), content_type="text/plain; charset=utf-8")


def _serve(
    request: HttpRequest, transform: Transform | None, upload: Upload, *, private: bool
) -> HttpResponseBase:
    """Serve a rendition, the original where Cloudflare would give it to everyone, or a placeholder."""
    if upload.source_url:
        return placeholder()
    if transform is not None and upload.content_type in _DISPLAYED:
        return _rendition(request, upload, transform)
    if private or conf.setting("FLEXIBLE_VARIANTS") is False:
        return placeholder()
    return _original(upload)


def _redirect(name: str, variant: str, upload: Upload | None, *, expires_at: int | None) -> HttpResponseBase:
    """Redirect to Cloudflare; for a name without a row (pruned, or unknown), to the storage of new images.

    Signed only until ``expires_at``: a visitor may request any name, also the bare ID of a private image.
    """
    if upload is not None and upload.state == State.DELETING:
        raise Http404("The image has been deleted.")
    if "://" in name:  # a URL as a name, by older recipes; from a stranger it would lead anywhere
        raise Http404("There is no such image.")
    if upload is not None and upload.remote_id and upload.require_signed_urls:
        remember_remote_id(name, upload.remote_id)
    aliases = [upload.storage] if upload else [conf.selected_alias(), conf.setting("CLOUDFLARE_ALIAS")]
    for alias in aliases:
        try:
            storage = storages[alias]
        except InvalidStorageError:
            continue
        if isinstance(storage, ImageStorage):
            return _redirect_to(storage, name, variant, expires_at=expires_at)
    raise Http404("There is no such image.")


def _redirect_to(
    storage: ImageStorage, name: str, variant: str, *, expires_at: int | None
) -> HttpResponseBase:
    try:
        return HttpResponseRedirect(storage.final_url(name, variant, expires_at=expires_at))
    except CloudflareImagesError as error:  # the signing keys cannot be fetched
        logger.warning("%r cannot be shown: %s", name, error)
        text = _("The image cannot be shown at the moment.")
        return HttpResponse(text, status=error.http_status, content_type="text/plain; charset=utf-8")


def _transform(variant: str, *, requested: bool) -> Transform | None:
    """Return the options of a named variant, and of a flexible one that this site has requested; ``None`` for
    any other, which visitors could make this site render endlessly.
    """
    try:
        if grammar.is_flexible(variant):
            return Transform.parse(variant) if requested else None
        declared = conf.named_variant(variant)
    except InvalidVariantError:
        return None
    return None if declared is None else declared.transform


def _rendition(request: HttpRequest, upload: Upload, transform: Transform) -> HttpResponseBase:
    accept = request.headers.get("Accept", "")
    key = _key(transform, rendering.preferred(transform, accept))

    def claim_and_render() -> Rendition | None:
        if not claim_rendition(upload, key):
            return find_rendition(upload, key)  # kept meanwhile, or another process is rendering it
        try:
            return _render(upload, transform, accept, key)
        except BaseException:  # even where the process is ending: the next request tries again at once
            give_up_rendition(upload, key)
            raise

    try:
        found = find_rendition(upload, key) or render_once((upload.pk, key), claim_and_render)
        found = found or wait_for_rendition(upload, key)
    except BusyError:
        found = None
    if found is None:
        response: HttpResponseBase = placeholder(busy=True)
    else:
        response = _kept(request, upload, found) if found.data else placeholder()
    patch_vary_headers(response, ["Accept"])
    return response


def _kept(request: HttpRequest, upload: Upload, rendition: Rendition) -> HttpResponseBase:
    etag = quote_etag(hashlib.sha256(f"{upload.sha256} {rendition.key}".encode()).hexdigest()[:32])
    response: HttpResponseBase | None = get_conditional_response(request, etag=etag)
    if response is None:
        response = HttpResponse(bytes(rendition.data), content_type=rendition.content_type)
    response["ETag"] = etag
    return response


def _render(upload: Upload, transform: Transform, accept: str, key: str) -> Rendition:
    """Render and keep a variant, or that it cannot be rendered within the limits."""
    rendition = Rendition(key=key)
    with chunks.copy(upload, using=database()) as file:
        try:
            rendered = rendering.render(
                cast("BinaryIO", file),
                transform,
                accept=accept,
                max_pixels=MAX_PIXELS,
                max_seconds=MAX_SECONDS,
            )
        except (RenderingError, InvalidVariantError) as error:
            logger.info("%s is a placeholder until it is stored: %s", upload.name, error)
        else:
            if len(rendered.body) <= _MAX_RENDITION_BYTES and rendered.content_type != _SVG:
                rendition.content_type, rendition.data = rendered.content_type, rendered.body
    keep_rendition(upload, rendition)
    return rendition


def _key(transform: Transform, formats: list[str]) -> str:
    """Return a key that changes with the options, and with the formats as far as they matter."""
    return hashlib.sha256(f"{transform} {formats}".encode()).hexdigest()[:32]


def _original(upload: Upload) -> FileResponse:
    is_known = upload.content_type in {*_DISPLAYED, _SVG}
    response = FileResponse(
        chunks.copy(upload, using=database()),
        content_type=upload.content_type if is_known else "application/octet-stream",
        as_attachment=upload.content_type not in _DISPLAYED,
        filename=upload.filename,
    )
    response.block_size = _BLOCK_BYTES
    return response


def _clean(variant: str) -> str:
    try:
        return conf.clean_variant(variant)
    except InvalidVariantError as error:
        raise Http404(error.message) from None
