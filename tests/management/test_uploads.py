"""``manage.py cf_images uploads``: names, reasons, since when, and an exit status for a health check."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from cf_images.accounts import find_account
from cf_images.background import circuit_breaker, heartbeat
from cf_images.models import State, Upload
from tests.background import conftest as background
from tests.background.conftest import ALIAS, Clock

pytestmark = pytest.mark.django_db

Accept = Callable[..., Upload]
# The fixtures of background uploads.
accept, cloudflare, fresh_process = background.accept, background.cloudflare, background.fresh_process
clock = background.clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one call printed, and its exit status."""

    out: str
    problems: str
    status: int


def run(*arguments: str) -> Run:
    out, problems, status = io.StringIO(), io.StringIO(), 0
    try:
        call_command("cf_images", "uploads", *arguments, stdout=out, stderr=problems)
    except SystemExit as stopped:
        status = int(stopped.code or 0)
    return Run(out=out.getvalue(), problems=problems.getvalue(), status=status)


def pause(seconds: float = 30) -> None:
    account = find_account(ALIAS)
    assert account is not None
    admission = circuit_breaker.admit(account.key)
    assert admission is not None
    circuit_breaker.rate_limited(admission, retry_after=seconds)


def test_nothing_to_say_is_healthy(cloudflare: Any) -> None:
    found = run()
    assert (found.status, found.problems) == (0, "")
    assert "pending            0\n" in found.out
    assert "paused      no account" in found.out


def test_paused_account_is_a_problem_by_default(accept: Accept, cloudflare: Any) -> None:
    row = accept()
    pause()
    found = run()
    assert found.status == 1
    assert f"{row.name} ({ALIAS}): for " in found.out
    assert "0 attempts, paused\n" in found.out
    assert "are paused until " in found.problems
    assert "too many requests" in found.problems
    assert cloudflare.account_id not in found.out + found.problems
    assert run("--allow-paused").status == 0


def test_pause_that_is_over_is_not_until_a_moment_in_the_past(accept: Accept, clock: Clock) -> None:
    row = accept()
    pause()
    clock.advance(minutes=2)
    assert "paused until the next attempt" in run().problems
    Upload.objects.filter(pk=row.pk).delete()
    assert run().status == 0, "there is nothing to attempt"


def test_pending_images_have_name_age_attempts_and_reason(accept: Accept, clock: Clock) -> None:
    row = accept()
    clock.advance(minutes=5)
    later = clock.now() + timedelta(minutes=3)
    Upload.objects.update(attempts=1, next_attempt_at=later, last_error="no\nresponse\x1b", last_code=502)
    found = run()
    assert f"  {row.name} ({ALIAS}): for 5 minutes, 1 attempt, next at " in found.out
    assert ": no response? (502)\n" in found.out
    clock.advance(minutes=4)
    assert "1 attempt, due now: " in run().out


def test_only_the_oldest_pending_images_are_named(accept: Accept, clock: Clock) -> None:
    rows = []
    for _ in range(12):
        rows.append(accept())
        clock.advance(seconds=1)
    found = run()
    assert [row.name in found.out for row in rows] == [True] * 10 + [False] * 2
    assert "Pending, oldest first (2 more):" in found.out
    assert "Pending, oldest first:" in run("--names=12").out


def test_rejected_images_are_named_with_their_reason(accept: Accept, clock: Clock) -> None:
    row = accept()
    Upload.objects.update(
        state=State.REJECTED, next_attempt_at=None, last_error="Unsupported image format", last_code=5415
    )
    clock.advance(hours=3)
    found = run()
    assert found.status == 1
    assert f"  {row.name} ({ALIAS}): accepted 3 hours ago: Unsupported image format (5415)\n" in found.out
    assert found.problems == "1 image is rejected; the limit is 0.\n"


