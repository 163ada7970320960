"""The address of a variant of whatever a template holds: a field file or a URL. Never makes a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.conf import settings
from django.core.files.storage import storages
from django.urls import Resolver404, get_script_prefix, resolve, reverse

from cf_images import conf, delivery, keys, signing, waiting
from cf_images.flexible import FlexibleVariant
from cf_images.permitted import permitted_variant

# Views of ours whose address ends in <variant>/<path:name>.
_OUR_VIEWS = ("local_variant", "waiting")


def variant_url(image: Any, variant: str | FlexibleVariant) -> str:
    """``variant`` of a field file, or of the URL of one; an empty field gives the empty string.

    A storage that knows no variants gives its plain URL; a URL that is not ours comes back unchanged, and
    so does one whose signature we did not make: otherwise a string from a visitor would become a permission.
    Raises ``InvalidVariantError`` for what cannot be a variant.
    """
    if not image:
        return ""
    permitted_variant(variant)  # a storage without variants would let a mistake pass until production
    if not hasattr(image, "storage"):
        return replace_variant(str(image), variant)
    if hasattr(image.storage, "url_variant"):
        return str(image.storage.url_variant(image.name, variant))
    return str(image.url)


def replace_variant(url: str, variant: str | FlexibleVariant) -> str:
    """``url`` with another variant where it is a delivery, waiting or local URL of this project."""
    cleaned = permitted_variant(variant)
    if not url.isprintable():
        return url  # no address: it would be read without its line breaks, or could not be written again
    if address := delivery.parse_url(url, conf.delivery_urls()):
        if address.is_signed:
            return _signed_again(address, cleaned) or url
        return str(replace(address, variant=cleaned))
    return _viewed(url, cleaned) or _local(url, cleaned) or url


def _signed_again(address: delivery.DeliveryURL, variant: str) -> str | None:
    """The same permission for another variant; ``None`` where we did not give it.

    No key has a name here: debug pages and error trackers show what each frame knows.
    """
    for options in conf.storage_options():
        account_hash = conf.option("account_hash", options)
        complete = replace(address, account_hash=address.account_hash or account_hash or "")
        ours = delivery.base_of(conf.option("delivery_url", options)) == address.delivery_url
        if not ours or complete.account_hash != account_hash:
            continue
        if signing.is_signed_by(complete, keys.known_keys(options)):
            return _with_signature(replace(complete, variant=variant), options)
    return None


def _with_signature(address: delivery.DeliveryURL, options: Mapping[str, Any]) -> str:
    if conf.is_never_signed(address.variant):
        return str(replace(address, query=""))
    delivery.check_signable(address.variant)
    return str(signing.sign(address, keys.known_keys(options)[-1], ends_at=signing.end_of(address)))


def _viewed(url: str, variant: str) -> str | None:
    """The variant of an image whose address is answered by one of our own views."""
    if not url.startswith("/") or url.startswith("//") or not getattr(settings, "ROOT_URLCONF", None):
        return None
    address = urlsplit(url)
    path = unquote(address.path).removeprefix(get_script_prefix())
    try:
        match = resolve(f"/{path}")
    except Resolver404:
        return None
    if match.app_names[-1:] != ["cf_images"] or match.url_name not in _OUR_VIEWS:
        return None
    name, query = match.kwargs["name"], dict(parse_qsl(address.query))
    if match.url_name == "waiting" and waiting.is_signed(query):
        ends_at = waiting.signed_until(name, match.kwargs["variant"], query)
        return url if ends_at is None else _waiting_again(name, variant, ends_at)
    # what else the route captured stays, such as the tenant of "<slug:tenant>/images/"
    path = reverse(match.view_name, kwargs={**match.kwargs, "variant": variant})
    return address._replace(path=path).geturl()


def _waiting_again(name: str, variant: str, ends_at: int) -> str | None:
    if conf.is_never_signed(variant):
        return waiting.waiting_address(name, variant)
    delivery.check_signable(variant)
    return waiting.waiting_address(name, variant, ends_at=ends_at)


def _local(url: str, variant: str) -> str | None:
    """The variant of a local original, given by the URL of the media folder."""
    alias = conf.package("LOCAL_ALIAS")
    storage: Any = storages[alias] if alias in settings.STORAGES else None
    name = storage.name_of(url) if hasattr(storage, "name_of") else None
    return storage.url(name, variant=variant) if name else None
