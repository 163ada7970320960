"""How background uploads are doing. That settings of theirs are right, the system checks say."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta

from django.utils.timesince import timesince
from django.utils.timezone import now

from cf_images import conf
from cf_images.background import Status, bell, checks, status, timing
from cf_images.checks import cloudflare_options
from cf_images.doctor.findings import Finding, failure, ok, skipped, warning

# A minute is what the sweeper needs where the queue lost a message; an upload takes another.
_LATE = timedelta(minutes=10)
_TOO_LATE = timedelta(hours=1)
_WORKER = "Is a worker running (manage.py run_huey, or cf_images deliver), and does it say why it fails?"


def uploads() -> Iterator[Finding]:
    """What waits, for how long, and what is in the way."""
    found = status()
    if not (_is_used() or found.pending or found.rejected or found.doomed):
        yield skipped("uploads", "No storage uploads in the background.")
        return
    yield _pending(found)
    yield from _gates(found)
    if found.rejected:
        message = f"{found.rejected:,} images were refused for good, and are still here."
        remedy = "The admin says why, under Uploads: try again, or discard them there."
        yield warning("rejected", message, remedy=remedy)
    for alias in found.stranded:
        message = f"Images wait for the storage {alias!r}, which is not in STORAGES."
        yield failure("stranded", message, remedy="Put it back, or discard these images in the admin.")


def queue() -> Iterator[Finding]:
    """The queue's own storage answers, where it is huey; of others nobody can ask."""
    if not _is_used() or any(checks.queue()):
        return
    if bell.queue() == bell.NONE:
        yield skipped("queue", "There is no queue: cf_images deliver must run, by cron or as a service.")
        return
    if not bell.uses_huey():
        yield skipped("queue", f"The queue is {bell.queue()!r}; whether it works only it knows.")
        return
    waiting = _messages()
    if isinstance(waiting, int):
        yield ok("queue", f"huey answers: {waiting:,} messages in its queue.")
        return
    yield failure(
        "queue",
        f"huey's storage does not answer: {waiting}",
        remedy="Check HUEY in the settings, and that Redis, or what it uses, runs. The sweeper delivers "
        "nothing without it; manage.py cf_images deliver needs no queue.",
    )


def _is_used() -> bool:
    return any(conf.option("background", options) for options in cloudflare_options().values())


def _pending(found: Status) -> Finding:
    age = found.oldest_pending_age or timedelta()
    words = f"{found.pending:,} images wait"
    if age >= _LATE:
        kind = failure if age >= _TOO_LATE else warning
        return kind("pending", f"{words}, the oldest for {timesince(now() - age)}.", remedy=_WORKER)
    return ok("pending", f"{words} to be uploaded.")


def _gates(found: Status) -> Iterator[Finding]:
    for gate in found.gates:
        aliases = ", ".join(gate.aliases) or "an account that no storage uses"
        yield failure(
            "gate",
            f"Uploads to {aliases} pause until {gate.closed_until:%H:%M:%S %Z}: {gate.reason}",
            remedy="Mend what it says; the next attempt opens the gate, and nothing is lost meanwhile.",
        )


def _messages() -> int | str:
    """How many wait in huey's queue, or why it does not say; a hanging Redis has five seconds."""
    answers: list[int | str] = []
    thread = threading.Thread(target=_ask, args=[answers], name="cf-images-doctor", daemon=True)
    thread.start()
    thread.join(timing.RING)
    return answers[0] if answers else f"no answer within {timing.RING:g} seconds"


def _ask(answers: list[int | str]) -> None:
    from huey.contrib.djhuey import HUEY  # huey connects when it is imported

    try:
        answers.append(HUEY.pending_count())
    except (Exception, SystemExit) as error:  # noqa: BLE001  # queues raise what they like, with addresses
        answers.append(f"{type(error).__name__}.")
