"""The calls about an account rather than one image: statistics, variants, signing keys, settings, tokens."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cf_images.client.answers import Answer, error_of, moment_of
from cf_images.client.caller import Caller, given
from cf_images.client.door import answer_to
from cf_images.client.paths import key_path, variant_path
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


class AccountCalls(Caller):
    """What an account has besides its images."""

    def stats(self) -> Stats:
        """How many images there are, and how many may be."""
        return self._call("GET", "images/v1/stats", Stats.from_json)

    # Variants

    def list_variants(self) -> dict[str, Variant]:
        """All named variants, by name."""
        return self._call("GET", "images/v1/variants", variants_of)

    def variant(self, name: str) -> Variant:
        """One named variant; ``ImageNotFoundError`` when there is none."""
        return self._call("GET", variant_path(name), variant_of)

    def create_variant(
        self, name: str, *, options: Mapping[str, Any], never_require_signed_urls: bool = False
    ) -> Variant:
        """Add a named variant: letters and digits; ``options`` as in ``Variant``. ``ImageExistsError``."""
        variant_path(name)
        body = {"id": name, "options": options, "neverRequireSignedURLs": never_require_signed_urls}
        return self._call("POST", "images/v1/variants", variant_of, json=body, repeatable=False)

    def update_variant(
        self, name: str, *, options: Mapping[str, Any], never_require_signed_urls: bool | None = None
    ) -> Variant:
        """Replace all options of a variant; Cloudflare forgets the renditions it has made with the old."""
        body = given({"options": options, "neverRequireSignedURLs": never_require_signed_urls})
        return self._call("PATCH", variant_path(name), variant_of, json=body)

    def delete_variant(self, name: str) -> None:
        """Delete a named variant; ``ImageNotFoundError`` when there is none."""
        self._delete(variant_path(name))

    # Signing keys

    def signing_keys(self) -> tuple[SigningKey, ...]:
        """The account's keys for signed delivery URLs, at most two."""
        return self._call("GET", "images/v1/keys", signing_keys_of)

    def put_signing_key(self, name: str) -> tuple[SigningKey, ...]:
        """Add a key, 1 to 20 letters and digits; all keys. An old name gets a **new value** at once:
        every URL that was signed with the old value ends. ``ImageRejectedError`` for a third key.
        """
        return self._call("PUT", key_path(name), signing_keys_of)

    def delete_signing_key(self, name: str) -> None:
        """Delete a key, and with it every URL that it signed; ``ImageNotFoundError`` when there is none.

        Do not delete the last one: Cloudflare refuses, or makes a new key; its documentation has both.
        """
        self._delete(key_path(name))

    # Settings

    def config(self) -> Config:
        """The account's settings. Not documented by Cloudflare: ``ImageNotFoundError`` where it has no such
        call, which some accounts answer with 405 instead: ``CloudflareImagesError``.
        """
        return self._call("GET", "images/v1/config", Config.from_json)

    def update_config(
        self,
        *,
        flexible_variants: bool | None = None,
        browser_ttl: int | None = None,
        preserve_content_credentials: bool | None = None,
    ) -> None:
        """Change what is given; ``browser_ttl`` is in seconds, from an hour to a year."""
        changes = {
            "flexible_variants": flexible_variants,
            "browser_ttl": browser_ttl,
            "preserve_content_credentials": preserve_content_credentials,
        }
        self._call("PATCH", "images/v1/config", _ignored, json=given(changes))

    # Others

    def batch_token(self) -> BatchToken:
        """A token for the batch host, good for about an hour."""
        return self._call("GET", "images/v1/batch_token", BatchToken.from_json)

    def server_time(self) -> datetime | None:
        """Cloudflare's clock: the ``Date`` of any answer, an error's as well; ``None`` when it has none."""
        outcome = answer_to(self._request("GET", "images/v1/stats"))
        if isinstance(outcome, Answer):
            return moment_of(outcome.date)
        raise error_of(outcome, request="GET /images/v1/stats", secrets=())


def _ignored(_result: Any) -> None:
    """The shape of this answer is not published."""
