"""The huey tasks; imported only where huey is the queue, since djhuey connects when it is imported."""

from __future__ import annotations

from datetime import datetime

from django.db import close_old_connections
from django.utils import timezone
from huey import crontab
from huey.contrib.djhuey import HUEY, db_periodic_task, db_task, on_startup

from cf_images.background import heartbeat, queue_state, tables, worker
from cf_images.background.queue_notifier import notify

_MIN_DELAY = 1.0  # seconds; the consumer looks for scheduled tasks once a second


@db_task(name="cf_images_process")  # type: ignore[untyped-decorator]  # huey has no types
@tables.reported
def cf_images_process(hint: int | None = None, *, is_scheduled: bool = False) -> None:
    """Process rows for a few seconds; no retries by huey, the row says what comes next.

    Wakes another worker where there is more to do than for one, and sends a message to itself for what is
    left, so that the site's own tasks get their turn in between.
    """
    if HUEY.immediate:
        worker.process(hint)
        return
    queue_state.woken() if is_scheduled else queue_state.received()
    heartbeat.start()
    if worker.has_work_for_others():
        notify()
    done = worker.process(hint)
    if done.more_due:
        notify()
    elif done.next_at:
        schedule(done.next_at)


@db_periodic_task(crontab(minute="*"), name="cf_images_sweep")  # type: ignore[untyped-decorator]  # huey has no types
@tables.reported
def cf_images_sweep() -> None:
    """Each minute, wake a worker for rows that are due: an earlier message may have been lost."""
    next_at = worker.sweep()
    if next_at is None:
        return
    if next_at <= timezone.now():
        notify()
    elif not HUEY.immediate:
        schedule(next_at)


@on_startup()  # type: ignore[untyped-decorator]  # huey has no types
@tables.reported
def cf_images_start() -> None:
    """A consumer that starts looks for work at once; called in each of its workers."""
    try:
        heartbeat.start()
        notify()
    finally:
        close_old_connections()


def schedule(at: datetime) -> None:
    """Put a message into huey's queue that arrives at a later moment, if none arrives before that."""
    if queue_state.reserve_wake(at):
        delay = max(_MIN_DELAY, (at - timezone.now()).total_seconds())
        cf_images_process.schedule(kwargs={"is_scheduled": True}, delay=delay)
