"""A task of the site itself, which shares the queue with the package."""

from __future__ import annotations

import time

from huey.contrib.djhuey import task


@task()  # type: ignore[untyped-decorator]  # huey has no types
def own_task() -> float:
    """Return when it ran, in seconds since 1970."""
    return time.time()
