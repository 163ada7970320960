"""Delivery URLs and the variants in them; pure: no I/O, no Django.

``<delivery_url>/<account_hash>/<image_id>/<variant>``, where the delivery URL is
``https://imagedelivery.net`` or ``https://<your domain>/cdn-cgi/imagedelivery`` ("Serve images from
custom domains" in Cloudflare's documentation) and the last segment is the name of a variant or
flexible options such as ``w=200,fit=cover``. A reverse proxy may have a shape of its own, written with
``{account_hash}``, ``{image_id}`` and ``{variant}``: ``https://img.example.com/{variant}/{image_id}``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
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

# What stands for each part in a shape, as it is found in an address: only an ID has slashes.
_PARTS = {
    "{account_hash}": "(?P<account_hash>[^/]+)",
    "{image_id}": "(?P<image_id>.+)",
    "{variant}": "(?P<variant>[^/]+)",
}
_CLOUDFLARES = "/{account_hash}/{image_id}/{variant}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryURL:
    """One delivery URL, taken apart: ``image_id`` and ``variant`` are decoded, ``query`` is as it came.

    ``account_hash`` is empty where the shape of ``delivery_url`` does not have it.
    """

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
    account_hash, image_id, variant = _encoded(account_hash, image_id, variant)
    if "{" not in delivery_url:
        return f"{delivery_url.rstrip('/')}/{account_hash}/{image_id}/{variant}"
    return delivery_url.format(account_hash=account_hash, image_id=image_id, variant=variant)


def build_path(account_hash: str, image_id: str, variant: str) -> str:
    """The path of one rendition at Cloudflare itself, which is what signatures are about on every host."""
    return "/" + "/".join(_encoded(account_hash, image_id, variant))


def parse_url(url: str, delivery_urls: Iterable[str]) -> DeliveryURL | None:
    """``url`` taken apart if it has the shape of one of ``delivery_urls``, of the longest, else ``None``."""
    fitting = [shape for shape in delivery_urls if url.startswith(_beginning(shape))]
    longest = max(map(_beginning, fitting), key=len, default="")
    found = (_taken_apart(url, shape) for shape in fitting if _beginning(shape) == longest)
    return next(filter(None, found), None)


@lru_cache(maxsize=64)
def shape_flaw(delivery_url: str) -> str:
    """What is wrong with a delivery URL as a shape of addresses; empty for a good one."""
    if "?" in delivery_url or "#" in delivery_url:
        return "it has a query or a fragment; signatures need the query for themselves"
    named = [segment for segment in delivery_url.split("/") if "{" in segment or "}" in segment]
    if not set(named) <= _PARTS.keys():
        return f"what is in braces must be {', '.join(_PARTS)}, each between two slashes"
    if len(named) > len(set(named)):
        return "it has a part twice"
    if named and not {"{image_id}", "{variant}"} <= set(named):
        return "it needs both {image_id} and {variant}"
    return ""


def _beginning(delivery_url: str) -> str:
    """What all addresses of this shape begin with."""
    return delivery_url.partition("{")[0].rstrip("/") + "/"


def _encoded(account_hash: str, image_id: str, variant: str) -> tuple[str, str, str]:
    return _quoted(account_hash, ""), quote(image_id, safe="/"), _quoted(variant, "=,;:.")


_quoted = lru_cache(maxsize=1024)(quote)  # the same few hashes and variants on every page


def _taken_apart(url: str, delivery_url: str) -> DeliveryURL | None:
    # by hand: urlsplit drops line breaks, takes "//host" for another host, and raises for some of them
    path, _, query = url.partition("?")
    match = _pattern(delivery_url).fullmatch(path)
    if match is None or "#" in url or "//" in path[len(_beginning(delivery_url)) :]:
        return None
    parts = {name: unquote(part) for name, part in match.groupdict().items()}
    return DeliveryURL(**{"account_hash": "", **parts}, delivery_url=base_of(delivery_url), query=query)


@lru_cache(maxsize=64)
def _pattern(delivery_url: str) -> re.Pattern[str]:
    shape = base_of(delivery_url) + ("" if "{" in delivery_url else _CLOUDFLARES)
    segments = (_PARTS.get(segment, re.escape(segment)) for segment in shape.split("/"))
    return re.compile("/".join(segments), re.DOTALL)


def check_signable(variant: str) -> None:
    """``InvalidVariantError`` for a variant that no signed address can have ("Serve private images")."""
    if is_flexible(variant):
        raise InvalidVariantError(
            f"{variant!r} of a private image: Cloudflare signs no flexible variants. Declare a named variant "
            f'with these options in CF_IMAGES["VARIANTS"].'
        )


def base_of(delivery_url: str) -> str:
    """A delivery URL as it stands in addresses: without a slash at its end."""
    return delivery_url if "{" in delivery_url else delivery_url.rstrip("/")


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
