"""Hosts that this process must not reach, so that a test never writes to a real account by accident.

The pytest plugin switches it on. The pool asks it before it connects and before it sends, and only for its
own requests: no other library is affected, and a mocked request never gets there. Imports nothing else of
this package, so that a test run that never uses the client does not load it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

_refused: Collection[str] = ()
_fail: Callable[[str], object] | None = None


class HostRefusedError(Exception):
    """A request to a refused host; the transport catches it and calls ``fail``."""

    def __init__(self, host: str) -> None:
        super().__init__(host)
        self.host = host


@contextmanager
def refuse_hosts(hosts: Collection[str], fail: Callable[[str], object]) -> Iterator[None]:
    """Send nothing to these hosts, in any thread; call ``fail`` with the host instead.

    ``fail`` must raise, best a ``BaseException`` that no retry and no ``except Exception`` stops.
    """
    global _refused, _fail
    before = _refused, _fail
    _refused, _fail = hosts, fail
    try:
        yield
    finally:
        _refused, _fail = before


def check(host: str) -> None:
    """Raise ``HostRefusedError`` for a refused host."""
    if host in _refused:
        raise HostRefusedError(host)


def fail(host: str) -> None:
    """Call the function that was given with the refused hosts."""
    if _fail is not None:
        _fail(host)
