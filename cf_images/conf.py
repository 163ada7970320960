"""The only reader of settings and environment variables.

An option of a storage comes from ``STORAGES[alias]["OPTIONS"]``, then ``CF_IMAGES["UPPER_CASE"]``, then the
flat Django setting, then the environment variable (the first of its names wins), then its default. ``None``
and ``""`` mean "not given". A value is read once and kept until Django's ``setting_changed``; a wrong one is
never kept, so that every use reports it. Code that changes the environment of a running process calls
``clear_cache()``.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any, NoReturn, TypeVar
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from cf_images import links
from cf_images.delivery.signing import lifetime_problem
from cf_images.delivery.urls import url_template_problem
from cf_images.exceptions import InvalidVariantError
from cf_images.variants import NamedVariant, grammar
from cf_images.variants.flexible import FlexibleVariant

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A setting: its default, the types it may have, and its flat names in order of preference.

    ``problem`` returns what else is wrong with a value, or an empty string.
    """

    default: Any = None
    types: tuple[type, ...] = (str,)
    names: tuple[str, ...] = ()
    secret: bool = False
    problem: Callable[[Any], str] | None = None
    can_be_none: bool = False  # None is a value, and does not mean "not given"


def _url_problem(url: str) -> str:
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname and (parts.port is None or parts.port))
    except ValueError:
        has_host = False
    if not has_host or parts.scheme not in ("http", "https") or not url.isprintable() or " " in url:
        return "it is not a URL such as https://images.example.com"
    return ""


def _api_url_problem(url: str) -> str:
    # With the account ID it identifies the account in a column of 255 characters.
    return _url_problem(url) or ("it has more than 200 characters" if len(url) > 200 else "")


def _delivery_url_problem(url: str) -> str:
    return url_template_problem(url) or _url_problem(url)


def _variant_problem(variant: str) -> str:
    try:
        grammar.clean_variant(variant)
    except InvalidVariantError as error:
        return error.message.rstrip(".")
    return ""


MAX_SITE_LENGTH = 64  # characters; it takes part of the 1,024 bytes that an image's metadata may have


def _rate_problem(rate: Any) -> str:
    is_right = len(rate) == 2 and all(isinstance(part, int | float) and part > 0 for part in rate)
    return "" if is_right else "give requests and seconds, such as (1200, 300), or None"


def _site_problem(site: str) -> str:
    return f"it has more than {MAX_SITE_LENGTH} characters" if len(site) > MAX_SITE_LENGTH else ""


def _origin_problem(url: str) -> str:
    """Return why a text is not the URL of a site without a path: a prefix of all URLs is Django's setting."""
    if _url_problem(url):
        return "it is not a URL such as https://www.example.com"
    parts = urlsplit(url)
    if "@" in parts.netloc or parts.path not in ("", "/") or "?" in url or "#" in url:
        return "give scheme and host alone, such as https://www.example.com (FORCE_SCRIPT_NAME adds a prefix)"
    return ""


def _site_url_problem(given: str | Callable[[], str]) -> str:
    if callable(given) or "/" in given:
        return "" if callable(given) else _origin_problem(given)
    try:
        found = import_string(given)
    except ImportError as error:
        return f"it is no URL such as https://www.example.com, and cannot be imported: {error}".rstrip(".")
    return "" if callable(found) else f"it is a {type(found).__name__} and cannot be called"


def _function_problem(given: str | Callable[..., Any]) -> str:
    if callable(given):
        return ""
    try:
        found = import_string(given)
    except ImportError as error:
        return f"it cannot be imported: {error}".rstrip(".")
    return "" if callable(found) else f"it is a {type(found).__name__} and cannot be called"


def _reservation_problem(seconds: int) -> str:
    return "" if 120 <= seconds <= 21_600 else "Cloudflare takes 120 to 21,600 seconds"


