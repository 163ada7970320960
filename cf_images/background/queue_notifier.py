"""Notify a queue that there is work. The message may be lost, sent twice or late: the row is what counts."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from django.apps import apps
from django.db import connections
from django.utils.module_loading import import_string

from cf_images import conf
from cf_images.background import queue_state, timing

logger = logging.getLogger("cf_images.background")

HUEY, NONE = "huey", "none"
DJHUEY = "huey.contrib.djhuey"
_HUEY_TASK = "cf_images.background.huey_tasks.cf_images_process"

Send = Callable[[int | None], object]

_hanging: list[threading.Thread] = []
_failing = threading.Event()  # until the queue accepts a message


def queue() -> str:
    """Return the queue that ``CF_IMAGES["QUEUE"]`` names: ``"huey"``, ``"none"`` or the path of a
    callable.
    """
    return conf.setting("QUEUE") or (HUEY if apps.is_installed(DJHUEY) else NONE)


def sender() -> Send | None:
    """Return what sends messages; ``None`` for no queue. ``ImportError`` for a path that leads nowhere."""
    chosen = queue()
    if chosen == NONE:
        return None
    if chosen == HUEY and not uses_huey():
        raise ImportError(f"{DJHUEY} is not in INSTALLED_APPS")
    # By its path, as a queue of one's own: huey connects when it is imported.
    found: Send = import_string(_HUEY_TASK if chosen == HUEY else chosen)
    return found


def notify(hint: int | None = None) -> bool:
    """Send a message for the row ``hint``, or for whatever is due, if the queue does not hold enough already.

    Return whether a worker will wake. Never raises, and gives up after five seconds: the image is safe, and
    the sweep notifies again.
    """
    try:
        if is_inline():
            return _send(hint)
        if any(thread.is_alive() for thread in _hanging):
            return False  # one save() has waited for this queue already; the next ones must not
        _hanging.clear()
        if not queue_state.reserve_message():
            return True
    except Exception as error:  # noqa: BLE001  # settings, drivers and queues raise anything; save() succeeded
        _log_failure(error)
        return False
    accepted = _send_within_seconds(hint)
    if not accepted and not _hanging:
        _take_back()
    return accepted


def _send_within_seconds(hint: int | None) -> bool:
    accepted: list[bool] = []
    thread = threading.Thread(
        target=_send_in_thread, args=(hint, accepted), name="cf-images-notify", daemon=True
    )
    try:
        thread.start()
    except RuntimeError:  # the interpreter is shutting down
        return False
    thread.join(timing.NOTIFY_SECONDS)
    if thread.is_alive():
        _hanging.append(thread)
        logger.warning(
            "The queue has not responded for %s s; pending images are uploaded later.", timing.NOTIFY_SECONDS
        )
    return accepted == [True]


def _take_back() -> None:
    try:
        queue_state.received()
    except Exception as error:  # noqa: BLE001  # the count is corrected after a minute
        logger.info("The message that was not sent is still counted: %s", error)


def uses_huey() -> bool:
    """Return whether huey is the queue, and may be imported: without djhuey in the settings it never is."""
    return queue() == HUEY and apps.is_installed(DJHUEY)


def is_inline() -> bool:
    """Return whether notifying needs no thread: there is no queue, or huey works at once (immediate mode)."""
    if not uses_huey():
        return queue() == NONE
    from huey.contrib.djhuey import HUEY as INSTANCE  # huey connects when it is imported

    return bool(INSTANCE.immediate)


def _send_in_thread(hint: int | None, accepted: list[bool]) -> None:
    try:
        accepted.append(_send(hint))
    finally:
        connections.close_all()  # this thread's own, if the queue lives in the database


def _send(hint: int | None) -> bool:
    try:
        if (send := sender()) is None:
            return False
        send(hint)
    except (Exception, SystemExit) as error:  # noqa: BLE001  # queues raise anything; save() succeeded
        _log_failure(error)
        return False
    if _failing.is_set():
        _failing.clear()
        logger.warning("The queue accepts messages again.")
    return True


def _log_failure(error: BaseException) -> None:
    """Log the first failure of several: each save() notifies."""
    level = logging.INFO if _failing.is_set() else logging.WARNING
    _failing.set()
    logger.log(level, "The queue cannot be reached; pending images are uploaded later: %r", error)
