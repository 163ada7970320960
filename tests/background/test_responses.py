"""What each response of Cloudflare, in every form it may have, means for the row and the circuit breaker."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.utils import timezone

from cf_images.background.worker import process_one
from cf_images.models import Chunk, CircuitBreaker, State, Upload
from tests.background.conftest import Clock, use_background_storage, work
from tests.background.scripted_server import Response, ScriptedServer, serve_script, success

Accept = Callable[..., Upload]

pytestmark = pytest.mark.django_db

PENDING, STORED, REJECTED = State.PENDING, State.STORED, State.REJECTED


def as_json(status: int, code: int | None) -> Response:
    errors = [{"code": code, "message": "a message of Cloudflare"}] if code else []
    body = {"success": False, "result": None, "errors": errors, "messages": []}
    return Response(status=status, body=json.dumps(body).encode())


def as_prefixed_json(status: int, code: int | None) -> Response:
    errors = [{"message": f"ERROR {code}: a message of Cloudflare"}]
    return Response(status=status, body=json.dumps({"success": False, "errors": errors}).encode())


def as_text(status: int, code: int | None) -> Response:
    return Response(status=status, body=f"ERROR {code}: a message of Cloudflare".encode())


def as_html(status: int, _: int | None) -> Response:
    return Response(status=status, body=b"<!DOCTYPE html><title>Error</title>")


def halved(status: int, code: int | None) -> Response:
    body = as_json(status, code).body
    return Response(status=status, body=body[: len(body) // 2])


def cut(status: int, code: int | None) -> Response:
    return replace(as_json(status, code), cut=True)


WITH_CODE = (as_json, as_prefixed_json, as_text)
WITHOUT_CODE = (as_html, halved)
EVERY_FORM = (*WITH_CODE, *WITHOUT_CODE)


@pytest.fixture(scope="module")
def script() -> Iterator[ScriptedServer]:
    with serve_script() as running:
        yield running


@pytest.fixture
def server(script: ScriptedServer, cloudflare: Any, settings: Any) -> ScriptedServer:
    """Cloudflare as the test scripts it; it has no image unless the test says so."""
    use_background_storage(settings, cloudflare, api_url=script.api_url)
    script.requests.clear()
    script.respond("GET", as_json(404, 5404))
    return script


def is_paused() -> bool:
    return CircuitBreaker.objects.filter(paused_until__gt=timezone.now()).exists()


def cases(forms: Any, *responses: tuple[int, int | None]) -> list[Any]:
    return [
        pytest.param(form(status, code), id=f"{status}-{code}-{form.__name__}")
        for status, code in responses
        for form in forms
    ]


REJECTED_FOR_GOOD = cases(
    WITH_CODE,
    *((400, 5400), (413, 5413), (415, 5455), (400, 5443), (400, 5410), (415, 5415), (400, 5454)),
) + cases(EVERY_FORM, (400, None), (413, None), (422, None))

UNCLEAR = (
    cases(EVERY_FORM, (500, None), (502, None), (503, None), (520, None), (408, 5408))
    + cases(WITH_CODE, (415, 5550))
    # The connection ends within the body: a transport failure, whatever the status was.
    + cases([cut], (200, None), (400, 5400), (401, 10000), (409, 5409), (415, 5455), (429, 971), (500, None))
    + [pytest.param(Response(lost=True), id="connection-lost")]
)

CREDENTIALS_REFUSED = cases(EVERY_FORM, (401, 10000), (403, 10000), (403, 5403), (403, 5453)) + cases(
    WITH_CODE, (400, 7003), (404, 7003), (400, 6003)
)

UNKNOWN = cases(EVERY_FORM, (402, None), (418, None), (404, None)) + cases(WITHOUT_CODE, (415, 5550))

UNREADABLE_SUCCESS = [
    pytest.param(Response(status=200, body=body), id=name)
    for name, body in {
        "empty": b"",
        "html": b"<html>",
        "cut": b'{"success": true, "result": {"id"',
        "not-successful": b'{"success": false}',
        "no-result": b'{"success": true}',
        "another-image": success("another").body,
        "a-list": b"[]",
    }.items()
]


@pytest.mark.parametrize("response", REJECTED_FOR_GOOD)
def test_rejected_image_keeps_its_bytes(
    accept: Accept, server: ScriptedServer, response: Response, caplog: pytest.LogCaptureFixture
) -> None:
    row = accept()
    server.respond("POST", response)
    assert work() == 1
    row.refresh_from_db()
    assert row.state == REJECTED
    assert row.last_error
    assert Chunk.objects.filter(upload=row).exists()
    assert not is_paused()
    assert [record.levelno for record in caplog.records if row.name in record.message] == [logging.ERROR]


@pytest.mark.parametrize("response", UNCLEAR)
def test_unclear_response_is_retried_without_end(
    accept: Accept, server: ScriptedServer, response: Any, clock: Clock
) -> None:
    row = accept()
    server.respond("POST", response)
    for _ in range(10):
        work()
        clock.advance(hours=1)
    row.refresh_from_db()
    assert row.state == PENDING
    assert row.attempts == 10
    assert row.last_error
    server.respond("POST", success(row.name))
    work()
    row.refresh_from_db()
    assert row.state == STORED


@pytest.mark.parametrize("response", CREDENTIALS_REFUSED)
def test_refused_credentials_reject_nothing(
    accept: Accept,
    server: ScriptedServer,
    response: Response,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    accepted = [accept(), accept(), accept()]
    server.respond("POST", response)
    work()
    assert len(server.requests) == 1  # the account is paused for the others
    clock.advance(minutes=6)
    work()
    assert len(server.requests) == 2  # one probe
    assert [row.state for row in Upload.objects.all()] == [PENDING] * 3
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1
    clock.advance(minutes=6)
    for row in accepted:
        server.respond("POST", success(row.name))
        process_one(row.pk)
    assert [row.state for row in Upload.objects.all()] == [STORED] * 3


@pytest.mark.parametrize("response", UNKNOWN)
def test_unknown_error_rejects_the_image_at_the_sixth_attempt(
    accept: Accept, server: ScriptedServer, response: Response, clock: Clock
) -> None:
    row = accept()
    server.respond("POST", response)
    for _ in range(5):
        work()
        clock.advance(hours=1)
    row.refresh_from_db()
    assert row.state == PENDING
    work()
    row.refresh_from_db()
    assert (row.state, row.attempts) == (REJECTED, 6)
    assert not is_paused()


@pytest.mark.parametrize("response", cases(EVERY_FORM, (429, 971), (429, 10000)))
@pytest.mark.parametrize(
    ("headers", "seconds"), [({"Retry-After": "120"}, 120), ({}, 60), ({"Retry-After": "86400"}, 600)]
)
def test_rate_limit_pauses_the_account_for_as_long_as_asked(
    accept: Accept,
    server: ScriptedServer,
    response: Response,
    headers: dict[str, str],
    seconds: int,
    clock: Clock,
) -> None:
    row, _ = accept(), accept()
    server.respond("POST", replace(response, headers=headers))
    work()
    clock.advance(seconds=seconds - 5)
    work()
    assert len(server.requests) == 1
    clock.advance(seconds=6)
    server.respond("POST", success(row.name))
    process_one(row.pk)
    row.refresh_from_db()
    assert row.state == STORED
    assert not is_paused()


@pytest.mark.parametrize("response", UNREADABLE_SUCCESS)
def test_unreadable_success_is_confirmed_by_asking(
    accept: Accept, server: ScriptedServer, response: Response
) -> None:
    row = accept()
    server.respond("POST", response)
    server.respond("GET", success(row.name, meta={"cf_images": {"token": row.token}}))
    work()
    row.refresh_from_db()
    assert row.state == STORED
    assert server.requests == ["POST", "GET"]


@pytest.mark.parametrize("response", cases(WITH_CODE, (409, 5409)) + cases([as_html], (409, None)))
class TestImageExistsAlready:
    def test_image_of_this_upload_is_stored(
        self, accept: Accept, server: ScriptedServer, response: Response
    ) -> None:
        row = accept()
        server.respond("POST", response)
        server.respond("GET", success(row.name, meta={"cf_images": {"token": row.token}}))
        work()
        row.refresh_from_db()
        assert row.state == STORED

    @pytest.mark.parametrize("meta", [{}, {"cf_images": {"token": "another"}}, {"cf_images": "text"}])
    def test_image_of_another_upload_is_an_error(
        self,
        accept: Accept,
        server: ScriptedServer,
        response: Response,
        meta: Any,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        row = accept()
        server.respond("POST", response)
        server.respond("GET", success(row.name, meta=meta))
        work()
        row.refresh_from_db()
        assert row.state == REJECTED
        assert Chunk.objects.filter(upload=row).exists()
        assert "another image" in caplog.text

    @pytest.mark.parametrize(
        "details",
        [
            UNCLEAR[0],
            UNCLEAR[-1],
            UNKNOWN[0],
            REJECTED_FOR_GOOD[0],
            UNREADABLE_SUCCESS[0],
            *cases([as_json], (404, 5404)),
        ],
    )
    def test_failed_confirmation_never_rejects(
        self, accept: Accept, server: ScriptedServer, response: Response, details: Any, clock: Clock
    ) -> None:
        row = accept()
        server.respond("POST", response)
        server.respond("GET", details)
        for _ in range(8):
            work()
            clock.advance(hours=1)
        row.refresh_from_db()
        assert row.state == PENDING

    def test_draft_is_not_stored(self, accept: Accept, server: ScriptedServer, response: Response) -> None:
        row = accept()
        server.respond("POST", response)
        server.respond("GET", success(row.name, draft=True, meta={"cf_images": {"token": row.token}}))
        work()
        row.refresh_from_db()
        assert row.state == PENDING


def test_error_in_the_row_has_no_token_and_is_short(
    accept: Accept, server: ScriptedServer, cloudflare: Any
) -> None:
    row = accept()
    token = cloudflare.api_token
    server.respond("POST", Response(status=400, body=f"ERROR 5400: bad token {token} {'x' * 400}".encode()))
    work()
    row.refresh_from_db()
    assert token not in row.last_error
    assert len(row.last_error) <= 200