# What a storage takes in its OPTIONS, and CF_IMAGES in capitals.
STORAGE_OPTIONS: Mapping[str, Option] = {
    "account_id": Option(names=("CF_ACCT_ID", "CF_ACCOUNT_ID")),
    "api_token": Option(names=("CF_IMG_TOKEN", "CF_API_TOKEN"), secret=True),
    "account_hash": Option(names=("CF_IMG_HASH",)),
    "api_url": Option(default="https://api.cloudflare.com/client/v4", problem=_api_url_problem),
    "batch_url": Option(default="https://batch.imagedelivery.net", problem=_url_problem),
    "delivery_url": Option(default="https://imagedelivery.net", problem=_delivery_url_problem),
    "variant": Option(default="public", problem=_variant_problem),
    "background": Option(default=False, types=(bool,)),
    "require_signed_urls": Option(default=False, types=(bool,)),
    "signing_keys": Option(types=(str, list, tuple), names=("CF_IMG_SIGNING_KEYS",), secret=True),
    "expire": Option(default=3600, types=(int, float), problem=lifetime_problem),
    "fit_limits": Option(default=False, types=(bool,)),
    "unique_names": Option(default=True, types=(bool,)),
    "metadata": Option(default={}, types=(dict,)),
    "site": Option(problem=_site_problem),
    "creator": Option(),
    "timeout": Option(default=60.0, types=(int, float)),
}
CREDENTIALS = ("account_id", "api_token", "account_hash")
# What the variant "public" of a new account is. An account can change it, so a project may declare its own.
PUBLIC_VARIANT: Mapping[str, Any] = {"width": 1366, "height": 768, "fit": "scale-down"}

# What only CF_IMAGES has: settings of the package, the same for every storage.
PACKAGE_OPTIONS: Mapping[str, Option] = {
    "VARIANTS": Option(default={}, types=(dict,)),
    "FLEXIBLE_VARIANTS": Option(types=(bool,)),  # None: as the account has it
    "LOCAL_ENVS": Option(default=("dev",), types=(list, tuple, set, frozenset)),
    "LOCAL_ALIAS": Option(default="default"),
    "CLOUDFLARE_ALIAS": Option(default="cloudflare_images"),
    "SERVE_LOCAL_VARIANTS": Option(types=(bool,)),  # None: where DEBUG is on
    "SITE_URL": Option(types=(str, Callable), problem=_site_url_problem),  # type: ignore[arg-type]  # an ABC
    "VALIDATE_FIELDS": Option(default=True, types=(bool,)),
    "VALIDATE_LOCAL_FILES": Option(default=True, types=(bool,)),
    # Which URLs upload_from_url and the view accept. Cloudflare fetches them, not this site.
    "UPLOAD_URL_SCHEMES": Option(default=("https",), types=(list, tuple, set, frozenset)),
    "UPLOAD_URL_CREDENTIALS": Option(default=False, types=(bool,)),
    "UPLOAD_URL_LOCAL_HOSTS": Option(default=(), types=(list, tuple, set, frozenset)),
    # Requests and seconds: the limit that Cloudflare documents for all tokens of a user ("API rate limits").
    # None: no limit is known, and the pace follows Cloudflare's responses.
    "API_RATE": Option(default=(1200, 300), types=(list, tuple), problem=_rate_problem, can_be_none=True),
    # Who is notified of background uploads: "huey", "none" or a dotted path. None: huey where djhuey is
    # installed.
    "QUEUE": Option(),
    # Uploads from the browser: for all image fields of admins and forms that can have them; who may upload
    # (a function, or its path); reservations and seconds for each user, and how many may be open at once: for
    # each user or session, and for all visitors without an account together.
    "DIRECT_UPLOADS": Option(default=False, types=(bool,)),
    "DIRECT_UPLOADS_ALLOWED": Option(types=(str, Callable), problem=_function_problem),  # type: ignore[arg-type]  # an ABC
    "DIRECT_UPLOADS_RATE": Option(default=(120, 60), types=(list, tuple), problem=_rate_problem),
    "DIRECT_UPLOADS_OPEN": Option(default=100, types=(int,)),
    "DIRECT_UPLOADS_OPEN_ANONYMOUS": Option(default=1_000, types=(int,)),
    # Seconds until an upload that was not saved is deleted: Cloudflare's longest ("Direct creator upload").
    "DIRECT_UPLOADS_EXPIRE": Option(default=21_000, types=(int,), problem=_reservation_problem),
    # The secret of Cloudflare's webhook; without it, the view of the webhook does not exist.
    "WEBHOOK_SECRET": Option(secret=True),
}
_KEYS = {name: name.upper() for name in STORAGE_OPTIONS}
_KNOWN_KEYS = frozenset({*PACKAGE_OPTIONS, *_KEYS.values()})
_NOT_GIVEN = (None, "")


# The cache

_generation = 0
_cache: dict[Any, Any] = {}
_forced: Mapping[str, Any] = {}  # options that a test has chosen for every storage


def generation() -> int:
    """Return a number that increases whenever settings may have changed: the key of whatever depends on
    them.
    """
    return _generation


def clear_cache(**_: Any) -> None:
    """Read all settings and environment variables anew at their next use.

    A new dictionary: a thread that is reading at this moment keeps what it finds in the old one.
    """
    global _generation, _cache
    _generation += 1
    _cache = {}


