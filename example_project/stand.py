"""What only a demonstration needs: where images go, how far one has come, and an outage at will."""

from __future__ import annotations

import io
import os
import random
import signal
import socket
import time
from typing import Any
from urllib.parse import urlsplit

import httpx
from django.conf import settings
from django.core.files.base import ContentFile, File
from django.db.models.fields.files import FieldFile
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from cf_images import conf
from cf_images.models import Upload
from example_project import pictures

PATIENCE = 10  # seconds for the emulator to start or stop


def context(_: HttpRequest) -> dict[str, Any]:
    """For every template: which storage is in use, and whether the emulator answers."""
    emulator = None if is_local() else settings.EMULATOR
    return {
        "is_local": is_local(),
        "emulator": emulator,
        "is_up": emulator is None or answers(emulator),
        "can_toggle": emulator is not None and "EXAMPLE_RUNNER" in os.environ,
    }


def is_local() -> bool:
    """Whether images stay on this machine."""
    return conf.is_local()


def upload_of(image: FieldFile | None) -> Upload | None:
    """The row behind a picture that is not at Cloudflare yet, or was refused there."""
    return Upload.objects.filter(name=image.name).exclude(state="stored").first() if image else None


def state(request: HttpRequest, image: FieldFile | None) -> HttpResponse:
    """How far a picture has come, for a page that asks again and again while it waits."""
    facts = {"upload": upload_of(image), "state_url": request.path}
    return render(request, "profiles/state.html", facts)


def status_of(url: str) -> int | None:
    """What the address answers to anybody, also a redirect; ``None`` if nobody is there."""
    try:
        return httpx.get(url, timeout=3).status_code  # seconds that a page may wait for this
    except httpx.HTTPError:
        return None


def new_picture(*, unlike: str = "") -> File[bytes]:
    """A landscape that nobody has seen before, in another mood than the file ``unlike``."""
    moods = [mood for mood in pictures.MOODS if f"/{mood}" not in unlike]
    mood, seed = random.choice(moods), str(random.random())  # noqa: S311 - no secret
    body = io.BytesIO()
    pictures.landscape(pictures.MOODS[mood], seed=seed).save(body, "JPEG", quality=88)
    return ContentFile(body.getvalue(), name=f"{mood}.jpg")


def samples(request: HttpRequest) -> list[str]:
    """Addresses that an upload by URL can be tried with; Cloudflare itself cannot fetch from this machine."""
    if not (is_local() or settings.EMULATOR):
        return []
    names = [path.name for path in (settings.STATE / "samples").glob("*.jpg")]
    return [request.build_absolute_uri(f"/samples/{name}") for name in sorted(names)]


@require_POST
def outage(request: HttpRequest) -> HttpResponse:
    """Have the process that started us stop the emulator, or start it again."""
    was_up = answers(settings.EMULATOR)
    os.kill(int(os.environ["EXAMPLE_RUNNER"]), signal.SIGUSR1)
    deadline = time.monotonic() + PATIENCE
    while answers(settings.EMULATOR) == was_up and time.monotonic() < deadline:
        time.sleep(0.1)
    return redirect(request.headers.get("Referer", "people") + request.POST.get("fragment", ""))


def answers(url: str) -> bool:
    """Whether somebody listens there."""
    address = urlsplit(url)
    try:
        socket.create_connection((address.hostname, address.port), timeout=1).close()
    except OSError:
        return False
    return True
