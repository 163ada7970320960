"""What each answer of Cloudflare's means for the row and for the gate, in every shape it may come in."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.utils import timezone

from cf_images.background.worker import deliver_one
from cf_images.models import Gate, Piece, State, Upload
from tests.background.conftest import Clock, deliver_to, work
from tests.background.scripted import Said, Scripted, scripted, success

Accept = Callable[..., Upload]

pytestmark = pytest.mark.django_db

PENDING, STORED, REJECTED = State.PENDING, State.STORED, State.REJECTED


def as_json(status: int, code: int | None) -> Said:
    errors = [{"code": code, "message": "in Cloudflare's words"}] if code else []
    body = {"success": False, "result": None, "errors": errors, "messages": []}
    return Said(status=status, body=json.dumps(body).encode())


def as_prefixed_json(status: int, code: int | None) -> Said:
    errors = [{"message": f"ERROR {code}: in Cloudflare's words"}]
    return Said(status=status, body=json.dumps({"success": False, "errors": errors}).encode())


def as_text(status: int, code: int | None) -> Said:
    return Said(status=status, body=f"ERROR {code}: in Cloudflare's words".encode())


def as_html(status: int, _: int | None) -> Said:
    return Said(status=status, body=b"<!DOCTYPE html><title>oh no</title>")


def halved(status: int, code: int | None) -> Said:
    body = as_json(status, code).body
    return Said(status=status, body=body[: len(body) // 2])


def cut(status: int, code: int | None) -> Said:
    return replace(as_json(status, code), cut=True)


WITH_CODE = (as_json, as_prefixed_json, as_text)
WITHOUT_CODE = (as_html, halved)
EVERY_SHAPE = (*WITH_CODE, *WITHOUT_CODE)


@pytest.fixture(scope="module")
def script() -> Iterator[Scripted]:
    with scripted() as server:
        yield server


@pytest.fixture
def says(script: Scripted, cloudflare: Any, settings: Any) -> Scripted:
    """Cloudflare as the test scripts it; it has no image unless told otherwise."""
    deliver_to(settings, cloudflare, api_url=script.api_url)
    script.requests.clear()
    script.says("GET", as_json(404, 5404))
    return script


def gate_is_shut() -> bool:
    return Gate.objects.filter(closed_until__gt=timezone.now()).exists()


def rows(shapes: Any, *answers: tuple[int, int | None]) -> list[Any]:
    return [
        pytest.param(shape(status, code), id=f"{status}-{code}-{shape.__name__}")
        for status, code in answers
        for shape in shapes
    ]


NEVER = rows(
    WITH_CODE,
    *((400, 5400), (413, 5413), (415, 5455), (400, 5443), (400, 5410), (415, 5415), (400, 5454)),
) + rows(EVERY_SHAPE, (400, None), (413, None), (422, None))

UNCLEAR = (
    rows(EVERY_SHAPE, (500, None), (502, None), (503, None), (520, None), (408, 5408))
    + rows(WITH_CODE, (415, 5550))
    # The connection ends within the body: no answer at all, whatever the status was.
    + rows([cut], (200, None), (400, 5400), (401, 10000), (409, 5409), (415, 5455), (429, 971), (500, None))
    + [pytest.param(Said(lost=True), id="connection-lost")]
)

REFUSES_US = rows(EVERY_SHAPE, (401, 10000), (403, 10000), (403, 5403), (403, 5453)) + rows(
    WITH_CODE, (400, 7003), (404, 7003), (400, 6003)
)

UNKNOWN = rows(EVERY_SHAPE, (402, None), (418, None), (404, None)) + rows(WITHOUT_CODE, (415, 5550))

ODD_SUCCESS = [
    pytest.param(Said(status=200, body=body), id=name)
    for name, body in {
        "empty": b"",
        "html": b"<html>",
        "cut": b'{"success": true, "result": {"id"',
        "not-successful": b'{"success": false}',
        "no-result": b'{"success": true}',
        "another-image": success("somebody-elses").body,
        "a-list": b"[]",
    }.items()
]


@pytest.mark.parametrize("answer", NEVER)
def test_rejected_for_good_keeps_the_bytes(
    accept: Accept, says: Scripted, answer: Said, caplog: pytest.LogCaptureFixture
) -> None:
    row = accept()
    says.says("POST", answer)
    assert work() == 1
    row.refresh_from_db()
    assert row.state == REJECTED
    assert row.last_error
    assert Piece.objects.filter(upload=row).exists()
    assert not gate_is_shut()
    assert [record.levelno for record in caplog.records if row.name in record.message] == [logging.ERROR]


@pytest.mark.parametrize("answer", UNCLEAR)
def test_unclear_is_tried_again_without_end(
    accept: Accept, says: Scripted, answer: Any, clock: Clock
) -> None:
    row = accept()
    says.says("POST", answer)
    for _ in range(10):
        work()
        clock.advance(hours=1)
    row.refresh_from_db()
    assert row.state == PENDING
    assert row.attempts == 10
    assert row.last_error
    says.says("POST", success(row.name))
    work()
    row.refresh_from_db()
    assert row.state == STORED


@pytest.mark.parametrize("answer", REFUSES_US)
def test_refused_credentials_reject_nothing(
    accept: Accept,
    says: Scripted,
    answer: Said,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    accepted = [accept(), accept(), accept()]
    says.says("POST", answer)
    work()
    assert len(says.requests) == 1  # the gate is shut for the others
    clock.advance(minutes=6)
    work()
    assert len(says.requests) == 2  # one probe
    assert [row.state for row in Upload.objects.all()] == [PENDING] * 3
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1
    clock.advance(minutes=6)
    for row in accepted:
        says.says("POST", success(row.name))
        deliver_one(row.pk)
    assert [row.state for row in Upload.objects.all()] == [STORED] * 3


@pytest.mark.parametrize("answer", UNKNOWN)
def test_unknown_refusal_is_believed_after_six_times(
    accept: Accept, says: Scripted, answer: Said, clock: Clock
) -> None:
    row = accept()
    says.says("POST", answer)
    for _ in range(5):
        work()
        clock.advance(hours=1)
    row.refresh_from_db()
    assert row.state == PENDING
    work()
    row.refresh_from_db()
    assert (row.state, row.attempts) == (REJECTED, 6)
    assert not gate_is_shut()


@pytest.mark.parametrize("answer", rows(EVERY_SHAPE, (429, 971), (429, 10000)))
@pytest.mark.parametrize(
    ("headers", "seconds"), [({"Retry-After": "120"}, 120), ({}, 60), ({"Retry-After": "86400"}, 600)]
)
def test_rate_limit_shuts_the_gate_for_as_long_as_asked(
    accept: Accept,
    says: Scripted,
    answer: Said,
    headers: dict[str, str],
    seconds: int,
    clock: Clock,
) -> None:
    row, _ = accept(), accept()
    says.says("POST", replace(answer, headers=headers))
    work()
    clock.advance(seconds=seconds - 5)
    work()
    assert len(says.requests) == 1
    clock.advance(seconds=6)
    says.says("POST", success(row.name))
    deliver_one(row.pk)
    row.refresh_from_db()
    assert row.state == STORED
    assert not gate_is_shut()


@pytest.mark.parametrize("answer", ODD_SUCCESS)
def test_odd_success_is_settled_by_asking(accept: Accept, says: Scripted, answer: Said) -> None:
    row = accept()
    says.says("POST", answer)
    says.says("GET", success(row.name, meta={"cf_images": {"token": row.token}}))
    work()
    row.refresh_from_db()
    assert row.state == STORED
    assert says.requests == ["POST", "GET"]


@pytest.mark.parametrize("answer", rows(WITH_CODE, (409, 5409)) + rows([as_html], (409, None)))
class TestExistsAlready:
    def test_ours_is_stored(self, accept: Accept, says: Scripted, answer: Said) -> None:
        row = accept()
        says.says("POST", answer)
        says.says("GET", success(row.name, meta={"cf_images": {"token": row.token}}))
        work()
        row.refresh_from_db()
        assert row.state == STORED

    @pytest.mark.parametrize("meta", [{}, {"cf_images": {"token": "another"}}, {"cf_images": "odd"}])
    def test_somebody_elses_is_an_alarm(
        self,
        accept: Accept,
        says: Scripted,
        answer: Said,
        meta: Any,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        row = accept()
        says.says("POST", answer)
        says.says("GET", success(row.name, meta=meta))
        work()
        row.refresh_from_db()
        assert row.state == REJECTED
        assert Piece.objects.filter(upload=row).exists()
        assert "another image" in caplog.text

    @pytest.mark.parametrize(
        "details",
        [UNCLEAR[0], UNCLEAR[-1], UNKNOWN[0], NEVER[0], ODD_SUCCESS[0], *rows([as_json], (404, 5404))],
    )
    def test_failed_question_is_never_a_failure(
        self, accept: Accept, says: Scripted, answer: Said, details: Any, clock: Clock
    ) -> None:
        row = accept()
        says.says("POST", answer)
        says.says("GET", details)
        for _ in range(8):
            work()
            clock.advance(hours=1)
        row.refresh_from_db()
        assert row.state == PENDING

    def test_draft_is_not_stored(self, accept: Accept, says: Scripted, answer: Said) -> None:
        row = accept()
        says.says("POST", answer)
        says.says("GET", success(row.name, draft=True, meta={"cf_images": {"token": row.token}}))
        work()
        row.refresh_from_db()
        assert row.state == PENDING


def test_nothing_of_the_answer_leaks(accept: Accept, says: Scripted, cloudflare: Any) -> None:
    row = accept()
    token = cloudflare.api_token
    says.says("POST", Said(status=400, body=f"ERROR 5400: bad token {token} {'x' * 400}".encode()))
    work()
    row.refresh_from_db()
    assert token not in row.last_error
    assert len(row.last_error) <= 200
