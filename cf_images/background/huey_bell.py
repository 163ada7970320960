"""The huey tasks; imported only where huey is the queue, since djhuey connects when it is imported."""

from __future__ import annotations

from huey import crontab
from huey.contrib.djhuey import db_periodic_task, db_task

from cf_images.background import sweeper, worker


@db_task(name="cf_images_deliver")  # type: ignore[untyped-decorator]
def cf_images_deliver(hint: int | None = None) -> None:
    """Deliver the row ``hint`` and other rows that are due; no retries, the row knows what comes next."""
    worker.deliver(hint)


@db_periodic_task(crontab(minute="*"), name="cf_images_sweep")  # type: ignore[untyped-decorator]
def cf_images_sweep() -> None:
    """Each minute, ring again for what is due: the message may have been lost."""
    sweeper.sweep()


def ring(hint: int | None = None) -> None:
    """Put a message into huey's queue; one integer at most, nothing else is pickled."""
    cf_images_deliver(hint)
