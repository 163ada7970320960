"""The URL of a variant of whatever a template holds: a field file or a URL. Never makes a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from django.core.files.storage import storages
from django.urls import Resolver404, get_script_prefix, resolve, reverse

from cf_images import conf
from cf_images.accounts import Account, usable_accounts
from cf_images.delivery import signing, urls
from cf_images.images import names
from cf_images.markup.text_images import image_of
from cf_images.storage import ImageStorage, pending_urls
from cf_images.storage.mirror import local_images
from cf_images.variants import FlexibleVariant, grammar

# Views of this package whose URL ends in <variant>/<path:name>.
_VIEWS = ("local_variant", "pending")


def variant_url(image: Any, variant: str | FlexibleVariant, *, final: bool = False) -> str:
    """Return the URL of ``variant`` of a field file, of its URL, or of its name; ``""`` for an empty field.

    A storage without variants gives its plain URL. A foreign URL comes back unchanged, and so does one with a
    foreign signature: otherwise a string from a visitor would become a permission. ``InvalidVariantError``
    for what cannot be a variant; ``text_images`` for what cannot be an image. With ``final``, the URL that a
    pending image will have at Cloudflare.
    """
    if not image:
        return ""
    # checked here: a storage without variants would let a mistake pass until production
    cleaned = conf.clean_variant(variant)
    found = image_of(image)
    return clean_variant_url(found, cleaned, final=final) if found else ""


def clean_variant_url(image: Any, variant: str, *, final: bool = False) -> str:
    """Return ``variant_url`` of what ``image_of`` has found and a variant that is checked."""
    storage = getattr(image, "storage", None)
    if storage is None:
        return _replaced(str(image), variant, final=final)
    if final and isinstance(storage, ImageStorage):
        return storage.url(image.name, variant=variant, final=True)
    if hasattr(storage, "url_variant"):
        return str(storage.url_variant(image.name, variant))
    return str(image.url)


def replace_variant(url: str, variant: str | FlexibleVariant) -> str:
    """Return ``url`` with another variant if it is a delivery, pending or local URL of this project."""
    return _replaced(url, conf.clean_variant(variant))


def _replaced(url: str, variant: str, *, final: bool = False) -> str:
    if not url.isprintable():
        return url  # not a URL: it would be read without its line breaks, or could not be written again
    if parsed := urls.parse_url(url, conf.delivery_urls()):
        if parsed.is_signed:
            return _signed_again(parsed, variant) or url
        return str(replace(parsed, variant=variant))
    return _view_url(url, variant, final=final) or _local_url(url, variant) or url


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


def _view_url(url: str, variant: str, *, final: bool) -> str | None:
    """Return the variant of an image that one of this package's views serves."""
    site, url = _site_and_path(url)
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
        return site + (url if expires_at is None else _pending_url(name, variant, expires_at) or url)
    if final and match.url_name == "pending" and (found := _final_url(name, variant)):
        return found
    # What else the route captured stays, such as the tenant of "<slug:tenant>/images/".
    path = reverse(match.view_name, kwargs={**match.kwargs, "variant": variant})
    is_open = match.url_name == "local_variant" and conf.project_setting("DEBUG")
    requested = {} if is_open else pending_urls.requested_query(name, variant)
    return site + parts._replace(path=path, query=_query(parts.query, requested)).geturl()


def _query(query: str, requested: Mapping[str, str]) -> str:
    """Return a query with the signature of the new variant in place of the old one's."""
    given = dict(parse_qsl(query, keep_blank_values=True))
    others = pending_urls.without_request(given)
    return query if others == given and not requested else urlencode({**others, **requested})


def _site_and_path(url: str) -> tuple[str, str]:
    """Split an absolute URL of this site behind its host; any other URL is all path."""
    if url.startswith("/"):
        return "", url
    site = pending_urls.site_url()
    return (site, url.removeprefix(site)) if site and url.startswith(f"{site}/") else ("", url)


def _final_url(name: str, variant: str) -> str | None:
    """Return the delivery URL of an image of the project's storage; a URL does not tell any other."""
    storage = storages[conf.selected_alias()]
    if names.is_private(name) or not isinstance(storage, ImageStorage):
        return None
    return storage.url(name, variant=variant, final=True)


def _pending_url(name: str, variant: str, expires_at: int) -> str | None:
    if conf.is_never_signed(variant):
        return pending_urls.pending_url(name, variant)
    grammar.check_signable(variant)
    return pending_urls.pending_url(name, variant, expires_at=expires_at)


def _local_url(url: str, variant: str) -> str | None:
    """Return the variant of a local original, given by its URL in the media folder."""
    storage = local_images()
    name = storage.name_of(url) if storage else None
    return storage.url(name, variant=variant) if storage and name else None
