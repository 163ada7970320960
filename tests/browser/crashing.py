"""Processes that kill themselves at one step of an upload from the browser, and those that come after them.

A line of JSON on standard input is a job, such as ``["reserve", "row written"]``; an empty point lets it end.
Each has a fork of its own. It prints what it found, and then how it ended.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any

from tests.background.crashing import (  # first of all: it sets Django up
    after,
    before_response_is_read,
    before_response_of,
    die,
    run,
)

from django import forms  # isort: skip  # needs Django to be set up
from django.db import transaction  # isort: skip
from django.utils import timezone  # isort: skip

from cf_images.background import leases, outcomes, reserved, worker  # isort: skip
from cf_images.accounts import find_account  # isort: skip
from cf_images.browser import reservations, signed_values, targets  # isort: skip
from cf_images.browser.direct_upload import DirectUpload  # isort: skip
from cf_images.browser.owners import acting_for, owner_of  # isort: skip
from cf_images.client import CloudflareImagesClient  # isort: skip
from cf_images.forms import DirectUploadsMixin  # isort: skip
from cf_images.models import Reservation  # isort: skip
from cf_images.transfer import orphans  # isort: skip
from cf_images.transfer.pacing import PacedRequests  # isort: skip
from tests.chaos.models import Photo  # isort: skip

REQUEST: Any = SimpleNamespace(
    user=SimpleNamespace(pk=1, is_authenticated=True, _meta=SimpleNamespace(label="auth.User"))
)
OWNER = str(owner_of(REQUEST))
POINTS: dict[str, Callable[[], None]] = {
    "reserve: request sent": before_response_is_read,
    "reserve: URL received": lambda: after(CloudflareImagesClient, "create_direct_upload"),
    "reserve: row written": lambda: after(reservations, "reserve"),
    "status: asked": lambda: after(reservations, "_ask"),
    "status: answered": lambda: after(reservations, "has_arrived"),
    "submit: asked": lambda: after(reservations, "_ask"),
    "submit: verified": lambda: after(reservations, "verify"),
    "submit: named": lambda: after(reservations, "_close"),
    "submit: row written": lambda: after(Photo, "save"),
    "submit: committed": lambda: after(sys.modules[__name__], "_saved"),
    "discard: written": lambda: setattr(transaction, "on_commit", die),
    "discard: committed": lambda: setattr(reservations, "notify", die),
    "sweep: claimed": lambda: after(leases, "claim"),
    "sweep: closed": lambda: after(reserved, "begin_deletion"),
    "sweep: asked": lambda: after(reserved, "look"),
    "sweep: DELETE sent": lambda: before_response_of("delete"),
    "sweep: deleted": lambda: after(CloudflareImagesClient, "delete"),
    "sweep: row deleted": lambda: after(outcomes, "deleted"),
}


class PhotoForm(DirectUploadsMixin, forms.ModelForm):
    """A form as a project writes it."""

    class Meta:
        model = Photo
        fields = ["image"]


def say(found: Any) -> None:
    """Tell the test what was found."""
    sys.stdout.write(f"{json.dumps(found)}\n")
    sys.stdout.flush()


def target() -> targets.Target:
    """Return the field that uploads are for."""
    found = targets.of_model_field(Photo._meta.get_field("image"))
    assert found
    return found


def reserve() -> None:
    """Give a value and an upload URL."""
    row, upload_url = reservations.reserve(target(), owner=OWNER, filename="cat.png", size=99)
    say([signed_values.value_of(row), upload_url])


def row_of(value: str) -> Reservation:
    """Return the row of the visitor's value."""
    return reservations.find(signed_values.read(value), owner=OWNER)


def status(value: str) -> None:
    """Say whether the file has arrived."""
    say(reservations.has_arrived(row_of(value)))


def discard(value: str) -> None:
    """Discard an upload."""
    reservations.discard(row_of(value))


def submit(value: str, how: str) -> None:
    """Send the form, within a transaction or as a form or a script saves it by itself."""
    if how == "script":
        upload = DirectUpload(reservations.verify(value, target(), owner=OWNER), value)
        Photo.objects.create(image=upload)
        return
    with acting_for(REQUEST):
        form = PhotoForm({"image-upload": value})
        if how == "transaction":
            with transaction.atomic():
                is_saved = form.is_valid() and form.save()
        else:
            is_saved = form.is_valid() and form.save()
        _saved()
    say(bool(is_saved) or "saved already" in str(form.errors))


def _saved() -> None:
    """Do nothing: a moment at which a process may die."""


def sweep() -> None:
    """Process all that is due once uploads have expired, and again when leases are over; say what is left."""
    real = timezone.now
    for hours in (7, 8, 9):
        timezone.now = partial(lambda hours: real() + timedelta(hours=hours), hours)  # type: ignore[assignment]
        while worker.process_one():
            pass
    photos = [
        (photo.image.name, photo.image.storage.image_id(photo.image.name)) for photo in Photo.objects.all()
    ]
    say([photos, list(Reservation.objects.values_list("state", flat=True))])


def search() -> None:
    """Say which images no row uses, as ``manage.py cf_images orphans`` finds them."""
    account = find_account("direct")
    assert account
    options = orphans.Options(
        sites=[account.options.site], older_than=timedelta(0), cutoff=int(time.time()) + 3600
    )
    found = orphans.Search(account, PacedRequests(account), options, progress=lambda _: None).run()
    say([orphan.image_id for orphan in found.orphans])


def reset() -> None:
    """Delete all rows."""
    Photo.objects.all().delete()
    Reservation.objects.all().delete()


def job(name: str, point: str, *arguments: str) -> None:
    """Do a job, and die at a point of it."""
    if point:
        POINTS[f"{name}: {point}"]()
    JOBS[name](*arguments)


JOBS: dict[str, Callable[..., None]] = {
    each.__name__: each for each in (reserve, status, discard, submit, sweep, search, reset)
}


def main() -> None:
    """Run each job in a fork, and print its exit status, negative for a signal."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            run(job, *json.loads(line))
        _, status_ = os.waitpid(child, 0)
        say({"exit": os.waitstatus_to_exitcode(status_)})


if __name__ == "__main__":
    main()
