"""Signing keys: those of the settings cost nothing, those of the account one request."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from cf_images import keys
from cf_images.exceptions import CloudflareUnavailableError

NO_OPTIONS: dict[str, Any] = {}


class Clock:
    """The monotonic time as the module sees it."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(keys.time, "monotonic", clock)
    return clock


@pytest.fixture
def account(cloudflare: Any, settings: Any) -> Any:
    return cloudflare


def asked(emulator: Any) -> int:
    return sum(request.path.endswith("/keys") for request in emulator.requests)


def in_the_account(emulator: Any) -> tuple[str, ...]:
    return tuple(emulator.signing_keys.values())


def finished() -> None:
    """Wait for the thread that asks again."""
    for thread in threading.enumerate():
        if thread.daemon and thread is not threading.current_thread() and "_ask_again" in thread.name:
            thread.join(5)


def test_keys_of_the_settings_need_no_request(account: Any, settings: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "SIGNING_KEYS": ["older", "newer"]}
    assert keys.signing_keys(NO_OPTIONS) == ("older", "newer")
    assert not account.requests


def test_the_environment_has_them_with_commas(account: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CF_IMG_SIGNING_KEYS", "older,newer")
    assert keys.signing_keys(NO_OPTIONS) == ("older", "newer")


def test_those_of_the_account_are_fetched_once(account: Any) -> None:
    assert keys.signing_keys(NO_OPTIONS) == keys.signing_keys(NO_OPTIONS) == in_the_account(account)
    assert asked(account) == 1


def test_many_threads_ask_once(account: Any) -> None:
    threads = [threading.Thread(target=keys.signing_keys, args=[NO_OPTIONS]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asked(account) == 1


def test_after_ten_minutes_they_are_asked_for_beside_the_page(account: Any, clock: Clock) -> None:
    before = keys.signing_keys(NO_OPTIONS)
    account.app.state.put_key("default", limit=2)
    clock.now += keys.FRESH - 1
    assert keys.signing_keys(NO_OPTIONS) == before
    assert asked(account) == 1
    clock.now += 1
    assert keys.signing_keys(NO_OPTIONS) == before, "the page does not wait"
    finished()
    assert keys.signing_keys(NO_OPTIONS) == in_the_account(account) != before
    assert asked(account) == 2


def test_known_keys_survive_an_outage(account: Any, clock: Clock, caplog: Any) -> None:
    before = keys.signing_keys(NO_OPTIONS)
    account.faults.plan("500", times=9)
    clock.now += keys.FRESH
    keys.signing_keys(NO_OPTIONS)
    finished()
    assert keys.signing_keys(NO_OPTIONS) == before
    assert "cannot be fetched again" in caplog.text


def test_a_failure_is_not_asked_for_again_at_once(account: Any, clock: Clock) -> None:
    account.faults.plan("500", times=1)
    for _ in range(3):
        with pytest.raises(CloudflareUnavailableError, match="CF_IMG_SIGNING_KEYS"):
            keys.signing_keys(NO_OPTIONS)
    assert asked(account) == 1
    clock.now += 5
    assert keys.signing_keys(NO_OPTIONS) == in_the_account(account)


def test_a_slow_host_holds_up_many_threads_only_once(
    account: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(_options: Any) -> tuple[str, ...]:
        clock.now += keys._TIMEOUT
        raise CloudflareUnavailableError("no complete answer within 10 seconds")

    monkeypatch.setattr(keys, "_fetched", slow)
    before = clock.now
    for _ in range(3):
        with pytest.raises(CloudflareUnavailableError):
            keys.signing_keys(NO_OPTIONS)
    assert clock.now == before + keys._TIMEOUT


def test_one_thread_asks_again_while_the_others_are_told(
    account: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking, answered = threading.Event(), threading.Event()

    def slow(_options: Any) -> tuple[str, ...]:
        asking.set()
        answered.wait(10)
        return ("key",)

    account.faults.plan("500", times=1)
    with pytest.raises(CloudflareUnavailableError):
        keys.signing_keys(NO_OPTIONS)
    clock.now += 5
    monkeypatch.setattr(keys, "_fetched", slow)
    thread = threading.Thread(target=keys.signing_keys, args=[NO_OPTIONS])
    thread.start()
    assert asking.wait(10)
    with pytest.raises(CloudflareUnavailableError, match="cannot be fetched"):
        keys.signing_keys(NO_OPTIONS)
    answered.set()
    thread.join()
    assert keys.signing_keys(NO_OPTIONS) == ("key",)


def test_a_page_goes_on_where_no_thread_can_be_started(
    account: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    before = keys.signing_keys(NO_OPTIONS)
    clock.now += keys.FRESH
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        assert keys.signing_keys(NO_OPTIONS) == before
    clock.now += keys.FRESH
    keys.signing_keys(NO_OPTIONS)
    finished()
    assert asked(account) == 2


def test_an_account_without_keys_is_told_how_to_get_one(account: Any) -> None:
    account.app.state._database.rows("DELETE FROM signing_key")
    with pytest.raises(CloudflareUnavailableError, match="keys --rotate"):
        keys.signing_keys(NO_OPTIONS)


def test_the_newest_of_our_own_signs(account: Any) -> None:
    account.app.state.put_key("k20261121093000", limit=2)
    *_, newest = keys.signing_keys(NO_OPTIONS)
    assert newest == account.signing_keys["k20261121093000"]


def test_known_keys_never_ask(account: Any) -> None:
    assert keys.known_keys(NO_OPTIONS) == ()
    assert not account.requests
    fetched = keys.signing_keys(NO_OPTIONS)
    assert keys.known_keys(NO_OPTIONS) == fetched


@pytest.mark.parametrize("ask", [keys.signing_keys, keys.known_keys])
def test_no_key_is_logged_or_shown(
    account: Any, caplog: pytest.LogCaptureFixture, ask: Callable[..., Any]
) -> None:
    caplog.set_level(logging.DEBUG)
    keys.signing_keys(NO_OPTIONS)
    ask(NO_OPTIONS)
    (key,) = in_the_account(account)
    assert key not in caplog.text
    assert key not in repr(keys._remembered)
