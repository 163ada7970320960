"""Delivery URLs and the variants in them; pure: no I/O, no Django.

``<delivery_url>/<account_hash>/<image_id>/<variant>``, where the delivery URL is
``https://imagedelivery.net`` or ``https://<your domain>/cdn-cgi/imagedelivery`` ("Serve images from
custom domains" in Cloudflare's documentation) and the last segment is the name of a variant or
flexible options such as ``w=200,fit=cover``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote

from cf_images.exceptions import InvalidVariantError

# Names are letters and digits, at most 99 (the schema of Cloudflare's API); a hyphen is refused with 5400.
_NAMED = re.compile(r"[A-Za-z0-9]{1,99}")
# Visible ASCII but what a URL, a template or this list gives a meaning of its own. No two parts of the
# pattern can match the same sign at the same place, so that it never goes back.
_PLAIN = r"[^\x00-\x20,/?&\\\"'<>()\x7f-\U0010ffff]"
_WORD = r"[A-Za-z]+"
_OPTION = rf"{_WORD}(?:[-.]{_WORD})*={_PLAIN}+(?:\((?:{_PLAIN}|,)*\))?"  # rgb(1,2,3) has commas of its own
_OPTIONS = re.compile(rf"{_OPTION}(?:,{_OPTION})*")
_MAX_OPTIONS_LENGTH = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryURL:
    """One delivery URL, taken apart: ``image_id`` and ``variant`` are decoded, ``query`` is as it came."""

    delivery_url: str
    account_hash: str
    image_id: str
    variant: str
    query: str = ""

    def __str__(self) -> str:
        address = build_url(self.delivery_url, self.account_hash, self.image_id, self.variant)
        return f"{address}?{self.query}" if self.query else address

    @property
    def is_signed(self) -> bool:
        """Whether it carries a signature, good or bad."""
        return any(key == "sig" for key, _ in parse_qsl(self.query, keep_blank_values=True))


def build_url(delivery_url: str, account_hash: str, image_id: str, variant: str) -> str:
    """The address of one rendition. ``variant`` must come from ``clean_variant``.

    Slashes of the ID stay, everything else is encoded once, so a literal ``%`` becomes ``%25``.
    """
    path = f"{quote(account_hash, safe='')}/{quote(image_id, safe='/')}/{quote(variant, safe='=,;:.')}"
    return f"{delivery_url.rstrip('/')}/{path}"


def parse_url(url: str, delivery_urls: Iterable[str]) -> DeliveryURL | None:
    """``url`` taken apart if it begins with one of ``delivery_urls``, the longest of them, else ``None``."""
    for delivery_url in sorted(delivery_urls, key=len, reverse=True):
        base = delivery_url.rstrip("/")
        if url.startswith(f"{base}/"):
            return _parse_path(url[len(base) + 1 :], base)
    return None


def _parse_path(rest: str, base: str) -> DeliveryURL | None:
    # by hand: urlsplit drops line breaks, takes "//host" for another host, and raises for some of them
    path, _, query = rest.partition("?")
    segments = path.split("/")
    if len(segments) < 3 or not all(segments) or "#" in rest:
        return None
    account_hash, *image_id, variant = map(unquote, segments)
    return DeliveryURL(
        delivery_url=base,
        account_hash=account_hash,
        image_id="/".join(image_id),
        variant=variant,
        query=query,
    )


def is_flexible(variant: str) -> bool:
    """Whether ``variant`` is options (``w=200``) rather than a name."""
    return "=" in variant


def clean_variant(variant: str) -> str:
    """``variant`` as it stands in a path, decoded; raises ``InvalidVariantError`` for what cannot be one."""
    text = unquote(str(variant or ""))
    if _NAMED.fullmatch(text):
        return text
    if len(text) <= _MAX_OPTIONS_LENGTH and _OPTIONS.fullmatch(text):
        return text
    shown = text if len(text) <= 80 else f"{text[:77]}…"
    raise InvalidVariantError(
        f"{shown!r} is no variant: give a name of letters and digits (at most 99), or options without "
        f"spaces like 'width=200,fit=cover'."
    )
