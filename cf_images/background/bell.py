"""Tell a worker that there is something to do. A bell: it may be lost, rung twice or late."""

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

_hanging: list[threading.Thread] = []


def queue() -> str:
    """The bell that ``CF_IMAGES["QUEUE"]`` asks for: ``"huey"``, ``"none"`` or the path of a callable."""
    return conf.package("QUEUE") or (HUEY if apps.is_installed(DJHUEY) else NONE)


def bell() -> Callable[[int | None], object] | None:
    """What rings; ``None`` where nobody waits for it. ``ImportError`` for a path that leads nowhere."""
    chosen = queue()
    if chosen == NONE:
        return None
    if chosen == HUEY:
        if not uses_huey():
            raise ImportError(f"{DJHUEY} is not in INSTALLED_APPS")
        from cf_images.background import huey_bell  # huey connects when it is imported

        return huey_bell.ring
    found: Callable[[int | None], object] = import_string(chosen)
    return found


def ring(hint: int | None = None) -> bool:
    """Ring for the row ``hint``, or for whatever is due; ``False`` when nobody can have heard it.

    Never raises, and gives up after five seconds: the image is safe, and the sweeper rings again.
    """
    if rings_inline():
        return _rung(hint)
    if any(thread.is_alive() for thread in _hanging):
        return False  # one save() has waited for this queue already; the next ones must not
    _hanging.clear()
    heard: list[bool] = []
    thread = threading.Thread(target=_ring_in_thread, args=(hint, heard), name="cf-images-bell", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the interpreter is shutting down
        return False
    thread.join(timing.RING)
    if thread.is_alive():
        _hanging.append(thread)
        logger.warning("The queue has not answered for %s s; the images are delivered later.", timing.RING)
    return heard == [True]


def uses_huey() -> bool:
    """Whether huey is the queue, and may be imported: without djhuey in the settings it never is."""
    return queue() == HUEY and apps.is_installed(DJHUEY)


def rings_inline() -> bool:
    """Whether ringing needs no thread: nobody is rung for, or huey works at once (immediate mode)."""
    if not uses_huey():
        return queue() == NONE
    from huey.contrib.djhuey import HUEY as INSTANCE  # huey connects when it is imported

    return bool(INSTANCE.immediate)


def _ring_in_thread(hint: int | None, heard: list[bool]) -> None:
    try:
        heard.append(_rung(hint))
    finally:
        connections.close_all()  # this thread's own, if the queue lives in the database


def _rung(hint: int | None) -> bool:
    try:
        if found := bell():
            found(hint)
            return True
    except (Exception, SystemExit) as error:  # noqa: BLE001  # queues raise what they like; save() succeeded
        logger.warning("The queue cannot be reached, the images are delivered later: %r", error)
    return False
