"""System checks: say at start-up what would fail at run time. No network; IDs never change."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Field, FileField, ImageField
from django.urls import NoReverseMatch, reverse
from django.utils.module_loading import import_string

from cf_images import conf, delivery
from cf_images.background import checks as background_checks
from cf_images.declared import flaws
from cf_images.local import LocalImagesStorage
from cf_images.storage import PRIVATE_WITH_GIVEN_NAMES, CloudflareImagesStorage, select_storage

Check = Callable[[], Iterator[checks.CheckMessage]]

_NO_CREDENTIALS = [name for name in conf.STORAGE_OPTIONS if name not in conf.CREDENTIALS]
_ACCOUNT_ID = re.compile(r"[0-9a-f]{32}")
_LOOPBACK = ("localhost", "127.0.0.1", "::1", "0.0.0.0")  # noqa: S104  # compared with, not bound to
# Apps that look up renditions by names of their own: the setting that names the alias, and its default.
_RENDITIONS = {
    "easy_thumbnails": ("THUMBNAIL_DEFAULT_STORAGE_ALIAS", "easy_thumbnails"),
    "sorl.thumbnail": ("THUMBNAIL_STORAGE", "default"),
    "imagekit": ("IMAGEKIT_DEFAULT_FILE_STORAGE", "default"),
}


def register_all() -> None:
    """Register every check of this module with Django; once, however often the apps get ready."""
    for check in _CHECKS:
        checks.register(check, "cf_images")


def _for_django(check: Check) -> Any:
    def run(**_: Any) -> list[checks.CheckMessage]:
        found: list[checks.CheckMessage] = []
        try:
            for message in check():
                found.append(message)  # noqa: PERF402  # keeps what came before an error
        except ImproperlyConfigured:
            pass  # E001 says it
        return found

    return run


def _settings() -> Iterator[checks.CheckMessage]:
    """E001: an unknown key or option, or a value that it cannot have."""
    hint = "Correct it in your settings; the README's section Settings explains each of them."
    try:
        for name in conf.PACKAGE_OPTIONS:
            conf.package(name)
        for alias, options in cloudflare_options().items():
            conf.check_options(options)
            for name in _NO_CREDENTIALS:
                conf.option(name, options)
            for name in ("api_url", "delivery_url"):
                if not _host(conf.option(name, options)):
                    raise ImproperlyConfigured(f'STORAGES["{alias}"]: {name} is not an address (https://…).')
    except ImproperlyConfigured as error:
        yield checks.Error(str(error), hint=hint, id="cf_images.E001")


def _credentials() -> Iterator[checks.CheckMessage]:
    """E002: a missing credential; E003: one that cannot be right. Silent where images stay local."""
    for alias, options in _used_options().items():
        yield from credentials_of(alias, options)


def credentials_of(alias: str, options: dict[str, Any]) -> Iterator[checks.CheckMessage]:
    """The same of one storage, wherever images stay."""
    values: dict[str, Any] = {}
    for name in conf.CREDENTIALS:
        try:
            values[name] = conf.option(name, options)
        except ImproperlyConfigured as error:
            hint = f"Correct it there, or {conf.remedy(name)}."
            yield checks.Error(f'STORAGES["{alias}"]: {error}', hint=hint, id="cf_images.E003")
            return
    for name in [name for name, value in values.items() if value is None]:
        hint = f"Either {conf.remedy(name)}."
        yield checks.Error(f'STORAGES["{alias}"] has no {name}.', hint=hint, id="cf_images.E002")
    if _ACCOUNT_ID.fullmatch(values["account_hash"] or ""):
        yield checks.Error(
            f'STORAGES["{alias}"]: the account_hash looks like an account ID (32 hexadecimal digits).',
            hint="The hash is in every delivery URL: https://imagedelivery.net/<account_hash>/… "
            "(dashboard: Images, Hosted images, Developer Resources).",
            id="cf_images.E004",
        )


def _emulator() -> Iterator[checks.CheckMessage]:
    """E011: images would go to an emulator on this machine although DEBUG is off. Silent as for E002."""
    if settings.DEBUG:
        return
    for alias, options in _used_options().items():
        for name in ("api_url", "delivery_url"):
            if _host(conf.option(name, options)) in _LOOPBACK:
                yield checks.Error(
                    f'STORAGES["{alias}"]: {name} is on this machine, like an emulator, and DEBUG is off.',
                    hint=f"Remove {name} to use Cloudflare, or silence this check where it is meant.",
                    id="cf_images.E011",
                )


def _variants() -> Iterator[checks.CheckMessage]:
    """E013: a declaration in VARIANTS that Cloudflare would refuse."""
    for place, flaw in flaws(conf.package("VARIANTS")):
        yield checks.Error(
            f'CF_IMAGES["VARIANTS"]{place}: {flaw}.',
            hint='A variant is declared like "avatar": {"width": 240, "height": 240, "fit": "cover"}.',
            id="cf_images.E013",
        )


def _private() -> Iterator[checks.CheckMessage]:
    """E016, E017, I018: what Cloudflare cannot do with private images, and keys that a page must wait for."""
    for alias, options in _used_options().items():
        if not conf.option("require_signed_urls", options):
            continue
        if delivery.is_flexible(variant := conf.option("variant", options)):
            yield checks.Error(
                f'STORAGES["{alias}"] keeps private images and serves {variant!r}: Cloudflare signs no '
                f"flexible variants.",
                hint='Declare a named variant in CF_IMAGES["VARIANTS"] and name it in "variant".',
                id="cf_images.E016",
            )
        if not conf.option("unique_names", options):
            hint = 'Turn "unique_names" on, or "require_signed_urls" off.'
            message = f'STORAGES["{alias}"]: {PRIVATE_WITH_GIVEN_NAMES}'
            yield checks.Error(message, hint=hint, id="cf_images.E017")
        if not conf.signing_keys(options):
            yield checks.Info(
                f'STORAGES["{alias}"] keeps private images and has no signing keys: the first page of each '
                f"process asks Cloudflare for them, and fails where that fails.",
                hint="Put them into CF_IMG_SIGNING_KEYS: manage.py cf_images keys --reveal prints them.",
                id="cf_images.I018",
            )


def _selection() -> Iterator[checks.CheckMessage]:
    """W005, E006, W007: what ``select_storage`` would choose, and what looks as if it chose."""
    if hasattr(settings, "DEFAULT_FILE_STORAGE"):
        yield checks.Warning(
            "Django ignores DEFAULT_FILE_STORAGE since 5.1.",
            hint='Move its value to STORAGES["default"]["BACKEND"] and remove it.',
            id="cf_images.W005",
        )
    for key in ("LOCAL_ALIAS", "CLOUDFLARE_ALIAS"):
        if (alias := conf.package(key)) not in settings.STORAGES and any(_selecting_fields()):
            yield checks.Error(
                f'select_storage needs STORAGES["{alias}"], which does not exist.',
                hint=f'Add it, or name another alias in CF_IMAGES["{key}"].',
                id="cf_images.E006",
            )
    if conf.is_local() and not settings.DEBUG and any(_selecting_fields()):
        yield checks.Warning(
            f"select_storage keeps images on this machine's disk (ENV_NAME is {conf.env_name()!r}) "
            f"although DEBUG is off.",
            hint="Set ENV_NAME to the name of this environment, e.g. ENV_NAME=production.",
            id="cf_images.W007",
        )


def _fields() -> Iterator[checks.CheckMessage]:
    """W009, E010: fields that Cloudflare, or a migration, should not see like this."""
    for field in _file_fields():
        storage = field.storage
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
                "The field's storage was given a secret by hand, where code and tracebacks can show it.",
                hint='Put it into the environment or into STORAGES, and use storages["<alias>"].',
                obj=field,
                id="cf_images.E010",
            )


def _neighbors() -> Iterator[checks.CheckMessage]:
    """E008, W012: other apps that keep their files with us in a way that cannot work."""
    ours = cloudflare_options()
    if "staticfiles" in ours:
        yield checks.Error(
            'STORAGES["staticfiles"] is Cloudflare Images, which refuses scripts and style sheets.',
            hint="Use django.contrib.staticfiles.storage.StaticFilesStorage, or what you had before.",
            id="cf_images.E008",
        )
    for app, (setting, default) in _RENDITIONS.items():
        alias = str(getattr(settings, setting, None) or default)
        if alias not in settings.STORAGES and "." not in alias:  # with a dot it is the path of a class
            alias = "default"
        if apps.is_installed(app) and alias in ours and conf.option("unique_names", ours[alias]):
            yield checks.Warning(
                f'{app} keeps its renditions in STORAGES["{alias}"], where every save gets a new name: '
                f"it would store, and you would pay for, the same rendition again and again.",
                hint=f'Give it an alias with OPTIONS {{"unique_names": False}} in {setting}, or local files.',
                id="cf_images.W012",
            )


def _addresses() -> Iterator[checks.CheckMessage]:
    """W014: local variants are wanted, but their view is not mounted."""
    backend = _backend(conf.package("LOCAL_ALIAS"))
    local = conf.is_local() and issubclass(backend, LocalImagesStorage) and conf.serves_local_variants()
    if not local or not getattr(settings, "ROOT_URLCONF", None):
        return
    try:
        reverse("cf_images:local_variant", args=["public", "name"])
    except NoReverseMatch:
        yield checks.Warning(
            "Local variants show the original: their view is not mounted.",
            hint='Add path("cf-images/", include("cf_images.urls")) to your URLs.',
            id="cf_images.W014",
        )


_CHECKS = [
    _for_django(check)
    for check in (
        _settings,
        _credentials,
        _emulator,
        _variants,
        _private,
        _selection,
        _fields,
        _neighbors,
        _addresses,
        *background_checks.CHECKS,
    )
]


def cloudflare_options() -> dict[str, dict[str, Any]]:
    """The OPTIONS of every alias whose backend is ours."""
    found = {}
    for alias, declared in settings.STORAGES.items():
        if issubclass(_backend(alias), CloudflareImagesStorage):
            options: Any = declared.get("OPTIONS") or {}
            if not isinstance(options, dict):
                raise ImproperlyConfigured(f'STORAGES["{alias}"]["OPTIONS"] is not a dictionary.')
            found[alias] = options
    return found


def _used_options() -> dict[str, dict[str, Any]]:
    """The same without those that need not work, because ``select_storage`` keeps images on this machine."""
    used = {conf.selected_alias()} if conf.is_local() else settings.STORAGES.keys()
    return {alias: options for alias, options in cloudflare_options().items() if alias in used}


def _host(url: str) -> str:
    """The host of an address; empty where it is none."""
    try:
        address = urlsplit(url)
    except ValueError:
        return ""
    return address.hostname or "" if address.scheme in ("http", "https") else ""


def _backend(alias: str) -> type:
    """The storage class of an alias; ``object`` where there is none, which Django itself reports."""
    try:
        backend = import_string(settings.STORAGES[alias]["BACKEND"])
    except (ImportError, KeyError, TypeError, AttributeError):
        return object
    return backend if isinstance(backend, type) else object


def _file_fields() -> Iterator[FileField]:
    for model in apps.get_models(include_auto_created=True):
        fields: list[Any] = list(model._meta.local_fields)
        yield from (field for field in fields if isinstance(field, FileField))


def _selecting_fields() -> Iterator[Field[Any, Any]]:
    return (field for field in _file_fields() if getattr(field, "_storage_callable", None) is select_storage)
