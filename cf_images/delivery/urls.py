"""Delivery URLs: built, and taken apart.

``<delivery_url>/<account_hash>/<image_id>/<variant>``, where ``delivery_url`` is
``https://imagedelivery.net`` or ``https://<your domain>/cdn-cgi/imagedelivery`` ("Serve images from custom
domains" in Cloudflare's documentation). A reverse proxy may have a URL template of its own, written with
``{account_hash}``, ``{image_id}`` and ``{variant}``: ``https://img.example.com/{variant}/{image_id}``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import parse_qsl, quote, unquote

# What each placeholder matches in a URL. Only an ID has slashes.
_PLACEHOLDERS = {
    "{account_hash}": "(?P<account_hash>[^/]+)",
    "{image_id}": "(?P<image_id>.+)",
    "{variant}": "(?P<variant>[^/]+)",
}
_CLOUDFLARE_PATH = "/{account_hash}/{image_id}/{variant}"
# Nothing to encode; no dot at the end, before a slash or before another dot.
_PLAIN_ID = re.compile(r"[A-Za-z0-9_~/-]++(?:\.[A-Za-z0-9_~-][A-Za-z0-9_~/-]*+)*+")
_DOTS = re.compile(r"(?<![^/])\.{1,2}(?![^/])")  # segments by which browsers go up, or stay
_MARK = "\0"  # in no URL


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryURL:
    """A delivery URL, taken apart: ``image_id`` and ``variant`` are decoded, ``query`` is unchanged.

    ``account_hash`` is empty where the URL template does not have it.
    """

    delivery_url: str
    account_hash: str
    image_id: str
    variant: str
    query: str = ""

    def __str__(self) -> str:
        url = build_url(self.delivery_url, self.account_hash, self.image_id, self.variant)
        return f"{url}?{self.query}" if self.query else url

    @property
    def is_signed(self) -> bool:
        """Whether it has a signature, valid or not."""
        return any(key == "sig" for key, _ in parse_qsl(self.query, keep_blank_values=True))


def build_url(delivery_url: str, account_hash: str, image_id: str, variant: str) -> str:
    """Return the URL of a variant of an image. ``variant`` must be clean.

    Slashes of the ID stay, everything else is encoded once, so that a literal ``%`` becomes ``%25``.
    """
    before, after = around_id(delivery_url, account_hash, variant)
    return f"{before}{quote_id(image_id)}{after}"


def build_path(account_hash: str, image_id: str, variant: str) -> str:
    """Return the path at Cloudflare itself, which signatures are made over whatever the host is."""
    return build_url("", account_hash, image_id, variant)


@lru_cache(maxsize=1024)  # a page has few variants
def around_id(delivery_url: str, account_hash: str, variant: str) -> tuple[str, str]:
    """Return what stands before and after the image ID in a URL."""
    template = normalize(delivery_url)
    if "{" not in template:
        template += _CLOUDFLARE_PATH
    quoted = quote(variant, safe="=,;:.")
    url = template.format(account_hash=quote(account_hash, safe=""), image_id=_MARK, variant=quoted)
    before, _, after = url.partition(_MARK)
    return before, after


def quote_id(image_id: str) -> str:
    """Return an image ID as it stands in a URL.

    Browsers resolve the segments ``.`` and ``..``, also percent-encoded ones, which would lead to another
    account. Such a segment is encoded twice: no image has that ID, and the URL stays where it is.
    """
    if _PLAIN_ID.fullmatch(image_id):
        return image_id
    return _DOTS.sub(lambda dots: "%252E" * len(dots[0]), quote(image_id, safe="/"))


def leads_elsewhere(image_id: str) -> bool:
    """Return whether an image ID has a segment that browsers resolve, also after another decoding."""
    decoded = unquote(image_id)
    return not {".", ".."}.isdisjoint(re.split(r"[/\\]", decoded))


def parse_url(url: str, delivery_urls: Iterable[str]) -> DeliveryURL | None:
    """Take ``url`` apart by the longest of the URL templates that it fits; ``None`` where it fits none."""
    fitting = [template for template in delivery_urls if url.startswith(_beginning(template))]
    longest = max(map(_beginning, fitting), key=len, default="")
    found = (_parse(url, template) for template in fitting if _beginning(template) == longest)
    return next(filter(None, found), None)


@lru_cache(maxsize=64)
def url_template_problem(delivery_url: str) -> str:
    """Return what is wrong with a ``delivery_url``; an empty string for a good one."""
    if "?" in delivery_url or "#" in delivery_url:
        return "it has a query or a fragment, which signatures need for themselves"
    placeholders = [segment for segment in delivery_url.split("/") if "{" in segment or "}" in segment]
    if not set(placeholders) <= _PLACEHOLDERS.keys():
        return f"the placeholders are {', '.join(_PLACEHOLDERS)}, each between two slashes"
    if len(placeholders) > len(set(placeholders)):
        return "it has a placeholder twice"
    if placeholders and not {"{image_id}", "{variant}"} <= set(placeholders):
        return "it needs both {image_id} and {variant}"
    return ""


def normalize(delivery_url: str) -> str:
    """Return a ``delivery_url`` without the slash at its end."""
    return delivery_url if "{" in delivery_url else delivery_url.rstrip("/")


def _beginning(delivery_url: str) -> str:
    """Return what all URLs of this template begin with."""
    return delivery_url.partition("{")[0].rstrip("/") + "/"


def _parse(url: str, delivery_url: str) -> DeliveryURL | None:
    # By hand: urlsplit drops line breaks, takes "//host" for another host, and raises for some URLs.
    path, _, query = url.partition("?")
    match = _pattern(delivery_url).fullmatch(path)
    if match is None or "#" in url or "//" in path[len(_beginning(delivery_url)) :]:
        return None
    parts = {name: unquote(part) for name, part in match.groupdict().items()}
    return DeliveryURL(**{"account_hash": "", **parts}, delivery_url=normalize(delivery_url), query=query)


@lru_cache(maxsize=64)
def _pattern(delivery_url: str) -> re.Pattern[str]:
    template = normalize(delivery_url) + ("" if "{" in delivery_url else _CLOUDFLARE_PATH)
    segments = (_PLACEHOLDERS.get(segment, re.escape(segment)) for segment in template.split("/"))
    return re.compile("/".join(segments), re.DOTALL)
