"""The only reader of settings and environment; nothing is read at import, nothing is remembered.

Each option of a storage is looked up, at each call, in ``STORAGES[alias]["OPTIONS"]``, then
``settings.CF_IMAGES["UPPER_CASE"]``, then the flat Django setting, then the environment variable
(the first of its names wins), then its default. ``None`` and ``""`` mean "not given".
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from cf_images.delivery import shape_flaw
from cf_images.signing import lifetime_flaw


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One setting: its default, the types it may have, and its flat names in order of preference.

    ``flaw`` says what else is wrong with a value, or nothing.
    """

    default: Any = None
    types: tuple[type, ...] = (str,)
    names: tuple[str, ...] = ()
    secret: bool = False
    flaw: Callable[[Any], str] | None = None


# What a storage takes in its OPTIONS, and CF_IMAGES in capitals.
STORAGE_OPTIONS: Mapping[str, Option] = {
    "account_id": Option(names=("CF_ACCT_ID", "CF_ACCOUNT_ID")),
    "api_token": Option(names=("CF_IMG_TOKEN", "CF_API_TOKEN"), secret=True),
    "account_hash": Option(names=("CF_IMG_HASH",)),
    "api_url": Option(default="https://api.cloudflare.com/client/v4"),
    "delivery_url": Option(default="https://imagedelivery.net", flaw=shape_flaw),
    "variant": Option(default="public"),
    "background": Option(default=False, types=(bool,)),
    "require_signed_urls": Option(default=False, types=(bool,)),
    "signing_keys": Option(types=(str, list, tuple), names=("CF_IMG_SIGNING_KEYS",), secret=True),
    "expire": Option(default=3600, types=(int, float), flaw=lifetime_flaw),
    "fit_limits": Option(default=False, types=(bool,)),
    "unique_names": Option(default=True, types=(bool,)),
    "metadata": Option(default={}, types=(dict,)),
    "creator": Option(),
    "timeout": Option(default=60.0, types=(int, float)),
}
# What a new account's "public" variant is; an account can change it, so a project may declare its own.
PUBLIC_VARIANT: Mapping[str, Any] = {"width": 1366, "height": 768, "fit": "scale-down"}
_NEVER_SIGNED = ("never_require_signed_urls", "never-require-signed-urls", "neverRequireSignedURLs")
CREDENTIALS = ("account_id", "api_token", "account_hash")

# What only CF_IMAGES has: the package's own settings, the same for every storage.
PACKAGE_OPTIONS: Mapping[str, Option] = {
    "VARIANTS": Option(default={}, types=(dict,)),
    "FLEXIBLE_VARIANTS": Option(types=(bool,)),  # None: the account's own affair
    "LOCAL_ENVS": Option(default=("dev",), types=(list, tuple, set, frozenset)),
    "LOCAL_ALIAS": Option(default="default"),
    "CLOUDFLARE_ALIAS": Option(default="cloudflare_images"),
    "SERVE_LOCAL_VARIANTS": Option(types=(bool,)),  # None: where DEBUG is on
    "VALIDATE_FIELDS": Option(default=True, types=(bool,)),
    # Which addresses upload_from_url and the view accept; Cloudflare fetches them, not we.
    "UPLOAD_URL_SCHEMES": Option(default=("https",), types=(list, tuple, set, frozenset)),
    "UPLOAD_URL_CREDENTIALS": Option(default=False, types=(bool,)),
    "UPLOAD_URL_LOCAL_HOSTS": Option(default=(), types=(list, tuple, set, frozenset)),
    # The bell of background uploads: "huey", "none" or a dotted path; None: huey where djhuey is installed.
    "QUEUE": Option(),
}
_KEYS = {name: name.upper() for name in STORAGE_OPTIONS}
_KNOWN_KEYS = frozenset({*PACKAGE_OPTIONS, *_KEYS.values()})
_NOTHING = (None, "")


class GivenOptions(dict[str, Any]):
    """A storage's own ``OPTIONS``; debug pages and logs show them without what is secret in them."""

    def __repr__(self) -> str:
        return repr({name: "…" if _is_secret(name) else value for name, value in self.items()})


def option(name: str, given: Mapping[str, Any]) -> Any:
    """The value of one storage option; ``given`` are the storage's own ``OPTIONS``."""
    declared = STORAGE_OPTIONS[name]
    place, value = _found(name, declared, given)
    if value is None:
        return declared.default
    problem = _problem(value, declared, place)
    if problem:
        del value  # a debug page shows what each frame knows
        raise ImproperlyConfigured(problem)
    return value


def credential(name: str, given: Mapping[str, Any]) -> str:
    """A credential that must be there; raises ``ImproperlyConfigured`` naming every place it may be put."""
    value = option(name, given)
    if value is None:
        raise ImproperlyConfigured(f"Cloudflare Images has no {name}: {remedy(name)}.")
    return str(value)


def remedy(name: str) -> str:
    """Where a missing credential may be put, in words."""
    names = STORAGE_OPTIONS[name].names
    return (
        f"set the environment variable or Django setting {' or '.join(names)}, "
        f'CF_IMAGES["{name.upper()}"], or "{name}" in the OPTIONS of the storage'
    )


def check_options(given: Mapping[str, Any]) -> None:
    """Refuse an option that no storage knows, and name those that exist."""
    unknown = sorted(given.keys() - STORAGE_OPTIONS.keys())
    if unknown:
        raise ImproperlyConfigured(
            f"Unknown option of the Cloudflare Images storage: {', '.join(unknown)}. "
            f"Known are {', '.join(STORAGE_OPTIONS)}."
        )


