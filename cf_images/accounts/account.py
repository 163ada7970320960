"""One account at Cloudflare, as one storage uses it."""

from __future__ import annotations

import hmac
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured

from cf_images import conf
from cf_images.accounts import batch_tokens, signing_keys
from cf_images.delivery import signing, urls
from cf_images.variants import FlexibleVariant, grammar

if TYPE_CHECKING:
    from cf_images.client import CloudflareImagesClient
    from cf_images.client.retry import Pace

_MAX_VARIANTS = 1000  # a project has a few dozen; more come from visitors, and are not kept


_make_client: Callable[[], CloudflareImagesClient] | None = None


@contextmanager
def replaced_clients(make: Callable[[], CloudflareImagesClient]) -> Iterator[None]:
    """Let ``make`` return the client of every account: for tests."""
    global _make_client
    before, _make_client = _make_client, make
    try:
        yield
    finally:
        _make_client = before


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveredVariant:
    """A variant as this account's URLs have it: ``before`` and ``after`` stand around the image ID.

    ``path_before`` and ``path_after`` are the same of the path that is signed.
    """

    name: str
    before: str
    after: str
    path_before: str
    path_after: str
    is_flexible: bool
    is_never_signed: bool

    def url(self, image_id: str) -> str:
        """Return the URL without a signature."""
        return f"{self.before}{urls.quote_id(image_id)}{self.after}"


