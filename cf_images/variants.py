"""The address of a variant of whatever a template holds: a field file or a URL. Never makes a request."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from django.core.files.storage import storages
from django.urls import Resolver404, resolve, reverse

from cf_images import conf, delivery

# Views of ours whose address ends in <variant>/<path:name>.
_OUR_VIEWS = ("cf_images:local_variant", "cf_images:waiting")


def variant_url(image: Any, variant: str) -> str:
    """``variant`` of a field file, or of the URL of one; an empty field gives the empty string.

    A storage that knows no variants gives its plain URL; a URL that is not ours comes back unchanged, and
    so does one with a signature. Raises ``InvalidVariantError`` for what cannot be a variant.
    """
    if not image:
        return ""
    if not hasattr(image, "storage"):
        return replace_variant(str(image), variant)
    if hasattr(image.storage, "url_variant"):
        return str(image.storage.url_variant(image.name, variant))
    return str(image.url)


def replace_variant(url: str, variant: str) -> str:
    """``url`` with another variant where it is a delivery, waiting or local URL of this project."""
    cleaned = delivery.clean_variant(variant)
    if address := delivery.parse_url(url, conf.delivery_urls()):
        return url if address.is_signed else str(replace(address, variant=cleaned))
    if local := _local(url, cleaned):
        return local
    return _viewed(url, cleaned) if url.startswith("/") else url


def _local(url: str, variant: str) -> str | None:
    """The variant of a local original, given by the URL of the media folder."""
    storage = storages[conf.package("LOCAL_ALIAS")]
    name = storage.name_of(url) if hasattr(storage, "name_of") else None
    return storage.url(name, variant=variant) if name else None


def _viewed(url: str, variant: str) -> str:
    """The same for an address that one of our own views answers."""
    address = urlsplit(url)
    try:
        match = resolve(address.path)
    except Resolver404:
        return url
    if match.view_name not in _OUR_VIEWS:
        return url
    path = reverse(match.view_name, args=[variant, match.kwargs["name"]])
    return address._replace(path=path).geturl()
