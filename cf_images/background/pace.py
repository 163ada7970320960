"""The pace of background requests to an account, shared by its workers in all processes.

Cloudflare documents 1,200 requests in five minutes for all tokens of a user, then a ban of five minutes
that hits the site's own requests, too. Workers stay below that and leave a part of it to the site. Each
request has a slot; a process reserves slots in the database for half a second ahead, so that many workers
cost few queries. A rate limit (HTTP 429) lowers the pace for all, and it grows again slowly; without a
configured limit, it is learned like that.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from datetime import datetime, timedelta

from django.db.models import Case, F, Q, QuerySet, Value, When
from django.db.models.functions import Greatest
from django.utils import timezone

from cf_images import conf
from cf_images.background import timing
from cf_images.background.rows import database
from cf_images.client.responses import RateLimit
from cf_images.models import AccountPace

logger = logging.getLogger("cf_images.background")

_SHARE = 0.81  # of the configured limit; the rest is for the site's own requests
# "Upload images in batches" (Cloudflare Images docs): requests a second of a token, which is not the site's.
_BATCH_RATE, _BATCH_SHARE, _BATCH_BURST = 200, 0.9, 5.0  # never above, however late some of them arrive
_BURST = 0.05  # of the requests in a window that may be sent at once
_LATE = 0.5  # of an interval that a learned pace makes up for: a whole one would be met again at small limits
_AHEAD_SECONDS = 0.5  # for which a process reserves slots
_MAX_SLOTS = 50
_KEEPS = 20  # reservations after slots were lost, until a process tries more again
_MAX_AHEAD = timedelta(minutes=2)  # a slot that is further away is wrong: the clock was set back

_LOWERED = 0.9  # of the rate that passed when Cloudflare limited it
_OBSERVED = 0.92  # of the rate that Cloudflare's headers allow
_FADING = 0.9  # each second with requests
_MIN_LIMIT = 0.2  # requests a second
_MET_AGAIN = timedelta(seconds=1.5)  # after a pause …
# … and after as many requests each time. A limit is learned after six if the numbers are the same; by chance
# it takes more than a minute of limits at random.
_STRIKES = 10
_ALIKE_FACTOR, _ALIKE_MORE = 2, 4  # of two numbers of requests; several are under way at once
_SAME_FACTOR, _SAME_MORE = 1.2, 1  # it counts twice
_LOWERED_AGAIN = 0.85  # of a pace that was limited soon after it was lowered
_IN_VAIN = 3  # the next time, the pace is not the reason
_IGNORED = timedelta(minutes=2)
_STEADY_SECONDS = 20.0  # in which a lowered pace stays
_GROWTH = 1.05  # each ten seconds afterwards
_FORGOTTEN = 1000.0  # requests a second; a limit that has grown so far is none
_WORTH_LOGGING = 0.8  # of the limit that was lowered before
_ATTEMPTS = 50
_COUNT_SECONDS = 0.2  # between two writes of what passed


class Pace:
    """The pace of one account, for the workers of this process."""

    def __init__(self, account_key: str) -> None:
        self._account_key = account_key
        self._lock = threading.Lock()
        self._slots: deque[tuple[datetime, datetime]] = deque()  # from when, and until when it is valid
        self._resumes_at: datetime | None = None  # no slot before it is used
        self._passed = 0  # requests that are not counted in the database yet
        self._counted_at = 0.0
        self._window = 1  # seconds, as far as known
        self._allowed = 0.0  # requests a second, as Cloudflare's headers say
        self._in_force = math.inf  # requests a second, when slots were reserved
        self._unlimited_until = 0.0  # without a limit, it is read anew then
        # Slots to reserve: as many as this process has a use for, since those that are lost are lost for all.
        self._share, self._taken, self._lost, self._keeps = 1, 0, 0, 0

    def acquire(self, *, max_wait: float) -> float:
        """Wait for the next slot. Return 0, or the seconds until then if they are more than ``max_wait``.

        A slot that is not waited for is kept for the next call.
        """
        ends_at = time.monotonic() + max_wait
        while True:
            with self._lock:
                wait = self._next_slot()
                if wait is None:
                    return 0.0
                if time.monotonic() + wait > ends_at:
                    return wait
                slot, _ = self._slots.popleft()
                self._taken += 1
            if wait > 0:
                time.sleep(wait)
            if not self._is_in_pause(slot):
                return 0.0
            # Requests were limited meanwhile.

    def _next_slot(self) -> float | None:
        """Return the seconds until the next slot, ``None`` where there is no limit."""
        if time.monotonic() < self._unlimited_until:
            return None
        now = timezone.now()
        while self._slots:
            slot, valid_until = self._slots[0]
            is_late = valid_until < now  # together with later ones, it would be a burst
            if not is_late and not self._is_in_pause(slot):
                break
            self._slots.popleft()
            self._lost += is_late
        if not self._slots:
            self._slots.extend(self._reserve())
        if not self._slots:
            self._unlimited_until = time.monotonic() + _AHEAD_SECONDS
            return None
        return (self._slots[0][0] - timezone.now()).total_seconds()

    def _is_in_pause(self, slot: datetime) -> bool:
        # Further away, the clock was set back.
        latest = timezone.now() + timing.BREAKER_MAX_RETRY_AFTER
        return self._resumes_at is not None and slot < self._resumes_at <= latest

    def passed(self) -> None:
        """Count a request that Cloudflare has not limited."""
        with self._lock:
            self._passed += 1
            if time.monotonic() < self._counted_at + _COUNT_SECONDS:
                return
            count, self._passed, self._counted_at = self._passed, 0, time.monotonic()
        self._count(count)

    def limited(self, *, pause: float) -> None:
        """Lower the pace: Cloudflare has limited a request, and asks for a pause. Several at once lower it
        once.

        Without headers, the pace is only lowered when a request is limited again and again just after such a
        pause, and after about as many others each time: so is a pace that is too high. Where a lower pace
        does not help, responses are limited at random, and teach nothing.
        """
        with self._lock:
            count, self._passed = self._passed, 0
        self._count(count)
        row, now = self._row(), timezone.now()
        if row.resumes_at and now < row.resumes_at < now + _MAX_AHEAD:
            return
        interval = row.passed - row.passed_before
        alike = 0 if row.interval is None else _alike(interval, row.interval)
        is_met_again = row.resumes_at is not None and now < row.resumes_at + _MET_AGAIN
        strikes = row.strikes + alike if is_met_again and alike else 1
        resumes_at = now + timedelta(seconds=pause)
        changes = {"resumes_at": resumes_at, "strikes": strikes, "interval": interval}
        # Slots begin with the resumption: a small limit would be met by those that are made up for. Those
        # after it are kept, since other processes have some of them.
        no_later = Q(next_slot_at=None) | Q(next_slot_at__lt=resumes_at)
        next_slot_at = Case(When(no_later, then=Value(resumes_at)), default=F("next_slot_at"))
        changes |= {"passed_before": row.passed, "next_slot_at": next_slot_at}
        if not self._rows().filter(resumes_at=row.resumes_at).update(**changes):
            return
        self._resumes_at, self._unlimited_until = resumes_at, 0.0
        passed = max(row.count, row.peak, 1.0) * _LOWERED
        if self._allowed:  # which is more exact: what passed may be of two windows, or less than could pass
            self._lower(row, self._allowed * _LOWERED)
        elif row.ignored_until is None or not now < row.ignored_until < now + _IGNORED:
            self._learn(row, now, passed, strikes=strikes, is_met_again=is_met_again, is_alike=bool(alike))

    def _learn(
        self,
        row: AccountPace,
        now: datetime,
        passed: float,
        *,
        strikes: int,
        is_met_again: bool,
        is_alike: bool,
    ) -> None:
        """Lower the pace, or lift it where it has been lowered in vain."""
        limit = learned_rate(row, now)
        held_since = max(filter(None, (row.limited_at, row.resumes_at)), default=now)
        if limit is None:
            self._rows().update(in_vain=0)
            if strikes >= _STRIKES:
                self._lower(row, passed)
        elif now - held_since >= timedelta(seconds=_STEADY_SECONDS):  # until it has grown to the limit
            self._rows().update(in_vain=0)
            self._lower(row, min(passed, limit * _LOWERED))
        elif is_alike and not is_met_again:
            return  # a pace a little above the limit, which is met again once it has grown
        elif row.in_vain >= _IN_VAIN:
            self._lift(row, now)
        else:
            self._rows().update(in_vain=F("in_vain") + 1)
            if is_alike:
                self._lower(row, min(passed, limit * _LOWERED_AGAIN))

    def _lift(self, row: AccountPace, now: datetime) -> None:
        lifted = {"limit": None, "limited_at": None, "in_vain": 0, "ignored_until": now + _IGNORED}
        if self._rows().filter(limited_at=row.limited_at).update(**lifted):
            logger.info("Cloudflare limits requests at random; background requests go on without a limit.")
        with self._lock:
            self._slots.clear()

    def observe(self, limit: RateLimit) -> None:
        """Lower the pace where Cloudflare's headers allow less."""
        # Only the first response of a window says how long it is.
        self._window = window = max(self._window, limit.reset)
        rate = limit.limit / window
        if limit.reset > 1:
            rate = min(rate, max(1, limit.remaining) / limit.reset)
        self._allowed = allowed = rate * _OBSERVED
        if allowed < self._in_force:
            row, self._in_force = self._row(), allowed
            known = learned_rate(row, timezone.now())
            if known is None or allowed < known:
                self._lower(row, allowed)

    def _lower(self, row: AccountPace, limit: float) -> None:
        lowered, now = max(_MIN_LIMIT, limit), timezone.now()
        changed = self._rows().filter(limited_at=row.limited_at).update(limit=lowered, limited_at=now)
        if changed and (row.limit is None or lowered < row.limit * _WORTH_LOGGING):
            logger.info("Cloudflare limits the rate; background requests go on with %.1f a second.", lowered)
        self._unlimited_until = 0.0

    def _count(self, count: int) -> None:
        second = int(time.time())
        is_same = Q(second=second)
        # MariaDB assigns in this order, and reads what it has assigned.
        changes = {
            "peak": Case(When(is_same, then="peak"), default=Greatest(F("count"), F("peak") * _FADING)),
            "count": Case(When(is_same, then=F("count") + count), default=Value(float(count))),
            "second": second,
            "passed": F("passed") + count,
        }
        if not self._rows().update(**changes):
            self._row()
            self._rows().update(**changes)

    def _reserve(self) -> list[tuple[datetime, datetime]]:
        """Reserve slots for a moment ahead; none where there is no limit.

        A slot that no worker takes in time is lost.
        """
        if self._lost:
            self._share, self._keeps = max(1, self._taken), _KEEPS
        elif self._taken >= self._share and not self._keeps:
            self._share = min(self._share + 1 + self._share // 4, _MAX_SLOTS)
        self._keeps = max(0, self._keeps - 1)
        self._taken = self._lost = 0
        for _ in range(_ATTEMPTS):
            row, now = self._row(), timezone.now()
            rate, burst = self._rate(row, now)
            self._in_force = math.inf if rate is None else rate
            if rate is None:
                return []
            count = min(self._share, _MAX_SLOTS, max(1, int(rate * _AHEAD_SECONDS)))
            interval = timedelta(seconds=1 / rate)
            earliest = now - interval * burst
            start = max(row.next_slot_at or earliest, earliest)
            if start > now + _MAX_AHEAD:
                start = now
            end = start + interval * count
            if self._rows().filter(next_slot_at=row.next_slot_at).update(next_slot_at=end):
                slots, tolerance = (
                    [start + interval * number for number in range(count)],
                    interval * (burst + 1),
                )
                return [(slot, max(slot, now) + tolerance) for slot in slots]
        later = timezone.now() + timedelta(seconds=1)
        return [(later, later + timedelta(seconds=1))]  # other processes are faster; they keep the pace

    def _rate(self, row: AccountPace, now: datetime) -> tuple[float | None, float]:
        """Return requests a second, ``None`` for no limit, and how many may be sent at once."""
        learned, rate = learned_rate(row, now), allowed_rate(self._account_key)
        if self._allowed:  # a lowered pace does not grow above what the headers say
            learned = min(learned or math.inf, self._allowed)
        if rate is None:
            return learned, _LATE
        if is_batch(self._account_key):
            return min(rate, learned or rate), _BATCH_BURST
        requests, _ = conf.setting("API_RATE")
        return min(rate, learned or rate), max(1.0, requests * _BURST) if learned is None else _LATE

    def _row(self) -> AccountPace:
        return AccountPace.objects.using(database()).get_or_create(pk=self._account_key)[0]

    def _rows(self) -> QuerySet[AccountPace]:
        return AccountPace.objects.using(database()).filter(pk=self._account_key)


_BATCH = "#batch"


def batch_key(account_key: str) -> str:
    """Return the key of the pace and the circuit breaker of an account at the batch host."""
    return f"{account_key[: 255 - len(_BATCH)]}{_BATCH}"


def is_batch(account_key: str) -> bool:
    """Return whether it is such a key."""
    return account_key.endswith(_BATCH)


def allowed_rate(account_key: str) -> float | None:
    """Return the requests a second that the settings allow workers; ``None`` where no limit is known."""
    if is_batch(account_key):
        return _BATCH_RATE * _BATCH_SHARE
    configured = conf.setting("API_RATE")
    return None if configured is None else configured[0] / configured[1] * _SHARE


def learned_rate(row: AccountPace, now: datetime) -> float | None:
    """Return the limit that was learned, in requests a second, as it has grown by now; ``None`` for none."""
    if row.limit is None or row.limited_at is None:
        return None
    steady = (now - row.limited_at).total_seconds() - _STEADY_SECONDS
    grown: float = row.limit * _GROWTH ** max(0.0, min(steady / 10, 500.0))
    return None if grown > _FORGOTTEN else grown


def all_rows() -> dict[str, AccountPace]:
    """Return the rows of all accounts by their keys, one query."""
    return AccountPace.objects.using(database()).in_bulk()


def _alike(one: int, other: int) -> int:
    """Return how much two numbers of requests say for a limit: 0 if they are not alike, 2 if they are the
    same.
    """
    less, more = sorted((one, other))
    if more > _ALIKE_FACTOR * less + _ALIKE_MORE:
        return 0
    return 2 if more <= _SAME_FACTOR * less + _SAME_MORE else 1


# Called for each request of an attempt but the first, which was waited for: a command may have its own rate.
further_request: ContextVar[Callable[[], object]] = ContextVar("further_request", default=bool)


class Ticket:
    """The slots of one attempt: the first was waited for before the row was claimed.

    ``renew`` renews the lease of the row after a long wait, or raises an error.
    """

    def __init__(self, pace: Pace, renew: Callable[[], object]) -> None:
        self._pace, self._renew = pace, renew
        self._is_first = True

    def before_request(self) -> None:
        """Wait until the next request of the attempt may be sent."""
        if not self._is_first:
            further_request.get()()
            self._pace.acquire(max_wait=math.inf)
            self._renew()
        self._is_first = False

    def observe(self, limit: RateLimit) -> None:
        """Take note of a response's headers."""
        self._pace.observe(limit)


def pace_of(account_key: str) -> Pace:
    """Return the pace of an account in this process."""
    return _paces().setdefault(account_key, Pace(account_key))


@conf.cached  # the limit of one test's account is not that of another's
def _paces() -> dict[str, Pace]:
    return {}


def clear_cache() -> None:
    """Forget all slots: in a test, or in a forked process, where a thread of the parent may have held a
    lock.
    """
    _paces().clear()


if hasattr(os, "register_at_fork"):  # pragma: no branch  # Windows does not fork
    os.register_at_fork(after_in_child=clear_cache)
