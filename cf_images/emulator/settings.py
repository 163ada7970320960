"""The endpoints for the settings of an account: variants, signing keys and config."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from werkzeug.wrappers import Request, Response

from cf_images.emulator import assumptions, responses
from cf_images.emulator.assumptions import BAD_INPUT
from cf_images.emulator.database import AlreadyExistsError
from cf_images.emulator.errors import (
    EXISTS,
    KEY_NOT_FOUND,
    NOT_ENABLED,
    VARIANT_NOT_FOUND,
    ApiError,
    PlainTextError,
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
    """The endpoints; each checks the input, then existence, then the subscription, as was observed."""

    def __init__(self, state: State, *, limits: Limits, subscribed: bool) -> None:
        self._state = state
        self._limits = limits
        self._subscribed = subscribed

    def require_subscription(self) -> None:
        """Raise :class:`ApiError` with 5403 for an account without Cloudflare Images."""
        if not self._subscribed:
            raise ApiError(NOT_ENABLED)

    def config(self, _request: Request) -> Response:
        """``GET config``: return all settings."""
        return responses.success(self._state.settings())

    def update_config(self, request: Request) -> Response:
        """``PATCH config``: change some settings and return all."""
        changes = json_body(request)
        _check_all(changes, CONFIG)
        self.require_subscription()
        self._state.update_settings(changes)
        return self.config(request)

    def variants(self, _request: Request) -> Response:
        """``GET variants``: return all variants by name."""
        variants = self._state.variants()
        return responses.success(
            {"variants": {name: responses.variant(variant) for name, variant in variants.items()}}
        )

    def variant(self, _request: Request, name: str) -> Response:
        """``GET variants/<name>``: return one variant; a missing one is a plain-text error, as observed."""
        variant = self._state.variant(name)
        if variant is None:
            raise PlainTextError(VARIANT_NOT_FOUND)
        return _success(variant)

    def create_variant(self, request: Request) -> Response:
        """``POST variants``: create a variant."""
        body = json_body(request)
        variant = _variant(body.get("id"), body)
        if self._state.variant(variant.name):
            raise ApiError(EXISTS)
        self.require_subscription()
        try:
            added = self._state.add_variant(variant, limit=self._limits.variants)
        except AlreadyExistsError as error:
            raise ApiError(EXISTS) from error
        if not added:
            raise ApiError(BAD_INPUT, f"the maximum is {self._limits.variants} variants")
        return _success(variant)

    def update_variant(self, request: Request, name: str) -> Response:
        """``PATCH variants/<name>``: replace all options."""
        self._require_variant(name)
        variant = _variant(name, json_body(request))
        self.require_subscription()
        self._state.update_variant(variant)
        return _success(variant)

    def delete_variant(self, _request: Request, name: str) -> Response:
        """``DELETE variants/<name>``: delete a variant; for ``public`` respond with success and keep it."""
        self._require_variant(name)
        self.require_subscription()
        if name != "public":
            self._state.delete_variant(name)
        return responses.success({})

    def _require_variant(self, name: str) -> None:
        if self._state.variant(name) is None:
            raise ApiError(VARIANT_NOT_FOUND)

    def keys(self, _request: Request) -> Response:
        """``GET keys``: return names and values of all signing keys."""
        self.require_subscription()
        return responses.success(responses.keys(self._state))

    def put_key(self, _request: Request, name: str) -> Response:
        """``PUT keys/<name>``: create a signing key, or give it a new value."""
        if not KEY_NAME.fullmatch(name):
            raise ApiError(BAD_INPUT, f"the name of a key must be 1 to {KEY_NAME_LENGTH} letters and digits")
        self.require_subscription()
        if not self._state.put_key(name, limit=self._limits.keys):
            raise ApiError(BAD_INPUT, f"the maximum is {self._limits.keys} signing keys")
        return responses.success(responses.keys(self._state))

    def delete_key(self, _request: Request, name: str) -> Response:
        """``DELETE keys/<name>``: delete a signing key; an account always has at least one."""
        if name not in self._state.signing_keys():
            raise ApiError(KEY_NOT_FOUND)
        self.require_subscription()
        if assumptions.KEEP_LAST_KEY and len(self._state.signing_keys()) == 1:
            raise ApiError(BAD_INPUT, "the last signing key cannot be deleted")
        self._state.delete_key(name)
        return responses.success(responses.keys(self._state))


def _success(variant: Variant) -> Response:
    return responses.success({"variant": responses.variant(variant)})


def _variant(name: object, body: dict[str, Any]) -> Variant:
    """Return the valid variant of a request body; check the name first, as the service does."""
    if not isinstance(name, str) or not VARIANT_NAME.fullmatch(name):
        raise ApiError(
            BAD_INPUT, f"the name of a variant must be 1 to {VARIANT_NAME_LENGTH} letters and digits"
        )
    options, public = body.get("options"), body.get("neverRequireSignedURLs", False)
    if not isinstance(options, dict) or not isinstance(public, bool):
        raise ApiError(BAD_INPUT, "options must be an object, neverRequireSignedURLs must be true or false")
    _check_all(options, OPTIONS)
    return Variant(name=name, options=DEFAULT_OPTIONS | options, never_require_signed_urls=public)


def _check_all(given: dict[str, Any], checks: dict[str, Check]) -> None:
    for name, value in given.items():
        if name not in checks:
            raise ApiError(BAD_INPUT, f"unknown {name[:50]!r}; use {', '.join(checks)}")
        if not checks[name](value):
            raise ApiError(BAD_INPUT, f"{name} cannot be {str(value)[:50]!r}")


def _number_in(allowed: range) -> Check:
    return lambda value: type(value) in (int, float) and allowed.start <= value < allowed.stop


def _one_of(words: tuple[str, ...]) -> Check:
    return lambda value: value in words


def _is_boolean(value: Any) -> bool:
    return isinstance(value, bool)


OPTIONS: dict[str, Check] = {
    "fit": _one_of(FITS),
    "metadata": _one_of(VARIANT_METADATA),
    "width": _number_in(VARIANT_SIDE),
    "height": _number_in(VARIANT_SIDE),
    "blur": _number_in(VARIANT_BLUR),
    "browser_ttl": _number_in(BROWSER_TTL),
}
CONFIG: dict[str, Check] = {
    "flexible_variants": _is_boolean,
    "browser_ttl": _number_in(BROWSER_TTL),
    "preserve_content_credentials": _is_boolean,
}
