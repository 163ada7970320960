"""Claim rows that are due, try each once, and write down the outcome."""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.utils import timezone

from cf_images.background import attempts, circuit_breaker, heartbeat, outcomes, timing
from cf_images.background.circuit_breaker import Admission
from cf_images.background.database_connections import write_down
from cf_images.background.destinations import Destination, destinations, report_unprocessable
from cf_images.background.leases import Backlog, Claim, backlogs, due, fix_wrong_times, release_untried
from cf_images.background.pace import pace_of

_ROWS_FOR_ONE = 2  # more rows than this are worth another worker
# Rows that a thread claims and settles together: a quarter of a second's work, and one while attempts fail.
_MAX_TOGETHER = 6
_SECONDS_TOGETHER = 0.25
_EMPTY_SECONDS = 0.5  # in which a thread with other work does not look there again
_LONG_WAIT = 0.1  # seconds for a slot, in which the account may have been paused
_CONTENDED = 0.1  # seconds until the next try where other workers have claimed all that was due


@dataclass(frozen=True, slots=True, kw_only=True)
class Processed:
    """The number of rows that were tried, whether more are due now, and when the next one is due."""

    rows: int
    more_due: bool
    next_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """The number of rows that were tried; for none, the seconds until a slot of the pace, if rows are due."""

    rows: int = 0
    wait: float = 0.0


class Batch:
    """How many rows a thread takes at once: many quick ones, so that they share transactions."""

    def __init__(self, *, max_rows: int = _MAX_TOGETHER, seconds: float = _SECONDS_TOGETHER) -> None:
        self._max_rows, self._seconds = max_rows, seconds
        self.rows = 1
        self._empty: dict[Backlog, float] = {}

    def skips(self, backlog: Backlog) -> bool:
        """Return whether the backlog was empty a moment ago; another one is worked on meanwhile."""
        return time.monotonic() < self._empty.get(backlog, 0.0)

    def found_empty(self, backlog: Backlog) -> None:
        """Do not look there again for a moment."""
        self._empty[backlog] = time.monotonic() + _EMPTY_SECONDS

    def took(self, rows: int, seconds: float, *, all_done: bool) -> None:
        """Choose the number for the next time."""
        wanted = int(rows * self._seconds / max(seconds, 0.001)) if all_done else 1
        self.rows = max(1, min(wanted, 2 * self.rows, self._max_rows))


def process(hint: int | None = None) -> Processed:
    """Process the upload ``hint`` if it is due, then other rows, for a few seconds.

    The caller notifies the queue where more is due.
    """
    rows, ends_at, batch = 0, time.monotonic() + timing.MAX_RUN_SECONDS, Batch()
    if hint is not None and process_one(hint):
        rows += 1
    while (left := ends_at - time.monotonic()) > 0:
        tried = process_some(batch, max_wait=left)
        rows += tried.rows
        if tried.rows:
            continue
        if 0 < tried.wait <= left:
            time.sleep(tried.wait)  # a pause, or a retry that is due in a moment
        else:
            next_at = timezone.now() + timedelta(seconds=tried.wait) if tried.wait else next_due()
            return Processed(rows=rows, more_due=False, next_at=next_at)
    return Processed(rows=rows, more_due=True)


def process_one(hint: int | None = None) -> bool:
    """Try one row that is due (the upload ``hint``); return ``False`` when there is none, or its account is
    paused.
    """
    return bool(process_some(Batch(max_rows=1), hint).rows)


def process_some(batch: Batch, hint: int | None = None, *, max_wait: float = math.inf) -> Tried:
    """Try a few rows of one account together."""
    heartbeat.worked()
    usable = destinations()
    random.shuffle(usable)  # a large backlog of one account must not hold up another
    found = [
        (destination, backlog)
        for destination in usable
        for backlog in backlogs(destination)[: 1 if hint is not None else None]
    ]
    found.sort(key=lambda each: batch.skips(each[1]))  # those last
    waits = []
    for destination, backlog in found:
        tried = try_some(destination, backlog, batch, hint, max_wait=max_wait)
        if tried.rows:
            return tried
        if not tried.wait:
            batch.found_empty(backlog)
        waits.append(tried.wait)
    return Tried(wait=min(filter(None, waits), default=0.0))


def next_due() -> datetime | None:
    """Return when the next row is due, or its account is not paused any more; ``None`` for no row."""
    paused, moments = _pauses(), []
    for destination in destinations():
        unfinished = (destination.rows(), destination.transfers(), destination.reservations())
        for rows in unfinished:
            times = rows.order_by("next_attempt_at").values_list("next_attempt_at", flat=True)
            if first := times.first():
                moments.append(max(first, paused.get(destination.account_key, first)))
    return min(moments, default=None)


def has_work_for_others() -> bool:
    """Return whether more rows are due than one worker takes at a time."""
    paused = _pauses()
    for destination in destinations():
        if destination.account_key not in paused:
            for rows in due(destination):
                if len(rows.values_list("pk", flat=True)[: _ROWS_FOR_ONE + 1]) > _ROWS_FOR_ONE:
                    return True
    return False


def sweep() -> datetime | None:
    """Repair what a fault may have left, once a minute, and return ``next_due()``."""
    fix_wrong_times()
    report_unprocessable()
    heartbeat.forget_dead()
    return next_due()


def _pauses() -> dict[str, datetime]:
    return circuit_breaker.pauses({found.account_key: found.token_digest for found in destinations()})


def try_some(
    destination: Destination,
    backlog: Backlog,
    batch: Batch,
    hint: int | None = None,
    *,
    max_wait: float = math.inf,
) -> Tried:
    """Try a few rows of a backlog, and write down what was stored in one transaction."""
    if not (backlog.has_candidates() if hint is None else backlog.is_due(hint)):
        return Tried()
    admission = circuit_breaker.admit(destination.account_key, destination.token_digest)
    if admission is None:
        return Tried(wait=_pause_of(destination))
    began = time.monotonic()
    if destination.accounts and not admission.probe:
        if wait := pace_of(destination.account_key).acquire(max_wait=max_wait):
            return Tried(wait=wait)
        if time.monotonic() - began > _LONG_WAIT and (wait := _pause_of(destination)):
            return Tried(wait=wait)
    claims = backlog.take(1 if admission.probe else batch.rows) if hint is None else backlog.take_row(hint)
    if not claims:
        circuit_breaker.unused(admission)
        return Tried(wait=_CONTENDED if hint is None and backlog.has_candidates() else 0.0)
    tried, all_done = _try_together(claims, destination, admission)
    batch.took(tried, time.monotonic() - began, all_done=all_done)
    return Tried(rows=tried)


def _try_together(
    claims: list[Claim[Any]], destination: Destination, admission: Admission
) -> tuple[int, bool]:
    """Try one row after the other until one fails; return how many were tried, and whether all were done."""
    done: list[outcomes.Stored] = []
    tried, all_done = 0, True
    try:
        for claimed in claims:
            if tried and destination.accounts:
                pace_of(destination.account_key).acquire(max_wait=math.inf)
            tried += 1
            stored = attempts.attempt(claimed, destination, admission)
            if isinstance(stored, outcomes.Stored):
                done.append(stored)
            elif not stored:
                all_done = False
                break
    finally:
        write_down(partial(outcomes.all_stored, done))
        write_down(partial(release_untried, claims[tried:]))
    return tried, all_done


def _pause_of(destination: Destination) -> float:
    """Return the seconds until the account is not paused any more."""
    paused = circuit_breaker.pauses({destination.account_key: destination.token_digest})
    until = paused.get(destination.account_key)
    return (until - timezone.now()).total_seconds() if until else 0.0
