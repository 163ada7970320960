"""``manage.py cf_images resume``: uploads continue at once after a token was corrected."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from cf_images.background import status, timing
from cf_images.models import State, Upload
from tests.background import conftest as background
from tests.background.conftest import ALIAS, Clock, refuse_credentials, use_background_storage, work

pytestmark = pytest.mark.django_db

Accept = Callable[..., Upload]
# The fixtures of background uploads.
accept, cloudflare, fresh_process = background.accept, background.cloudflare, background.fresh_process
clock = background.clock


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("cf_images", "resume", *arguments, stdout=out)
    return out.getvalue()


def test_paused_account_continues_at_once(accept: Accept, cloudflare: Any, settings: Any) -> None:
    accept()
    accept()
    refuse_credentials()
    assert work() == 0
    text = run()
    assert f"Uploads to {ALIAS} are paused until " in text
    assert text.endswith("1 account resumed; pending images are due now.\n")
    assert work() == 2
    assert status().paused == ()
    assert run() == "0 accounts resumed; pending images are due now.\n"


def test_images_that_wait_after_failures_are_due_at_once(
    accept: Accept, cloudflare: Any, clock: Clock
) -> None:
    accept()
    Upload.objects.update(attempts=9, next_attempt_at=clock.now() + timedelta(minutes=50))
    assert work() == 0
    run()
    assert work() == 1


def test_image_that_cloudflare_may_still_fetch_is_not_sent_twice(
    accept: Accept, cloudflare: Any, clock: Clock
) -> None:
    row = accept()
    later = clock.now() + timedelta(minutes=50)
    Upload.objects.update(
        attempts=9,
        next_attempt_at=later,
        require_signed_urls=True,
        source_url="https://example.com/a.png",
        fetching_since=clock.now(),
    )
    run()
    assert work() == 1
    assert [request.method for request in cloudflare.requests] == ["GET"], "it is looked for"
    row.refresh_from_db()
    assert row.state == State.PENDING
    assert row.next_attempt_at <= clock.now() + timing.FETCHED_BY_CLOUDFLARE


def test_deletion_keeps_its_time(accept: Accept, cloudflare: Any, clock: Clock) -> None:
    row = accept()
    later = clock.now() + timedelta(minutes=4)
    Upload.objects.update(state=State.DELETING, attempts=1, next_attempt_at=later)
    run()
    row.refresh_from_db()
    assert row.next_attempt_at == later


def test_other_accounts_stay_paused(accept: Accept, cloudflare: Any, settings: Any) -> None:
    use_background_storage(settings, cloudflare, "other", account_id="f" * 32)
    accept()
    other = accept(storage="other")
    refuse_credentials()
    refuse_credentials("other")
    text = run("--storage", ALIAS)
    assert "Uploads to other" not in text
    assert [account.aliases for account in status().paused] == [("other",)]
    work()
    other.refresh_from_db()
    assert other.state == State.PENDING


def test_alias_that_is_none_is_refused(cloudflare: Any) -> None:
    with pytest.raises(CommandError, match="nowhere in STORAGES"):
        run("--storage=nowhere")
