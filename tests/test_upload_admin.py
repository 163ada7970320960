"""The list of uploads in the admin: what an operator reads, and that it can be read on any screen."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from cf_images.background import heartbeat, status
from cf_images.models import CircuitBreaker, State, Upload
from tests.background import conftest as background
from tests.background.conftest import Clock, refuse_credentials, work

pytestmark = pytest.mark.django_db

Accept = Callable[..., Upload]
# The fixtures of background uploads.
accept, cloudflare, fresh_process = background.accept, background.cloudflare, background.fresh_process
clock = background.clock

CHANGE_LIST = "/admin/cf_images/upload/"


def page(admin_client: Any) -> str:
    text = admin_client.get(CHANGE_LIST).content.decode()
    return " ".join(html.unescape(text).replace("\N{NO-BREAK SPACE}", " ").split())


@pytest.fixture
def paused(accept: Accept, cloudflare: Any) -> Upload:
    """A pending image of an account whose token was refused and is right again."""
    row = accept()
    refuse_credentials()
    assert work() == 0
    return row


def test_sizes_are_words_and_states_are_labels(accept: Accept, admin_client: Any) -> None:
    accept()
    Upload.objects.update(size=1_258_291, width=1600, height=1200)
    text = page(admin_client)
    assert "1.2 MB, 1600 × 1200" in text
    assert '<span class="cf-images-state cf-images-state-pending">pending</span>' in text
    Upload.objects.update(size=None, width=None, height=None, state=State.REJECTED)
    assert '<span class="cf-images-state cf-images-state-rejected">rejected</span>' in page(admin_client)


def test_problem_says_what_happens_next_and_never_names_the_past(
    accept: Accept, admin_client: Any, clock: Clock
) -> None:
    accept()
    later = clock.now() + timedelta(minutes=10, seconds=30)
    Upload.objects.update(last_error="no response", attempts=1, next_attempt_at=later)
    assert "1 attempt; the next one in 10 minutes" in page(admin_client)
    clock.advance(minutes=11)
    assert "1 attempt; the next one is due now" in page(admin_client)
    Upload.objects.update(state=State.REJECTED, attempts=2, next_attempt_at=None)
    assert "2 attempts<" in page(admin_client)


def test_notice_tells_that_an_account_is_paused(
    paused: Upload, admin_client: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = page(admin_client)
    assert "are paused.</strong> Authentication error (10000)" in text
    assert "The next attempt is at " in text
    clock.advance(minutes=6)
    text = page(admin_client)
    assert "The next attempt tests whether the account responds again." in text
    assert "The next attempt is at " not in text
    CircuitBreaker.objects.all().delete()
    monkeypatch.setattr(heartbeat, "last_seen", clock.now)
    assert "cf-images-notice" not in page(admin_client)


def test_notice_tells_that_no_worker_is_active(
    accept: Accept, admin_client: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept()
    assert "cf-images-notice" not in page(admin_client)
    died_at = clock.now() - timedelta(hours=2)
    monkeypatch.setattr(heartbeat, "last_seen", lambda: died_at)
    clock.advance(minutes=6)
    text = page(admin_client)
    assert "No worker is active." in text
    assert "A worker was active 2 hours ago." in text


def test_try_again_ends_the_pause_at_once(paused: Upload, admin_client: Any, cloudflare: Any) -> None:
    response = admin_client.post(
        CHANGE_LIST, {"action": "retry", "_selected_action": [paused.pk]}, follow=True
    )
    assert "1 image is tried again." in response.content.decode()
    assert status().paused == ()
    assert work() == 1
    assert paused.name in cloudflare.images


def test_list_counts_no_rows_for_its_notices(paused: Upload, admin_client: Any) -> None:
    with CaptureQueriesContext(connection) as captured:
        admin_client.get(CHANGE_LIST)
    counts = [query["sql"] for query in captured if "COUNT(" in query["sql"]]
    assert len(counts) == 1, "the paginator's"


# In a browser

CHROMIUM = next((path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), "")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--virtual-time-budget=20000", "--dump-dom"),
)
# Runs in the page, which is in a frame: a window of Chromium is never as narrow as a phone.
MEASURE = """<script>addEventListener("load", () => {
  const box = element => element.getBoundingClientRect(), all = name => [...document.querySelectorAll(name)];
  const results = box(document.querySelector(".results"));
  const cells = all("#result_list tbody tr > *").filter(cell => box(cell).width);
  const label = getComputedStyle(document.querySelector(".cf-images-state"));
  parent.postMessage({
    sideways: document.scrollingElement.scrollWidth - innerWidth,
    outside: cells.filter(cell => box(cell).right > results.right + 1).map(cell => cell.className),
    readable: ["thumbnail", "name", "state_label", "age", "size_in_words", "problem"].filter(
      name => box(document.querySelector(`.field-${name}`)).width > 40),
    narrow: Math.min(...all(".field-problem, .field-name").map(cell => box(cell).width).filter(Boolean)),
    overlaps: all("#result_list tbody tr").filter(row => [...row.children].some((one, index, others) =>
      others.slice(index + 1).some(other => box(one).width && box(other).width
        && box(one).left < box(other).right - 1 && box(other).left < box(one).right - 1
        && box(one).top < box(other).bottom - 1 && box(other).top < box(one).bottom - 1))).length,
    colored: label.backgroundColor, words: document.querySelector(".cf-images-state").textContent,
  }, "*"); });</script>"""
OUTER = """<!DOCTYPE html><meta charset="utf-8"><body><script>
addEventListener("message", event => { document.body.textContent = JSON.stringify(event.data); });
</script><iframe style="width:%dpx;height:1000px;border:0" srcdoc="%s"></iframe>"""


@pytest.mark.skipif(not CHROMIUM, reason="needs Debian's chromium: apt-get install chromium")
@pytest.mark.parametrize("width", [1280, 390])
def test_list_can_be_read_without_scrolling_sideways(
    paused: Upload, accept: Accept, admin_client: Any, live_server: Any, tmp_path: Path, width: int
) -> None:
    reason = "The image could not be decoded: an unsupported color profile with an indexed palette"
    row = accept(filename=f"{'a-very-long-name-as-cameras-make-them-' * 3}.jpg")
    Upload.objects.filter(pk=row.pk).update(state=State.REJECTED, last_error=reason, last_code=5455)
    text = (
        admin_client.get(CHANGE_LIST)
        .content.decode()
        .replace("<head>", f'<head><base href="{live_server.url}">')
    )
    outer = tmp_path / "outer.html"
    outer.write_text(OUTER % (width, html.escape(text + MEASURE)), encoding="utf-8")
    command = [CHROMIUM, *FLAGS, "--window-size=1400,1100", f"--user-data-dir={tmp_path}/profile"]
    done = subprocess.run([*command, outer.as_uri()], capture_output=True, text=True, timeout=100, check=True)
    found = re.search(r'\{"sideways.*\}', done.stdout)
    assert found, done.stdout[:2000]
    seen = json.loads(html.unescape(found[0]))
    assert seen["sideways"] <= 0
    assert seen["outside"] == []
    assert seen["overlaps"] == 0
    assert seen["readable"] == ["thumbnail", "name", "state_label", "age", "size_in_words", "problem"]
    assert seen["narrow"] >= 180
    assert seen["colored"] != "rgba(0, 0, 0, 0)"
    assert seen["words"] in State.labels
