"""Each option by itself: how its value is read, what it means, how it is written, what is valid in words.

``OPTIONS`` is what Cloudflare reads in a URL; ``strict`` has what anybody should write.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from cf_images.exceptions import InvalidVariantError

Color = tuple[int, int, int, int]

ALIASES = {
    "f": "format",
    "face-zoom": "zoom",
    "g": "gravity",
    "h": "height",
    "q": "quality",
    "scq": "slow-connection-quality",
    "w": "width",
}
# Cloudflare gives no numbers for its four words; these are what its local simulator uses.
_QUALITY_WORDS = {"low": 35, "medium-low": 50, "medium-high": 70, "high": 90}
_TRANSPARENT = (0, 0, 0, 0)


class UnreadableError(ValueError):
    """Not a number, or one without meaning: ignored in a URL, an error in a declared variant."""


class RefusedError(ValueError):
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


def shown(value: object) -> str:
    """A value as an error shows it: the beginning of a long one."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def number_text(number: float) -> str:
    """A number as short as it can be, to four decimals, never with an exponent."""
    text = f"{number:.4f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True)
class Option:
    """How one option is read, what the value means to pixels, how a URL has it, and what is valid in words.

    ``read`` takes back what ``write`` gives.
    """

    read: Callable[[object], Any]
    valid: str = field(kw_only=True)
    means: Callable[[Any], Any] = field(default=_same, kw_only=True)
    write: Callable[[Any], str] = field(default=str, kw_only=True)

    def meaning(self, value: object) -> Any:
        """What ``value`` means to the pixels."""
        return self.means(self.read(value))


def invalid(message: str) -> InvalidVariantError:
    """What Cloudflare answers to wrong options."""
    return InvalidVariantError(message, status=400, code=9401)


def invalid_value(name: str, value: object) -> InvalidVariantError:
    """The same about one value that nobody reads or everybody refuses."""
    return invalid(f"{name} cannot be {shown(value)}; valid is {OPTIONS[name].valid}")


