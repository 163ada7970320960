"""A background storage at the emulator and no queue: a test says when a worker runs."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from cf_images.background import (
    circuit_breaker,
    heartbeat,
    leases,
    pace,
    pending,
    rows,
    upload_from_file,
    worker,
)
from cf_images.background.circuit_breaker import Admission
from cf_images.background.destinations import Destination, destinations
from cf_images.background.leases import Claim
from cf_images.background.worker import process_one
from cf_images.models import Upload
from tests.background.scripted_server import Response, serve_script
from tests.pictures import picture

ALIAS = "cloudflare_images"


def use_background_storage(settings: Any, emulator: Any, alias: str = ALIAS, **options: Any) -> None:
    """Make ``alias`` a background storage at ``emulator``; ``options`` override its options."""
    given = {
        "account_id": emulator.account_id,
        "api_token": emulator.api_token,
        "account_hash": emulator.account_hash,
        "api_url": emulator.api_url,
        "delivery_url": emulator.delivery_url,
        "background": True,
        **options,
    }
    backend = {"BACKEND": "cf_images.storage.CloudflareImagesStorage", "OPTIONS": given}
    settings.STORAGES = {**settings.STORAGES, alias: backend}


class Clock:
    """The time as the package sees it; real time goes on besides."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.offset = timedelta()
        real = timezone.now
        monkeypatch.setattr(timezone, "now", lambda: real() + self.offset)

    def advance(self, **delta: float) -> None:
        self.offset += timedelta(**delta)

    def now(self) -> datetime:
        return timezone.now()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def sleeping_clock(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The same for a worker that takes no real time where it sleeps."""
    slept = [0.0]

    def sleep(seconds: float) -> None:
        slept[0] += seconds
        clock.advance(seconds=seconds)

    monkeypatch.setattr(
        worker, "time", SimpleNamespace(sleep=sleep, monotonic=lambda: time.monotonic() + slept[0])
    )
    return clock


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that advances the clocks of ``time``."""
    passed = [0.0]
    now, monotonic = time.time, time.monotonic
    monkeypatch.setattr(time, "time", lambda: now() + passed[0])
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + passed[0])

    def advance(seconds: float) -> None:
        passed[0] += seconds

    return advance


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget the pending names, the IDs and the pace of the previous test; one heartbeat is enough."""
    monkeypatch.setattr(heartbeat._Process, "_run", lambda _: None)
    forget()
    yield
    forget()


def forget() -> None:
    """Know as little as a new process does."""
    pending.clear_cache()
    pace.clear_cache()
    circuit_breaker.clear_cache()
    heartbeat._after_fork_in_child()
    rows._remote_ids.clear()
    rows._queries.clear()


@pytest.fixture
def cloudflare(cf_images_emulator: Any, settings: Any) -> Any:
    """An empty emulator behind the background storage ``cloudflare_images``, no queue, and no pace."""
    use_background_storage(settings, cf_images_emulator)
    settings.CF_IMAGES = {**settings.CF_IMAGES, "QUEUE": "none", "API_RATE": None}
    return cf_images_emulator


@pytest.fixture
def accept(cloudflare: Any) -> Callable[..., Upload]:
    """Return a function that accepts an image for the background and returns its row."""

    def accept_image(body: bytes | None = None, **options: Any) -> Upload:
        file = io.BytesIO(body or picture())
        name = upload_from_file(file, **{"filename": "jane.png", "upload_to": "avatars/", **options})
        return Upload.objects.get(name=name)

    return accept_image


def destination_of(alias: str) -> Destination:
    """Return the destination of the rows of a storage."""
    return next(found for found in destinations() if alias in {**found.accounts, **found.storages})


def claim(pk: int) -> Claim[Upload] | None:
    """Claim an upload, as a worker does; ``None`` if it is not due."""
    return next(iter(leases.claim(Upload, [pk])), None)


def is_due(alias: str) -> bool:
    """Return whether a worker would find an upload of the storage."""
    return leases.due(destination_of(alias))[0].exists()


def refuse_credentials(alias: str = ALIAS) -> None:
    """Pause the account of a storage, as if its token had just been refused and had the permission by now."""
    found = destination_of(alias)
    admission = Admission(account_key=found.account_key, token_digest=found.token_digest)
    circuit_breaker.credentials_refused(admission, "Authentication error (10000)")


def work() -> int:
    """Let a worker process all rows that are due; return how many it tried."""
    tried = 0
    while process_one():
        tried += 1
        assert tried < 1000, "a row is due again at once: this loops"
    return tried


@pytest.fixture
def source() -> Iterator[str]:
    """The URL of an image on another server."""
    with serve_script() as server:
        server.respond("GET", Response(body=picture(), headers={"Content-Type": "image/png"}))
        yield f"{server.api_url}/jane.png"
