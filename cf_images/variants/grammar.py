"""How a variant is written: a name, or options such as ``w=200,fit=cover``; the one reader of both.

``read_leniently`` reads a URL as Cloudflare does; ``read_strictly`` reads what code writes, and raises an
error for what Cloudflare would refuse or ignore.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from cf_images.exceptions import InvalidVariantError
from cf_images.variants.options import OPTIONS, Kind, Option, fields_of, invalid_value
from cf_images.variants.values import RefusedError, UnreadableError, abbreviate

# Letters and digits, at most 99 (the schema of Cloudflare's API); a hyphen is refused with 5400.
NAME = re.compile(r"[A-Za-z0-9]{1,99}")
# Visible ASCII except what a URL, a template or this list gives a meaning of its own. No two parts of the
# pattern can match the same character at the same place, so that it never backtracks.
_PLAIN = r"[^\x00-\x20,/?&\\\"'<>()\x7f-\U0010ffff]"
_WORD = r"[A-Za-z]+"
_OPTION = rf"{_WORD}(?:[-.]{_WORD})*={_PLAIN}+(?:\((?:{_PLAIN}|,)*\))?"  # rgb(1,2,3) has commas of its own
_OPTIONS = re.compile(rf"{_OPTION}(?:,{_OPTION})*")
_MAX_LENGTH = 1000  # characters of all options together
_PAIR = re.compile(r"[^,(]*(?:\([^)]*\)?[^,(]*)*")  # up to a comma outside of parentheses

_BY_URL_NAME = {name: option for option in OPTIONS.values() for name in (option.name, *option.aliases)}
# What code may write: names of fields and of URLs, aliases, with any separator.
_BY_SPELLING = {name.replace("-", "_").replace(".", "_"): option for name, option in _BY_URL_NAME.items()}


def is_flexible(variant: str) -> bool:
    """Return whether ``variant`` is options (``w=200``) rather than a name."""
    return "=" in variant


def check_signable(variant: str) -> None:
    """Raise ``InvalidVariantError`` for a variant that no signed URL can have ("Serve private images")."""
    if is_flexible(variant):
        raise InvalidVariantError(
            f"{variant!r} of a private image: Cloudflare signs no flexible variants. Declare a named variant "
            f'with these options in CF_IMAGES["VARIANTS"].'
        )


def clean_variant(variant: object) -> str:
    """Return ``variant`` decoded, as paths have it; raise ``InvalidVariantError`` for an invalid one."""
    return _cleaned(str(variant or ""))


@lru_cache(maxsize=1024)  # the same few on every page
def _cleaned(variant: str) -> str:
    text = unquote(variant) + ""  # never a SafeString, which would vouch for the URL around it
    if NAME.fullmatch(text) or (len(text) <= _MAX_LENGTH and _OPTIONS.fullmatch(text)):
        return text
    raise InvalidVariantError(
        f"{abbreviate(text)} is not a variant: give a name of letters and digits (at most 99), or options "
        f"without spaces such as 'width=200,fit=cover'."
    )


def split_options(text: str) -> list[tuple[str, str]]:
    """Return the names and values in ``w=200,background=rgb(1,2,3)``; skip parts without ``=``."""
    pairs = (part.partition("=") for part in _PAIR.findall(text))
    return [(name.strip(), value.strip()) for name, equals, value in pairs if equals]


def find_option(spelling: str, kind: Kind) -> Option:
    """Return the option under any of its names; raise ``InvalidVariantError`` for an unknown one."""
    name = spelling.replace("-", "_").replace(".", "_")
    option = _BY_SPELLING.get(name)
    if option and (kind == "url" or option.values(kind)):
        return option
    known = fields_of(kind)
    if option:
        other, these = ("named", "flexible") if option.named else ("flexible", "named")
        raise InvalidVariantError(
            f"{spelling} exists only in {other} variants; {these} variants have {', '.join(known)}"
        )
    if name == "border":
        raise InvalidVariantError("border exists only in Workers, not in the URL of an image")
    nearest = get_close_matches(name.lower(), known, n=1)
    hint = f" (did you mean {nearest[0]}?)" if nearest else ""
    raise InvalidVariantError(f"unknown option {abbreviate(spelling)}{hint}; known are {', '.join(known)}")


def by_field(given: Iterable[tuple[object, Any]], kind: Kind) -> dict[str, Any]:
    """Return values, not yet read, by the field of their option; an option may be given only once."""
    found: dict[str, Any] = {}
    for spelling, value in given:
        option = find_option(str(spelling), kind)
        if option.field in found:
            raise InvalidVariantError(f"{option.field} is given twice, once as {abbreviate(spelling)}")
        found[option.field] = value
    return found


def read_strictly(given: Mapping[Any, Any], kind: Kind) -> dict[str, Any]:
    """Return the values of options by field; raise ``InvalidVariantError`` for the first problem.

    For ``"url"``, options that only named variants have are left out: they change no pixels.
    """
    fields = by_field(given.items(), kind)
    options = ((OPTIONS[name], value) for name, value in fields.items())
    return {option.field: option.read(value, kind)[0] for option, value in options if option.values(kind)}


def read_leniently(text: str) -> dict[str, Any]:
    """Return the values of options in a URL by field, as Cloudflare was observed to read them.

    Unknown options and unreadable numbers are ignored; a long name wins over its alias, and the first of two
    equal names wins. ``InvalidVariantError`` with code 9401 for what Cloudflare refuses: no option at all,
    an unknown word, a number out of range.
    """
    given: dict[str, str] = {}
    for name, value in split_options(text):
        given.setdefault(name, value)
    if not given:
        message = f"{abbreviate(text)} has no options; expected a form such as w=200,fit=cover"
        raise InvalidVariantError(message, status=400, code=9401)
    found = {}
    for name, value in given.items():
        option = _BY_URL_NAME.get(name)
        if option is None or option.url is None or (name != option.name and option.name in given):
            continue
        try:
            found[option.field] = option.url.read(value)
        except UnreadableError:
            continue
        except RefusedError:
            raise invalid_value(option, value, option.url, status=400, code=9401) from None
    return found
