"""What is uploaded: pictures by number."""

from __future__ import annotations

from benchmarks.measure import jpeg

_SMALL, _LARGE = 20_000, 1_300_000  # bytes


def picture(number: int) -> bytes:
    """The image of this number, unlike any other; one of twenty waits in three pieces."""
    return jpeg(64, 48, at_least=_LARGE if number % 20 == 0 else _SMALL, seed=number)