setting_changed.connect(clear_cache, dispatch_uid="cf_images.conf")


def cached(read: Callable[[], T]) -> Callable[[], T]:
    """Keep what a function without arguments returns until settings change; an exception is not kept."""

    @wraps(read)
    def kept() -> T:
        cache = _cache
        try:
            value: T = cache[kept]
        except KeyError:
            value = cache[kept] = read()
        return value

    return kept


# Tests


@contextmanager
def forced_options(**options: Any) -> Iterator[None]:
    """Give every storage these options, whatever ``OPTIONS``, settings and environment have: for tests.

    ``None`` is "not given", wherever else there is a value.
    """
    global _forced
    before, _forced = _forced, {**_forced, **options}
    clear_cache()
    try:
        yield
    finally:
        _forced = before
        clear_cache()


def is_test_run() -> bool:
    """Return whether Django's test environment is set up, as its runner and pytest-django do.

    Not by ``sys.argv``: there are many runners, and a site may be started in many ways.
    """
    utils = sys.modules.get("django.test.utils")
    return hasattr(getattr(utils, "_TestState", None), "saved_data")


def is_debug_or_test() -> bool:
    """Return whether this is development, or a test run, which turns ``DEBUG`` off."""
    return bool(settings.DEBUG) or is_test_run()


# Options of a storage


class GivenOptions(dict[str, Any]):
    """The ``OPTIONS`` of a storage; ``repr`` hides what is secret in them."""

    def __repr__(self) -> str:
        return repr({name: "…" if _is_secret(name) else value for name, value in self.items()})


class StorageOptions:
    """The options of one storage, as attributes: resolved at the first use, kept if they are right.

    A wrong value raises ``ImproperlyConfigured``, which names where it was found, at each use.
    """

    account_id: str | None
    api_token: str | None
    account_hash: str | None
    api_url: str
    batch_url: str
    delivery_url: str
    variant: str
    background: bool
    require_signed_urls: bool
    signing_keys: tuple[str, ...]  # oldest first
    expire: float
    fit_limits: bool
    unique_names: bool
    metadata: dict[str, Any]
    site: str
    creator: str | None
    timeout: float

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = GivenOptions(given)

    def __getattr__(self, name: str) -> Any:
        if name not in STORAGE_OPTIONS:
            raise AttributeError(
                f"Cloudflare Images has no option {name!r}; there are {', '.join(STORAGE_OPTIONS)}."
            )
        value = option(name, self._given)
        if name == "signing_keys":  # the environment separates them by commas
            value = tuple(filter(None, value.split(",") if isinstance(value, str) else value or ()))
        if name == "site" and value is None:
            value = default_site()
        if name != "api_token":  # read only for a request, and not kept beside what pages use
            self.__dict__[name] = value
        return value

    def __repr__(self) -> str:
        return f"<StorageOptions {self._given!r}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("The options of a storage hold secrets and are not pickled.")

    def require(self, name: str) -> str:
        """Return a credential; raise ``ImproperlyConfigured`` that names every place for a missing one."""
        value = getattr(self, name)
        if value is None:
            raise _misconfigured(f"Cloudflare Images has no {name}: {credential_hint(name)}.")
        return str(value)


def credential_hint(name: str) -> str:
    """Return where a missing credential may be put, in words."""
    names = STORAGE_OPTIONS[name].names
    return (
        f"set the environment variable or Django setting {' or '.join(names)}, "
        f'CF_IMAGES["{name.upper()}"], or "{name}" in the OPTIONS of the storage'
    )


def check_options(given: Mapping[str, Any]) -> None:
    """Raise ``ImproperlyConfigured`` for an option that does not exist, and name those that do."""
    unknown = sorted(given.keys() - STORAGE_OPTIONS.keys())
    if unknown:
        raise _misconfigured(
            f"Unknown option of the Cloudflare Images storage: {', '.join(unknown)}. "
            f"The options are {', '.join(STORAGE_OPTIONS)}."
        )


def default_site() -> str:
    """Return the project's package and environment, such as ``shop/production``."""
    module = getattr(settings, "ROOT_URLCONF", None) or os.environ.get("DJANGO_SETTINGS_MODULE") or ""
    return "/".join(filter(None, [module.partition(".")[0], env_name()]))[:MAX_SITE_LENGTH]


