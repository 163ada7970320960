"""Ring again for everything that is due: the bell may have been lost."""

from __future__ import annotations

from cf_images.background import timing
from cf_images.background.bell import ring
from cf_images.background.claims import due
from cf_images.background.targets import complain, stranded

_MOST_RINGS = 100  # a minute; a worker that stops with more to do rings, too


def sweep() -> int:
    """Ring once for every ten rows that are due; returns how often."""
    for alias in stranded():
        complain(alias, "it is not in STORAGES")
    waiting = due()[: _MOST_RINGS * timing.MOST_ROWS].count()
    rings = -(-waiting // timing.MOST_ROWS)
    for rung in range(rings):
        if not ring():
            return rung
    return rings
