"""The huey tasks; imported only where huey is the queue, since djhuey connects when it is imported."""

from __future__ import annotations

from huey import crontab
from huey.contrib.djhuey import HUEY, db_periodic_task, db_task

from cf_images.background import worker


@db_task(name="cf_images_process")  # type: ignore[untyped-decorator]
def cf_images_process(hint: int | None = None) -> None:
    """Process the row ``hint`` and other rows that are due; no retries, the row says what comes next."""
    if worker.process(hint).more_due and not HUEY.immediate:
        cf_images_process()


@db_periodic_task(crontab(minute="*"), name="cf_images_sweep")  # type: ignore[untyped-decorator]
def cf_images_sweep() -> None:
    """Send messages for rows that are due, each minute: the first message may have been lost."""
    for _ in range(worker.messages_due()):
        cf_images_process()


def send(hint: int | None = None) -> None:
    """Put a message into huey's queue. It holds one integer at most, so that nothing secret is pickled."""
    cf_images_process(hint)