def public_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``given`` without secrets."""
    return {name: value for name, value in given.items() if not _is_secret(name)}


# Settings of the package


def setting(name: str) -> Any:
    """Return one of the package's own settings, from ``CF_IMAGES``."""
    cache = _cache
    try:
        return cache[name]
    except KeyError:
        pass
    declared = PACKAGE_OPTIONS[name]
    given = _cf_images()
    value = given.get(name)
    if value is None and declared.can_be_none and name in given:
        pass
    elif value is None or value == "":
        value = declared.default
    elif problem := _problem(value, declared, f'CF_IMAGES["{name}"]'):
        raise _misconfigured(problem)
    cache[name] = value
    return value


def function_setting(name: str) -> Callable[..., Any] | None:
    """Return the function that a setting is, or has the path of; ``None`` without one."""
    given = setting(name)
    if given is None or callable(given):
        return given  # type: ignore[no-any-return]
    found: Callable[..., Any] = import_string(given)
    return found


def project_setting(name: str, default: Any = None) -> Any:
    """Return a setting that belongs to Django or another package."""
    return getattr(settings, name, default)


def storage_declarations() -> dict[str, Mapping[str, Any]]:
    """Return ``STORAGES``: for each alias its ``BACKEND`` and, perhaps, ``OPTIONS``."""
    return dict(settings.STORAGES)


@cached
def delivery_urls() -> tuple[str, ...]:
    """Return every URL template from which images of this project may come: each storage's, and Cloudflare's
    own.
    """
    given = [(declared.get("OPTIONS") or {}).get("delivery_url") for declared in settings.STORAGES.values()]
    known = [*given, StorageOptions({}).delivery_url, STORAGE_OPTIONS["delivery_url"].default]
    return tuple(url for url in dict.fromkeys(known) if isinstance(url, str) and url)


@cached
def env_name() -> str:
    """Return the name of the environment: the setting ``ENV_NAME``, else the environment variable, else
    ``""``.
    """
    return str(getattr(settings, "ENV_NAME", None) or os.environ.get("ENV_NAME", ""))


def is_local() -> bool:
    """Return whether ``select_storage`` keeps images on this machine."""
    return env_name() in setting("LOCAL_ENVS")


def selected_alias() -> str:
    """Return the alias in ``STORAGES`` that ``select_storage`` uses."""
    return str(setting("LOCAL_ALIAS" if is_local() else "CLOUDFLARE_ALIAS"))


@cached
def serves_local_variants() -> bool:
    """Return whether the view of local variants responds: if asked for, else where ``DEBUG`` is on."""
    asked = setting("SERVE_LOCAL_VARIANTS")
    return bool(has_urls() and (settings.DEBUG if asked is None else asked))


def has_urls() -> bool:
    """Return whether the project has URLs at all; one that only runs workers may have none."""
    return bool(getattr(settings, "ROOT_URLCONF", None))


def site_url() -> str:
    """Return the URL of this site, such as ``https://www.example.com``; ``""`` where it is not set.

    A callable is asked each time, since a process may serve many sites; ``None`` and ``""`` are no URL.
    """
    given = setting("SITE_URL")
    if given is None:
        return ""
    if not callable(given):
        if "/" in given:
            return str(given).rstrip("/")
        given = import_string(given)
    url = given() or ""
    if url and (problem := _origin_problem(str(url))):
        raise _misconfigured(f'CF_IMAGES["SITE_URL"]() returned {_without_password(str(url))!r}: {problem}.')
    return str(url).rstrip("/")


# Variants


def variant_names() -> tuple[str, ...]:
    """Return the names of the named variants, ``public`` included."""
    return tuple(_named_variants())


def named_variant(name: str) -> NamedVariant | None:
    """Return a named variant, ``None`` where it is not declared; ``InvalidVariantError`` for a wrong
    declaration.
    """
    found = _named_variants().get(name)
    if isinstance(found, InvalidVariantError):
        raise InvalidVariantError(f'CF_IMAGES["VARIANTS"][{name!r}]: {found.message}')
    return found


def is_never_signed(variant: str) -> bool:
    """Return whether a named variant shows private images to everyone."""
    found = _named_variants().get(variant)
    return isinstance(found, NamedVariant) and found.never_require_signed_urls


def clean_variant(variant: str | FlexibleVariant | None) -> str:
    """Return ``variant`` as it stands in a URL; raise ``InvalidVariantError`` for what cannot be one.

    This includes a flexible variant where ``CF_IMAGES["FLEXIBLE_VARIANTS"]`` is ``False``: Cloudflare would
    refuse it, and the page would show a broken image.
    """
    cleaned = grammar.clean_variant(str(variant or ""))
    if grammar.is_flexible(cleaned) and setting("FLEXIBLE_VARIANTS") is False:
        raise InvalidVariantError(
            f'{cleaned[:80]!r} is a flexible variant, and CF_IMAGES["FLEXIBLE_VARIANTS"] is False: use one '
            f'of CF_IMAGES["VARIANTS"], or set it to True and run manage.py cf_images variants --apply.'
        )
    return cleaned


