"""How background uploads are doing, in figures: for a metrics endpoint, a health check, a person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Min
from django.utils import timezone

from cf_images.background.database import gates, uploads
from cf_images.background.targets import stranded, targets
from cf_images.models import State


@dataclass(frozen=True, slots=True, kw_only=True)
class GateStatus:
    """A gate that is shut, and the storages behind it."""

    aliases: tuple[str, ...]
    closed_until: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Rows by state; the age of the oldest that is still on its way; gates that are shut.

    ``stranded`` are aliases that rows wait for and that are not in the settings.
    """

    pending: int
    stored: int
    rejected: int
    doomed: int
    oldest_pending_age: timedelta | None
    gates: tuple[GateStatus, ...]
    stranded: tuple[str, ...]


def status() -> Status:
    """The figures as they are now: four queries."""
    counts = {row["state"]: row["count"] for row in uploads().values("state").annotate(count=Count("pk"))}
    oldest = uploads().filter(state=State.PENDING).aggregate(oldest=Min("created_at"))["oldest"]
    return Status(
        pending=counts.get(State.PENDING, 0),
        stored=counts.get(State.STORED, 0),
        rejected=counts.get(State.REJECTED, 0),
        doomed=counts.get(State.DOOMED, 0),
        oldest_pending_age=timezone.now() - oldest if oldest else None,
        gates=tuple(_shut(_aliases_by_account())),
        stranded=tuple(stranded()),
    )


def _shut(aliases: Mapping[str, list[str]]) -> list[GateStatus]:
    return [
        GateStatus(
            aliases=tuple(aliases.get(gate.account_id, ())),
            closed_until=gate.closed_until,
            reason=gate.reason,
        )
        for gate in gates().exclude(closed_until=None)
        if gate.closed_until
    ]


def _aliases_by_account() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for alias, target in targets().items():
        found.setdefault(target.account_id, []).append(alias)
    return found
