"""The URL of a variant of whatever a template holds: a field file or a URL. Never makes a request."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.files.storage import storages
from django.urls import Resolver404, get_script_prefix, resolve, reverse

from cf_images import conf
from cf_images.accounts import Account, usable_accounts
from cf_images.delivery import signing, urls
from cf_images.storage import LocalImagesStorage, pending_urls
from cf_images.variants import FlexibleVariant, grammar

# Views of this package whose URL ends in <variant>/<path:name>.
_VIEWS = ("local_variant", "pending")


def variant_url(image: Any, variant: str | FlexibleVariant) -> str:
    """Return the URL of ``variant`` of a field file, or of the URL of one; ``""`` for an empty field.

    A storage without variants gives its plain URL. A foreign URL comes back unchanged, and so does one with a
    foreign signature: otherwise a string from a visitor would become a permission. ``InvalidVariantError``
    for what cannot be a variant.
    """
    if not image:
        return ""
    # checked here: a storage without variants would let a mistake pass until production
    return clean_variant_url(image, conf.clean_variant(variant))


def clean_variant_url(image: Any, variant: str) -> str:
    """Return ``variant_url`` of an image that is there and a variant that is checked."""
    storage = getattr(image, "storage", None)
    if storage is None:
        return _replaced(str(image), variant)
    if hasattr(storage, "url_variant"):
        return str(storage.url_variant(image.name, variant))
    return str(image.url)


def replace_variant(url: str, variant: str | FlexibleVariant) -> str:
    """Return ``url`` with another variant if it is a delivery, pending or local URL of this project."""
    return _replaced(url, conf.clean_variant(variant))


def _replaced(url: str, variant: str) -> str:
    if not url.isprintable():
        return url  # not a URL: it would be read without its line breaks, or could not be written again
    if parsed := urls.parse_url(url, conf.delivery_urls()):
        if parsed.is_signed:
            return _signed_again(parsed, variant) or url
        return str(replace(parsed, variant=variant))
    return _view_url(url, variant) or _local_url(url, variant) or url


def _signed_again(url: urls.DeliveryURL, variant: str) -> str | None:
    """Return the same permission for another variant; ``None`` for a foreign one.

    No variable holds a key: debug pages and error trackers show the variables of each frame.
    """
    for account in (*usable_accounts(), Account({})):
        account_hash = account.options.account_hash
        complete = replace(url, account_hash=url.account_hash or account_hash or "")
        is_same_place = urls.normalize(account.options.delivery_url) == url.delivery_url
        if not is_same_place or complete.account_hash != account_hash:
            continue
        if signing.is_signed_by(complete, account.known_signing_keys()):
            return _with_signature(replace(complete, variant=variant), account)
    return None


def _with_signature(url: urls.DeliveryURL, account: Account) -> str:
    if conf.is_never_signed(url.variant):
        return str(replace(url, query=""))
    grammar.check_signable(url.variant)
    expires_at = signing.expiry_of(url)
    return str(signing.sign(url, account.known_signing_keys()[-1], expires_at=expires_at))


def _view_url(url: str, variant: str) -> str | None:
    """Return the variant of an image that one of this package's views serves."""
    if not url.startswith("/") or url.startswith("//") or not conf.has_urls():
        return None
    parts = urlsplit(url)
    path = unquote(parts.path).removeprefix(get_script_prefix())
    try:
        match = resolve(f"/{path}")
    except Resolver404:
        return None
    if match.app_names[-1:] != ["cf_images"] or match.url_name not in _VIEWS:
        return None
    name, query = match.kwargs["name"], dict(parse_qsl(parts.query))
    if match.url_name == "pending" and pending_urls.is_signed(query):
        expires_at = pending_urls.signed_until(name, match.kwargs["variant"], query)
        return url if expires_at is None else _pending_url(name, variant, expires_at)
    # What else the route captured stays, such as the tenant of "<slug:tenant>/images/".
    path = reverse(match.view_name, kwargs={**match.kwargs, "variant": variant})
    return parts._replace(path=path).geturl()


def _pending_url(name: str, variant: str, expires_at: int) -> str | None:
    if conf.is_never_signed(variant):
        return pending_urls.pending_url(name, variant)
    grammar.check_signable(variant)
    return pending_urls.pending_url(name, variant, expires_at=expires_at)


def _local_url(url: str, variant: str) -> str | None:
    """Return the variant of a local original, given by its URL in the media folder."""
    alias = conf.setting("LOCAL_ALIAS")
    storage = storages[alias] if alias in conf.storage_declarations() else None
    if not isinstance(storage, LocalImagesStorage):
        return None
    name = storage.name_of(url)
    return storage.url(name, variant=variant) if name else None
