"""An hour without Cloudflare as visitors see it: images are taken, shown all along, and delivered later."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.test import Client

from cf_images.background import deliver
from cf_images.models import State, Upload
from tests.background.conftest import ALIAS, Clock, deliver_to
from tests.background.scripted import Said, scripted
from tests.pictures import picture

pytestmark = pytest.mark.django_db

AWAY = [
    pytest.param(None, id="nobody listens"),
    pytest.param(Said(lost=True), id="connections end"),
    pytest.param(Said(status=520, body=b"<html>Web server is returning an unknown error"), id="520"),
]


@pytest.fixture
def pass_time(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """All clocks go on."""
    passed = [0.0]
    now, monotonic = time.time, time.monotonic
    monkeypatch.setattr(time, "time", lambda: now() + passed[0])
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + passed[0])

    def advance(seconds: float) -> None:
        passed[0] += seconds
        clock.advance(seconds=seconds)

    return advance


def seen(client: Client, name: str) -> bytes:
    """The bytes that a browser gets under the address that a page gives it now."""
    address = storages[ALIAS].url(name)
    if address.startswith("/"):
        response: Any = client.get(address)
        if response.status_code == 200:
            return b"".join(response)
        address = response["Location"]
    with urllib.request.urlopen(address) as answer:
        body: bytes = answer.read()
    return body


@pytest.mark.parametrize("answer", AWAY)
def test_an_hour_without_cloudflare_is_seen_by_nobody(
    cloudflare: Any,
    settings: Any,
    client: Client,
    pass_time: Callable[[float], None],
    answer: Said | None,
) -> None:
    accepted: dict[str, bytes] = {}
    with scripted() as broken:
        broken.by_method = {} if answer is None else dict.fromkeys(("POST", "GET", "DELETE"), answer)
        deliver_to(settings, cloudflare, api_url="http://127.0.0.1:9" if answer is None else broken.api_url)
        for minute in range(60):
            if minute % 10 == 0:
                body = picture(seed=minute)
                accepted[storages[ALIAS].save(f"{minute}.png", ContentFile(body))] = body
            deliver()
            pass_time(60)
            assert all(seen(client, name) == body for name, body in accepted.items())
    assert Upload.objects.filter(state=State.PENDING).count() == len(accepted)
    deliver_to(settings, cloudflare)
    while Upload.objects.filter(state=State.PENDING).exists():
        deliver()
        pass_time(60)
        assert all(seen(client, name) for name in accepted)
    assert {name: image.body for name, image in cloudflare.images.items()} == accepted
