"""Local variants in development, and upload by URL over HTTP."""

from __future__ import annotations

import logging
import posixpath
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.files.storage import storages
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.utils.cache import get_conditional_response, patch_vary_headers
from django.utils.http import quote_etag
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_POST, require_safe

from cf_images import conf, delivery, naming
from cf_images.background.views import placeholder
from cf_images.exceptions import (
    CloudflareImagesError,
    CredentialsRefusedError,
    ImageNotFoundError,
    ImageRejectedError,
    InvalidVariantError,
    RenderingError,
)
from cf_images.local import LocalImagesStorage
from cf_images.storage import CloudflareImagesStorage
from cf_images.validators import validate_source_url

logger = logging.getLogger(__name__)


@require_safe
def local_variant(request: HttpRequest, variant: str, name: str) -> HttpResponseBase:
    """A variant of a local image; 404 unless ``DEBUG`` is on or ``SERVE_LOCAL_VARIANTS`` asks for it.

    Flexible variants only where ``DEBUG`` is on: elsewhere anybody could make the server render at will.
    """
    alias = conf.package("LOCAL_ALIAS")
    storage = storages[alias] if conf.serves_local_variants() and alias in settings.STORAGES else None
    if not isinstance(storage, LocalImagesStorage):
        raise Http404("Local variants are not served here.")
    if delivery.is_flexible(variant) and not settings.DEBUG:
        raise Http404("Only declared variants are served here.")
    try:
        rendition = storage.rendition(name, variant, accept=request.headers.get("Accept", ""))
    except ImageNotFoundError as error:
        if storage.is_awaited(name):
            return placeholder()
        raise Http404(error.message) from None
    except InvalidVariantError as error:
        return HttpResponse(error.message, status=404, content_type="text/plain; charset=utf-8")
    except RenderingError as error:
        return HttpResponse(error.message, status=400, content_type="text/plain; charset=utf-8")
    return _image(request, rendition.path, rendition.content_type)


@csrf_protect
@require_POST
def upload_by_url(request: HttpRequest) -> JsonResponse:
    """Have Cloudflare fetch ``image_url`` and wait for it: ``{"image_id": …, "require_signed": …}``.

    For users who are logged in and may add uploads (``cf_images.add_upload``). Errors are
    ``{"error": "…"}`` in words for a person: 400 for what was sent, 401 and 403 for who sent it, 502 when
    Cloudflare fails.
    """
    if not request.user.is_authenticated:
        return _error("Please log in first.", 401)
    if not request.user.has_perm("cf_images.add_upload"):
        return _error("You are not allowed to upload images.", 403)
    url = request.POST.get("image_url", "").strip()
    if not url:
        return _error("The address of the image is missing: send it as image_url.", 400)
    try:
        validate_source_url(url)
        return JsonResponse(_fetched(url))
    except ValidationError as error:
        return _error(" ".join(error.messages), 400)
    except CloudflareImagesError as error:
        logger.warning("Upload by URL failed: %s", error)
        return _error(_in_words(error), error.http_status if error.http_status == 400 else 502)
    except ImproperlyConfigured as error:
        logger.error("Upload by URL is not configured: %s", error)  # the message says it all
        return _error("This site cannot upload images at the moment: it is not configured for it.", 502)


def _fetched(url: str) -> dict[str, object]:
    storage = storages[conf.package("CLOUDFLARE_ALIAS")]
    if not isinstance(storage, CloudflareImagesStorage):
        raise ImproperlyConfigured('CF_IMAGES["CLOUDFLARE_ALIAS"] is no Cloudflare Images storage.')
    private = storage.option("require_signed_urls")
    filename = posixpath.basename(unquote(urlsplit(url).path)) or "image"
    image = storage.client.upload_url(
        url,
        # an ID of our own makes a repeated request harmless; Cloudflare refuses one for private images
        image_id=None if private else naming.unique_name(filename, seconds=int(time.time())),
        metadata=storage.option("metadata"),
        require_signed_urls=private,
        creator=storage.option("creator"),
    )
    return {"image_id": image.id, "require_signed": image.require_signed_urls}


def _in_words(error: CloudflareImagesError) -> str:
    if isinstance(error, ImageRejectedError):
        return f"Cloudflare did not take the image: {error.message}"
    if isinstance(error, CredentialsRefusedError):
        return "This site has no access to Cloudflare Images at the moment; an administrator must mend that."
    return "Cloudflare cannot store the image at the moment. Please try again in a few minutes."


def _error(message: str, status: int) -> JsonResponse:
    return JsonResponse({"error": message}, status=status)


def _image(request: HttpRequest, path: Path, content_type: str) -> HttpResponseBase:
    """The file, with a fixed type and without any right to run scripts: it may be somebody's SVG."""
    etag = quote_etag(path.stem)
    response: HttpResponseBase | None = get_conditional_response(request, etag=etag)
    if response is None:
        response = FileResponse(path.open("rb"), content_type=content_type)
    response["ETag"] = etag
    response["Cache-Control"] = "no-cache"
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
    patch_vary_headers(response, ["Accept"])
    return response
