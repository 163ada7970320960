"""The admin of uploads: the list, its permissions and its actions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from cf_images.models import State, Upload
from tests.background import conftest as background
from tests.background.conftest import Clock, work

pytestmark = pytest.mark.django_db

Accept = Callable[..., Upload]
# The fixtures of background uploads.
accept, cloudflare, fresh_process = background.accept, background.cloudflare, background.fresh_process
clock = background.clock

CHANGE_LIST = "/admin/cf_images/upload/"


@pytest.fixture
def user() -> User:
    user = User.objects.create_user("clerk", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_upload"))
    return user


@pytest.fixture
def browser(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def allow(user: User, codename: str) -> None:
    user.user_permissions.add(Permission.objects.get(codename=codename))


def act(browser: Client, action: str, row: Upload) -> str:
    response = browser.post(CHANGE_LIST, {"action": action, "_selected_action": [row.pk]}, follow=True)
    return response.content.decode()


def test_list_tells_each_problem_without_a_query_per_row(
    accept: Accept, browser: Client, cloudflare: Any
) -> None:
    row = accept()
    Upload.objects.update(last_error="no <response>", last_code=5550)
    browser.get(CHANGE_LIST)  # some queries are made once a process
    with CaptureQueriesContext(connection) as one:
        text = browser.get(CHANGE_LIST).content.decode()
    assert row.name in text
    assert "no &lt;response&gt; (5550)" in text
    assert f'<img src="/cf-images/pending/public/{row.name}"' in text
    for _ in range(5):
        accept()
    with CaptureQueriesContext(connection) as six:
        browser.get(CHANGE_LIST)
    assert len(six) == len(one)


def test_row_can_be_viewed_and_not_changed(accept: Accept, browser: Client) -> None:
    row = accept(require_signed_urls=True)
    Upload.objects.update(lease="secret")
    text = browser.get(f"{CHANGE_LIST}{row.pk}/change/").content.decode()
    assert row.name in text
    assert "secret" not in text
    assert row.token not in text
    assert browser.get(f"{CHANGE_LIST}add/").status_code == 403
    assert browser.post(f"{CHANGE_LIST}{row.pk}/delete/", {"post": "yes"}).status_code == 403


@pytest.mark.parametrize("action", ["retry", "delete_images", "delete_selected"])
def test_actions_need_their_own_permission(accept: Accept, browser: Client, action: str) -> None:
    row = accept()
    Upload.objects.update(state=State.REJECTED)
    act(browser, action, row)
    row.refresh_from_db()
    assert row.state == State.REJECTED


def test_retry_requeues_a_rejected_image(
    accept: Accept, browser: Client, user: User, cloudflare: Any
) -> None:
    allow(user, "retry_upload")
    row = accept()
    Upload.objects.update(state=State.REJECTED, attempts=6, unknown_errors=6)
    assert "1 image is tried again." in act(browser, "retry", row)
    work()
    assert row.name in cloudflare.images


def test_retry_makes_a_pending_image_due(accept: Accept, browser: Client, user: User, clock: Clock) -> None:
    allow(user, "retry_upload")
    row = accept()
    Upload.objects.update(attempts=1, next_attempt_at=clock.now() + timedelta(minutes=30))
    act(browser, "retry", row)
    assert work() == 1


def test_delete_images_deletes_at_cloudflare_too(
    accept: Accept, browser: Client, user: User, cloudflare: Any
) -> None:
    allow(user, "delete_image")
    row = accept()
    work()
    assert "1 image is deleted." in act(browser, "delete_images", row)
    work()
    assert not cloudflare.images
