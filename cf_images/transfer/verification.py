"""Prove that both sides are equal: the file of each row is in the target, as the ledger has it.

One thread reads rows and keeps the pace of the account; others send the requests and touch no database.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import timedelta

from django.utils import timezone

from cf_images.background import places, timing, wording
from cf_images.background.transfers import transfers
from cf_images.exceptions import (
    CredentialsRefusedError,
    RateLimitedError,
)
from cf_images.images import names
from cf_images.models import State, Transfer
from cf_images.transfer import fields
from cf_images.transfer.comparison import Copy, Kind, Result, different
from cf_images.transfer.fields import Route
from cf_images.transfer.lookup import Ledger
from cf_images.transfer.targets import Target, target_of

_EACH = 2  # files that each thread may have before it
_ATTEMPTS = 5  # for a file whose request fails; the client repeats each request itself
_MAX_FAILURES = 20  # files in a row; then it is not about them
_FRESH = timedelta(minutes=10)  # a new image is "not found" at times
_MAX_LATER = 1000  # files that wait for their next try; so many that are missing are not "not found" at times
_TICK = 0.2  # seconds between two looks at whether to stop


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What was found about the file of a row: the field, the name in the row, and the result; and the key of
    its transfer, if it was asked for and may be copied again.
    """

    field: str
    name: str
    result: Result
    transfer_id: int | None = None


def routes_of(route: Route) -> list[Route]:
    """Return every target to which files of a field were copied: Cloudflare, and those of exports.

    Cloudflare alone where the ledger has none: then each row is without an entry.
    """
    copied = transfers().filter(field=route.label).exclude(storage=route.target)
    others = dict(copied.order_by("created_at").values_list("storage", "source").distinct())
    exports = [Route(field=route.field, source=others[place], target=place) for place in sorted(others)]
    is_imported = not exports or transfers().filter(storage=route.target).exists()
    return [route, *exports] if is_imported else exports


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """A file to check: the next try, and how many have failed."""

    field: str
    name: str
    copy: Copy
    target: Target
    is_fresh: bool
    attempts: int = 0
    transfer_id: int | None = None


