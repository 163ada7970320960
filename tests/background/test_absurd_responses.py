"""Numbers and texts that no database takes: the attempt ends, and the row and the breaker say why."""

from __future__ import annotations

import json
import logging
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.utils import timezone

from cf_images.background import timing, upload_from_url
from cf_images.background.worker import process_one
from cf_images.models import CircuitBreaker, State, Upload

from .conftest import use_background_storage
from .scripted_server import Response, ScriptedServer, serve_script

Accept = Callable[..., Upload]

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def server(cloudflare: Any, settings: Any) -> Iterator[ScriptedServer]:
    with serve_script() as script:
        use_background_storage(settings, cloudflare, api_url=script.api_url)
        yield script


def error(code: Any, message: Any = "No", status: int = 400, **headers: str) -> Response:
    body = json.dumps({"success": False, "errors": [{"code": code, "message": message}]}).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status=status, body=body, headers=names)


def result(**fields: Any) -> Response:
    return Response(body=json.dumps({"success": True, "result": fields}).encode())


ABSURD = {
    "huge code": error(10**40),
    "code of 32 bits": error(2**31),
    "negative code": error(-1),
    "boolean code": error(True),
    "text as code": error("5400"),
    "NUL": error(5400, "a\0b"),
    "surrogate": error(5400, "a\ud800b"),
    "long message": error(5400, "\N{GRINNING FACE}" * 100_000),
    "NUL in a text": Response(status=500, body=b"a\0b\xff\xfe"),
    "long pause": error(971, status=429, Retry_After="9" * 30),
    "endless pause": error(971, status=429, Retry_After="9" * 400),
    "negative pause": error(971, status=429, Retry_After="-1"),
    "no pause": error(971, status=429, Retry_After="nan"),
    "pause until the end": error(971, status=429, Retry_After="Fri, 31 Dec 9999 23:59:59 -2359"),
    "another image": result(id="other"),
    "another image without a name": result(id="\0"),
    "infinite": Response(body=b'{"success": true, "result": {"id": "one", "meta": {"a": 1e999}}}'),
    "unknown status": error(None, status=999),
}


@pytest.mark.parametrize("name", ABSURD)
@pytest.mark.parametrize("private", [False, True])
def test_an_attempt_ends_whatever_the_numbers_and_texts(
    server: ScriptedServer, accept: Accept, caplog: pytest.LogCaptureFixture, name: str, private: bool
) -> None:
    for method in ("GET", "POST"):
        server.respond(method, ABSURD[name])
    row = accept(require_signed_urls=private)
    assert process_one()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR and record.exc_info]
    row.refresh_from_db()
    assert row.lease == ""
    assert row.state in (State.PENDING, State.REJECTED)
    if row.state == State.PENDING:
        assert row.next_attempt_at <= timezone.now() + timing.MAX_PAUSE
    assert row.last_error
    assert row.last_error.isprintable()
    assert row.last_code is None or 0 < row.last_code < 2**31
    for breaker in CircuitBreaker.objects.exclude(paused_until=None):
        assert breaker.paused_until is not None
        assert breaker.paused_until <= timezone.now() + timing.BREAKER_MAX_RETRY_AFTER


def test_an_original_of_impossible_dimensions_is_stored_without_them(server: ScriptedServer) -> None:
    header = struct.pack(">IIBBBBB", 2**32 - 1, 2**32 - 1, 8, 2, 0, 0, 0)
    checksum = struct.pack(">I", zlib.crc32(b"IHDR" + header))
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(header)) + b"IHDR" + header + checksum + bytes(100)
    name = upload_from_url("https://photos.example/jane.png")
    server.respond("POST", result(id=name))
    server.respond("GET", Response(body=png, headers={"Content-Type": "image/png"}))
    assert process_one()
    row = Upload.objects.get(name=name)
    assert (row.state, row.width, row.height) == (State.STORED, None, None)
