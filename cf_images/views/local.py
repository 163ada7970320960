"""Variants of local images, for development.

Where ``DEBUG`` is off, visitors are strangers, and the limits of ``render_slots`` hold: what would take
longer is the original, which is public there.
"""

from __future__ import annotations

from functools import partial
from typing import BinaryIO

from django.contrib.auth.decorators import login_not_required
from django.core.files.storage import FileSystemStorage
from django.http import (
    FileResponse,
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
)
from django.utils.cache import get_conditional_response, patch_vary_headers
from django.utils.http import quote_etag
from django.views.decorators.http import require_safe

from cf_images import conf, rendering
from cf_images.exceptions import ImageNotFoundError, InvalidVariantError, RenderingError
from cf_images.storage import LocalImagesStorage
from cf_images.storage.local import LocalRendition
from cf_images.storage.mirror import local_images
from cf_images.storage.pending_urls import is_requested
from cf_images.variants import grammar
from cf_images.views.render_slots import MAX_PIXELS, MAX_SECONDS, BusyError, render_once
from cf_images.views.responses import placeholder


@login_not_required  # as the images at Cloudflare
@require_safe
def local_variant(request: HttpRequest, variant: str, name: str) -> HttpResponseBase:
    """Serve a variant of a local image; 404 unless ``DEBUG`` is on or ``SERVE_LOCAL_VARIANTS`` asks for it.

    Where ``DEBUG`` is off, flexible variants only in a URL that this site has signed: else any visitor could
    make the server render anything.
    """
    storage = local_images() if conf.serves_local_variants() else None
    if storage is None:
        raise Http404("Local variants are not served here.")
    try:
        if not _is_open(request, conf.clean_variant(variant), name):
            raise Http404("Only named variants are served here, and flexible ones in a signed URL.")
        return _serve(request, storage, name, variant)
    except ImageNotFoundError as error:
        if storage.is_pending(name):
            return placeholder()
        raise Http404(error.message) from None
    except InvalidVariantError as error:
        return HttpResponse(error.message, status=404, content_type="text/plain; charset=utf-8")
    except BusyError:
        return placeholder(busy=True)
    except RenderingError as error:
        if not conf.project_setting("DEBUG"):
            return _original(storage, name)
        return HttpResponse(error.message, status=400, content_type="text/plain; charset=utf-8")


def _is_open(request: HttpRequest, variant: str, name: str) -> bool:
    if conf.project_setting("DEBUG") or not grammar.is_flexible(variant):
        return True
    return is_requested(name, variant, request.GET.dict())


def _serve(request: HttpRequest, storage: LocalImagesStorage, name: str, variant: str) -> HttpResponseBase:
    for _attempt in range(2):
        rendition = _rendition(request, storage, name, variant)
        try:
            file = rendition.path.open("rb")
        except FileNotFoundError:  # deleted in this moment, with the image or alone
            continue
        return _image(request, file, rendition.path.stem, rendition.content_type)
    raise ImageNotFoundError(f"There is no image {name!r}.")


def _rendition(request: HttpRequest, storage: LocalImagesStorage, name: str, variant: str) -> LocalRendition:
    accept = request.headers.get("Accept", "")
    if conf.project_setting("DEBUG"):
        return storage.rendition(name, variant, accept=accept)
    find = partial(storage.find_rendition, name, variant, accept=accept, max_seconds=MAX_SECONDS)
    render = partial(
        storage.rendition, name, variant, accept=accept, max_seconds=MAX_SECONDS, max_pixels=MAX_PIXELS
    )
    return find() or render_once((storage.location, name, variant, *rendering.accepted(accept)), render)


def _original(storage: LocalImagesStorage, name: str) -> HttpResponseBase:
    """Redirect to the original, where every variant leads that this view does not serve."""
    return HttpResponseRedirect(FileSystemStorage.url(storage, name), headers={"Cache-Control": "no-cache"})


def _image(request: HttpRequest, file: BinaryIO, key: str, content_type: str) -> HttpResponseBase:
    """Serve the file with a fixed type and without the right to run scripts: it may be an SVG by a
    stranger.
    """
    etag = quote_etag(key)
    response: HttpResponseBase | None = get_conditional_response(request, etag=etag)
    if response is None:
        response = FileResponse(file, content_type=content_type)
    else:
        file.close()
    response["ETag"] = etag
    response["Cache-Control"] = "no-cache"
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
    patch_vary_headers(response, ["Accept"])
    return response
