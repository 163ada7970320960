"""The keywords of a tag, and HTML attributes written so that no value breaks out of its quotes."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from html import escape
from typing import Any

from django.utils.safestring import SafeString, mark_safe

from cf_images.variants.options import OPTIONS as VARIANT_OPTIONS
from cf_images.variants.values import abbreviate

# What the tag itself understands; of these only alt and sizes are attributes, too.
OWN = ("alt", "widths", "sizes", "dpr", "placeholder", "source_width", "source_height", "final")
# Of <img> in the HTML standard and of all elements, without what the tag computes and what runs scripts.
ATTRIBUTES = (
    *("class", "id", "style", "title", "loading", "decoding", "fetchpriority", "crossorigin"),
    *("referrerpolicy", "role", "tabindex", "hidden", "inert", "lang", "dir", "draggable", "translate"),
    *("usemap", "ismap", "itemprop", "part", "slot", "elementtiming"),
)
# Of flexible variants. dpr is the tag's own: screens differ, so that one density alone makes no sense.
OPTIONS = tuple(
    name
    for option in VARIANT_OPTIONS.values()
    for name in (option.field, *(alias.replace("-", "_") for alias in option.aliases))
    if option.values("flexible") and name != "dpr" and not name.startswith("on")
)
DEFAULTS = {"loading": "lazy", "decoding": "async"}

_KNOWN = (*OWN, *ATTRIBUTES, *OPTIONS)
_PREFIXED = re.compile(r"(?:data|aria)-[a-z0-9_.-]+")
_WORDS = {
    "loading": ("lazy", "eager"),
    "decoding": ("async", "sync", "auto"),
    "fetchpriority": ("high", "low", "auto"),
}
_CSS_SPECIAL = re.compile(r"[\x00-\x20\"'\\()<>;{}\x7f]")


def check_keywords(names: Collection[str]) -> None:
    """Raise ``TypeError`` for keywords that no image can have, or without ``alt``; values are not needed."""
    for name in names:
        _check_name(name)
    if "alt" not in names:
        raise TypeError(
            'an image needs alt: describe it in alt="…", or give alt="" to one that is only decoration'
        )
    if "widths" in names and "dpr" in names:
        raise TypeError(
            "widths and dpr exclude each other: widths for what grows with the page, dpr for a fixed size"
        )


def attribute_keywords(names: Iterable[str]) -> dict[str, str]:
    """Return the keywords that are attributes by their HTML name, with those that every image has."""
    given = {html_name(name): name for name in names if name not in OWN and name not in OPTIONS}
    return {"alt": "alt", **{name: name for name in DEFAULTS}, **given}


def html_name(keyword: str) -> str:
    """Return the attribute of a keyword: ``class_`` is ``class``, ``data_user_id`` is ``data-user-id``."""
    name = keyword.removesuffix("_")
    return name.replace("_", "-") if name.startswith(("data_", "aria_")) else name


def attribute_text(name: str, value: Any) -> str | None:
    """Return a value as the attribute has it, not yet escaped; ``None`` leaves the attribute out."""
    if value is None and name == "alt":
        return ""  # of an empty column
    if value is None or value is False:
        return None
    if name in _WORDS and value not in _WORDS[name]:
        raise ValueError(f"{name} cannot be {abbreviate(value)}; valid is {', '.join(_WORDS[name])}")
    return "" if value is True else value if isinstance(value, str) else str(value)


def attributes_html(attributes: Mapping[str, str | None]) -> SafeString:
    """Return the attributes in HTML, with a space before each; leave out ``None``."""
    parts = [f' {name}="{escaped(value)}"' for name, value in attributes.items() if value is not None]
    return mark_safe("".join(parts))  # noqa: S308  # each value is escaped here


def escaped(value: str) -> str:
    """Return a value for double quotes; text marked as safe keeps its entities, but ends no attribute."""
    if not isinstance(value, SafeString):
        return escape(value)
    return value.replace('"', "&quot;").replace("'", "&#x27;").replace("<", "&lt;").replace(">", "&gt;") + ""


def css_url(url: str) -> str:
    """Return ``url("…")`` for CSS, whatever the URL contains."""
    text = _CSS_SPECIAL.sub(lambda found: rf"\{ord(found[0]):x} ", url)
    return f'url("{text}")'


def _check_name(keyword: str) -> None:
    name = html_name(keyword)
    if name.startswith("on"):
        raise TypeError(
            f"{abbreviate(keyword)} would run a script from an attribute: use an event listener in a script"
        )
    if name in ("src", "srcset"):
        raise TypeError(f"{name} comes from the image and its variant; to show another, give another image")
    if keyword in OWN or name in ATTRIBUTES or keyword in OPTIONS or _PREFIXED.fullmatch(name):
        return
    nearest = get_close_matches(name.lower(), _KNOWN, n=1)
    hint = f" (did you mean {nearest[0]}?)" if nearest else ""
    raise TypeError(
        f"an image has no {abbreviate(keyword)}{hint}. There are {', '.join(OWN)}; the attributes "
        f"{', '.join(ATTRIBUTES)}, data_* and aria_*; and the options {', '.join(OPTIONS)}"
    )
