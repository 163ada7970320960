"""Requests about an account rather than one image: statistics, variants, signing keys, settings, tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from cf_images.client.base import BaseClient, without_none
from cf_images.client.paths import key_path, variant_path
from cf_images.client.responses import Response, error_for, parse_http_date
from cf_images.client.transport import response_to
from cf_images.client.values import (
    BatchToken,
    Config,
    SigningKey,
    Stats,
    Variant,
    signing_keys_of,
    variant_of,
    variants_of,
)


class AccountClient(BaseClient):
    """What an account has besides its images."""

    def stats(self) -> Stats:
        """Return the number of images, and the quota."""
        return self._call("GET", "images/v1/stats", Stats.from_json)

    # Variants

    def list_variants(self) -> dict[str, Variant]:
        """Return all named variants, by name."""
        return self._call("GET", "images/v1/variants", variants_of)

    def variant(self, name: str) -> Variant:
        """Return one named variant; raise ``ImageNotFoundError`` if there is none."""
        return self._call("GET", variant_path(name), _variant_named(name))

    def create_variant(
        self, name: str, *, options: Mapping[str, Any], never_require_signed_urls: bool = False
    ) -> Variant:
        """Add a named variant; raise ``ImageExistsError`` if the name is taken.

        The name has letters and digits; ``options`` are as in ``Variant``.
        """
        variant_path(name)
        body = {"id": name, "options": options, "neverRequireSignedURLs": never_require_signed_urls}
        path = "images/v1/variants"
        return self._call("POST", path, _variant_named(name), json=body, repeatable=False)

    def update_variant(
        self, name: str, *, options: Mapping[str, Any], never_require_signed_urls: bool | None = None
    ) -> Variant:
        """Replace all options of a variant; Cloudflare drops the renditions made with the old ones."""
        body = without_none({"options": options, "neverRequireSignedURLs": never_require_signed_urls})
        return self._call("PATCH", variant_path(name), _variant_named(name), json=body)

    def delete_variant(self, name: str) -> None:
        """Delete a named variant; raise ``ImageNotFoundError`` if there is none."""
        self._delete(variant_path(name))

    # Signing keys

    def signing_keys(self) -> tuple[SigningKey, ...]:
        """Return the account's keys for signed delivery URLs, at most two."""
        return self._call("GET", "images/v1/keys", signing_keys_of)

    def put_signing_key(self, name: str) -> tuple[SigningKey, ...]:
        """Add a key, 1 to 20 letters and digits, and return all keys.

        An existing name gets a **new value**, and URLs signed with the old value stop working at once. A
        third key raises ``ImageRejectedError``.
        """

        def keys(result: Any) -> tuple[SigningKey, ...]:
            found = signing_keys_of(result)
            if name not in {key.name for key in found}:
                raise ValueError("not the keys after this request")
            return found

        return self._call("PUT", key_path(name), keys)

    def delete_signing_key(self, name: str) -> None:
        """Delete a key and so disable the URLs it signed; raise ``ImageNotFoundError`` if there is none.

        Do not delete the last one: according to Cloudflare's documentation it either refuses or makes a new
        key.
        """
        self._delete(key_path(name))

    # Settings

    def config(self) -> Config:
        """Return the account's settings.

        Cloudflare does not document this request: where it does not exist, it raises ``ImageNotFoundError``,
        or ``CloudflareImagesError`` for the accounts that respond with 405.
        """
        return self._call("GET", "images/v1/config", Config.from_json)

    def update_config(
        self,
        *,
        flexible_variants: bool | None = None,
        browser_ttl: int | None = None,
        preserve_content_credentials: bool | None = None,
    ) -> None:
        """Change the given settings; ``browser_ttl`` is in seconds, from an hour to a year."""
        changes = {
            "flexible_variants": flexible_variants,
            "browser_ttl": browser_ttl,
            "preserve_content_credentials": preserve_content_credentials,
        }
        self._call("PATCH", "images/v1/config", _ignore, json=without_none(changes))

    # Others

    def batch_token(self) -> BatchToken:
        """Return a token for the batch host, valid for about an hour."""
        return self._call("GET", "images/v1/batch_token", BatchToken.from_json)

    def server_time(self) -> datetime | None:
        """Return Cloudflare's clock: the ``Date`` of a response, also of an error; ``None`` without one."""
        outcome = response_to(self._request("GET", "images/v1/stats"))
        if isinstance(outcome, Response):
            return parse_http_date(outcome.date)
        raise error_for(outcome, request="GET /images/v1/stats", secrets=())


def _variant_named(name: str) -> Callable[[Any], Variant]:
    """Return what reads the variant ``name`` from a response, and refuses one about another."""

    def read(result: Any) -> Variant:
        variant = variant_of(result)
        if variant.id != name:
            raise ValueError("another variant")
        return variant

    return read


def _ignore(_result: Any) -> None:
    """Accept any result: Cloudflare does not document this one."""
