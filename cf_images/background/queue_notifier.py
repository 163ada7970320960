"""Notify a queue that there is work. The message may be lost, sent twice or late: the row is what counts."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from django.apps import apps
from django.db import connections
from django.utils.module_loading import import_string

from cf_images import conf
from cf_images.background import timing

logger = logging.getLogger("cf_images.background")

HUEY, NONE = "huey", "none"
DJHUEY = "huey.contrib.djhuey"

Send = Callable[[int | None], object]

_hanging: list[threading.Thread] = []


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
    if chosen == HUEY:
        if not uses_huey():
            raise ImportError(f"{DJHUEY} is not in INSTALLED_APPS")
        from cf_images.background import huey_tasks  # huey connects when it is imported

        return huey_tasks.send
    found: Send = import_string(chosen)
    return found


def notify(hint: int | None = None) -> bool:
    """Send a message for the row ``hint``, or for whatever is due; return whether a queue accepted it.

    Never raises, and gives up after five seconds: the image is safe, and the sweep notifies again.
    """
    if is_inline():
        return _send(hint)
    if any(thread.is_alive() for thread in _hanging):
        return False  # one save() has waited for this queue already; the next ones must not
    _hanging.clear()
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
        if send := sender():
            send(hint)
            return True
    except (Exception, SystemExit) as error:  # noqa: BLE001  # queues raise anything; save() succeeded
        logger.warning("The queue cannot be reached; pending images are uploaded later: %r", error)
    return False
