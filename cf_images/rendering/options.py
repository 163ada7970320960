"""The options of a variant: read from a delivery URL or from a declared variant, as Cloudflare reads them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote

from PIL import ImageColor

from cf_images.exceptions import InvalidVariantError

Color = tuple[int, int, int, int]

_ALIASES = {
    "f": "format",
    "face-zoom": "zoom",
    "g": "gravity",
    "h": "height",
    "q": "quality",
    "scq": "slow-connection-quality",
    "w": "width",
}
# What a hosted variant may declare besides its pixels.
_NOT_PIXELS = {"browser-ttl", "never-require-signed-urls", "neverRequireSignedURLs"}
# Cloudflare gives no numbers for its four words; these are what its local simulator uses.
_QUALITY_WORDS = {"low": 35, "medium-low": 50, "medium-high": 70, "high": 90}
_TRANSPARENT = (0, 0, 0, 0)
# Commas inside parentheses belong to a color: background=rgb(240,40,145).
_PIECE = re.compile(r"[^,(]*(?:\([^)]*\)?[^,(]*)*")


class _UnreadableError(ValueError):
    """Not a number, or one without meaning: ignored in a URL, an error in a declared variant."""


class _RefusedError(ValueError):
    """Cloudflare answers such a value with its error 9401."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trim:
    """What is cut off on each side, or the size of what is kept; in pixels before ``dpr``."""

    top: float = 0
    right: float = 0
    bottom: float = 0
    left: float = 0
    width: float | None = None
    height: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transform:
    """One variant, under the long option names of Cloudflare's "Transform via URL" page.

    Lengths are pixels before ``dpr``; ``gravity`` is a word or a point from (0, 0), top left, to (1, 1);
    ``quality`` is ``None`` when nobody asked for one; ``background`` has four channels of 0 to 255.
    """

    width: int | None = None
    height: int | None = None
    fit: str = "scale-down"
    gravity: str | tuple[float, float] = "center"
    dpr: float = 1.0
    quality: int | None = None
    format: str = "auto"
    background: Color | None = None
    rotate: int = 0
    flip: str = ""
    metadata: str = "copyright"
    anim: bool = True
    trim: Trim | Literal["border"] | None = None
    blur: float = 0.0
    sharpen: float = 0.0
    brightness: float = 1.0
    contrast: float = 1.0
    gamma: float = 1.0
    saturation: float = 1.0
    compression: str | None = None
    onerror: str | None = None
    segment: str | None = None
    slow_connection_quality: int | None = None
    upscale: str = "interpolate"
    zoom: float = 0.0

    @classmethod
    def parse(cls, options: str) -> Transform:
        """Read a URL's segment such as ``w=200,fit=cover``, percent-encoded or not.

        Lenient as Cloudflare was observed to be: unknown options and unreadable numbers are ignored, a long
        name wins over its alias, the first of two equal names wins. ``InvalidVariantError`` with code 9401
        for what Cloudflare refuses: no option at all, an unknown word, a number out of range.
        """
        pairs = [piece.split("=", 1) for piece in _PIECE.findall(unquote(options)) if "=" in piece]
        if not pairs:
            raise _invalid(f"{_shown(options)} has no options; expected a form such as w=200,fit=cover")
        given: dict[str, object] = {}
        for name, value in pairs:
            given.setdefault(name.strip(), value.strip())
        values = {}
        for name, value in _by_long_name(given):
            if name not in _OPTIONS:
                continue
            try:
                values[name] = _OPTIONS[name].read(value)
            except _UnreadableError:
                continue
            except _RefusedError:
                raise _invalid_value(name, value) from None
        return cls._of(values)

    @classmethod
    def from_options(cls, options: Mapping[str, object]) -> Transform:
        """Read a declared variant such as ``{"width": 240, "fit": "cover"}``.

        Strict: ``InvalidVariantError`` for an unknown option or a wrong value names what would be right.
        What a hosted variant declares besides its pixels, such as ``browser_ttl``, is allowed and ignored.
        """
        values = {}
        for name, value in _by_long_name({str(key).replace("_", "-"): options[key] for key in options}):
            if name in _NOT_PIXELS:
                continue
            if name not in _OPTIONS:
                raise _invalid(f"unknown option {_shown(name)}; known are {', '.join(sorted(_OPTIONS))}")
            try:
                values[name] = _OPTIONS[name].read(value)
            except (_UnreadableError, _RefusedError):
                raise _invalid_value(name, value) from None
        return cls._of(values)

    @classmethod
    def _of(cls, values: Mapping[str, object]) -> Transform:
        """Build from read values; ``trim`` in four numbers wins over ``trim.left`` and its like."""
        parts = {name[5:]: value for name, value in values.items() if name.startswith("trim.")}
        fields = {name.replace("-", "_"): value for name, value in values.items() if "." not in name}
        if parts:
            fields.setdefault("trim", Trim(**parts))  # type: ignore[arg-type]
        return cls(**fields)  # type: ignore[arg-type]


