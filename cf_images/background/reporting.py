"""The state of background uploads in figures: for a metrics endpoint, a health check, a person."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Min
from django.utils import timezone

from cf_images.background.destinations import destinations, unknown_storages
from cf_images.background.rows import breakers, uploads
from cf_images.models import State


@dataclass(frozen=True, slots=True, kw_only=True)
class PausedAccount:
    """An account whose circuit breaker is open, and the storages that use it."""

    aliases: tuple[str, ...]
    paused_until: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Rows by state; the age of the oldest pending one; paused accounts.

    ``unknown_storages`` are aliases that rows name and that cannot be used.
    """

    pending: int
    stored: int
    rejected: int
    deleting: int
    oldest_pending_age: timedelta | None
    paused: tuple[PausedAccount, ...]
    unknown_storages: tuple[str, ...]


def status() -> Status:
    """Return the figures as they are now: four queries."""
    counts = {row["state"]: row["count"] for row in uploads().values("state").annotate(count=Count("pk"))}
    oldest = uploads().filter(state=State.PENDING).aggregate(oldest=Min("created_at"))["oldest"]
    return Status(
        pending=counts.get(State.PENDING, 0),
        stored=counts.get(State.STORED, 0),
        rejected=counts.get(State.REJECTED, 0),
        deleting=counts.get(State.DELETING, 0),
        oldest_pending_age=timezone.now() - oldest if oldest else None,
        paused=tuple(_paused()),
        unknown_storages=tuple(unknown_storages()),
    )


def _paused() -> list[PausedAccount]:
    aliases: dict[str, list[str]] = {}
    for alias, destination in destinations().items():
        aliases.setdefault(destination.account_key, []).append(alias)
    return [
        PausedAccount(
            aliases=tuple(aliases.get(breaker.account_key, ())),
            paused_until=breaker.paused_until,
            reason=breaker.reason,
        )
        for breaker in breakers().exclude(paused_until=None)
        if breaker.paused_until
    ]
