"""The options of variants: one table with their names, valid values, and meaning.

A new option is one entry in ``OPTIONS``, and one field of ``FlexibleVariant`` or ``NamedVariant``.
``Transform`` is what rendering does with them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from cf_images.exceptions import InvalidVariantError
from cf_images.variants.values import (
    GRAVITIES,
    QUALITY_WORDS,
    Reader,
    RefusedError,
    UnreadableError,
    abbreviate,
    color,
    color_channels,
    degrees,
    gravity,
    gravity_text,
    number_text,
    one_of,
    or_word,
    pixels,
    quality,
    switch,
    switch_text,
    trim,
    trim_text,
    whole,
    within,
)

# Pixels: "Supported formats and limitations" (Cloudflare Images docs).
MAX_SIDE = 12_000
# The documentation ends at 2; Cloudflare reduces more than 3 to 3, and only a header says so.
MAX_DPR = 3
# Pixels of a named variant; Cloudflare names no maximum, other clients of the API have this one.
MAX_NAMED_SIDE = 9_999

# Where an option stands: in a URL, as Cloudflare reads it; in a flexible variant, as code should write it,
# without values that Cloudflare ignores; in a named variant.
Kind = Literal["url", "flexible", "named"]


@dataclass(frozen=True, slots=True)
class Values:
    """The valid values of an option: their reader, a description for error messages, how a URL has them."""

    read: Reader
    valid: str
    write: Callable[[Any], str] = str


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True)
class Option:
    """One option, by its name in URLs and other names; ``None`` values are "does not exist there".

    Flexible variants have the values of URLs if they have no values of their own. Readers take back what
    ``write`` returns; ``meaning`` is what a value stands for in a ``Transform``.
    """

    name: str
    aliases: tuple[str, ...] = ()
    field: str = dataclasses.field(init=False)
    url: Values | None = dataclasses.field(kw_only=True, default=None)
    flexible: Values | None = dataclasses.field(kw_only=True, default=None)
    named: Values | None = dataclasses.field(kw_only=True, default=None)
    meaning: Callable[[Any], Any] = dataclasses.field(kw_only=True, default=_same)

    def __post_init__(self) -> None:
        object.__setattr__(self, "field", self.name.replace("-", "_").replace(".", "_"))

    @property
    def short_name(self) -> str:
        """The shortest of its names in URLs."""
        return min(self.name, *self.aliases, key=len) if self.aliases else self.name

    def values(self, kind: Kind) -> Values | None:
        """Return the valid values for a kind of variant."""
        return {"url": self.url, "flexible": self.flexible or self.url, "named": self.named}[kind]

    def read(self, value: object, kind: Kind) -> tuple[Any, str]:
        """Return a value as the option keeps it, and as a URL has it; ``InvalidVariantError`` if invalid."""
        valid = self.values(kind)
        if valid is None:
            raise InvalidVariantError(f"{self.field} does not exist in {kind} variants")
        try:  # read again as written, to so many decimals: a tiny number may become 0
            kept = valid.read(valid.write(valid.read(value)))
        except (UnreadableError, RefusedError):
            raise invalid_value(self, value, valid) from None
        return kept, valid.write(kept)


def invalid_value(
    option: Option, value: object, valid: Values, *, status: int | None = None, code: int | None = None
) -> InvalidVariantError:
    """Return the error about a value, which says what is valid."""
    message = f"{option.field} cannot be {abbreviate(value)}; valid is {valid.valid}"
    return InvalidVariantError(message, status=status, code=code)


def _words(*allowed: str) -> Values:
    return Values(one_of(*allowed), ", ".join(allowed))


def _number(read: Reader, valid: str) -> Values:
    return Values(read, valid, number_text)


_PIXELS = Values(pixels(), "a number of pixels, 1 or more")
_SIDE = Values(pixels(maximum=MAX_SIDE), f"1 to {MAX_SIDE:,} pixels")
# Four sizes by browser and device ("Make responsive images").
_SIDE_OR_AUTO = Values(or_word("auto", _SIDE.read), f"{_SIDE.valid}, or auto")
_NAMED_SIDE = Values(whole(1, MAX_NAMED_SIDE), f"a whole number of pixels, 1 to {MAX_NAMED_SIDE:,}")
_ANY_LENGTH = _number(within(0, math.inf), "a number of pixels, 0 or more")
_LENGTH = _number(within(0, MAX_SIDE), f"0 to {MAX_SIDE:,} pixels")
# Cloudflare refuses brightness and contrast "at or above 255"; the other two have the same kind of factor.
_MAX_FACTOR = math.nextafter(255, 0)
_ANY_FACTOR = _number(within(0, _MAX_FACTOR), "a factor from 0 to below 255, 1 for no change")
_FACTOR = _number(  # Cloudflare takes 0 as 1
    within(0, _MAX_FACTOR, above=0), "a factor from above 0 to below 255, 1 for no change"
)
_QUALITY = Values(quality, f"1 to 100, {', '.join(QUALITY_WORDS)}")
_BLUR = _number(within(1, 250), "1 to 250")
_METADATA = _words("copyright", "keep", "none")
_TRIM = 'top;right;bottom;left in pixels, or "border"'
_DEGREES = "90, 180 or 270"


def _quality_number(given: int | str) -> int | str:
    return QUALITY_WORDS.get(str(given), given)


# In the order in which ``str()`` of a flexible variant has them.
_TABLE = (
    Option("width", ("w",), url=_PIXELS, flexible=_SIDE_OR_AUTO, named=_NAMED_SIDE),
    Option("height", ("h",), url=_PIXELS, flexible=_SIDE, named=_NAMED_SIDE),
    Option(
        "fit",
        url=_words("scale-down", "contain", "cover", "crop", "pad", "squeeze", "aspect-crop", "scale-up"),
        named=_words("scale-down", "contain", "cover", "crop", "pad"),
    ),
    Option("format", ("f",), url=_words("auto", "avif", "webp", "jpeg", "baseline-jpeg", "png", "json")),
    Option("quality", ("q",), url=_QUALITY, meaning=_quality_number),
    Option(
        "gravity",
        ("g",),
        url=Values(gravity, f"{', '.join(GRAVITIES)}, or a point from 0x0 to 1x1", gravity_text),
    ),
    Option("zoom", ("face-zoom",), url=_number(within(0, 1), "0 to 1")),
    Option(
        "dpr",
        url=_number(within(0, math.inf, above=0), "a number above 0"),
        flexible=_number(within(0, MAX_DPR, above=0), f"a number from above 0 to {MAX_DPR}"),
    ),
    Option(
        "trim",
        url=Values(trim(_ANY_LENGTH.read), _TRIM, trim_text),
        flexible=Values(trim(_LENGTH.read), _TRIM, trim_text),
    ),
    Option("trim.width", url=_PIXELS, flexible=_SIDE),
    Option("trim.height", url=_PIXELS, flexible=_SIDE),
    Option("trim.left", url=_ANY_LENGTH, flexible=_LENGTH),
    Option("trim.top", url=_ANY_LENGTH, flexible=_LENGTH),
    Option(
        "background",
        url=Values(color, "a CSS color such as red, #rrggbb or rgb(240,40,145)"),
        meaning=color_channels,
    ),
    Option(
        "rotate",
        url=Values(degrees(0, 90, 180, 270, 360), _DEGREES),
        flexible=Values(degrees(90, 180, 270), _DEGREES),
    ),
    Option("flip", url=_words("h", "v", "hv")),
    Option("blur", url=_number(within(0, 250), "0 to 250"), flexible=_BLUR, named=_BLUR),
    Option("sharpen", url=_number(within(0, 10), "0 to 10")),
    Option("brightness", url=_ANY_FACTOR, flexible=_FACTOR),
    Option("contrast", url=_ANY_FACTOR, flexible=_FACTOR),
    Option("gamma", url=_ANY_FACTOR, flexible=_FACTOR),
    Option("saturation", url=_ANY_FACTOR),
    Option("anim", url=Values(switch, "true or false", switch_text)),
    Option("metadata", url=_METADATA, named=_METADATA),
    Option("compression", url=_words("fast")),
    Option("segment", url=_words("foreground")),
    Option("upscale", url=_words("interpolate", "generate")),
    Option("slow-connection-quality", ("scq",), url=_QUALITY, meaning=_quality_number),
    Option("onerror", url=_words("redirect")),
    Option(  # "Browser TTL"
        "browser-ttl",
        named=Values(whole(3_600, 31_536_000), "3600 to 31536000 seconds, from an hour to a year"),
    ),
    Option(
        "never-require-signed-urls",
        ("neverRequireSignedURLs",),
        named=Values(switch, "True or False", switch_text),
    ),
)
OPTIONS = {option.field: option for option in _TABLE}


def fields_of(kind: Kind) -> tuple[str, ...]:
    """Return the options of a kind of variant, by the names that code uses."""
    return tuple(option.field for option in _TABLE if option.values(kind))
