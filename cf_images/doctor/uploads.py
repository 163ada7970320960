"""The state of background uploads; the system checks examine their settings."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta

from cf_images import conf
from cf_images.accounts import backend_options, is_mirror
from cf_images.background import Status, status, timing, wording
from cf_images.background.queue_notifier import NONE, uses_huey
from cf_images.background.queue_notifier import queue as chosen_queue
from cf_images.background.reporting import LATE, other_account, unknown_storage
from cf_images.checks.background import queue as queue_check
from cf_images.doctor.findings import Finding, failure, ok, skipped, warning

_TOO_LATE = timedelta(hours=1)
_WORKER = "Is a worker running (manage.py run_huey, or cf_images process), and does it log why it fails?"


def uploads() -> Iterator[Finding]:
    """Examine what is pending, for how long, and why."""
    found = status()
    if not (_is_used() or found.pending or found.rejected or found.deleting):
        yield skipped("uploads", "No storage uploads in the background.")
        return
    yield _pending(found)
    yield _worker(found)
    yield from _paused(found)
    if found.rejected:
        message = f"{wording.images_are(found.rejected)} rejected by Cloudflare; the bytes are still here."
        hint = (
            "The admin shows why, under Uploads, as does manage.py cf_images uploads: try again, or delete."
        )
        yield warning("rejected", message, hint=hint)
    for alias in found.unknown_storages:
        hint = "Put it back, or delete these images in the admin."
        yield failure("unknown-storage", unknown_storage(alias), hint=hint)
    for alias in found.other_accounts:
        hint = "Start a worker with its account ID and api_url, or delete these images in the admin."
        yield failure("other-account", other_account(alias), hint=hint)


def queue() -> Iterator[Finding]:
    """Examine whether the queue's own storage responds, where it is huey; other queues cannot be examined."""
    if not _is_used() or any(queue_check()):
        return
    if chosen_queue() == NONE:
        yield skipped("queue", "There is no queue: cf_images process must run, by cron or as a service.")
        return
    if not uses_huey():
        yield skipped("queue", f"The queue is {chosen_queue()!r}; whether it works is not known here.")
        return
    messages = _messages()
    if isinstance(messages, int):
        yield ok("queue", f"huey responds; messages in its queue: {messages:,}.")
        return
    yield failure(
        "queue",
        f"huey's storage does not respond: {messages}",
        hint="Check HUEY in the settings, and that Redis, or what it uses, runs. Without it nothing is "
        "uploaded; manage.py cf_images process needs no queue.",
    )


def _is_used() -> bool:
    has_mirror = any(map(is_mirror, conf.storage_declarations()))
    return has_mirror or any(conf.option("background", options) for options in backend_options().values())


def _pending(found: Status) -> Finding:
    age = found.oldest_pending_age or timedelta()
    words = f"{wording.images_are(found.pending)} pending"
    if age >= LATE:
        kind = failure if age >= _TOO_LATE else warning
        return kind("pending", f"{words}, the oldest for {wording.duration(age)}.", hint=_WORKER)
    return ok("pending", f"{words}.")


def _worker(found: Status) -> Finding:
    if problem := found.idle_problem():
        return failure("worker", problem, hint=_WORKER)
    last = found.last_processed_at
    return ok("worker", f"A worker was active at {wording.moment(last)}." if last else "No work is overdue.")


def _paused(found: Status) -> Iterator[Finding]:
    for account in found.paused:
        hint = (
            "Fix the reason; uploads resume by themselves, or at once with manage.py cf_images resume, and "
            "nothing is lost meanwhile."
        )
        yield failure("paused", str(account), hint=hint)


def _messages() -> int | str:
    """Return the number of messages in huey's queue, or why it is unknown; a hanging Redis has five
    seconds.
    """
    results: list[int | str] = []
    thread = threading.Thread(target=_ask, args=[results], name="cf-images-doctor", daemon=True)
    thread.start()
    thread.join(timing.NOTIFY_SECONDS)
    return results[0] if results else f"no response within {timing.NOTIFY_SECONDS:g} seconds"


def _ask(results: list[int | str]) -> None:
    from huey.contrib.djhuey import HUEY  # huey connects when it is imported

    try:
        results.append(HUEY.pending_count())
    except (Exception, SystemExit) as error:  # noqa: BLE001  # queues raise anything, perhaps with URLs
        results.append(f"{type(error).__name__}.")