def _by_long_name(given: Mapping[str, object]) -> Iterable[tuple[str, object]]:
    for name, value in given.items():
        long_name = _ALIASES.get(name, name)
        if long_name == name or long_name not in given:
            yield long_name, value


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


def _invalid(message: str) -> InvalidVariantError:
    return InvalidVariantError(message, status=400, code=9401)


def _invalid_value(name: str, value: object) -> InvalidVariantError:
    return _invalid(f"{name} cannot be {_shown(value)}; valid is {_OPTIONS[name].valid}")


def _finite(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise _UnreadableError
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise _UnreadableError from None
    if not math.isfinite(number):
        raise _UnreadableError
    return number


def _within(low: float, high: float) -> Callable[[object], float]:
    """Read a number; below ``low`` it has no meaning, above ``high`` it is refused."""

    def read(value: object) -> float:
        number = _finite(value)
        if number < low:
            raise _UnreadableError
        if number > high:
            raise _RefusedError
        return number

    return read


def _one_of(*words: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if not isinstance(value, str) or value not in words:
            raise _RefusedError
        return value

    return read


def _pixels(value: object) -> int:
    pixels = math.floor(_finite(value) + 0.5)
    if pixels < 1:
        raise _UnreadableError
    return pixels


def _ratio(value: object) -> float:
    number = _finite(value)
    if number <= 0:
        raise _UnreadableError
    return number


def _quality(value: object) -> int:
    if isinstance(value, str) and value in _QUALITY_WORDS:
        return _QUALITY_WORDS[value]
    quality = round(_finite(value))
    if not 1 <= quality <= 100:
        raise _UnreadableError
    return quality


def _switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if value not in ("true", "false"):
        raise _UnreadableError
    return value == "true"


def _degrees(value: object) -> int:
    degrees = _finite(value)
    if degrees not in (0, 90, 180, 270, 360):
        raise _RefusedError
    return int(degrees) % 360


def _gravity(value: object) -> str | tuple[float, float]:
    if isinstance(value, str) and value in _GRAVITIES:
        return value
    point = value.split("x") if isinstance(value, str) else value
    if not isinstance(point, (list, tuple)) or len(point) != 2:
        raise _RefusedError
    try:
        x, y = _finite(point[0]), _finite(point[1])
    except _UnreadableError:
        raise _RefusedError from None
    if not (0 <= x <= 1 and 0 <= y <= 1):
        raise _RefusedError
    return x, y


def _trim(value: object) -> Trim | Literal["border"]:
    if value == "border":
        return "border"
    sides = value.split(";") if isinstance(value, str) else value
    if not isinstance(sides, (list, tuple)) or len(sides) != 4:
        raise _UnreadableError
    top, right, bottom, left = map(_within(0, math.inf), sides)
    return Trim(top=top, right=right, bottom=bottom, left=left)


def _color(value: object) -> Color:
    """Read a CSS color; numbers beyond their range are clamped as CSS Color Module 4 asks."""
    text = value.strip().lower() if isinstance(value, str) else ""
    try:
        channels = _TRANSPARENT if text == "transparent" else _rgb_function(text) or ImageColor.getrgb(text)
    except ValueError:
        raise _RefusedError from None
    red, green, blue, alpha = (*(min(255, max(0, channel)) for channel in channels), 255)[:4]
    return red, green, blue, alpha


def _rgb_function(text: str) -> tuple[int, ...] | None:
    """``rgb()`` and ``rgba()`` with commas or blanks, percentages, and alpha from 0 to 1."""
    if not (text.startswith(("rgb(", "rgba(")) and text.endswith(")")):
        return None
    red, green, blue, *alpha = re.split(r"[\s,/]+", text[text.index("(") + 1 : -1].strip())
    channels = [_channel(part, whole=255) for part in (red, green, blue)]
    return *channels, *(_channel(part, whole=1) for part in alpha[:1])


def _channel(text: str, *, whole: int) -> int:
    share = _finite(text[:-1]) / 100 if text.endswith("%") else _finite(text) / whole
    return round(255 * min(1, max(0, share)))


_GRAVITIES = ("auto", "face", "entropy", "left", "right", "top", "bottom", "center")
_FITS = ("scale-down", "contain", "cover", "crop", "pad", "squeeze", "aspect-crop", "scale-up")
_FORMATS = ("auto", "avif", "webp", "jpeg", "baseline-jpeg", "png", "json")


@dataclass(frozen=True, slots=True)
class _Option:
    """How one option is read, and the valid values in words."""

    read: Callable[[object], object]
    valid: str = field(kw_only=True)


def _words(*words: str) -> _Option:
    return _Option(_one_of(*words), valid=", ".join(words))


_PIXELS = _Option(_pixels, valid="a number of pixels, 1 or more")
_QUALITY = _Option(_quality, valid=f"1 to 100, {', '.join(_QUALITY_WORDS)}")
# Cloudflare refuses brightness and contrast "at or above 255"; the other two have the same kind of factor.
_FACTOR = _Option(_within(0, math.nextafter(255, 0)), valid="a factor from 0 to below 255, 1 for no change")
_LENGTH = _Option(_within(0, math.inf), valid="a number of pixels, 0 or more")
_OPTIONS: dict[str, _Option] = {
    "anim": _Option(_switch, valid="true or false"),
    "background": _Option(_color, valid="a CSS color such as red, #rrggbb or rgb(240,40,145)"),
    "blur": _Option(_within(0, 250), valid="0 to 250"),
    "brightness": _FACTOR,
    "compression": _words("fast"),
    "contrast": _FACTOR,
    "dpr": _Option(_ratio, valid="a number above 0"),
    "fit": _words(*_FITS),
    "flip": _words("h", "v", "hv"),
    "format": _words(*_FORMATS),
    "gamma": _FACTOR,
    "gravity": _Option(_gravity, valid=f"{', '.join(_GRAVITIES)}, or a point from 0x0 to 1x1"),
    "height": _PIXELS,
    "metadata": _words("copyright", "keep", "none"),
    "onerror": _words("redirect"),
    "quality": _QUALITY,
    "rotate": _Option(_degrees, valid="90, 180 or 270"),
    "saturation": _FACTOR,
    "segment": _words("foreground"),
    "sharpen": _Option(_within(0, 10), valid="0 to 10"),
    "slow-connection-quality": _QUALITY,
    "trim": _Option(_trim, valid='top;right;bottom;left in pixels, or "border"'),
    "trim.height": _PIXELS,
    "trim.left": _LENGTH,
    "trim.top": _LENGTH,
    "trim.width": _PIXELS,
    "upscale": _words("interpolate", "generate"),
    "width": _PIXELS,
    "zoom": _Option(_within(0, 1), valid="0 to 1"),
}
