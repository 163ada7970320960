"""The address of a variant of whatever a template holds: a field file or a URL. Never makes a request."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.core.files.storage import storages
from django.urls import Resolver404, get_script_prefix, resolve, reverse

from cf_images import conf, delivery

# Views of ours whose address ends in <variant>/<path:name>.
_OUR_VIEWS = ("local_variant", "waiting")


def variant_url(image: Any, variant: str) -> str:
    """``variant`` of a field file, or of the URL of one; an empty field gives the empty string.

    A storage that knows no variants gives its plain URL; a URL that is not ours comes back unchanged, and
    so does one with a signature. Raises ``InvalidVariantError`` for what cannot be a variant.
    """
    if not image:
        return ""
    delivery.clean_variant(variant)  # a storage without variants would let a mistake pass until production
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
    return _viewed(url, cleaned) or _local(url, cleaned) or url


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
    return address._replace(path=reverse(match.view_name, args=[variant, match.kwargs["name"]])).geturl()


def _local(url: str, variant: str) -> str | None:
    """The variant of a local original, given by the URL of the media folder."""
    alias = conf.package("LOCAL_ALIAS")
    storage: Any = storages[alias] if alias in settings.STORAGES else None
    name = storage.name_of(url) if hasattr(storage, "name_of") else None
    return storage.url(name, variant=variant) if name else None