@pytest.mark.parametrize(
    ("threshold", "words"),
    [
        ("--max-age=599", "The oldest pending image is 10 minutes old; the limit is 9 minutes."),
        ("--max-pending=0", "1 image is pending; the limit is 0."),
        ("--max-rejected=0", "1 image is rejected; the limit is 0."),
        ("--max-idle=60", "No worker has processed anything yet, although work has been due since "),
    ],
)
def test_exits_1_beyond_a_threshold(accept: Accept, clock: Clock, threshold: str, words: str) -> None:
    Upload.objects.filter(pk=accept().pk).update(state=State.REJECTED)
    accept()
    clock.advance(minutes=10)
    limits = {"--max-age": "none", "--max-pending": "5", "--max-rejected": "none", "--max-idle": "none"}
    assert run(*(f"{name}={value}" for name, value in limits.items())).status == 0
    name, _, value = threshold.partition("=")
    found = run(*(f"{name}={value}" for name, value in {**limits, name: value}.items()))
    assert found.status == 1
    assert found.problems.startswith(words)


def test_backlog_of_more_than_ten_minutes_is_a_problem_by_default(accept: Accept, clock: Clock) -> None:
    accept()
    clock.advance(minutes=9)
    assert run("--max-idle=none").status == 0
    clock.advance(minutes=2)
    assert run("--max-idle=none").status == 1


def test_dead_worker_is_a_problem_by_default_and_a_living_one_is_none(
    accept: Accept, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept()
    died_at = clock.now()
    monkeypatch.setattr(heartbeat, "last_seen", lambda: died_at)
    clock.advance(minutes=6)
    found = run()
    assert found.status == 1
    assert found.problems.startswith("No worker has processed anything since ")
    monkeypatch.setattr(heartbeat, "last_seen", clock.now)
    assert run().status == 0


def test_worker_without_work_is_no_problem(cloudflare: Any, clock: Clock) -> None:
    clock.advance(days=1)
    assert run().status == 0


def test_storage_that_is_missing_is_a_problem(accept: Accept, settings: Any) -> None:
    accept()
    settings.STORAGES = {"default": settings.STORAGES["default"]}
    found = run()
    assert found.status == 1
    assert "'cloudflare_images', which is not in STORAGES" in found.problems


def test_images_of_another_account_are_a_problem(accept: Accept) -> None:
    accept()
    Upload.objects.update(account="https://api.example.com/accounts/other")
    found = run()
    assert found.status == 1
    assert "'cloudflare_images' that belong to another account" in found.problems


def test_json_has_the_documented_keys(accept: Accept, clock: Clock) -> None:
    rejected = accept()
    Upload.objects.update(state=State.REJECTED, last_error="bad", last_code=5415)
    row = accept()
    pause()
    found = run("--json")
    document = json.loads(found.out)
    assert (found.status, found.problems) == (1, "")
    assert list(document) == [
        *("healthy", "problems", "pending", "rejected", "deleting", "stored"),
        *("oldest_pending_at", "oldest_pending_seconds", "last_processed_at", "idle_seconds"),
        *("paused", "unknown_storages", "other_accounts", "oldest_pending", "rejected_images"),
    ]
    assert not document["healthy"]
    assert [problem["name"] for problem in document["problems"]] == ["max-rejected", "paused"]
    (paused,) = document["paused"]
    assert set(paused) == {"storages", "since", "until", "reason"}
    assert ALIAS in paused["storages"]
    (pending,) = document["oldest_pending"]
    (refused,) = document["rejected_images"]
    assert pending["name"] == row.name
    assert (refused["name"], refused["reason"], refused["code"]) == (rejected.name, "bad", 5415)
    assert set(pending) == {
        *("name", "storage", "accepted_at", "attempts", "next_attempt_at", "reason", "code"),
    }


def test_threshold_that_is_no_number_is_refused() -> None:
    with pytest.raises(CommandError, match="'soon' is neither a number nor 'none'"):
        call_command("cf_images", "uploads", "--max-age=soon")
