"""The ledger in the admin: what an operator reads, and trying again."""

from __future__ import annotations

import html
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from cf_images.background import maintenance
from cf_images.background.transfers import new_row
from cf_images.models import State, Transfer
from tests.background import conftest as background
from tests.background.conftest import destination_of, refuse_credentials

pytestmark = pytest.mark.django_db

cloudflare, fresh_process = background.cloudflare, background.fresh_process

CHANGE_LIST = "/admin/cf_images/transfer/"


def page(client: Any, query: str = "") -> str:
    text = client.get(f"{CHANGE_LIST}{query}").content.decode()
    return " ".join(html.unescape(text).replace("\N{NO-BREAK SPACE}", " ").split())


def make(name: str = "cats/cat.png", target_name: str | None = None, **columns: Any) -> Transfer:
    """Make a row of the ledger."""
    row = new_row(source="default", target="cloudflare_images", source_name=name, name=target_name or name)
    for column, value in columns.items():
        setattr(row, column, value)
    row.save()
    return row


def test_list_says_what_has_become_of_a_file(cloudflare: Any, admin_client: Any) -> None:
    make(
        target_name="cats/cat-1.png",
        state=State.REJECTED,
        last_error="The file is empty.",
        attempts=1,
        next_attempt_at=None,
        size=1_258_291,
        width=1600,
        height=1200,
        field="app.Profile.image",
    )
    text = page(admin_client)
    assert "cats/cat.png" in text
    assert "cats/cat-1.png" in text
    assert '<span class="cf-images-state cf-images-state-rejected">rejected</span>' in text
    assert "1.2 MB, 1600 × 1200" in text
    assert 'The file is empty. <span class="cf-images-attempts">1 attempt</span>' in text
    assert "default → cloudflare_images" in text


def test_name_that_was_kept_is_written_once(cloudflare: Any, admin_client: Any) -> None:
    make(state=State.DELETED)
    text = page(admin_client)
    assert text.count("cats/cat.png") == 2, "in the row, and in the label of its box"
    assert "cf-images-state-deleted" in text


def test_hostile_name_is_only_text(cloudflare: Any, admin_client: Any) -> None:
    make(name="<script>alert(1)</script>.png")
    assert "<script>alert" not in admin_client.get(CHANGE_LIST).content.decode()


def test_list_is_filtered_and_searched(cloudflare: Any, admin_client: Any) -> None:
    make("one.png", state=State.REJECTED, field="app.Profile.image")
    make("two.png", field="app.Photo.file")
    assert "two.png" not in page(admin_client, "?state__exact=rejected")
    assert "one.png" not in page(admin_client, "?field=app.Photo.file")
    assert "one.png" not in page(admin_client, "?q=two")


def test_a_longer_list_takes_no_more_queries(cloudflare: Any, admin_client: Any) -> None:
    make()
    page(admin_client)
    counts = []
    for number in range(2):
        with CaptureQueriesContext(connection) as captured:
            page(admin_client)
        counts.append(len(captured))
        for each in range(50):
            make(f"{number}-{each}.png", state=State.REJECTED, last_error="x")
    assert counts[0] == counts[1]


def test_ledger_is_read_only(cloudflare: Any, admin_client: Any) -> None:
    row = make()
    assert admin_client.get(f"{CHANGE_LIST}add/").status_code == 403
    assert admin_client.get(f"{CHANGE_LIST}{row.pk}/change/").status_code == 200
    assert admin_client.post(f"{CHANGE_LIST}{row.pk}/change/", {"name": "x"}).status_code == 403
    assert admin_client.post(f"{CHANGE_LIST}{row.pk}/delete/", {"post": "yes"}).status_code == 403


def retry(client: Any, *rows: Transfer) -> str:
    data = {"action": "retry", "_selected_action": [row.pk for row in rows]}
    return str(client.post(CHANGE_LIST, data, follow=True).content.decode())


def test_try_again_makes_rejected_rows_due_for_any_worker(
    cloudflare: Any,
    admin_client: Any,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Any,
) -> None:
    notified: list[None] = []
    monkeypatch.setattr(maintenance, "notify", lambda: notified.append(None))
    monkeypatch.setattr(maintenance, "_BATCH", 2)
    refused = [
        make(f"{n}.png", state=State.REJECTED, next_attempt_at=None, is_enqueued=False) for n in range(3)
    ]
    stored = make(state=State.STORED, next_attempt_at=None)
    account = destination_of("cloudflare_images").account_key
    assert {row.account for row in refused} == {account}
    refuse_credentials()
    with django_capture_on_commit_callbacks(execute=True):
        assert "3 transfers are tried again." in retry(admin_client, *refused, stored)
    assert notified == [None]
    for row in refused:
        row.refresh_from_db()
        assert (row.state, row.is_enqueued) == (State.PENDING, True)
        assert row.next_attempt_at is not None
    stored.refresh_from_db()
    assert stored.state == State.STORED


def test_try_again_needs_its_permission(cloudflare: Any, client: Client) -> None:
    user = User.objects.create_user("jane", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_transfer"))
    client.force_login(user)
    row = make(state=State.REJECTED, next_attempt_at=None)
    assert "Try again" not in page(client)
    retry(client, row)
    row.refresh_from_db()
    assert row.state == State.REJECTED
    user.user_permissions.add(Permission.objects.get(codename="retry_transfer"))
    assert "1 transfer is tried again." in retry(client, row)
