"""Hosts that this process must not reach, so that a test never writes to a real account by accident.

The pytest plugin and ``cf_images.test`` switch it on for a test; elsewhere the app does for every test run of
Django. The pool asks it before it connects and before it sends, and only for its own requests: no other
library is affected, and a mocked request never gets there. Imports nothing else of this package, so that a
test run that never uses the client does not load it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final

REAL_HOSTS: Final = frozenset({"api.cloudflare.com", "upload.imagedelivery.net", "batch.imagedelivery.net"})

_chosen: tuple[Collection[str], Callable[[str], object]] | None = None
_is_test_run: Callable[[], bool] | None = None


class HostRefusedError(Exception):
    """A request to a refused host; the transport catches it and calls ``fail``."""

    def __init__(self, host: str) -> None:
        super().__init__(host)
        self.host = host


class RealAccountError(BaseException):
    """A test has tried to send a request to a real account; no ``except Exception`` hides it."""


@contextmanager
def refuse_hosts(hosts: Collection[str], fail: Callable[[str], object]) -> Iterator[None]:
    """Send nothing to these hosts, in any thread; call ``fail`` with the host instead.

    ``fail`` must raise, best a ``BaseException`` that no retry and no ``except Exception`` stops.
    """
    global _chosen
    before = _chosen
    _chosen = hosts, fail
    try:
        yield
    finally:
        _chosen = before


def allow_all() -> AbstractContextManager[None]:
    """Refuse no host, also in a test run."""
    return refuse_hosts((), _fail_test_run)


def refuse_in_test_runs(is_test_run: Callable[[], bool]) -> None:
    """Refuse ``REAL_HOSTS`` where nothing else was chosen and ``is_test_run()``; asked for these alone."""
    global _is_test_run
    _is_test_run = is_test_run


def check(host: str) -> None:
    """Raise ``HostRefusedError`` for a refused host."""
    if _chosen is not None:
        refused = host in _chosen[0]
    else:
        refused = host in REAL_HOSTS and _is_test_run is not None and _is_test_run()
    if refused:
        raise HostRefusedError(host)


def fail(host: str) -> None:
    """Call the function that was given with the refused hosts."""
    (_chosen[1] if _chosen is not None else _fail_test_run)(host)


def real_account_message(host: str, remedy: str) -> str:
    """Return what a test is told; ``remedy`` is how that kind of test uses another account."""
    return f"This test sends a request to {host}, that is, to a real Cloudflare account. {remedy}"


def _fail_test_run(host: str) -> None:
    remedy = "cf_images.test has a TestCase mixin, emulated() and in_memory(); real_account() allows it."
    raise RealAccountError(real_account_message(host, remedy))
