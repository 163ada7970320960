"""Checks of settings, accounts and variants."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from cf_images import conf, links
from cf_images.accounts import Account, backend_options, sides_of
from cf_images.storage.cloudflare import PRIVATE_WITH_GIVEN_NAMES
from cf_images.variants import grammar
from cf_images.variants.named import problems

Messages = Iterator[checks.CheckMessage]
Check = Callable[[], Messages]

_OTHER_OPTIONS = [name for name in conf.STORAGE_OPTIONS if name not in conf.CREDENTIALS]
_ACCOUNT_ID = re.compile(r"[0-9a-f]{32}")
_LOOPBACK = ("localhost", "127.0.0.1", "::1", "0.0.0.0")  # noqa: S104  # compared with, not bound to


def linked(message: checks.CheckMessage) -> checks.CheckMessage:
    """Return a message whose hint ends with the link to the page about its ID."""
    message.hint = links.with_link(message.hint or "", links.check_page(message.id or ""))
    return message


def settings() -> Messages:
    """E001: an unknown key or option, or a value that it cannot have."""
    hint = "Correct it in your settings."
    try:
        for name in conf.PACKAGE_OPTIONS:
            conf.setting(name)
        for options in backend_options().values():
            conf.check_options(options)
            for name in _OTHER_OPTIONS:
                conf.option(name, options)
    except ImproperlyConfigured as error:
        yield checks.Error(str(error), hint=hint, id="cf_images.E001")


def credentials() -> Messages:
    """E002: a missing credential; E003: a wrong one. Silent where images stay local.

    A test run needs none: its images go to an account of its own.
    """
    found = (each for alias, options in _used_options().items() for each in credentials_of(alias, options))
    yield from (each for each in found if each.id != "cf_images.E002" or not conf.is_test_run())


def credentials_of(alias: str, options: dict[str, Any]) -> Messages:
    """Check the credentials of one storage, wherever images stay."""
    values: dict[str, Any] = {}
    for name in conf.CREDENTIALS:
        try:
            values[name] = conf.option(name, options)
        except ImproperlyConfigured as error:
            hint = f"Correct it there, or {conf.credential_hint(name)}."
            yield checks.Error(f'STORAGES["{alias}"]: {error}', hint=hint, id="cf_images.E003")
            return
    for name in [name for name, value in values.items() if value is None]:
        hint = f"Either {conf.credential_hint(name)}."
        yield checks.Error(f'STORAGES["{alias}"] has no {name}.', hint=hint, id="cf_images.E002")
    if _ACCOUNT_ID.fullmatch(values["account_hash"] or ""):
        yield checks.Error(
            f'STORAGES["{alias}"]: the account_hash looks like an account ID (32 hexadecimal digits).',
            hint="The hash is in every delivery URL: https://imagedelivery.net/<account_hash>/… "
            "(dashboard: Images, Hosted images, Developer Resources).",
            id="cf_images.E004",
        )


def emulator() -> Messages:
    """E011: images would go to an emulator on this machine although DEBUG is off. Silent as for E002."""
    if conf.is_debug_or_test():
        return
    for alias, options in _used_options().items():
        for name in ("api_url", "delivery_url"):
            if _host(conf.option(name, options)) in _LOOPBACK:
                yield checks.Error(
                    f'STORAGES["{alias}"]: {name} is on this machine, like an emulator, and DEBUG is off.',
                    hint=f"Remove {name} to use Cloudflare, or silence this check where it is intended.",
                    id="cf_images.E011",
                )


def variants() -> Messages:
    """E013: a declaration in VARIANTS that Cloudflare would refuse."""
    for place, problem in problems(conf.setting("VARIANTS")):
        yield checks.Error(
            f'CF_IMAGES["VARIANTS"]{place}: {problem}.',
            hint='A variant is declared like "avatar": {"width": 240, "height": 240, "fit": "cover"}.',
            id="cf_images.E013",
        )


def private_images() -> Messages:
    """E016, E017, I018: what Cloudflare does not support for private images, and keys that a page must wait
    for.
    """
    for alias, given in _used_options().items():
        options = Account(given, alias=alias).options
        if not options.require_signed_urls:
            continue
        if grammar.is_flexible(options.variant):
            yield checks.Error(
                f'STORAGES["{alias}"] keeps private images and serves {options.variant!r}: Cloudflare does '
                f"not sign flexible variants.",
                hint='Declare a named variant in CF_IMAGES["VARIANTS"] and name it in "variant".',
                id="cf_images.E016",
            )
        if not options.unique_names:
            hint = 'Turn "unique_names" on, or "require_signed_urls" off.'
            message = f'STORAGES["{alias}"]: {PRIVATE_WITH_GIVEN_NAMES}'
            yield checks.Error(message, hint=hint, id="cf_images.E017")
        if not options.signing_keys:
            yield checks.Info(
                f'STORAGES["{alias}"] keeps private images and has no signing keys: the first page of each '
                f"process requests them from Cloudflare, and fails where that fails.",
                hint="Put them into CF_IMG_SIGNING_KEYS: manage.py cf_images keys --reveal prints them.",
                id="cf_images.I018",
            )


CHECKS: tuple[Check, ...] = (settings, credentials, emulator, variants, private_images)


def _used_options() -> dict[str, dict[str, Any]]:
    """The OPTIONS of this package's aliases, without those that ``select_storage`` does not use here."""
    used = set(sides_of(conf.selected_alias())) if conf.is_local() else conf.storage_declarations().keys()
    return {alias: options for alias, options in backend_options().items() if alias in used}


def _host(url: str) -> str:
    """Return the host of a URL; empty where it is not an HTTP URL."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return parts.hostname or "" if parts.scheme in ("http", "https") else ""
