"""What this process has done with uploads: a count of each outcome, and a log line for each failure."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from typing import Literal

logger = logging.getLogger("cf_images.background")

Outcome = Literal["stored", "rejected", "deleted", "failed"]

_counts: Counter[Outcome] = Counter()
_lock = threading.Lock()


def counts() -> Counter[Outcome]:
    """Return how many attempts of this process had each outcome, since it started."""
    with _lock:
        return Counter(_counts)


def count(outcome: Outcome) -> None:
    """Count one attempt."""
    with _lock:
        _counts[outcome] += 1


def failed(name: str, reason: str) -> None:
    """Count and log one attempt that is repeated later; the outage, not the image, is worth a WARNING."""
    count("failed")
    logger.info("An attempt to process %s failed and is repeated: %s", name, reason)
