"""The page "Moving": what the commands do, by buttons. The worker of the site copies the files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib import messages
from django.core.files.storage import Storage, storages
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from cf_images.background import notify
from cf_images.background.transfers import transfers
from cf_images.transfer import fields, ledger
from cf_images.transfer.exporting import Export
from cf_images.transfer.fields import Route
from cf_images.transfer.report import Problems
from cf_images.transfer.switching import revert, switch
from demo import samples
from moving.models import Picture

FIELD: Any = Picture._meta.get_field("file")
# Your project swaps primary and secondary in its settings; here, a file says which mirror is used.
MOVED = settings.STATE / "moved"
EXPORTED = settings.STATE / "exported"
NAMES = {"pictures": "the folder", "cloudflare_images": "Cloudflare", str(EXPORTED): "the export"}


def moving(request: HttpRequest) -> HttpResponse:
    """Show the pictures from where they are now, and the ledger."""
    if settings.ENV_NAME == "dev":
        return render(request, "moving/moving.html")
    mirror = current()
    places = ["pictures", str(EXPORTED)]
    rows = transfers().filter(Q(source__in=places) | Q(storage__in=places)).order_by("-pk")[:30]
    context = {
        "is_moved": MOVED.exists(),
        "actions": ACTIONS.items(),
        "pictures": [mirror.url(picture.file.name) for picture in Picture.objects.all()],
        "rows": [(row, NAMES[row.source], NAMES[row.storage]) for row in rows],
    }
    return render(request, "moving/moving.html", context)


@require_POST
def act(request: HttpRequest, action: str) -> HttpResponse:
    """Do what a button says."""
    if settings.ENV_NAME == "dev" or action not in ACTIONS:
        raise Http404
    ACTIONS[action].do(request)
    return redirect("moving")


def current() -> Storage:
    """Return the mirror as this site uses it now."""
    return storages["moved" if MOVED.exists() else "moving"]


def _import(_: HttpRequest) -> None:
    ledger.fill(_route(), {}, is_enqueued=True)  # manage.py cf_images import --enqueue
    notify()


def _switch(request: HttpRequest) -> None:
    problems = Problems()
    done = switch(_route(), problems)  # manage.py cf_images switch
    if done.unknown or problems.count:
        messages.error(request, "Some pictures are not at Cloudflare: import them first.")
    else:
        MOVED.touch()


def _revert(_: HttpRequest) -> None:
    revert(_route(), Problems())  # manage.py cf_images revert
    MOVED.unlink(missing_ok=True)


def _export(_: HttpRequest) -> None:
    EXPORTED.mkdir(exist_ok=True)
    # manage.py cf_images export --directory … --enqueue
    Export(fields.to_place(FIELD, str(EXPORTED))).fill(is_enqueued=True)
    notify()


def _add(_: HttpRequest) -> None:
    newest = Picture.objects.last()
    picture = samples.open_another(f"/{newest.file.name}" if newest else "")
    Picture.objects.create(file=current().save(f"moving/{picture.name}", picture))


def _route() -> Route:
    return fields.to_cloudflare(FIELD)


class Action(NamedTuple):
    """A step of moving: its button, what it does, the code for the same in a project, and the function."""

    label: str
    does: str
    code: str
    do: Callable[[HttpRequest], None]


ACTIONS = {
    "import": Action(
        "Import",
        "Copies the folder to Cloudflare. Rows and files stay as they are.",
        "manage.py cf_images import moving.Picture.file --enqueue",
        _import,
    ),
    "switch": Action(
        "Switch",
        "Shows the pictures from Cloudflare, once all of them are there.",
        "manage.py cf_images switch moving.Picture.file",
        _switch,
    ),
    "add": Action(
        "Add a picture",
        "Saves another one, before or after the switch: the mirror keeps it in both places.",
        "Picture.objects.create(file=…)",
        _add,
    ),
    "revert": Action(
        "Revert",
        "Shows the pictures from the folder again. Nothing has to be copied.",
        "manage.py cf_images revert moving.Picture.file",
        _revert,
    ),
    "export": Action(
        "Export",
        "Copies all pictures from Cloudflare into another folder: the way back without a mirror.",
        f"manage.py cf_images export moving.Picture.file --directory {EXPORTED.name} --enqueue",
        _export,
    ),
}
