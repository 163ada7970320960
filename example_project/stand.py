"""What only a demonstration needs: where images go, how far one has come, and an outage at will."""

from __future__ import annotations

import os
import signal
import socket
import time
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db.models.fields.files import FieldFile
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from cf_images import conf
from cf_images.models import Upload

PATIENCE = 10  # seconds for the emulator to start or stop


def context(_: HttpRequest) -> dict[str, Any]:
    """For every template: which storage is in use, and whether the emulator answers."""
    emulator = None if conf.is_local() else settings.EMULATOR
    return {
        "is_local": conf.is_local(),
        "emulator": emulator,
        "is_up": emulator is None or answers(emulator),
        "can_toggle": emulator is not None and "EXAMPLE_RUNNER" in os.environ,
    }


def upload_of(image: FieldFile) -> Upload | None:
    """The row behind a picture that is not at Cloudflare yet, or was refused there."""
    return Upload.objects.filter(name=image.name).exclude(state="stored").first() if image else None


def samples(request: HttpRequest) -> list[str]:
    """Addresses that an upload by URL can be tried with; Cloudflare itself cannot fetch from this machine."""
    if not (conf.is_local() or settings.EMULATOR):
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
    return redirect(request.headers.get("Referer", "people"))


def answers(url: str) -> bool:
    """Whether somebody listens there."""
    address = urlsplit(url)
    try:
        socket.create_connection((address.hostname, address.port), timeout=1).close()
    except OSError:
        return False
    return True