def package(name: str) -> Any:
    """One of the package's own settings, from ``CF_IMAGES``."""
    declared = PACKAGE_OPTIONS[name]
    value = _cf_images().get(name)
    if value is None or value == "":
        return declared.default
    if problem := _problem(value, declared, f'CF_IMAGES["{name}"]'):
        raise ImproperlyConfigured(problem)
    return value


def signing_keys(given: Mapping[str, Any]) -> tuple[str, ...]:
    """The signing keys in the settings, oldest first; the environment has them with commas between."""
    value = option("signing_keys", given) or ()
    return tuple(filter(None, value.split(",") if isinstance(value, str) else value))


def storage_options() -> list[Mapping[str, Any]]:
    """The ``OPTIONS`` of every declared storage, and none: what the package's own settings give alone."""
    return [GivenOptions(options) for options in _declared_options()]


def delivery_urls() -> list[str]:
    """Every address from which images of this project may come: of each storage, and Cloudflare's own."""
    given = [options.get("delivery_url") for options in _declared_options()]
    known = [*given, option("delivery_url", {}), STORAGE_OPTIONS["delivery_url"].default]
    return [url for url in dict.fromkeys(known) if isinstance(url, str) and url]


def variants() -> Mapping[str, Mapping[str, Any]]:
    """The declared variants, with the ``public`` one that every account begins with."""
    return {"public": PUBLIC_VARIANT, **package("VARIANTS")}


def is_never_signed(variant: str) -> bool:
    """Whether the declared variant shows private images to everybody."""
    options = variants().get(variant, {})
    given = [options.get(name) for name in _NEVER_SIGNED]
    return any(value is True or value == "true" for value in given)  # as DeclaredVariant reads it


def env_name() -> str:
    """The name of the environment: the setting ``ENV_NAME``, else the environment variable, else nothing."""
    return str(getattr(settings, "ENV_NAME", None) or os.environ.get("ENV_NAME", ""))


def is_local() -> bool:
    """Whether ``select_storage`` keeps images on this machine."""
    return env_name() in package("LOCAL_ENVS")


def selected_alias() -> str:
    """The alias in ``STORAGES`` that ``select_storage`` takes."""
    return str(package("LOCAL_ALIAS" if is_local() else "CLOUDFLARE_ALIAS"))


def serves_local_variants() -> bool:
    """Whether the view of local variants answers: where asked for, else where ``DEBUG`` is on."""
    asked = package("SERVE_LOCAL_VARIANTS")
    has_urls = getattr(settings, "ROOT_URLCONF", None)  # a project of workers may have none
    return bool(has_urls and (settings.DEBUG if asked is None else asked))


def _found(name: str, declared: Option, given: Mapping[str, Any]) -> tuple[str, Any]:
    """Where the value of an option was found, and the value; without detours, since every ``url()`` asks."""
    if (value := given.get(name)) not in _NOTHING:
        return f'OPTIONS["{name}"]', value
    if (value := _cf_images().get(_KEYS[name])) not in _NOTHING:
        return f'CF_IMAGES["{_KEYS[name]}"]', value
    for flat in declared.names:
        if (value := getattr(settings, flat, None)) not in _NOTHING:
            return f"the setting {flat}", value
    for flat in declared.names:
        if value := os.environ.get(flat):
            return f"the environment variable {flat}", value
    return "", None


def _cf_images() -> Mapping[str, Any]:
    declared = getattr(settings, "CF_IMAGES", {})
    if isinstance(declared, Mapping) and declared.keys() <= _KNOWN_KEYS:
        return declared
    problem = _misdeclared(declared)
    del declared  # a debug page shows what each frame knows
    raise ImproperlyConfigured(problem)


def _misdeclared(declared: Any) -> str:
    if not isinstance(declared, Mapping):
        return f"CF_IMAGES is a {type(declared).__name__}, not a dictionary."
    unknown = sorted(str(key) for key in declared.keys() - _KNOWN_KEYS)
    return f"Unknown key in CF_IMAGES: {', '.join(unknown)}. Known are {', '.join(sorted(_KNOWN_KEYS))}."


def _declared_options() -> list[Mapping[str, Any]]:
    declared: list[Any] = list(settings.STORAGES.values())
    return [*(storage.get("OPTIONS") or {} for storage in declared), {}]


def _problem(value: Any, declared: Option, place: str) -> str:
    """What is wrong with a value, in words that do not contain it."""
    wrong_bool = isinstance(value, bool) and bool not in declared.types
    if wrong_bool or not isinstance(value, declared.types):
        wanted = " or ".join(kind.__name__ for kind in declared.types)
        return f"{place} is a {type(value).__name__}; it must be a {wanted}."
    if isinstance(value, int | float) and float in declared.types and not value > 0:
        return f"{place} is {value}; it must be above 0."
    if declared.flaw and (flaw := declared.flaw(value)):
        return f"{place} cannot be {value!r}: {flaw}."
    if isinstance(value, list | tuple) and declared.secret:
        return next(filter(None, (_secret_flaw(part, place) for part in value)), "")
    return _secret_flaw(value, place) if isinstance(value, str) and declared.names else ""


def _secret_flaw(value: Any, place: str) -> str:
    """Why a text cannot be a credential."""
    if not isinstance(value, str):
        return f"{place} contains a {type(value).__name__}; it must be a list of str."
    if value.startswith("op://"):
        return (
            f"{place} is an unresolved 1Password reference (op://…): start the process with "
            f"`op run --env-file=… -- <command>`, which replaces it by the secret."
        )
    if not value.isascii() or not value.isprintable() or " " in value:
        return f"{place} contains a line break, a space or a sign that no credential has."
    return ""


def _is_secret(name: str) -> bool:
    return name in STORAGE_OPTIONS and STORAGE_OPTIONS[name].secret
