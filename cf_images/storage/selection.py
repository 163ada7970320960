"""The choice between local files and Cloudflare, by environment."""

from __future__ import annotations

from typing import Any, NoReturn

from django.apps import apps
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import Storage, storages

from cf_images import conf, links
from cf_images.storage.base import ImageStorage


def select_storage() -> Storage:
    """Return the storage for this environment: local files where ``ENV_NAME`` is one of ``LOCAL_ENVS``.

    For ``ImageField(storage=select_storage)``: migrations hold only this path. Where the settings are wrong,
    models still import, so that the checks can report it; using the storage reports it, too.
    """
    try:
        return storages[conf.selected_alias()]
    except ImproperlyConfigured as error:
        return MisconfiguredStorage(str(error))


def named(alias: str) -> Storage:
    """Return ``storages[alias]``: what a pickle or a migration holds instead of the values of settings."""
    return storages[alias]


# Migrations and pickles hold this path: where this module is must not matter to them.
select_storage.__module__ = named.__module__ = "cf_images.storage"


class MisconfiguredStorage(ImageStorage):
    """A stand-in for a storage that the settings cannot give: every use raises ``problem``."""

    def __init__(self, problem: str) -> None:
        self._problem = problem

    def _fail(self, *_: Any, **__: Any) -> NoReturn:
        raise ImproperlyConfigured(self._problem)

    default_variant = has_unique_names = property(_fail)
    save = open = delete = exists = listdir = size = url = generate_filename = replace = _fail
    get_available_name = get_created_time = get_modified_time = get_accessed_time = _fail


@checks.register("cf_images")
def check_installed(**_: Any) -> list[checks.CheckMessage]:
    """W015: the storage is used but the app is not installed. Here, since ``apps.py`` does not run then."""
    if apps.is_installed("cf_images"):
        return []
    hint = links.with_link(
        'Add "cf_images" to INSTALLED_APPS: it brings the checks, the tags and the validation in forms.',
        links.check_page("cf_images.W015"),
    )
    return [checks.Warning("cf_images is used but not installed.", hint=hint, id="cf_images.W015")]