class Verification:
    """The comparison of the rows of some fields with a target each.

    ``on_checked`` is called for each file, ``problem`` says why it was given up. ``rate`` is in requests a
    second.
    """

    def __init__(
        self,
        on_checked: Callable[[Checked], None],
        *,
        threads: int,
        read_bytes: bool = False,
        rate: float | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self.problem = ""
        self._on_checked = on_checked
        self._threads = max(1, threads)
        self._read_bytes = read_bytes
        self._interval = 1 / rate if rate else 0.0
        self._next_at = 0.0
        self._stop = stop or threading.Event()
        self._failures = 0  # in a row
        self._later: list[tuple[float, int, _Job]] = []  # by the moment of the next try
        self._numbers = itertools.count()
        self._targets: dict[str, Target] = {}

    def run(self, routes: Sequence[Route]) -> None:
        """Check the rows of all routes; an image that is new and not found, once more a while later."""
        jobs, under_way = self._jobs(routes), dict[Future[Result], _Job]()
        pool = ThreadPoolExecutor(self._threads)
        try:
            while not self._stop.is_set():
                if len(under_way) >= _EACH * self._threads:
                    self._take(under_way)
                elif job := self._next(jobs):
                    if self._may_start(job):
                        under_way[pool.submit(job.target.compare, job.copy)] = job
                elif under_way or self._later:
                    self._take(under_way)
                else:
                    return
        finally:
            pool.shutdown(cancel_futures=True)

    def _jobs(self, routes: Sequence[Route]) -> Iterator[_Job]:
        seen = set[int]()  # rows share files, in several fields, too
        for route in routes:
            ways = [route]
            if fields.is_mirrored(route.field):  # what was saved at Cloudflare since was copied back
                ways.append(replace(route, source=route.target, target=route.source))
            ledgers = [Ledger(way.field, target=way.target, source=way.source) for way in ways]
            for _, rows in fields.batches(route.field):
                values = list(dict.fromkeys(value for _, value in rows))
                found: dict[str, Transfer] = {}
                for ledger in ledgers:
                    found |= ledger.find(value for value in values if value not in found)
                for value in values:
                    transfer = found.get(value)
                    target = self._target(transfer.storage if transfer else route.target)
                    if transfer is None or transfer.pk not in seen:
                        yield from self._job(route, target, value, transfer)
                    if transfer is not None:
                        seen.add(transfer.pk)

    def _job(self, route: Route, target: Target, value: str, transfer: Transfer | None) -> Iterator[_Job]:
        """Yield what is to be checked by a request; report what the ledger alone shows."""
        problem, copy = "", None
        if transfer is None:
            copy = target.copy_of_url(value)
            problem = "" if copy else _without_entry(route, value)
        elif transfer.state != State.STORED:
            reason = f": {transfer.last_error}" if transfer.last_error else ""
            problem = f"Its copy is {transfer.state}{reason}"
        else:
            copy = Copy.of(transfer)
        if copy is None:
            self._on_checked(Checked(field=route.label, name=value, result=different(problem)))
            return
        is_fresh = bool(transfer and transfer.stored_at and abs(timezone.now() - transfer.stored_at) < _FRESH)
        yield _Job(
            field=route.label,
            name=value,
            copy=copy,
            target=target,
            is_fresh=is_fresh,
            transfer_id=transfer.pk if transfer and _may_be_copied_again(transfer, value) else None,
        )

    def _target(self, place: str) -> Target:
        if place not in self._targets:
            self._targets[place] = target_of(place, read_bytes=self._read_bytes)
        return self._targets[place]

    # When the next one is checked

    def _next(self, jobs: Iterator[_Job]) -> _Job | None:
        """Return what to check now; ``None`` if there is nothing more, or not yet."""
        if self._later and self._later[0][0] <= time.monotonic():
            return heapq.heappop(self._later)[2]
        return next(jobs, None) if len(self._later) < _MAX_LATER else None

    def _again(self, job: _Job, seconds: float) -> None:
        heapq.heappush(self._later, (time.monotonic() + seconds, next(self._numbers), job))

    def _may_start(self, job: _Job) -> bool:
        """Wait for the rate and the pace; return whether the verification goes on."""
        for _ in range(job.target.requests):
            while (seconds := self._next_at - time.monotonic()) > 0:
                if self._stop.wait(seconds):
                    return False
            while seconds := job.target.acquire(max_wait=_TICK):
                if self._stop.wait(min(seconds, _TICK)):
                    return False
            self._next_at = max(self._next_at, time.monotonic()) + self._interval
        return True

    # What was found

    def _take(self, under_way: dict[Future[Result], _Job]) -> None:
        """Settle what is done; wait a moment for it."""
        if not under_way:
            self._stop.wait(_TICK)
        for done in wait(under_way, timeout=_TICK, return_when=FIRST_COMPLETED).done:
            self._settle(under_way.pop(done), done)

    def _settle(self, job: _Job, done: Future[Result]) -> None:
        try:
            result = done.result()
        except RateLimitedError as error:
            self._pause(job, error)
        except CredentialsRefusedError as error:
            self._give_up(str(error))
        except Exception as error:  # noqa: BLE001  # each storage has its own
            self._failed(job, error)
        else:
            job.target.passed()
            self._failures = 0
            if result.kind is Kind.MISSING and job.is_fresh and len(self._later) < _MAX_LATER:
                self._again(replace(job, is_fresh=False), timing.SECOND_LOOK.total_seconds())
            else:
                self._on_checked(
                    Checked(field=job.field, name=job.name, result=result, transfer_id=job.transfer_id)
                )

    def _pause(self, job: _Job, error: RateLimitedError) -> None:
        asked = timing.BREAKER_RATE_LIMITED
        if error.retry_after is not None:
            asked = timedelta(seconds=min(error.retry_after, timing.BREAKER_MAX_RETRY_AFTER.total_seconds()))
        pause = max(asked, timing.BREAKER_MIN_RETRY_AFTER).total_seconds()
        job.target.limited(pause)
        self._next_at = max(self._next_at, time.monotonic() + pause)
        self._again(job, pause)

    def _failed(self, job: _Job, error: Exception) -> None:
        if job.attempts + 1 < _ATTEMPTS:
            self._again(replace(job, attempts=job.attempts + 1), 2.0**job.attempts)
            return
        reason = f"It could not be checked: {wording.failure(error)}"
        self._on_checked(
            Checked(field=job.field, name=job.name, result=Result(kind=Kind.UNKNOWN, reason=reason))
        )
        self._failures += 1
        if self._failures >= _MAX_FAILURES:
            self._give_up(f"{_MAX_FAILURES} files in a row could not be checked. The last: {reason}")

    def _give_up(self, problem: str) -> None:
        self.problem = self.problem or problem
        self._stop.set()


def _without_entry(route: Route, name: str) -> str:
    if names.is_url(name):
        return "It is the URL of an image elsewhere, which is not copied."
    if route.account and places.account_of(places.place_of_field(route.field)):
        return "It is not in the ledger: it was saved at Cloudflare, or never copied from elsewhere."
    return "It is not in the ledger: it was never copied. Run cf_images import, or cf_images export."


def _may_be_copied_again(transfer: Transfer, value: str) -> bool:
    # Another copy of a private image has another name, which a row that was switched would not find.
    return not transfer.require_signed_urls or value == transfer.source_name
