"""System checks: report at start-up what would fail at run time. No network; IDs never change.

``storages`` checks settings and accounts, ``project`` fields and other apps, ``names`` the length of fields,
``defaults`` their default images, ``mirrors`` pairs of storages, ``renditions`` what other apps make of
images, ``background`` the queue, ``tenants`` the schemas of the tables. Each check yields messages and may
raise ``ImproperlyConfigured``, which E001 reports. Each hint ends with a link to the page about its ID.
"""

from __future__ import annotations

from typing import Any

from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from cf_images.checks import (
    background,
    browser,
    defaults,
    mirrors,
    names,
    project,
    renditions,
    storages,
    tenants,
)
from cf_images.checks.storages import Check, linked

_CHECKS = (
    *storages.CHECKS,
    *project.CHECKS,
    *names.CHECKS,
    *defaults.CHECKS,
    *renditions.CHECKS,
    *background.CHECKS,
    *browser.CHECKS,
    *mirrors.CHECKS,
    *tenants.CHECKS,
)


def register_all() -> None:
    """Register every check with Django; once, however often the apps get ready."""
    for check in _REGISTERED:
        checks.register(check, "cf_images")


def _for_django(check: Check) -> Any:
    def run(**_: Any) -> list[checks.CheckMessage]:
        found: list[checks.CheckMessage] = []
        try:
            for message in check():
                found.append(linked(message))  # noqa: PERF401  # keeps what came before an error
        except ImproperlyConfigured:
            pass  # E001 reports it
        return found

    return run


_REGISTERED = [_for_django(check) for check in _CHECKS]
