"""An hour without Cloudflare as visitors see it: images are accepted, shown, and uploaded later."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.test import Client

from cf_images.accounts import find_account
from cf_images.background import process
from cf_images.models import State, Upload
from tests.background.conftest import ALIAS, Clock, use_background_storage
from tests.background.scripted_server import Response, serve_script
from tests.pictures import picture

pytestmark = pytest.mark.django_db

OUTAGES = [
    pytest.param(None, id="connection refused"),
    pytest.param(Response(lost=True), id="connections end"),
    pytest.param(Response(status=520, body=b"<html>Web server is returning an unknown error"), id="520"),
]


@pytest.fixture
def pass_time(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that advances all clocks."""
    passed = [0.0]
    now, monotonic = time.time, time.monotonic
    monkeypatch.setattr(time, "time", lambda: now() + passed[0])
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + passed[0])

    def advance(seconds: float) -> None:
        passed[0] += seconds
        clock.advance(seconds=seconds)

    return advance


def displayed(client: Client, name: str) -> bytes:
    """Return the bytes that a browser gets from the URL that a page has now."""
    url = storages[ALIAS].url(name)
    if url.startswith("/"):
        response: Any = client.get(url)
        if response.status_code == 200:
            return b"".join(response)
        url = response["Location"]
    with urllib.request.urlopen(url) as stored:
        body: bytes = stored.read()
    return body


@pytest.mark.parametrize("response", OUTAGES)
def test_visitors_do_not_notice_an_hour_without_cloudflare(
    cloudflare: Any,
    settings: Any,
    client: Client,
    pass_time: Callable[[float], None],
    response: Response | None,
) -> None:
    accepted: dict[str, bytes] = {}
    with serve_script() as broken:
        broken.by_method = {} if response is None else dict.fromkeys(("POST", "GET", "DELETE"), response)
        use_background_storage(
            settings, cloudflare, api_url="http://127.0.0.1:9" if response is None else broken.api_url
        )
        for minute in range(60):
            if minute % 10 == 0:
                body = picture(seed=minute)
                accepted[storages[ALIAS].save(f"{minute}.png", ContentFile(body))] = body
            process()
            pass_time(60)
            assert all(displayed(client, name) == body for name, body in accepted.items())
    assert Upload.objects.filter(state=State.PENDING).count() == len(accepted)
    use_background_storage(settings, cloudflare)
    account = find_account(ALIAS)
    assert account is not None
    Upload.objects.update(account=account.key)  # only a test ends an outage by another URL of the API
    while Upload.objects.filter(state=State.PENDING).exists():
        process()
        pass_time(60)
        assert all(displayed(client, name) for name in accepted)
    assert {name: image.body for name, image in cloudflare.images.items()} == accepted
