"""Checks of the project's fields, its other apps, and the choice of a storage."""

from __future__ import annotations

from collections.abc import Iterator

from django.apps import apps
from django.core import checks
from django.core.files.storage import Storage
from django.db.models import FileField, ImageField
from django.urls import NoReverseMatch, reverse

from cf_images import conf
from cf_images.accounts import backend_of, backend_options, sides_of
from cf_images.checks.storages import Check, Messages
from cf_images.image_fields import file_fields, selects_storage
from cf_images.storage import CloudflareImagesStorage, LocalImagesStorage
from cf_images.storage.mirror import sides

# Apps that look up renditions by their own names: the setting that names the alias, and its default.
_RENDITIONS = {
    "easy_thumbnails": ("THUMBNAIL_DEFAULT_STORAGE_ALIAS", "easy_thumbnails"),
    "sorl.thumbnail": ("THUMBNAIL_STORAGE", "default"),
    "imagekit": ("IMAGEKIT_DEFAULT_FILE_STORAGE", "default"),
}
_UNSET = object()


def selection() -> Messages:
    """W005, E006, W007: which storage ``select_storage`` chooses, and what has no effect on that."""
    if conf.project_setting("DEFAULT_FILE_STORAGE", _UNSET) is not _UNSET:
        yield checks.Warning(
            "Django ignores DEFAULT_FILE_STORAGE since 5.1.",
            hint='Move its value to STORAGES["default"]["BACKEND"] and remove it.',
            id="cf_images.W005",
        )
    for key in ("LOCAL_ALIAS", "CLOUDFLARE_ALIAS"):
        if (alias := conf.setting(key)) not in conf.storage_declarations() and any(_selecting_fields()):
            yield checks.Error(
                f'select_storage needs STORAGES["{alias}"], which does not exist.',
                hint=f'Add it, or name another alias in CF_IMAGES["{key}"].',
                id="cf_images.E006",
            )
    if conf.is_local() and not conf.is_debug_or_test() and any(_selecting_fields()):
        yield checks.Warning(
            f"select_storage keeps images on this machine's disk (ENV_NAME is {conf.env_name()!r}) "
            f"although DEBUG is off.",
            hint="Set ENV_NAME to the name of this environment, e.g. ENV_NAME=production.",
            id="cf_images.W007",
        )


def fields() -> Messages:
    """W009, W025, E010: fields whose files are refused, and secrets that a migration could show."""
    for field, storage in _storages_of_fields():
        if isinstance(storage, LocalImagesStorage) and not isinstance(field, ImageField):
            yield from _refused_locally(field)
        if not isinstance(storage, CloudflareImagesStorage):
            continue
        if not isinstance(field, ImageField):
            yield checks.Warning(
                "A FileField keeps its files at Cloudflare Images, which refuses everything but images.",
                hint="Make it an ImageField, or give it another storage.",
                obj=field,
                id="cf_images.W009",
            )
        if storage.has_explicit_secret():
            yield checks.Error(
                "The storage of the field was given a secret in code, where tracebacks can show it.",
                hint='Put it into the environment or into STORAGES, and use storages["<alias>"].',
                obj=field,
                id="cf_images.E010",
            )


def other_apps() -> Messages:
    """E008, W012: other apps that keep their files in a storage of this package in a way that cannot work."""
    declared = backend_options()
    if "staticfiles" in declared:
        yield checks.Error(
            'STORAGES["staticfiles"] is Cloudflare Images, which refuses scripts and style sheets.',
            hint="Use django.contrib.staticfiles.storage.StaticFilesStorage, or what you had before.",
            id="cf_images.E008",
        )
    for app, setting, alias in rendition_aliases():
        if alias in declared and conf.option("unique_names", declared[alias]):
            yield checks.Warning(
                f'{app} keeps its renditions in STORAGES["{alias}"], where every save gets a new name: '
                f"it would store, and you would pay for, the same rendition again and again.",
                hint=f'Give it an alias with OPTIONS {{"unique_names": False}} in {setting}, and with a '
                f"variant that does not make renditions smaller; or local files.",
                id="cf_images.W012",
            )


def local_view() -> Messages:
    """W014: local variants are wanted, but their view is not mounted."""
    backends = map(backend_of, sides_of(conf.setting("LOCAL_ALIAS")))
    is_local_storage = any(issubclass(backend, LocalImagesStorage) for backend in backends)
    if not (conf.is_local() and is_local_storage and conf.serves_local_variants()):
        return
    try:
        reverse("cf_images:local_variant", args=["public", "name"])
    except NoReverseMatch:
        yield checks.Warning(
            "Local variants show the original: their view is not mounted.",
            hint='Add path("cf-images/", include("cf_images.urls")) to your URLs.',
            id="cf_images.W014",
        )


def rendition_aliases() -> Iterator[tuple[str, str, str]]:
    """Yield each installed app that makes renditions, the setting that names their alias, and the alias."""
    for app, (setting, default) in _RENDITIONS.items():
        alias = str(conf.project_setting(setting) or default)
        if alias not in conf.storage_declarations() and "." not in alias:  # a dotted path names a class
            alias = "default"
        if apps.is_installed(app):
            yield app, setting, alias


CHECKS: tuple[Check, ...] = (selection, fields, other_apps, local_view)


def _storages_of_fields() -> Iterator[tuple[FileField, Storage]]:
    """Yield each file field with its storage, and one on a mirror with both sides."""
    for field in file_fields():
        yield from ((field, storage) for storage in sides(field.storage))


def _refused_locally(field: FileField) -> Messages:
    if conf.setting("VALIDATE_LOCAL_FILES"):
        yield checks.Warning(
            "A FileField keeps its files in a LocalImagesStorage, which refuses everything but images.",
            hint="Give it another storage, such as an alias with FileSystemStorage, or set "
            'CF_IMAGES["VALIDATE_LOCAL_FILES"] to False.',
            obj=field,
            id="cf_images.W025",
        )


def _selecting_fields() -> Iterator[FileField]:
    return filter(selects_storage, file_fields())
