"""How the value of one option is read and written: numbers, words, points, colors.

A reader takes what a project or a URL gives and returns the value, or raises ``UnreadableError`` or
``RefusedError``. ``options`` says which option has which reader.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Color = tuple[int, int, int, int]
Reader = Callable[[object], Any]

GRAVITIES = ("auto", "face", "entropy", "left", "right", "top", "bottom", "center")
# Cloudflare gives no numbers for its four words; these are what its local simulator uses.
QUALITY_WORDS = {"low": 35, "medium-low": 50, "medium-high": 70, "high": 90}
_TRANSPARENT = (0, 0, 0, 0)


class UnreadableError(ValueError):
    """Not a number, or one without meaning: Cloudflare ignores it in a URL."""


class RefusedError(ValueError):
    """Cloudflare responds to such a value with its error 9401."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trim:
    """What is cut off on each side, or the size of what is kept; in pixels before ``dpr``."""

    top: float = 0
    right: float = 0
    bottom: float = 0
    left: float = 0
    width: float | None = None
    height: float | None = None


def abbreviate(value: object) -> str:
    """Return the ``repr`` of a value for an error message; of a long one only the beginning."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


# Numbers


def number_text(number: float) -> str:
    """Write a number as short as it can be, to four decimals, never with an exponent."""
    text = f"{number:.4f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


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


def within(low: float, high: float, *, above: float = -math.inf) -> Callable[[object], float]:
    """Return a reader of numbers: below ``low`` or not ``above`` unreadable, beyond ``high`` refused."""

    def read(value: object) -> float:
        number = _finite(value)
        if number < low or number <= above:
            raise UnreadableError
        if number > high:
            raise RefusedError
        return number

    return read


def whole(low: int, high: int) -> Callable[[object], int]:
    """Return a reader of whole numbers from ``low`` to ``high``, both included."""

    def read(value: object) -> int:
        number = within(low, high)(value)
        if number != int(number):
            raise RefusedError
        return int(number)

    return read


def one_of(*words: str) -> Callable[[object], str]:
    """Return a reader of these words."""

    def read(value: object) -> str:
        if not isinstance(value, str) or value not in words:
            raise RefusedError
        return str(value)

    return read


def pixels(*, maximum: float = math.inf) -> Callable[[object], int]:
    """Return a reader of a number of pixels, which is rounded."""

    def read(value: object) -> int:
        number = math.floor(_finite(value) + 0.5)
        if number < 1:
            raise UnreadableError
        if number > maximum:
            raise RefusedError
        return number

    return read


def or_word(word: str, read: Reader) -> Reader:
    """Return a reader of ``word``, or of what ``read`` reads."""
    return lambda value: word if isinstance(value, str) and value == word else read(value)


def quality(value: object) -> int | str:
    """Read one of ``QUALITY_WORDS``, or a whole number from 1 to 100."""
    if isinstance(value, str) and value in QUALITY_WORDS:
        return str(value)
    percent = round(_finite(value))
    if not 1 <= percent <= 100:
        raise UnreadableError
    return percent


def switch(value: object) -> bool:
    """Read a ``bool``, or the words ``true`` and ``false`` of a URL."""
    if isinstance(value, bool):
        return value
    if value not in ("true", "false"):
        raise UnreadableError
    return value == "true"


def switch_text(is_on: bool) -> str:
    """Write a ``bool`` for a URL."""
    return "true" if is_on else "false"


def degrees(*allowed: int) -> Callable[[object], int]:
    """Return a reader of these angles; a full turn is none."""

    def read(value: object) -> int:
        angle = _finite(value)
        if angle not in allowed:
            raise RefusedError
        return int(angle) % 360

    return read


# Points and colors


def gravity(value: object) -> str | tuple[float, float]:
    """Read one of ``GRAVITIES``, or a point such as ``0.5x1`` or ``(0.5, 1)``."""
    if isinstance(value, str) and value in GRAVITIES:
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


def gravity_text(gravity: str | tuple[float, float]) -> str:
    """Write a word or a point for a URL."""
    return gravity if isinstance(gravity, str) else "x".join(map(number_text, gravity))


def trim(length: Callable[[object], float]) -> Callable[[object], Trim | Literal["border"]]:
    """Return a reader of four lengths, clockwise from the top, or of the word ``border``."""

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


def trim_text(sides: Trim | Literal["border"]) -> str:
    """Write a trim for a URL."""
    if isinstance(sides, str):
        return sides
    return ";".join(map(number_text, (sides.top, sides.right, sides.bottom, sides.left)))


def color(value: object) -> str:
    """Read a CSS color; return the shortest ``#rrggbb``, or ``rgba()`` if it is not opaque."""
    red, green, blue, alpha = color_channels(value)
    if alpha < 255:  # three decimals tell 256 steps apart
        return f"rgba({red},{green},{blue},{number_text(round(alpha / 255, 3))})"
    text = f"{red:02x}{green:02x}{blue:02x}"
    return f"#{text[::2]}" if text[::2] == text[1::2] else f"#{text}"


def color_channels(value: object) -> Color:
    """Read a CSS color; clamp numbers beyond their range, as CSS Color Module 4 requires."""
    from PIL import ImageColor  # only for colors: other options are read without Pillow

    text = value.strip().lower() if isinstance(value, str) else ""
    try:
        channels = _TRANSPARENT if text == "transparent" else _rgb_function(text) or ImageColor.getrgb(text)
    except ValueError:
        raise RefusedError from None
    red, green, blue, alpha = (*(min(255, max(0, channel)) for channel in channels), 255)[:4]
    return red, green, blue, alpha


def _rgb_function(text: str) -> tuple[int, ...] | None:
    """Read ``rgb()`` and ``rgba()`` with commas or blanks, percentages, and alpha from 0 to 1."""
    if not (text.startswith(("rgb(", "rgba(")) and text.endswith(")")):
        return None
    red, green, blue, *alpha = re.split(r"[\s,/]+", text[text.index("(") + 1 : -1].strip())
    channels = [_channel(part, whole=255) for part in (red, green, blue)]
    return *channels, *(_channel(part, whole=1) for part in alpha[:1])


def _channel(text: str, *, whole: int) -> int:
    share = _finite(text[:-1]) / 100 if text.endswith("%") else _finite(text) / whole
    return round(255 * min(1, max(0, share)))