class Account:
    """Credentials, client, signing keys, and the URL of an image.

    ``options`` are those of one storage. Accounts with the same ``key`` are one account at Cloudflare,
    whatever else their options are: a site may keep public and private images in it. Cheap to make; nothing
    is read before its use.
    """

    def __init__(self, given: Mapping[str, Any], *, alias: str | None = None) -> None:
        self.alias = alias
        self.options = conf.StorageOptions(given)
        self.generation = conf.generation()
        self._variants: dict[Any, DeliveredVariant] = {}

    def __repr__(self) -> str:
        return f"<Account {self.alias or self.options!r}>"

    @property
    def key(self) -> str:
        """The identity of the account: API base and account ID. At most 255 characters.

        Without an account ID it is the alias: requests fail with the right message, and pause no other
        account.
        """
        return self._key_of(self.options.account_id or self.alias or "unknown")

    @property
    def key_without_id(self) -> str:
        """The ``key`` that rows get while the account ID is missing."""
        return self._key_of(self.alias or "unknown")

    @property
    def token_digest(self) -> str:
        """A digest that tells one API token from another, and does not tell the token.

        One that cannot be used counts as none; requests fail with the right message.
        """
        try:
            token = self.options.api_token or ""
        except ImproperlyConfigured:
            token = ""
        return hmac.digest(token.encode(), self.key.encode(), "sha256").hex()

    def _key_of(self, account_id: str) -> str:
        return f"{self.options.api_url.rstrip('/')}/accounts/{account_id}"[:255]

    def client(
        self,
        *,
        retry: bool = True,
        max_timeout: float = math.inf,
        pace: Pace | None = None,
    ) -> CloudflareImagesClient:
        """Return a client with the account's credentials; the connections belong to the process.

        Without ``retry`` each request is sent once. ``max_timeout`` limits the option ``timeout``, in
        seconds.
        """
        if _make_client is not None:
            return _make_client()
        from cf_images.client import CloudflareImagesClient  # httpx, only for a request

        options = self.options
        return CloudflareImagesClient(
            options.require("account_id"),
            options.require("api_token"),
            api_url=options.api_url,
            timeout=min(options.timeout, max_timeout),
            retry=retry,
            pace=pace,
        )

    def batch_client(
        self, *, max_timeout: float = math.inf, pace: Pace | None = None
    ) -> CloudflareImagesClient:
        """Return a client for the batch host, which has a limit of its own; its token may need a request.

        Cloudflare offers uploads, direct uploads, lists, details, updates and deletions there. Each request
        is sent once.
        """
        if _make_client is not None:
            return _make_client()
        from cf_images.client import CloudflareImagesClient  # httpx, only for a request

        options = self.options
        fetch = self.client(retry=False, max_timeout=max_timeout).batch_token
        return CloudflareImagesClient(
            options.require("account_id"),
            batch_tokens.token_of(self.key, fetch),
            api_url=options.batch_url,
            timeout=min(options.timeout, max_timeout),
            retry=False,
            pace=pace,
            is_batch_host=True,
        )

    def forget_batch_token(self) -> bool:
        """Request a new token for the batch host next time; return whether the refused one may be too old."""
        return batch_tokens.forget(self.key)

    # Signing keys

    def signing_keys(self) -> tuple[str, ...]:
        """Return the signing keys, oldest first: the last one signs.

        Where the settings have none, they are requested once. Raise ``CloudflareUnavailableError`` and its
        like where that fails.
        """
        return self.options.signing_keys or signing_keys.fetched(self._keys_owner(), self._fetch_signing_keys)

    def known_signing_keys(self) -> tuple[str, ...]:
        """Return the same without a request: none where they are not known yet."""
        return self.options.signing_keys or signing_keys.known(self.key)

    def _keys_owner(self) -> str:
        self.options.require("account_id")
        return self.key

    def _fetch_signing_keys(self) -> tuple[str, ...]:
        client = self.client(retry=False, max_timeout=signing_keys.TIMEOUT)
        return tuple(key.value for key in signing_keys.by_age(client.signing_keys()))

    # URLs

    def variant(self, variant: str | FlexibleVariant | None = None) -> DeliveredVariant:
        """Return ``variant``, by default the option's, for ``url()``; ``InvalidVariantError`` for what is
        none.
        """
        try:
            return self._variants[variant]
        except (KeyError, TypeError):
            pass
        found = self._delivered(conf.clean_variant(variant or self.options.variant))
        if len(self._variants) < _MAX_VARIANTS:
            self._variants[variant] = found
        return found

    def expiry(self, lifetime: signing.Lifetime | None = None) -> int:
        """Return when a URL signed now expires, in seconds since 1970; by default the option ``expire``
        decides.
        """
        return signing.expiry(self.options.expire if lifetime is None else lifetime, now=time.time())

    def url(
        self, image_id: str, variant: str | FlexibleVariant | None = None, *, expires_at: int | None = None
    ) -> str:
        """Return the delivery URL of an image, signed until ``expires_at`` (seconds since 1970) if that is
        given.
        """
        found = self.variant(variant)
        return found.url(image_id) if expires_at is None else self.signed_url(found, image_id, expires_at)

    def signed_url(self, variant: DeliveredVariant, image_id: str, expires_at: int) -> str:
        """Return the signed URL of an image; ``InvalidVariantError`` for a flexible variant."""
        if variant.is_flexible:
            grammar.check_signable(variant.name)
        path = f"{variant.path_before}{urls.quote_id(image_id)}{variant.path_after}"
        query = signing.signed_query(path, self.signing_keys()[-1], expires_at=expires_at)
        return f"{variant.url(image_id)}?{query}"

    def owns(self, url: urls.DeliveryURL) -> bool:
        """Return whether a delivery URL shows an image of this account.

        The URL template of a reverse proxy may leave out the account hash; it belongs to one account.
        """
        if url.account_hash:
            return url.account_hash == self.options.account_hash
        return url.delivery_url == urls.normalize(self.options.delivery_url)

    def _delivered(self, name: str) -> DeliveredVariant:
        account_hash = self.options.require("account_hash")
        before, after = urls.around_id(self.options.delivery_url, account_hash, name)
        path_before, path_after = urls.around_id("", account_hash, name)
        return DeliveredVariant(
            name=name,
            before=before,
            after=after,
            path_before=path_before,
            path_after=path_after,
            is_flexible=grammar.is_flexible(name),
            is_never_signed=conf.is_never_signed(name),
        )
