"""The figures of a metrics endpoint: ``status()``, and the same by account, with workers and the pace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db.models import Count
from django.utils import timezone

from cf_images.background import circuit_breaker, heartbeat, pace
from cf_images.background.destinations import LOCAL, Destination, account_keys, destinations
from cf_images.background.reporting import Status, status
from cf_images.background.rows import breakers, transfers, unfinished, uploads
from cf_images.models import CircuitBreaker, State

# Names of what has no alias. An account is named by its aliases: its key contains the account ID.
LOCAL_FILES: Final = "local"
OTHER_ACCOUNTS: Final = "other"

BACKLOG: Final = (State.PENDING, State.REJECTED, State.DELETING)  # stored rows may be millions
OPEN: Final = (State.PENDING, State.DELETING)

RATE_LIMIT, CREDENTIALS, UNAVAILABLE = "rate_limit", "credentials", "unavailable"
PAUSE_REASONS: Final = (RATE_LIMIT, CREDENTIALS, UNAVAILABLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """How requests of one account go to one host: the API, or the batch host.

    ``configured`` and ``learned`` are requests a second, ``None`` for no limit; ``passed`` counts the
    background requests that Cloudflare has not limited. ``paused_since`` is only given while ``pause`` is.
    """

    account: str
    is_batch: bool
    pause: str | None
    paused_since: datetime | None
    configured: float | None
    learned: float | None
    passed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Rows by account and state, the hosts of each account, and the workers that are alive.

    An account is named by its aliases in ``STORAGES``, joined by commas.
    """

    status: Status
    uploads: Mapping[tuple[str, State], int]
    oldest_pending_at: Mapping[str, datetime | None]
    reservations: Mapping[tuple[str, State], int]
    transfers: Mapping[State, int]
    hosts: tuple[Host, ...]
    workers: int
    threads: int
    last_heartbeat_at: datetime | None


def figures() -> Figures:
    """Return the figures as they are now; the number of queries depends on the accounts, not on the rows."""
    usable = destinations()
    names = {found.account_key: _name(found) for found in usable if not found.is_batch}
    waiting, oldest = _backlog(names)
    return Figures(
        status=status(),
        uploads=waiting,
        oldest_pending_at=oldest,
        reservations=_reservations(usable),
        transfers=_transfers(),
        hosts=tuple(_hosts(usable)),
        workers=heartbeat.processes(),
        threads=heartbeat.threads(),
        last_heartbeat_at=heartbeat.last_beat(),
    )


def _name(destination: Destination) -> str:
    if destination.account_key == LOCAL:
        return LOCAL_FILES
    return ",".join(sorted(destination.accounts))


def _backlog(names: Mapping[str, str]) -> tuple[dict[tuple[str, State], int], dict[str, datetime | None]]:
    """Return the unfinished rows by account and state, and when the oldest pending one was accepted.

    Pending rows, of which there may be many, are counted by the index for workers, without reading them:
    they are what is left to do, but for deletions.
    """
    counts = Counter({(name, state): 0 for name in names.values() for state in BACKLOG})
    oldest: dict[str, datetime | None] = dict.fromkeys(names.values())
    deleting: Counter[str] = Counter()
    rows = uploads().filter(state__in=(State.REJECTED, State.DELETING)).order_by().values("account", "state")
    for row in rows.annotate(count=Count("pk")):
        counts[names.get(row["account"], OTHER_ACCOUNTS), State(row["state"])] += row["count"]
        if row["state"] == State.DELETING:
            deleting[row["account"]] += row["count"]
    for key in account_keys():
        pending = unfinished().filter(account=key).count() - deleting[key]
        if pending > 0:
            name = names.get(key, OTHER_ACCOUNTS)
            counts[name, State.PENDING] += pending
            first = uploads().filter(account=key, state=State.PENDING).order_by("created_at")
            at = first.values_list("created_at", flat=True).first()
            oldest[name] = min(filter(None, (oldest.get(name), at)), default=None)
    return dict(counts), oldest


def _reservations(usable: list[Destination]) -> dict[tuple[str, State], int]:
    """Return the uploads from browsers that no form has saved, by account and state."""
    counts: dict[tuple[str, State], int] = {}
    for destination in usable:
        if not destination.is_batch:
            name = _name(destination)
            counts |= {(name, state): 0 for state in OPEN}
            rows = destination.reservations().order_by().values("state").annotate(count=Count("pk"))
            counts |= {(name, State(row["state"])): row["count"] for row in rows}
    return counts


def _transfers() -> dict[State, int]:
    rows = transfers().order_by().values("state").annotate(count=Count("pk"))
    return dict.fromkeys(State, 0) | {State(row["state"]): row["count"] for row in rows}


def _hosts(usable: list[Destination]) -> Iterator[Host]:
    now, paces = timezone.now(), pace.all_rows()
    known = {breaker.account_key: breaker for breaker in breakers()}
    for destination in usable:
        key = destination.account_key
        breaker, row = known.get(key), paces.get(key)
        if not destination.accounts or (destination.is_batch and not breaker and not row):
            continue  # local files, and a batch host that is not used
        pause = _pause(breaker, destination, now)
        yield Host(
            account=_name(destination),
            is_batch=destination.is_batch,
            pause=pause,
            paused_since=breaker.paused_since if breaker and pause else None,
            configured=pace.allowed_rate(key),
            learned=pace.learned_rate(row, now) if row else None,
            passed=row.passed if row else 0,
        )


def _pause(breaker: CircuitBreaker | None, destination: Destination, now: datetime) -> str | None:
    """Return why the account is paused; ``None`` where it is not, or where nothing is left to try."""
    if breaker is None or breaker.paused_until is None:
        return None
    is_over = breaker.paused_until <= now
    if is_over and not (destination.rows().exists() or destination.transfers().exists()):
        return None
    if breaker.token_digest:
        return CREDENTIALS
    return RATE_LIMIT if breaker.reason == circuit_breaker.RATE_LIMITED else UNAVAILABLE
