"""Checks of background uploads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.apps import apps
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import storages
from django.db import connections, router
from django.db.models import FileField
from django.urls import NoReverseMatch, reverse

from cf_images import conf
from cf_images.accounts import AccountStorage, Mirror, is_mirror
from cf_images.background import database, queue_notifier
from cf_images.checks.storages import Check, Messages
from cf_images.storage.pending_urls import VIEW, pending_url


def queue() -> Messages:
    """E101: the queue leads nowhere, so that every image stays pending."""
    chosen = queue_notifier.queue()
    if chosen == queue_notifier.HUEY and not queue_notifier.uses_huey():
        problem = f'CF_IMAGES["QUEUE"] is "huey", but {queue_notifier.DJHUEY} is not in INSTALLED_APPS.'
    elif chosen in (queue_notifier.HUEY, queue_notifier.NONE):
        return
    else:
        try:
            problem = (
                ""
                if callable(queue_notifier.sender())
                else f'CF_IMAGES["QUEUE"] ({chosen}) cannot be called.'
            )
        except ImportError as error:
            problem = f'CF_IMAGES["QUEUE"] cannot be imported: {error}'
    if problem:
        hint = (
            f'Give "huey" with {queue_notifier.DJHUEY} installed, "none", or the dotted path of a callable.'
        )
        yield checks.Error(problem, hint=hint, id="cf_images.E101")


def immediate() -> Messages:
    """W102: huey works within the request, as if there were no background."""
    if conf.is_debug_or_test() or not queue_notifier.uses_huey() or not queue_notifier.is_inline():
        return
    hint = 'Set "immediate": False in HUEY and run `manage.py run_huey`.'
    text = "Huey is in immediate mode: background uploads happen within the request."
    yield checks.Warning(text, hint=hint, id="cf_images.W102")


def view() -> Messages:
    """W103: pending images are broken images until they are stored."""
    if not any(_background_storages()) or not conf.has_urls():
        return
    try:
        reverse(VIEW, args=["public", "image.jpg"])
    except NoReverseMatch:
        hint = 'Add path("cf-images/", include("cf_images.urls")) to your urlpatterns.'
        text = "The view that shows pending images is not mounted."
        yield checks.Warning(text, hint=hint, id="cf_images.W103")


def site_url() -> Messages:
    """W019: a pending image has a URL without a host, which mails, PDFs and feeds cannot use.

    Not where images stay local: a developer's mails go nowhere.
    """
    has_view = pending_url("image.jpg", "public") is not None
    if conf.is_local() or not has_view or conf.setting("SITE_URL") is not None:
        return
    if aliases := list(_background_storages()):
        text = (
            f"STORAGES[{aliases[0]!r}] uploads in the background. The URL of a pending image has no host, "
            f"so that it is broken in mails, PDFs, feeds and og:image."
        )
        hint = 'Set CF_IMAGES["SITE_URL"], such as "https://www.example.com" or a callable that returns it.'
        yield checks.Warning(text, hint=hint, id="cf_images.W019")


def databases() -> Messages:
    """W104: an image is accepted in another transaction than the row of its model."""
    for model in apps.get_models():
        for field in model._meta.get_fields():
            if not isinstance(field, FileField) or not _has_rows(field.storage):
                continue
            if (alias := router.db_for_write(model)) != database():
                text = (
                    f"{field} is written to the database {alias!r}, its background uploads to {database()!r}."
                )
                hint = "A rollback of the first does not undo the second: route them to the same database."
                yield checks.Warning(text, hint=hint, obj=field, id="cf_images.W104")


def sqlite() -> Messages:
    """I105: on SQLite, workers and web processes block each other unless there is a write-ahead log.

    Not where images stay local: a single developer has neither.
    """
    if conf.is_local() or not (
        any(_background_storages()) or any(map(is_mirror, conf.storage_declarations()))
    ):
        return
    declared = connections[database()].settings_dict
    if not declared["ENGINE"].endswith("sqlite3") or _has_write_ahead_log(declared):
        return
    hint = 'Add "init_command": "PRAGMA journal_mode=WAL" to the OPTIONS of the database.'
    text = "SQLite without a write-ahead log: uploading workers and web processes block each other."
    yield checks.Info(text, hint=hint, id="cf_images.I105")


CHECKS: tuple[Check, ...] = (queue, immediate, view, site_url, databases, sqlite)


def _background_storages() -> Iterator[str]:
    for alias in conf.storage_declarations():
        try:
            if _is_background(storages[alias]):
                yield alias
        except (ImproperlyConfigured, AttributeError, KeyError, TypeError):
            continue  # other checks report it, or it is no storage at all


def _is_background(storage: Any) -> bool:
    return isinstance(storage, AccountStorage) and storage.options.background


def _has_rows(storage: Any) -> bool:
    """Return whether the storage writes rows with each image."""
    return isinstance(storage, Mirror) or _is_background(storage)


def _has_write_ahead_log(declared: dict[str, Any]) -> bool:
    """In the settings, or written in the file's header (SQLite's "Database File Format", 1.3.3)."""
    if "wal" in str(declared.get("OPTIONS", {}).get("init_command", "")).lower():
        return True
    try:
        with Path(declared["NAME"]).open("rb") as file:
            return file.read(20)[18:] == b"\x02\x02"
    except OSError:
        return False
