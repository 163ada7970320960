"""Which keywords there are, what each becomes, and how attributes are written so that nothing breaks out."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from html import escape
from typing import Any

from django.utils.safestring import SafeString, mark_safe

from cf_images.flexible import FlexibleVariant
from cf_images.options.table import ALIASES, shown

# What the tag itself understands; of these only alt and sizes are attributes, too.
OWN = ("alt", "widths", "sizes", "dpr", "placeholder", "source_width", "source_height")
# Of <img> in the HTML standard and of all elements; without what the tag computes and what runs scripts.
ATTRIBUTES = (
    *("class", "id", "style", "title", "loading", "decoding", "fetchpriority", "crossorigin"),
    *("referrerpolicy", "role", "tabindex", "hidden", "inert", "lang", "dir", "draggable", "translate"),
    *("usemap", "ismap", "itemprop", "part", "slot", "elementtiming"),
)
# dpr is the tag's own: one density alone makes no sense where a screen may have another.
OPTIONS = tuple(
    name
    for name in dict.fromkeys(
        [*FlexibleVariant.__dataclass_fields__, *(a.replace("-", "_") for a in ALIASES)]
    )
    if name != "dpr" and not name.startswith("on")
)
_KNOWN = (*OWN, *ATTRIBUTES, *OPTIONS)
_PREFIXED = re.compile(r"(?:data|aria)-[a-z0-9_.-]+")
_WORDS = {
    "loading": ("lazy", "eager"),
    "decoding": ("async", "sync", "auto"),
    "fetchpriority": ("high", "low", "auto"),
}
_LEFT_OUT = (None, False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keywords:
    """Keywords sorted: attributes under their HTML names, and options of the variant."""

    attributes: dict[str, Any]
    options: dict[str, Any]


def check_keywords(names: Collection[str]) -> None:
    """``TypeError`` for keywords that no image can have, or without ``alt``; knows names only, no values."""
    for name in names:
        _check_name(name)
    if "alt" not in names:
        raise TypeError(
            'an image needs alt: say in alt="…" what it shows, or give alt="" to one that is only decoration'
        )
    if "widths" in names and "dpr" in names:
        raise TypeError(
            "widths and dpr exclude each other: widths for what grows with the page, dpr for a fixed size"
        )


def sorted_keywords(given: Mapping[str, Any]) -> Keywords:
    """The keywords that are not ``OWN``, checked and sorted."""
    options = {name: value for name, value in given.items() if name in OPTIONS}
    attributes = {html_name(name): value for name, value in given.items() if name not in OPTIONS}
    for name, words in _WORDS.items():
        value = attributes.get(name)
        if value not in (*_LEFT_OUT, *words):
            raise ValueError(f"{name} cannot be {shown(value)}; valid is {', '.join(words)}")
    return Keywords(attributes=attributes, options=options)


def html_name(keyword: str) -> str:
    """The attribute of a keyword: ``class_`` is ``class``, ``data_user_id`` is ``data-user-id``."""
    name = keyword.removesuffix("_")
    return name.replace("_", "-") if name.startswith(("data_", "aria_")) else name


def as_text(value: Any) -> str | None:
    """A value as an attribute has it, not yet escaped; ``None`` leaves the attribute out."""
    if any(value is nothing for nothing in _LEFT_OUT):
        return None
    return "" if value is True else value if isinstance(value, str) else str(value)


def as_html(attributes: Mapping[str, str]) -> SafeString:
    """The attributes in HTML; also text that is marked as safe cannot leave its quotes."""
    return mark_safe(  # noqa: S308  # each value is escaped here
        " ".join(f'{name}="{_escaped(value)}"' for name, value in attributes.items())
    )


def css_url(address: str) -> str:
    """``url("…")`` in CSS, whatever the address contains."""
    escaped = _CSS_SPECIAL.sub(lambda sign: rf"\{ord(sign[0]):x} ", address)
    return f'url("{escaped}")'


_CSS_SPECIAL = re.compile(r"[\x00-\x20\"'\\()<>;{}\x7f]")


def _escaped(value: str) -> str:
    """A literal of a template is marked as safe and may have entities; but a quote ends no attribute."""
    if not isinstance(value, SafeString):
        return escape(value)
    return value.replace('"', "&quot;").replace("'", "&#x27;").replace("<", "&lt;").replace(">", "&gt;") + ""


def _check_name(keyword: str) -> None:
    name = html_name(keyword)
    if name.startswith("on"):
        raise TypeError(
            f"{shown(keyword)} would run a script from an attribute: listen to it in a script of your own"
        )
    if name in ("src", "srcset"):
        raise TypeError(f"{name} comes from the image and its variant; to show another, give another image")
    if keyword in OWN or name in ATTRIBUTES or keyword in OPTIONS or _PREFIXED.fullmatch(name):
        return
    nearest = get_close_matches(name.lower(), _KNOWN, n=1)
    hint = f" (did you mean {nearest[0]}?)" if nearest else ""
    raise TypeError(
        f"an image has no {shown(keyword)}{hint}. There are {', '.join(OWN)}; the attributes "
        f"{', '.join(ATTRIBUTES)}, data_* and aria_*; and the options {', '.join(OPTIONS)}"
    )
