"""Mirrors: what is yet to be copied to the secondary, or deleted there, and what cannot be copied."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import Count

from cf_images import conf
from cf_images.accounts import is_mirror, sides_of
from cf_images.background.transfers import transfers
from cf_images.doctor.findings import Finding, ok, warning
from cf_images.models import State


def mirrors() -> Iterator[Finding]:
    """Examine each mirror by the rows of its copies."""
    for alias in filter(is_mirror, conf.storage_declarations()):
        sides = sides_of(alias)
        rows = transfers().filter(source__in=sides, storage__in=sides)
        counts = {row["state"]: row["count"] for row in rows.values("state").annotate(count=Count("*"))}
        yield _finding(alias, counts)


def _finding(alias: str, counts: dict[str, int]) -> Finding:
    if rejected := counts.get(State.REJECTED, 0):
        files = "1 file" if rejected == 1 else f"{rejected:,} files"
        return warning(
            "mirror",
            f"STORAGES[{alias!r}]: {files} could not be copied.",
            hint="The admin shows why, under Transfers: correct the reason, and try again.",
        )
    unfinished = counts.get(State.PENDING, 0) + counts.get(State.DELETING, 0)
    if unfinished:
        return ok("mirror", f"STORAGES[{alias!r}]: {unfinished:,} still to be copied or deleted.")
    return ok("mirror", f"STORAGES[{alias!r}]: both sides are up to date, as far as rows tell.")
