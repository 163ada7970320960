"""The part of the API about the account and not about one image: variants, signing keys, config."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from werkzeug.wrappers import Request, Response

from cf_images.emulator import answers, choices
from cf_images.emulator.choices import BAD_INPUT
from cf_images.emulator.database import TakenError
from cf_images.emulator.errors import (
    EXISTS,
    KEY_NOT_FOUND,
    NOT_ENABLED,
    VARIANT_NOT_FOUND,
    ApiError,
    PlainError,
)
from cf_images.emulator.forms import json_body
from cf_images.emulator.limits import (
    BROWSER_TTL,
    FITS,
    KEY_NAME_LENGTH,
    VARIANT_BLUR,
    VARIANT_METADATA,
    VARIANT_NAME_LENGTH,
    VARIANT_SIDE,
    Limits,
)
from cf_images.emulator.state import State, Variant

Check = Callable[[Any], bool]
VARIANT_NAME = re.compile(rf"[A-Za-z0-9]{{1,{VARIANT_NAME_LENGTH}}}")
KEY_NAME = re.compile(rf"[A-Za-z0-9]{{1,{KEY_NAME_LENGTH}}}")
DEFAULT_OPTIONS = {"fit": "scale-down", "metadata": "none"}


class Settings:
    """The calls; each checks what it was given, then what exists, then the subscription."""

    def __init__(self, state: State, *, limits: Limits, subscribed: bool) -> None:
        self._state = state
        self._limits = limits
        self._subscribed = subscribed

    def require_subscription(self) -> None:
        """Raises :class:`ApiError` with 5403 for an account without Cloudflare Images."""
        if not self._subscribed:
            raise ApiError(NOT_ENABLED)

    def config(self, _request: Request) -> Response:
        """``GET config``: all settings."""
        return answers.success(self._state.settings())

    def update_config(self, request: Request) -> Response:
        """``PATCH config``: some of them."""
        changes = json_body(request)
        _check_all(changes, CONFIG)
        self.require_subscription()
        self._state.update_settings(changes)
        return self.config(request)

    def variants(self, _request: Request) -> Response:
        """``GET variants``: an object by name."""
        named = self._state.variants()
        return answers.success({"variants": {name: answers.variant(named[name]) for name in named}})

    def variant(self, _request: Request, name: str) -> Response:
        """``GET variants/<name>``; a missing one is refused in plain text, as on the real service."""
        named = self._state.variant(name)
        if named is None:
            raise PlainError(VARIANT_NOT_FOUND)
        return answers.success({"variant": answers.variant(named)})

    def create_variant(self, request: Request) -> Response:
        """``POST variants``."""
        body = json_body(request)
        named = _variant(body.get("id"), body)
        if self._state.variant(named.name):
            raise ApiError(EXISTS)
        self.require_subscription()
        try:
            added = self._state.add_variant(named, limit=self._limits.variants)
        except TakenError as error:
            raise ApiError(EXISTS) from error
        if not added:
            raise ApiError(BAD_INPUT, f"an account may have {self._limits.variants} variants")
        return answers.success({"variant": answers.variant(named)})

    def update_variant(self, request: Request, name: str) -> Response:
        """``PATCH variants/<name>``: replaces all options."""
        self._require_variant(name)
        named = _variant(name, json_body(request))
        self.require_subscription()
        self._state.update_variant(named)
        return answers.success({"variant": answers.variant(named)})

    def delete_variant(self, _request: Request, name: str) -> Response:
        """``DELETE variants/<name>``: ``public`` is answered with success, and kept."""
        self._require_variant(name)
        self.require_subscription()
        if name != "public":
            self._state.delete_variant(name)
        return answers.success({})

    def _require_variant(self, name: str) -> None:
        if self._state.variant(name) is None:
            raise ApiError(VARIANT_NOT_FOUND)

    def keys(self, _request: Request) -> Response:
        """``GET keys``: names and values."""
        self.require_subscription()
        return answers.success(answers.keys(self._state))

    def put_key(self, _request: Request, name: str) -> Response:
        """``PUT keys/<name>``: a new key, or a new value for an old one."""
        if not KEY_NAME.fullmatch(name):
            raise ApiError(BAD_INPUT, f"a key's name is 1 to {KEY_NAME_LENGTH} letters and digits")
        self.require_subscription()
        if not self._state.put_key(name, limit=self._limits.keys):
            raise ApiError(BAD_INPUT, f"an account may have {self._limits.keys} signing keys")
        return answers.success(answers.keys(self._state))

    def delete_key(self, _request: Request, name: str) -> Response:
        """``DELETE keys/<name>``: the account is never left without a key."""
        if name not in self._state.signing_keys():
            raise ApiError(KEY_NOT_FOUND)
        self.require_subscription()
        if choices.KEEP_LAST_KEY and len(self._state.signing_keys()) == 1:
            raise ApiError(BAD_INPUT, "the last signing key cannot be deleted")
        self._state.delete_key(name)
        return answers.success(answers.keys(self._state))


def _variant(name: object, body: dict[str, Any]) -> Variant:
    """A variant from a request's body, checked; the name first, as the service does."""
    if not isinstance(name, str) or not VARIANT_NAME.fullmatch(name):
        raise ApiError(BAD_INPUT, f"a variant's name is 1 to {VARIANT_NAME_LENGTH} letters and digits")
    options, public = body.get("options"), body.get("neverRequireSignedURLs", False)
    if not isinstance(options, dict) or not isinstance(public, bool):
        raise ApiError(BAD_INPUT, "options must be an object, neverRequireSignedURLs true or false")
    _check_all(options, OPTIONS)
    return Variant(name=name, options=DEFAULT_OPTIONS | options, never_require_signed_urls=public)


def _check_all(given: dict[str, Any], checks: dict[str, Check]) -> None:
    for name, value in given.items():
        if name not in checks:
            raise ApiError(BAD_INPUT, f"unknown {name[:50]!r}; known are {', '.join(checks)}")
        if not checks[name](value):
            raise ApiError(BAD_INPUT, f"{name} cannot be {str(value)[:50]!r}")


def _number_in(allowed: range) -> Check:
    return lambda value: type(value) in (int, float) and allowed.start <= value < allowed.stop


def _word_of(words: tuple[str, ...]) -> Check:
    return lambda value: value in words


def _is_switch(value: Any) -> bool:
    return isinstance(value, bool)


OPTIONS: dict[str, Check] = {
    "fit": _word_of(FITS),
    "metadata": _word_of(VARIANT_METADATA),
    "width": _number_in(VARIANT_SIDE),
    "height": _number_in(VARIANT_SIDE),
    "blur": _number_in(VARIANT_BLUR),
    "browser_ttl": _number_in(BROWSER_TTL),
}
CONFIG: dict[str, Check] = {
    "flexible_variants": _is_switch,
    "browser_ttl": _number_in(BROWSER_TTL),
    "preserve_content_credentials": _is_switch,
}
