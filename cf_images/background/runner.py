"""The workers of a command: threads of this process that carry out the transfers it has chosen."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import timedelta

from django.db import InterfaceError, OperationalError, connections
from django.db.models import QuerySet
from django.utils import timezone

from cf_images.background import circuit_breaker, database_connections
from cf_images.background.destinations import Destination, destinations
from cf_images.background.leases import Backlog
from cf_images.background.pace import further_request
from cf_images.background.rows import breakers, is_unfinished
from cf_images.background.worker import Batch, try_some
from cf_images.models import Transfer

_IDLE = 0.5  # seconds until the next look at rows that are not due, or that another process has
_PATIENCE = timedelta(seconds=60)  # a lease of a process that was killed ends before that
_DATABASE_FAILURES = 6  # of a thread in a row: others have it locked, a deadlock, or it is started anew
# Rows that a thread claims and settles together: so long does Ctrl-C wait.
_MAX_TOGETHER, _SECONDS_TOGETHER = 12, 1.0
_LOOKS_AHEAD = 5.0  # seconds that a thread waits for a slot of the pace at a time


class Run:
    """Threads that process the transfers of ``rows()`` until none of them is due soon.

    They share leases, pace and circuit breaker with workers and with other runs. At most ``threads`` of them
    wait for Cloudflare at a time; meanwhile, a few more read files and write down what was stored. ``rate``
    is the most requests a second of this run; the account's own limit holds besides. What fails for a while
    is repeated after growing pauses, and a pause of the account is waited for.
    """

    def __init__(
        self, rows: Callable[[], QuerySet[Transfer]], *, threads: int, rate: float | None = None
    ) -> None:
        self._rows = rows
        self._threads = threads
        self._rate = rate
        self._lock = threading.Lock()
        self._next_at = 0.0  # below ``rate``
        self.problem: str | None = None  # why it gave up: refused credentials, for example

    def run(self, stop: threading.Event, on_tried: Callable[[int], object]) -> None:
        """Work until all is done, ``stop`` is set, or there is a ``problem``; rows in hand are finished.

        ``on_tried`` gets the number of rows that were tried, in any thread.
        """
        chosen = self._destinations()
        # At the batch host, requests must not wait: together with those after them, they could be too many.
        is_paced = self._rate is not None or any(found.is_batch for found, _ in chosen)
        threads = self._threads + (0 if is_paced else (self._threads + 1) // 2)
        with ThreadPoolExecutor(threads, thread_name_prefix="cf-images-transfer") as pool:
            ended = threading.Event()
            working = [pool.submit(self._work, chosen, stop, ended, on_tried) for _ in range(threads)]
            try:
                wait(working)
            finally:
                ended.set()  # after Ctrl-C
            for worker in working:
                worker.result()

    def _destinations(self) -> list[tuple[Destination, Backlog]]:
        slots = threading.Semaphore(self._threads)
        keys = set(self._rows().order_by().values_list("account", flat=True).distinct())
        return [
            (
                replace(found, slots=slots),
                Backlog(
                    lambda key=found.account_key: self._rows().filter(account=key),  # type: ignore[misc]  # a default
                    threads=self._threads,
                ),
            )
            for found in destinations()
            if found.account_key in keys
        ]

    def _work(
        self,
        chosen: list[tuple[Destination, Backlog]],
        stop: threading.Event,
        ended: threading.Event,
        on_tried: Callable[[int], object],
    ) -> None:
        batch = (
            Batch(max_rows=_MAX_TOGETHER, seconds=_SECONDS_TOGETHER)
            if self._rate is None
            else Batch(max_rows=1)
        )
        further_request.set(self._take_slot)  # in this thread
        failures = 0
        try:
            while not (stop.is_set() or ended.is_set()):
                try:
                    self._step(chosen, batch, stop, ended, on_tried)
                    failures = 0
                except (OperationalError, InterfaceError):
                    failures += 1
                    if failures == _DATABASE_FAILURES:
                        raise
                    stop.wait(_IDLE)
        except BaseException:
            ended.set()  # the other threads must not go on without this one
            raise
        finally:
            connections.close_all()

    def _step(
        self,
        chosen: list[tuple[Destination, Backlog]],
        batch: Batch,
        stop: threading.Event,
        ended: threading.Event,
        on_tried: Callable[[int], object],
    ) -> None:
        database_connections.close_broken()
        if tried := self._try_some(chosen, batch, stop):
            on_tried(tried)
        elif self.problem or not self._is_unfinished(chosen):
            ended.set()
        else:
            ended.wait(_IDLE)  # the last thread to end wakes the others

    def _try_some(
        self, chosen: list[tuple[Destination, Backlog]], batch: Batch, stop: threading.Event
    ) -> int:
        for destination, backlog in chosen:
            self._wait_for_rate(stop)
            tried = try_some(destination, backlog, batch, max_wait=_LOOKS_AHEAD)
            if tried.rows:
                return tried.rows
            if refused := _refusal(destination):
                self.problem = refused
                return 0
            if tried.wait:
                stop.wait(min(tried.wait, _LOOKS_AHEAD))
        return 0

    def _is_unfinished(self, chosen: list[tuple[Destination, Backlog]]) -> bool:
        """Return whether a row is due soon; those that have failed many times are left to the next run, and
        so are those of accounts that had none when this one began.
        """
        rows = self._rows().filter(account__in=[destination.account_key for destination, _ in chosen])
        soon = timezone.now() + _PATIENCE
        return rows.filter(is_unfinished()).filter(next_attempt_at__lte=soon).exists()

    def _wait_for_rate(self, stop: threading.Event) -> None:
        if self._rate is not None:
            stop.wait(self._take_slot() - time.monotonic())

    def _take_slot(self) -> float:
        """Return when the next request may be sent. Those of an attempt follow at once, since its lease would
        end; the next attempt waits for them.
        """
        if self._rate is None:
            return 0.0
        with self._lock:
            at = max(time.monotonic(), self._next_at)
            self._next_at = at + 1 / self._rate
        return at


def _refusal(destination: Destination) -> str | None:
    """Return why the account is paused, if a person has to change something."""
    breaker = breakers().filter(pk=destination.account_key, paused_until__gt=timezone.now()).first()
    is_refused = breaker and circuit_breaker.is_refused(breaker, destination.token_digest)
    return breaker.reason if breaker and is_refused else None
