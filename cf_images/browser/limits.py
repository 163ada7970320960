"""How many uploads an owner may begin and have open at once, and all visitors without an account together."""

from __future__ import annotations

import math
from datetime import timedelta

from django.utils import timezone
from django.utils.translation import gettext as _

from cf_images import conf
from cf_images.background.rows import reservations, unfinished_reservations
from cf_images.browser.owners import ANONYMOUS
from cf_images.browser.problems import UploadProblem
from cf_images.models import State


def check(owner: str, *, account: str) -> None:
    """Raise ``UploadProblem`` (429) for an owner who has too many uploads open, or begins them too fast.

    A visitor without an account gets a new session, and so a new owner, at will: all of them share one limit
    for each Cloudflare account. Discarded uploads count until nothing can arrive for them any more.

    Two or three queries on an index, and no request to Cloudflare. Uploads that begin at the same moment may
    pass together: the limit is one of order, not of count.
    """
    now = timezone.now()
    mine = reservations().filter(owner=owner)
    requests, seconds = conf.setting("DIRECT_UPLOADS_RATE")
    recent = mine.filter(created_at__gt=now - timedelta(seconds=seconds)).order_by("-created_at")
    begun = list(recent.values_list("created_at", flat=True)[: math.ceil(requests)])
    if len(begun) >= requests:
        wait = math.ceil((begun[-1] + timedelta(seconds=seconds) - now).total_seconds())
        raise _too_many(max(1, wait))
    open_rows = mine.filter(state=State.PENDING, expires_at__gt=now)
    if open_rows.count() >= conf.setting("DIRECT_UPLOADS_OPEN"):
        problem = _("You have too many uploads that are not saved. Save the form, or remove some of them.")
        raise UploadProblem(problem, 429, retry_after=60)
    if owner.startswith(ANONYMOUS):
        most = max(0, conf.setting("DIRECT_UPLOADS_OPEN_ANONYMOUS"))
        unfinished = unfinished_reservations().filter(account=account, owner__startswith=ANONYMOUS)
        if unfinished[:most].count() >= most:
            raise _too_many(60)


def _too_many(retry_after: int) -> UploadProblem:
    text = _("Too many uploads at once. Please wait a moment.")
    return UploadProblem(text, 429, retry_after=retry_after)
