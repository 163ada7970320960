"""Upload by URL over HTTP."""

from __future__ import annotations

import logging
import posixpath
import time
from urllib.parse import unquote, urlsplit

from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.http import HttpRequest, JsonResponse
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_POST

from cf_images.accounts import cloudflare_alias, find_account
from cf_images.background.fetch import validate_source_url
from cf_images.exceptions import CloudflareImagesError, CredentialsRefusedError, ImageRejectedError
from cf_images.images import metadata, names
from cf_images.translation import rejection

logger = logging.getLogger(__name__)


@login_not_required  # it answers 401 itself: a script has no use for a login page
@csrf_protect
@require_POST
def upload_by_url(request: HttpRequest) -> JsonResponse:
    """Let Cloudflare fetch ``image_url`` and wait for it: ``{"image_id": …, "require_signed": …}``.

    For users who are logged in and may add uploads (``cf_images.add_upload``). Errors are ``{"error": "…"}``
    in words for a person: 400 for what was sent, 401 and 403 for who sent it, 502 when Cloudflare fails.
    """
    if not request.user.is_authenticated:
        return _error(_("Please log in first."), 401)
    if not request.user.has_perm("cf_images.add_upload"):
        return _error(_("You are not allowed to upload images."), 403)
    url = request.POST.get("image_url", "").strip()
    if not url:
        return _error(_("The URL of the image is missing: send it as image_url."), 400)
    try:
        validate_source_url(url)
        return JsonResponse(_upload(url))
    except ValidationError as error:
        return _error(" ".join(error.messages), 400)
    except CloudflareImagesError as error:
        logger.warning("Upload by URL failed: %s", error)
        return _error(_in_words(error), error.http_status if error.http_status == 400 else 502)
    except ImproperlyConfigured as error:
        logger.error("Upload by URL is not configured: %s", error)  # the message says it all
        return _error(_("This site is not configured to upload images."), 502)


def _upload(url: str) -> dict[str, object]:
    account = find_account(cloudflare_alias())
    if account is None:
        raise ImproperlyConfigured('CF_IMAGES["CLOUDFLARE_ALIAS"] is not a CloudflareImagesStorage.')
    options = account.options
    private = options.require_signed_urls
    filename = posixpath.basename(unquote(urlsplit(url).path)) or "image"
    # A custom ID makes a repeated request harmless; Cloudflare refuses one for private images.
    image_id = None if private else names.unique_name(filename, seconds=int(time.time()))
    image = account.client().upload_url(
        url,
        image_id=image_id,
        metadata=metadata.build(None, filename, options.metadata, site=options.site),
        require_signed_urls=private,
        creator=options.creator,
    )
    return {"image_id": image.id, "require_signed": image.require_signed_urls}


def _in_words(error: CloudflareImagesError) -> str:
    if isinstance(error, ImageRejectedError):
        return _("Cloudflare did not accept the image: %(reason)s") % {"reason": rejection(error)}
    if isinstance(error, CredentialsRefusedError):
        return _("This site has no access to Cloudflare Images at the moment. Please tell an administrator.")
    return _("Cloudflare cannot store the image at the moment. Please try again in a few minutes.")


def _error(message: str, status: int) -> JsonResponse:
    return JsonResponse({"error": message}, status=status)