def _finite(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise UnreadableError
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise UnreadableError from None
    if not math.isfinite(number):
        raise UnreadableError
    return number


def within(low: float, high: float) -> Callable[[object], float]:
    """Read a number; below ``low`` it has no meaning, above ``high`` it is refused."""

    def read(value: object) -> float:
        number = _finite(value)
        if number < low:
            raise UnreadableError
        if number > high:
            raise RefusedError
        return number

    return read


def whole(low: int, high: int) -> Callable[[object], int]:
    """Read a whole number within two others, both included."""

    def read(value: object) -> int:
        number = within(low, high)(value)
        if number != int(number):
            raise RefusedError
        return int(number)

    return read


def one_of(*words: str) -> Callable[[object], str]:
    """Read one of some words."""

    def read(value: object) -> str:
        if not isinstance(value, str) or value not in words:
            raise RefusedError
        return str(value)

    return read


def pixels(value: object) -> int:
    """Read a number of pixels, rounded."""
    number = math.floor(_finite(value) + 0.5)
    if number < 1:
        raise UnreadableError
    return number


def _ratio(value: object) -> float:
    number = _finite(value)
    if number <= 0:
        raise UnreadableError
    return number


def _quality(value: object) -> int | str:
    if isinstance(value, str) and value in _QUALITY_WORDS:
        return str(value)
    quality = round(_finite(value))
    if not 1 <= quality <= 100:
        raise UnreadableError
    return quality


def switch(value: object) -> bool:
    """Read ``True``, ``False``, or one of them as a URL has it."""
    if isinstance(value, bool):
        return value
    if value not in ("true", "false"):
        raise UnreadableError
    return value == "true"


def _degrees(value: object) -> int:
    degrees = _finite(value)
    if degrees not in (0, 90, 180, 270, 360):
        raise RefusedError
    return int(degrees) % 360


def _gravity(value: object) -> str | tuple[float, float]:
    if isinstance(value, str) and value in _GRAVITIES:
        return str(value)
    point = value.split("x") if isinstance(value, str) else value
    if not isinstance(point, (list, tuple)) or len(point) != 2:
        raise RefusedError
    try:
        x, y = _finite(point[0]), _finite(point[1])
    except UnreadableError:
        raise RefusedError from None
    if not (0 <= x <= 1 and 0 <= y <= 1):
        raise RefusedError
    return x, y


def _gravity_text(gravity: str | tuple[float, float]) -> str:
    return gravity if isinstance(gravity, str) else "x".join(map(number_text, gravity))


def trim_of(length: Callable[[object], float]) -> Callable[[object], Trim | Literal["border"]]:
    """Read four lengths, clockwise from the top, or the word ``border``."""

    def read(value: object) -> Trim | Literal["border"]:
        if value == "border":
            return "border"
        if isinstance(value, Trim) and value.width is value.height is None:
            value = (value.top, value.right, value.bottom, value.left)
        sides = value.split(";") if isinstance(value, str) else value
        if not isinstance(sides, (list, tuple)) or len(sides) != 4:
            raise UnreadableError
        top, right, bottom, left = map(length, sides)
        return Trim(top=top, right=right, bottom=bottom, left=left)

    return read


def trim_text(trim: Trim | Literal["border"]) -> str:
    """The same in a URL."""
    if isinstance(trim, str):
        return trim
    return ";".join(map(number_text, (trim.top, trim.right, trim.bottom, trim.left)))


def _css_color(value: object) -> str:
    """A CSS color as ``#rrggbb``, as short as it can be, or as ``rgba()`` where it is not opaque."""
    red, green, blue, alpha = _channels(value)
    if alpha < 255:  # three decimals tell 256 steps apart
        return f"rgba({red},{green},{blue},{number_text(round(alpha / 255, 3))})"
    text = f"{red:02x}{green:02x}{blue:02x}"
    return f"#{text[::2]}" if text[::2] == text[1::2] else f"#{text}"


def _channels(value: object) -> Color:
    """Read a CSS color; numbers beyond their range are clamped as CSS Color Module 4 asks."""
    from PIL import ImageColor  # only for those who ask for a color: templates are rendered without Pillow

    text = value.strip().lower() if isinstance(value, str) else ""
    try:
        channels = _TRANSPARENT if text == "transparent" else _rgb_function(text) or ImageColor.getrgb(text)
    except ValueError:
        raise RefusedError from None
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


def words(*allowed: str) -> Option:
    """An option whose values are these words."""
    return Option(one_of(*allowed), valid=", ".join(allowed))


def number(read: Callable[[object], float], *, valid: str) -> Option:
    """An option whose values are numbers."""
    return Option(read, valid=valid, write=number_text)


_GRAVITIES = ("auto", "face", "entropy", "left", "right", "top", "bottom", "center")
_FITS = ("scale-down", "contain", "cover", "crop", "pad", "squeeze", "aspect-crop", "scale-up")
_FORMATS = ("auto", "avif", "webp", "jpeg", "baseline-jpeg", "png", "json")

_PIXELS = number(pixels, valid="a number of pixels, 1 or more")
_QUALITY = Option(
    _quality,
    valid=f"1 to 100, {', '.join(_QUALITY_WORDS)}",
    means=lambda quality: _QUALITY_WORDS.get(quality, quality),
)
# Cloudflare refuses brightness and contrast "at or above 255"; the other two have the same kind of factor.
_MOST = math.nextafter(255, 0)
_FACTOR = number(within(0, _MOST), valid="a factor from 0 to below 255, 1 for no change")
_LENGTH = number(within(0, math.inf), valid="a number of pixels, 0 or more")
OPTIONS: dict[str, Option] = {
    "anim": Option(switch, valid="true or false", write=lambda animated: "true" if animated else "false"),
    "background": Option(
        _css_color, valid="a CSS color such as red, #rrggbb or rgb(240,40,145)", means=_channels
    ),
    "blur": number(within(0, 250), valid="0 to 250"),
    "brightness": _FACTOR,
    "compression": words("fast"),
    "contrast": _FACTOR,
    "dpr": number(_ratio, valid="a number above 0"),
    "fit": words(*_FITS),
    "flip": words("h", "v", "hv"),
    "format": words(*_FORMATS),
    "gamma": _FACTOR,
    "gravity": Option(
        _gravity, valid=f"{', '.join(_GRAVITIES)}, or a point from 0x0 to 1x1", write=_gravity_text
    ),
    "height": _PIXELS,
    "metadata": words("copyright", "keep", "none"),
    "onerror": words("redirect"),
    "quality": _QUALITY,
    "rotate": Option(_degrees, valid="90, 180 or 270"),
    "saturation": _FACTOR,
    "segment": words("foreground"),
    "sharpen": number(within(0, 10), valid="0 to 10"),
    "slow-connection-quality": _QUALITY,
    "trim": Option(
        trim_of(_LENGTH.read), valid='top;right;bottom;left in pixels, or "border"', write=trim_text
    ),
    "trim.height": _PIXELS,
    "trim.left": _LENGTH,
    "trim.top": _LENGTH,
    "trim.width": _PIXELS,
    "upscale": words("interpolate", "generate"),
    "width": _PIXELS,
    "zoom": number(within(0, 1), valid="0 to 1"),
}
