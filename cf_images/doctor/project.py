"""What needs no account: the environment, and Django's system checks of this app."""

from __future__ import annotations

from collections.abc import Iterator

from django.core import checks

from cf_images import conf
from cf_images.doctor.findings import Finding, failure, ok, warning

# Another examination reports these for every storage, wherever images stay.
_REPORTED_ELSEWHERE = ("cf_images.E002", "cf_images.E003", "cf_images.E004")


def environment() -> Iterator[Finding]:
    """Report where images go now."""
    name, alias = conf.env_name(), conf.selected_alias()
    called = f"ENV_NAME is {name!r}" if name else "ENV_NAME is not set"
    where = "which keeps them on this machine" if conf.is_local() else "which is not local"
    yield ok("environment", f"{called}: select_storage puts images into STORAGES[{alias!r}], {where}.")


def system_checks() -> Iterator[Finding]:
    """Report every warning or error of this app's checks, under its ID, without the silenced ones."""
    messages = [
        message
        for message in checks.run_checks(tags=["cf_images"])
        if message.is_serious(checks.WARNING) and not message.is_silenced()
    ]
    for message in messages:
        if message.id not in _REPORTED_ELSEWHERE:
            yield _finding(message)
    if not messages:
        yield ok("checks", "The system checks of this app have no warnings.")


def _finding(message: checks.CheckMessage) -> Finding:
    about = f"{message.obj}: " if message.obj is not None else ""
    kind = failure if message.is_serious() else warning
    return kind(message.id or "checks", f"{about}{message.msg}", hint=message.hint or "")
