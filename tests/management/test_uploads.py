"""``manage.py cf_images uploads``: the figures, and an exit status for a health check."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from cf_images.accounts import find_account
from cf_images.background import circuit_breaker
from cf_images.models import State, Upload
from tests.background import conftest as background
from tests.background.conftest import ALIAS, Clock

pytestmark = pytest.mark.django_db

Accept = Callable[..., Upload]
# The fixtures of background uploads.
accept, cloudflare, fresh_process = background.accept, background.cloudflare, background.fresh_process
clock = background.clock


def run(*arguments: str) -> str:
    """Return what ``cf_images uploads`` prints."""
    out = io.StringIO()
    call_command("cf_images", "uploads", *arguments, stdout=out, stderr=out)
    return out.getvalue()


def test_prints_the_figures(accept: Accept, cloudflare: Any) -> None:
    accept()
    account = find_account(ALIAS)
    assert account is not None
    admission = circuit_breaker.admit(account.key)
    assert admission is not None
    circuit_breaker.rate_limited(admission, retry_after=30)
    text = run()
    assert "pending            1  oldest: " in text
    assert "paused      until " in text
    assert "too many requests" in text
    assert cloudflare.account_id not in text


@pytest.mark.parametrize(
    ("threshold", "words"),
    [("--max-age=60", "3,600 s old"), ("--max-pending=0", "1 image is"), ("--max-rejected=0", "1 image is")],
)
def test_exits_1_beyond_a_threshold(
    accept: Accept, clock: Clock, threshold: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Upload.objects.filter(pk=accept().pk).update(state=State.REJECTED)
    accept()
    clock.advance(hours=1)
    run("--max-age=9999", "--max-pending=5", "--max-rejected=5")
    out = io.StringIO()
    with pytest.raises(SystemExit) as stopped:
        call_command("cf_images", "uploads", threshold, stdout=out, stderr=out)
    assert stopped.value.code == 1
    assert words in out.getvalue()


def test_storage_that_is_missing_is_a_problem(
    accept: Accept, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    accept()
    settings.STORAGES = {"default": settings.STORAGES["default"]}
    with pytest.raises(SystemExit):
        run()


def test_unknown_subcommand_is_refused() -> None:
    with pytest.raises(CommandError, match="process"):
        call_command("cf_images", "nonsense")
