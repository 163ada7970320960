"""The arithmetic of ``fit``: which part of an image is kept, and how large it becomes. No pixels here."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from cf_images.exceptions import RenderingError
from cf_images.variants import Transform, Trim
from cf_images.variants.options import MAX_DPR, MAX_SIDE

Size = tuple[int, int]
Box = tuple[int, int, int, int]

# Cloudflare Images, "Limits": the area of an image.
MAX_PIXELS = 100_000_000

# From the two ratios target/source to the factor that the whole image is scaled by.
_SCALES: dict[str, Callable[[Fraction, Fraction], Fraction]] = {
    "scale-down": lambda x, y: min(Fraction(1), x, y),
    "contain": min,
    "pad": min,
    "squeeze": min,
    "cover": max,
    "crop": lambda x, y: min(Fraction(1), max(x, y)),
    "aspect-crop": lambda x, y: min(Fraction(1), max(x, y)),
    "scale-up": lambda x, y: max(Fraction(1), min(x, y)),
}
_POINTS = {"left": (0.0, 0.5), "right": (1.0, 0.5), "top": (0.5, 0.0), "bottom": (0.5, 1.0)}
_CENTER = (0.5, 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The steps from a source to a rendition; sizes in pixels, before rotation except for ``output``.

    ``kept`` is cut out (``None``: all of it), scaled to ``scaled``, of which ``region`` with its ``size``
    remains, in the middle of ``canvas``. ``region`` is left, top, right, bottom in shares from 0 to 1, so
    that it also holds for a source that was decoded smaller.
    """

    kept: Box | None
    scaled: Size
    region: tuple[Fraction, Fraction, Fraction, Fraction]
    size: Size
    canvas: Size
    output: Size


def size_error(reason: str) -> RenderingError:
    """Return Cloudflare's error 9413: area, enlargement or empty size beyond its limits."""
    return RenderingError(reason, status=403, code=9413)


def trimmed(source: Size, trim: Trim, *, dpr: float) -> Box:
    """Return what ``trim`` leaves of the source; its pixels are multiplied by ``dpr``."""
    width, height = source
    factor = Fraction(min(dpr, MAX_DPR))
    left, top = _rounded(trim.left * factor), _rounded(trim.top * factor)
    right, bottom = width - _rounded(trim.right * factor), height - _rounded(trim.bottom * factor)
    if trim.width is not None:
        right = min(right, left + max(1, _rounded(trim.width * factor)))
    if trim.height is not None:
        bottom = min(bottom, top + max(1, _rounded(trim.height * factor)))
    if left >= right or top >= bottom:
        raise size_error(f"trim leaves nothing of the {width}x{height} image")
    return left, top, right, bottom


def plan(source: Size, transform: Transform, *, kept: Box | None, max_pixels: int) -> Plan:
    """Plan a rendering of the ``kept`` box; raise ``RenderingError`` 9413 if the result is too large."""
    if kept:
        source = kept[2] - kept[0], kept[3] - kept[1]
    scaled, size, canvas = _fitted(source, transform)
    if max(canvas) > MAX_SIDE or canvas[0] * canvas[1] > max_pixels:
        raise size_error(
            f"{canvas[0]}x{canvas[1]} is too large: the limit is {MAX_SIDE} pixels a side"
            f" and {max_pixels} in all"
        )
    x, y = _focus(transform)
    # Whole pixels of the scaled image, so that a crop without scaling stays sharp.
    left, top = int((scaled[0] - size[0]) * x), int((scaled[1] - size[1]) * y)
    return Plan(
        kept=kept,
        scaled=scaled,
        region=(
            Fraction(left, scaled[0]),
            Fraction(top, scaled[1]),
            Fraction(left + size[0], scaled[0]),
            Fraction(top + size[1], scaled[1]),
        ),
        size=size,
        canvas=canvas,
        output=canvas[::-1] if _sideways(transform) else canvas,
    )


def _fitted(source: Size, transform: Transform) -> tuple[Size, Size, Size]:
    """Return the size of the whole image once scaled, of the part of it that is kept, and of the canvas."""
    width, height = _target(transform)
    if width is None and height is None:
        return source, source, source
    fit = transform.fit
    if width is None or height is None:
        ratio = Fraction(width, source[0]) if width else Fraction(height or 0, source[1])
        scaled = _times(source, _SCALES[fit](ratio, ratio))
        return scaled, scaled, scaled
    target = (width, height)
    if fit == "squeeze":
        return target, target, target
    scaled = _times(source, _SCALES[fit](Fraction(width, source[0]), Fraction(height, source[1])))
    size = scaled
    if fit in ("cover", "crop"):
        size = min(width, scaled[0]), min(height, scaled[1])
    elif fit == "aspect-crop":
        size = _of_ratio(scaled, target)
    return scaled, size, target if fit == "pad" else size


def _target(transform: Transform) -> tuple[int | None, int | None]:
    """Return the requested sides times ``dpr``; they refer to the axes after rotation."""
    sides = (transform.width, transform.height)
    dpr = Fraction(min(transform.dpr, MAX_DPR))
    width, height = (None if side is None else max(1, _rounded(side * dpr)) for side in sides)
    return (height, width) if _sideways(transform) else (width, height)


def _sideways(transform: Transform) -> bool:
    return transform.rotate in (90, 270)


def _times(size: Size, factor: Fraction) -> Size:
    return max(1, _rounded(size[0] * factor)), max(1, _rounded(size[1] * factor))


def _of_ratio(size: Size, ratio: Size) -> Size:
    """Return the largest size within ``size`` that has the sides of ``ratio``."""
    width = min(Fraction(size[0]), Fraction(size[1] * ratio[0], ratio[1]))
    height = min(Fraction(size[1]), Fraction(size[0] * ratio[1], ratio[0]))
    return max(1, _rounded(width)), max(1, _rounded(height))


def _focus(transform: Transform) -> tuple[float, float]:
    if isinstance(transform.gravity, str):
        return _POINTS.get(transform.gravity, _CENTER)
    return transform.gravity


def _rounded(number: Fraction | float) -> int:
    """Round half up: Python's own rounding goes to the even neighbor."""
    return math.floor(Fraction(number) + Fraction(1, 2))
