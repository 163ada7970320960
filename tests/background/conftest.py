"""A background storage at the emulator, and nobody who rings: tests say when a worker comes."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from cf_images.background import undelivered, upload_from_file
from cf_images.background.worker import deliver_one
from cf_images.models import Upload
from tests.background.scripted import Said, scripted
from tests.pictures import picture

ALIAS = "cloudflare_images"


def deliver_to(settings: Any, emulator: Any, alias: str = ALIAS, **options: Any) -> None:
    """Let the background storage ``alias`` speak to ``emulator``, with ``options`` besides."""
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


@pytest.fixture(autouse=True)
def fresh_process() -> Iterator[None]:
    """Nothing remembered from the test before."""
    undelivered.forget_all()
    yield
    undelivered.forget_all()


@pytest.fixture
def cloudflare(cf_images_emulator: Any, settings: Any) -> Any:
    """An empty emulator behind the background storage ``cloudflare_images``, and no queue."""
    deliver_to(settings, cf_images_emulator)
    settings.CF_IMAGES = {**settings.CF_IMAGES, "QUEUE": "none"}
    return cf_images_emulator


@pytest.fixture
def accept(cloudflare: Any) -> Callable[..., Upload]:
    """Accept an image for the background; gives its row."""

    def accepted(body: bytes | None = None, **options: Any) -> Upload:
        file = io.BytesIO(body or picture())
        name = upload_from_file(file, **{"filename": "jane.png", "upload_to": "avatars/", **options})
        return Upload.objects.get(name=name)

    return accepted


def work() -> int:
    """Let a worker do all that is due; how many rows it tried."""
    tried = 0
    while deliver_one():
        tried += 1
        assert tried < 1000, "a row comes back at once: this loops"
    return tried


@pytest.fixture
def source() -> Iterator[str]:
    """The URL of an image somewhere in the world."""
    with scripted() as world:
        world.says("GET", Said(body=picture(), headers={"Content-Type": "image/png"}))
        yield f"{world.api_url}/jane.png"
