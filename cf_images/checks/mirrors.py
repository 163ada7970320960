"""Checks of mirrors: whether there are two storages to keep files in, and workers that copy."""

from __future__ import annotations

from typing import Any

from django.core import checks

from cf_images import conf
from cf_images.accounts import is_mirror, sides_of
from cf_images.background import queue_notifier
from cf_images.checks.storages import Check, Messages

_HINT = (
    'OPTIONS {"primary": "local", "secondary": "cloudflare_images"} name two other aliases in STORAGES: '
    "where files are now, and where they are copied."
)


def sides() -> Messages:
    """E033: a mirror whose primary or secondary is missing, a mirror itself, or the same as the other."""
    for alias in _mirrors():
        if problem := _problem(alias):
            yield checks.Error(f'STORAGES["{alias}"]: {problem}.', hint=_HINT, id="cf_images.E033")


def workers() -> Messages:
    """I034: copies wait for a worker, and there is no queue that would wake one."""
    if conf.is_debug_or_test() or queue_notifier.queue() != queue_notifier.NONE:
        return
    for alias in _mirrors():
        yield checks.Info(
            f'STORAGES["{alias}"] copies its files in the background, and there is no queue.',
            hint="Run `manage.py cf_images process` as a service or by cron, or set up a queue.",
            id="cf_images.I034",
        )


CHECKS: tuple[Check, ...] = (sides, workers)


def _mirrors() -> list[str]:
    return list(filter(is_mirror, conf.storage_declarations()))


def _problem(alias: str) -> str:
    options: Any = conf.storage_declarations()[alias].get("OPTIONS") or {}
    if not isinstance(options, dict):
        return "its OPTIONS are not a dictionary"
    if unknown := sorted(options.keys() - {"primary", "secondary"}):
        return f"it has no option {unknown[0]!r}"
    for name in ("primary", "secondary"):
        side = options.get(name)
        if not side:
            return f"it has no {name}"
        if side not in conf.storage_declarations():
            return f"its {name} is {side!r}, which is not in STORAGES"
        if is_mirror(side):
            return f"its {name} is {side!r}, which is a mirror itself"
    first, second = sides_of(alias)
    return f"its primary and secondary are both {first!r}" if first == second else ""
