"""The state of background uploads in figures: for a metrics endpoint, a health check, a person."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Count, QuerySet
from django.utils import timezone

from cf_images import conf
from cf_images.background import circuit_breaker, heartbeat, wording
from cf_images.background.destinations import destinations, unprocessable
from cf_images.background.leases import due
from cf_images.background.rows import breakers, reservations, transfers, uploads
from cf_images.models import State, Upload

# The sweep needs a minute where the queue lost a message; an upload takes another.
LATE: Final = timedelta(minutes=10)
# The sweep wakes a worker each minute, and one row may keep it for three.
IDLE: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class PausedAccount:
    """An account whose circuit breaker is open, and the storages that use it."""

    aliases: tuple[str, ...]
    paused_since: datetime | None
    paused_until: datetime
    reason: str

    @property
    def names(self) -> str:
        """The storages in words; the account itself has no name that may be printed."""
        return ", ".join(self.aliases) or "an account that no storage uses"

    @property
    def is_over(self) -> bool:
        """Whether the next attempt may be made: it tests whether the account responds again."""
        return self.paused_until <= timezone.now()

    def __str__(self) -> str:
        since = f" (since {wording.moment(self.paused_since)})" if self.paused_since else ""
        until = "the next attempt" if self.is_over else wording.moment(self.paused_until)
        return f"Uploads to {self.names} are paused until {until}{since}: {self.reason.rstrip('.')}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Rows by state; since when the oldest one is pending, and due; paused accounts.

    ``unknown_storages`` are aliases that rows name and that are not in the settings; ``other_accounts``
    are aliases whose rows belong to another account than that of the storage here. ``last_processed_at`` is
    when a worker was active for the last time, ``None`` for never.
    """

    pending: int
    stored: int
    rejected: int
    deleting: int
    oldest_pending_at: datetime | None
    oldest_due_at: datetime | None
    last_processed_at: datetime | None
    paused: tuple[PausedAccount, ...]
    unknown_storages: tuple[str, ...]
    other_accounts: tuple[str, ...]

    def unprocessable_problems(self) -> list[str]:
        """Return a sentence for each storage whose rows cannot be processed with the settings here."""
        return [*map(unknown_storage, self.unknown_storages), *map(other_account, self.other_accounts)]

    @property
    def oldest_pending_age(self) -> timedelta | None:
        """For how long the oldest pending image has been waiting for Cloudflare."""
        return _age(self.oldest_pending_at)

    @property
    def idle(self) -> timedelta | None:
        """For how long work has been due without any worker; ``None`` where nothing is due."""
        return idle(self.oldest_due_at, self.last_processed_at)

    def idle_problem(self, limit: timedelta = IDLE) -> str:
        """Return a sentence where no worker is active although work is due, else an empty string."""
        return idle_problem(self.oldest_due_at, self.last_processed_at, limit)


def idle(due_at: datetime | None, last_processed_at: datetime | None) -> timedelta | None:
    """Return for how long work that is due since ``due_at`` has had no worker."""
    return _age(due_at and max(due_at, last_processed_at or due_at))


def idle_problem(due_at: datetime | None, last: datetime | None, limit: timedelta) -> str:
    """Return a sentence where work that is due since ``due_at`` has had no worker for ``limit``."""
    length = idle(due_at, last)
    if due_at is None or length is None or length <= limit:
        return ""
    since, due_since = f"since {wording.moment(last)}" if last else "yet", wording.moment(due_at)
    return f"No worker has processed anything {since}, although work has been due since {due_since}."


def status() -> Status:
    """Return the figures as they are now: half a dozen queries."""
    counts = {row["state"]: row["count"] for row in uploads().values("state").annotate(count=Count("*"))}
    others, declared = [alias for alias, _ in unprocessable()], conf.storage_declarations()
    return Status(
        pending=counts.get(State.PENDING, 0),
        stored=counts.get(State.STORED, 0),
        rejected=counts.get(State.REJECTED, 0),
        deleting=counts.get(State.DELETING, 0),
        oldest_pending_at=_oldest_first(State.PENDING).values_list("created_at", flat=True).first(),
        oldest_due_at=oldest_due_at(),
        last_processed_at=heartbeat.last_seen(),
        paused=tuple(paused_accounts()),
        unknown_storages=tuple(dict.fromkeys(alias for alias in others if alias not in declared)),
        other_accounts=tuple(dict.fromkeys(alias for alias in others if alias in declared)),
    )


def unknown_storage(alias: str) -> str:
    """Return the sentence about rows whose storage is not in the settings."""
    return f"Images are pending for the storage {alias!r}, which is not in STORAGES."


def other_account(alias: str) -> str:
    """Return the sentence about rows that were accepted for another account."""
    return f"Images are pending for the storage {alias!r} that belong to another account than its own here."


def paused_accounts() -> list[PausedAccount]:
    """Return the accounts whose circuit breaker is open."""
    found = list(breakers().exclude(paused_until=None))
    aliases = {found.account_key: tuple(found.accounts) for found in (destinations() if found else ())}
    return [
        PausedAccount(
            aliases=aliases.get(breaker.account_key, ()),
            paused_since=breaker.paused_since,
            paused_until=breaker.paused_until,
            reason=breaker.reason,
        )
        for breaker in found
        if breaker.paused_until
    ]


def oldest_due_at() -> datetime | None:
    """Return since when a worker should have processed a row; those of paused accounts may stay."""
    usable, moments = destinations(), []
    paused = circuit_breaker.pauses({found.account_key: found.token_digest for found in usable})
    for destination in usable:
        if destination.account_key not in paused:
            # With the columns in one query, MariaDB reads all finished rows.
            for rows, among in zip(due(destination), (uploads(), transfers(), reservations()), strict=True):
                first = rows.values_list("pk", flat=True)[:1]
                row = among.filter(pk__in=list(first)).values_list("next_attempt_at", "created_at")
                # A new row is due from before its creation.
                moments += [max(filter(None, found)) for found in row]
    return min(moments, default=None)


def oldest_pending(limit: int) -> list[Upload]:
    """Return the images that have been pending for longest."""
    return list(_oldest_first(State.PENDING)[:limit])


def all_rejected() -> Iterator[Upload]:
    """Yield the rejected images, oldest first."""
    return _oldest_first(State.REJECTED).iterator(chunk_size=1000)


def _oldest_first(state: State) -> QuerySet[Upload]:
    return uploads().filter(state=state).order_by("created_at", "pk")


def _age(since: datetime | None) -> timedelta | None:
    return None if since is None else timezone.now() - since
