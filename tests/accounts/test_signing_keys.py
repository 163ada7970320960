"""Signing keys: those of the settings cost nothing, those of the account one request."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from cf_images.accounts import Account, signing_keys
from cf_images.exceptions import CloudflareUnavailableError


def keys_of_account() -> tuple[str, ...]:
    return Account({}).signing_keys()


def known_keys() -> tuple[str, ...]:
    return Account({}).known_signing_keys()


class Clock:
    """The monotonic time as the module sees it."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(signing_keys.time, "monotonic", clock)
    return clock


@pytest.fixture
def account(cloudflare: Any, settings: Any) -> Any:
    return cloudflare


def requests(emulator: Any) -> int:
    """Return how often the keys were requested."""
    return sum(request.path.endswith("/keys") for request in emulator.requests)


def in_the_account(emulator: Any) -> tuple[str, ...]:
    return tuple(emulator.signing_keys.values())


def finished() -> None:
    """Wait for the thread that fetches again."""
    for thread in threading.enumerate():
        if thread.daemon and thread is not threading.current_thread() and "_refresh" in thread.name:
            thread.join(5)


def test_keys_of_the_settings_need_no_request(account: Any, settings: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "SIGNING_KEYS": ["older", "newer"]}
    assert keys_of_account() == ("older", "newer")
    assert not account.requests


def test_the_environment_has_them_with_commas(account: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CF_IMG_SIGNING_KEYS", "older,newer")
    assert keys_of_account() == ("older", "newer")


def test_those_of_the_account_are_fetched_once(account: Any) -> None:
    assert keys_of_account() == keys_of_account() == in_the_account(account)
    assert requests(account) == 1


def test_many_threads_send_one_request(account: Any) -> None:
    threads = [threading.Thread(target=keys_of_account) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert requests(account) == 1


def test_after_ten_minutes_they_are_fetched_beside_the_page(account: Any, clock: Clock) -> None:
    before = keys_of_account()
    account.app.state.put_key("default", limit=2)
    clock.now += signing_keys.FRESH - 1
    assert keys_of_account() == before
    assert requests(account) == 1
    clock.now += 1
    assert keys_of_account() == before, "the page does not wait"
    finished()
    assert keys_of_account() == in_the_account(account) != before
    assert requests(account) == 2


def test_known_keys_survive_an_outage(account: Any, clock: Clock, caplog: Any) -> None:
    before = keys_of_account()
    account.faults.plan("500", times=9)
    clock.now += signing_keys.FRESH
    keys_of_account()
    finished()
    assert keys_of_account() == before
    assert "cannot be fetched again" in caplog.text


def test_a_failure_is_repeated_for_five_seconds_without_a_request(account: Any, clock: Clock) -> None:
    account.faults.plan("500", times=1)
    for _ in range(3):
        with pytest.raises(CloudflareUnavailableError, match="CF_IMG_SIGNING_KEYS"):
            keys_of_account()
    assert requests(account) == 1
    clock.now += 5
    assert keys_of_account() == in_the_account(account)


def test_a_slow_host_delays_many_threads_only_once(
    account: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(_options: Any) -> tuple[str, ...]:
        clock.now += signing_keys.TIMEOUT
        raise CloudflareUnavailableError("no complete response within 10 seconds")

    monkeypatch.setattr(Account, "_fetch_signing_keys", slow)
    before = clock.now
    for _ in range(3):
        with pytest.raises(CloudflareUnavailableError):
            keys_of_account()
    assert clock.now == before + signing_keys.TIMEOUT


def test_one_thread_fetches_again_while_the_others_get_the_failure(
    account: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    requested, responded = threading.Event(), threading.Event()

    def slow(_options: Any) -> tuple[str, ...]:
        requested.set()
        responded.wait(10)
        return ("key",)

    account.faults.plan("500", times=1)
    with pytest.raises(CloudflareUnavailableError):
        keys_of_account()
    clock.now += 5
    monkeypatch.setattr(Account, "_fetch_signing_keys", slow)
    thread = threading.Thread(target=keys_of_account)
    thread.start()
    assert requested.wait(10)
    with pytest.raises(CloudflareUnavailableError, match="cannot be fetched"):
        keys_of_account()
    responded.set()
    thread.join()
    assert keys_of_account() == ("key",)


def test_a_page_uses_known_keys_where_no_thread_can_be_started(
    account: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    before = keys_of_account()
    clock.now += signing_keys.FRESH
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        assert keys_of_account() == before
    clock.now += signing_keys.FRESH
    keys_of_account()
    finished()
    assert requests(account) == 2


def test_an_account_without_keys_is_an_error_with_a_hint(account: Any) -> None:
    account.app.state._database.rows("DELETE FROM signing_key")
    with pytest.raises(CloudflareUnavailableError, match="keys --rotate"):
        keys_of_account()


def test_the_newest_generated_key_signs(account: Any) -> None:
    account.app.state.put_key("k20261121093000", limit=2)
    *_, newest = keys_of_account()
    assert newest == account.signing_keys["k20261121093000"]


def test_known_keys_never_cost_a_request(account: Any) -> None:
    assert known_keys() == ()
    assert not account.requests
    fetched = keys_of_account()
    assert known_keys() == fetched


@pytest.mark.parametrize("read", [keys_of_account, known_keys])
def test_no_key_is_logged_or_in_a_repr(
    account: Any, caplog: pytest.LogCaptureFixture, read: Callable[..., Any]
) -> None:
    caplog.set_level(logging.DEBUG)
    keys_of_account()
    read()
    (key,) = in_the_account(account)
    assert key not in caplog.text
    assert key not in repr(signing_keys._accounts)