@cached
def _named_variants() -> dict[str, NamedVariant | InvalidVariantError]:
    return dict(_parsed({"public": PUBLIC_VARIANT, **setting("VARIANTS")}))


def _parsed(declared: Mapping[str, Any]) -> Iterator[tuple[str, NamedVariant | InvalidVariantError]]:
    for name, options in declared.items():
        try:
            yield name, NamedVariant.from_options(name, options)
        except InvalidVariantError as error:
            yield name, error.with_traceback(None)


# Reading and checking values


def option(name: str, given: Mapping[str, Any]) -> Any:
    """Return the value of one storage option now; ``given`` are the storage's own ``OPTIONS``."""
    declared = STORAGE_OPTIONS[name]
    place, value = _found(name, declared, given)
    if value is None:
        return declared.default
    problem = _problem(value, declared, place)
    if problem:
        del value  # a debug page shows the variables of each frame
        raise _misconfigured(problem)
    return value


def _found(name: str, declared: Option, given: Mapping[str, Any]) -> tuple[str, Any]:
    """Return where the value of an option was found, and the value."""
    if name in _forced:
        return f"the test's option {name}", _forced[name]
    if (value := given.get(name)) not in _NOT_GIVEN:
        return f'OPTIONS["{name}"]', value
    if (value := _cf_images().get(_KEYS[name])) not in _NOT_GIVEN:
        return f'CF_IMAGES["{_KEYS[name]}"]', value
    for flat in declared.names:
        if (value := getattr(settings, flat, None)) not in _NOT_GIVEN:
            return f"the setting {flat}", value
    for flat in declared.names:
        if value := os.environ.get(flat):
            return f"the environment variable {flat}", value
    return "", None


def _cf_images() -> Mapping[str, Any]:
    declared = getattr(settings, "CF_IMAGES", {})
    if isinstance(declared, Mapping) and declared.keys() <= _KNOWN_KEYS:
        return declared
    problem = _declaration_problem(declared)
    del declared  # a debug page shows the variables of each frame
    raise _misconfigured(problem)


def _declaration_problem(declared: Any) -> str:
    if not isinstance(declared, Mapping):
        return f"CF_IMAGES is a {type(declared).__name__}, not a dictionary."
    unknown = sorted(str(key) for key in declared.keys() - _KNOWN_KEYS)
    return f"Unknown key in CF_IMAGES: {', '.join(unknown)}. The keys are {', '.join(sorted(_KNOWN_KEYS))}."


def _problem(value: Any, declared: Option, place: str) -> str:
    """Return what is wrong with a value, in words that do not contain a secret."""
    wrong_bool = isinstance(value, bool) and bool not in declared.types
    if wrong_bool or not isinstance(value, declared.types):
        wanted = " or ".join(kind.__name__ for kind in declared.types)
        return f"{place} is a {type(value).__name__}; it must be a {wanted}."
    if isinstance(value, int | float) and float in declared.types and not value > 0:
        return f"{place} is {value}; it must be above 0."
    if declared.problem and (problem := declared.problem(value)):
        return f"{place} cannot be {_without_password(value)!r}: {problem}."
    if isinstance(value, list | tuple) and declared.secret:
        return next(filter(None, (_secret_problem(part, place) for part in value)), "")
    return _secret_problem(value, place) if isinstance(value, str) and declared.names else ""


def _misconfigured(problem: str) -> ImproperlyConfigured:
    """Return the error, with a link for tracebacks; checks and commands print the problem alone."""
    error = ImproperlyConfigured(problem)
    error.add_note(f"See {links.SETTINGS_PAGE}")
    return error


def _without_password(value: Any) -> Any:
    return re.sub(r"//[^/?#]*@", "//…@", value) if isinstance(value, str) else value


def _secret_problem(value: Any, place: str) -> str:
    """Return why a text cannot be a credential."""
    if not isinstance(value, str):
        return f"{place} contains a {type(value).__name__}; it must be a list of str."
    if value.startswith("op://"):
        return (
            f"{place} is an unresolved 1Password reference (op://…): start the process with "
            f"`op run --env-file=… -- <command>`, which replaces it by the secret."
        )
    if not value.isascii() or not value.isprintable() or " " in value:
        return f"{place} contains a line break, a space or a character that no credential has."
    return ""


def _is_secret(name: str) -> bool:
    return name in STORAGE_OPTIONS and STORAGE_OPTIONS[name].secret
