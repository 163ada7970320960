"""Cloudflare's webhook of direct uploads: a reason to ask, and nothing more.

Cloudflare documents neither a signature nor what it sends ("Configure webhooks"): the header has a shared
secret, and the body is searched for IDs of uploads that are open here.
"""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import ImproperlyConfigured
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from cf_images import conf
from cf_images.background.destinations import destinations
from cf_images.background.rows import reservations as rows
from cf_images.browser import reservations
from cf_images.browser.api import body_of
from cf_images.browser.problems import UploadProblem
from cf_images.browser.views import in_no_transaction
from cf_images.images import names
from cf_images.models import State

_MAX_BODY = 64 * 1024  # bytes
_MAX_IDS = 10  # in one message, which is about one image


@in_no_transaction
@login_not_required
@csrf_exempt  # the secret is what counts
@require_POST
def webhook(request: HttpRequest) -> HttpResponse:
    """Ask Cloudflare about the open uploads that a message names, each once; 404 without a secret here.

    A message that is forged, repeated, too long or about something else changes nothing.
    """
    secret = conf.setting("WEBHOOK_SECRET")
    if not secret:
        raise Http404
    if not constant_time_compare(request.headers.get("cf-webhook-auth", ""), secret):
        return HttpResponse(status=403)
    body = body_of(request, max_bytes=_MAX_BODY)
    if body is None:
        return HttpResponse(status=413)
    found = dict.fromkeys(names.REMOTE_ID.findall(body.decode("utf-8", "replace")))
    for image_id in list(found)[:_MAX_IDS]:
        _ask(image_id)
    return HttpResponse(status=204)


def _ask(image_id: str) -> None:
    now = timezone.now()
    # By the index of due rows, in which saved uploads, however many there are, have no time.
    unfinished = rows().filter(
        account__in=[each.account_key for each in destinations()], next_attempt_at__gt=now
    )
    open_rows = unfinished.filter(remote_id=image_id, state=State.PENDING, uploaded_at=None)
    # At most once for each upload: a message may be sent again and again.
    row = open_rows.filter(expires_at__gt=now, asked_at=None).order_by().first()
    if row is None:
        return
    try:
        reservations.has_arrived(row)
    except (UploadProblem, ImproperlyConfigured):
        pass  # the form will ask
