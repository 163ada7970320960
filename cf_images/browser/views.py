"""The views that a page talks to: reserve, status, discard, preview, and the upload to local files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar

from django.contrib.auth.decorators import login_not_required
from django.db import connections, transaction
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_GET, require_POST

from cf_images import images
from cf_images.accounts import AccountStorage
from cf_images.background.rows import reservations as rows
from cf_images.browser import api, reservations, signed_values, targets, view_urls, waiting_files
from cf_images.browser.owners import owner_of
from cf_images.browser.problems import UploadProblem
from cf_images.exceptions import CloudflareImagesError, ImageRejectedError
from cf_images.images.reading import from_start
from cf_images.models import Reservation
from cf_images.storage import LocalImagesStorage
from cf_images.translation import rejection

_MAX_BODY = 16 * 1024  # bytes of JSON
_FORM_BYTES = 64 * 1024  # of a form around a file
# The file may be an SVG by a stranger.
_SAFE = {
    "Cache-Control": "private, no-cache",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
}

View = Callable[[HttpRequest, Mapping[str, Any]], HttpResponseBase]
AnyView = TypeVar("AnyView", bound=Callable[..., Any])


def in_no_transaction(view: AnyView) -> AnyView:
    """Let ``ATOMIC_REQUESTS`` skip a view: it would lock rows, or all of SQLite, during a request."""
    for alias in connections:
        transaction.non_atomic_requests(using=alias)(view)
    return view


def _json_view(view: View) -> Callable[[HttpRequest], HttpResponseBase]:
    """Let a view take a JSON object, and respond to an ``UploadProblem`` with its sentence."""

    @wraps(view)
    def respond(request: HttpRequest) -> HttpResponseBase:
        try:
            return view(request, _body(request))
        except UploadProblem as problem:
            return error_response(problem)

    # They answer 403 themselves: a script has no use for a login page.
    return in_no_transaction(login_not_required(csrf_protect(require_POST(never_cache(respond)))))


def error_response(problem: UploadProblem) -> JsonResponse:
    """Return a problem as JSON."""
    response = JsonResponse({"error": problem.message}, status=problem.status)
    if problem.retry_after:
        response["Retry-After"] = str(problem.retry_after)
    return response


@_json_view
def reserve(request: HttpRequest, data: Mapping[str, Any]) -> HttpResponseBase:
    """Reserve an upload: ``{"field", "filename", "size", "type"}``."""
    return JsonResponse(api.reserve(request, data), status=201)


@_json_view
def status(request: HttpRequest, data: Mapping[str, Any]) -> HttpResponseBase:
    """Say what has become of an upload: ``{"value"}``."""
    return JsonResponse(api.status(request, data))


@_json_view
def discard(request: HttpRequest, data: Mapping[str, Any]) -> HttpResponseBase:
    """Delete an upload that was not saved: ``{"value"}``."""
    api.discard(request, data)
    return HttpResponse(status=204)


def _body(request: HttpRequest) -> Mapping[str, Any]:
    body, data = api.body_of(request, max_bytes=_MAX_BODY), None
    if body is not None:
        try:
            data = json.loads(body)
        except (ValueError, RecursionError):
            pass
    if not isinstance(data, dict):
        raise UploadProblem(_("The request is not a JSON object."), 400)
    return data


# The preview


@in_no_transaction
@login_not_required
@require_GET
def preview(request: HttpRequest) -> HttpResponseBase:
    """Show an upload that is not saved yet to its owner; from this site, as a strict policy asks for."""
    try:
        row = reservations.find(signed_values.read(request.GET.get("value", "")), owner=owner_of(request))
        if not (reservations.is_open(row) and reservations.has_arrived(row)):
            return HttpResponse(status=404)
        return _image(row)
    except UploadProblem as problem:
        return HttpResponse(problem.message, status=problem.status, content_type="text/plain")
    except (CloudflareImagesError, OSError):
        return HttpResponse(status=404)


def _image(row: Reservation) -> HttpResponseBase:
    storage = targets.Target(label=row.field, alias=row.storage).storage
    if isinstance(storage, LocalImagesStorage):
        file = waiting_files.opened(storage, row.remote_id)
        content_type = images.inspect(file).content_type
        return FileResponse(file, content_type=content_type, headers=_SAFE)
    if not isinstance(storage, AccountStorage):
        return HttpResponse(status=404)
    from cf_images.client.delivery import fetch_delivery_url  # httpx, only for a request

    account = storage.account
    variant = account.variant()
    is_signed = row.require_signed_urls and not variant.is_never_signed
    expires_at = account.expiry() if is_signed else None
    found = fetch_delivery_url(account.url(row.remote_id, variant.name, expires_at=expires_at))
    if not found.is_image:
        return HttpResponse(status=404)
    return HttpResponse(found.body, content_type=found.content_type, headers=_SAFE)


# The upload to a storage of local files, as Cloudflare's upload URL takes it


@in_no_transaction
@login_not_required
@csrf_exempt  # to have the URL is to be allowed, as with Cloudflare's
@require_POST
def upload(request: HttpRequest, token: str) -> HttpResponseBase:
    """Take the part ``file`` once; respond as Cloudflare does, also in errors."""
    key = view_urls.key_in_upload_url(token)
    row = rows().filter(key=key).first() if key else None
    storage = None if row is None else targets.Target(label=row.field, alias=row.storage).storage
    if row is None or not isinstance(storage, LocalImagesStorage) or not reservations.is_open(row):
        return _refused(404, 5404, "Image not found")
    if waiting_files.exists(storage, row.remote_id):
        return _refused(409, 5409, "Resource already exists")
    if int(request.META.get("CONTENT_LENGTH") or 0) > images.MAX_BYTES + _FORM_BYTES:
        return _refused(413, 5413, _("The image file is too large."))
    file = request.FILES.get("file")
    if file is None:
        return _refused(400, 5400, "The form has no part named file")
    try:
        with from_start(file) as start:
            images.validate(start)
    except ImageRejectedError as error:
        return _refused(415, 5455, rejection(error))
    if not waiting_files.write(storage, row.remote_id, file.chunks()):
        return _refused(409, 5409, "Resource already exists")
    if rows().filter(pk=row.pk, state=row.state).exists():
        return JsonResponse({"success": True, "errors": [], "messages": [], "result": {}})
    storage.delete(row.remote_id)  # discarded meanwhile
    return _refused(404, 5404, "Image not found")


def _refused(status: int, code: int, message: str) -> JsonResponse:
    errors = [{"code": code, "message": message}]
    return JsonResponse({"success": False, "errors": errors, "messages": [], "result": None}, status=status)
