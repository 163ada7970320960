"""Cloudflare's webhook makes us ask, and changes nothing by itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from cf_images.models import Reservation
from tests.background.conftest import Clock
from tests.browser.conftest import Visitor
from tests.pictures import picture

pytestmark = pytest.mark.django_db

URL = "/cf-images/webhook/"
RowOf = Callable[[str], Reservation]


@pytest.fixture(autouse=True)
def _has_a_secret(settings: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "WEBHOOK_SECRET": "s3cret"}


def post(body: Any, *, secret: str = "s3cret") -> int:
    headers = {"cf-webhook-auth": secret}
    return (
        Client(enforce_csrf_checks=True)
        .post(URL, json.dumps(body), content_type="application/json", headers=headers)
        .status_code
    )


def test_a_message_makes_us_ask(visitor: Visitor, cloudflare: Any, row_of: RowOf) -> None:
    value = visitor.upload()
    before = len(cloudflare.requests)
    assert post({"data": {"image": row_of(value).remote_id}}) == 204
    assert row_of(value).uploaded_at
    assert len(cloudflare.requests) == before + 1


def test_a_message_about_a_draft_changes_nothing(
    visitor: Visitor, row_of: RowOf, cloudflare: Any, clock: Clock
) -> None:
    reserved = visitor.reserve().json()
    image_id = row_of(reserved["value"]).remote_id
    before = len(cloudflare.requests)
    for _ in range(5):
        assert post({"text": f"Image {image_id} was uploaded."}) == 204
        clock.advance(seconds=2)
    assert row_of(reserved["value"]).uploaded_at is None
    assert len(cloudflare.requests) == before + 1, "a replayed message asks once"
    visitor.send(reserved["upload_url"], picture())


@pytest.mark.parametrize("secret", ["", "S3CRET", "s3cret ", "x" * 9999, "\xe9"])
def test_a_forged_message_is_refused(secret: str, visitor: Visitor, row_of: RowOf, cloudflare: Any) -> None:
    value = visitor.upload()
    before = len(cloudflare.requests)
    assert post({"data": row_of(value).remote_id}, secret=secret) == 403
    assert row_of(value).uploaded_at is None
    assert len(cloudflare.requests) == before


def test_a_message_of_another_image_or_an_endless_one_asks_nothing(visitor: Visitor, cloudflare: Any) -> None:
    before = len(cloudflare.requests)
    assert post({"data": "083eb7b2-5392-4565-b69e-aff66acddd00"}) == 204
    assert post({"data": "x" * 100_000}) == 413
    assert len(cloudflare.requests) == before


def test_without_a_secret_there_is_no_webhook(db: None, settings: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "WEBHOOK_SECRET": None}
    assert post({}, secret="") == 404


def test_a_message_reads_no_row_of_a_saved_upload(visitor: Visitor, row_of: RowOf) -> None:
    image_id = row_of(visitor.upload()).remote_id
    with CaptureQueriesContext(connection) as queries:
        assert post({"data": image_id}) == 204
    (search,) = [query["sql"] for query in queries if image_id in query["sql"]]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {search}")
        plan = str(cursor.fetchall())
    assert "SEARCH" in plan
    assert "cf_images_reservation_due (account=? AND next_attempt_at>?)" in plan
