"""A variant as a page needs it: its name for the address, and its options where anybody knows them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

from cf_images import conf, delivery
from cf_images.exceptions import InvalidVariantError, RenderingError
from cf_images.flexible import FlexibleVariant
from cf_images.markup.sources import Size
from cf_images.options import Transform
from cf_images.permitted import permitted_variant

# Both sides are a frame that is filled; the other fits keep the picture's own shape within it.
_FRAMED = ("cover", "crop", "aspect-crop", "pad", "squeeze")
_EXACT = ("cover", "pad", "squeeze")
_NEVER_ENLARGED = ("scale-down", "crop", "aspect-crop")
_FOR_TWO_SIDES = ("fit", "gravity", "zoom", "upscale")
_SIDEWAYS = (90, 270)
_MOST_PIXELS = 100_000_000  # Cloudflare renders no more
_TINY_WIDTH, _TINY_BLUR = 32, 2  # enough to guess the picture, and less than a kilobyte
_COMMA = re.compile(r",(?![^(]*\))")  # rgb(1,2,3) has commas of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """``variant`` as an address has it; ``options`` by long name, ``None`` where it is declared nowhere."""

    variant: str
    options: Mapping[str, Any] | None

    @property
    def fit(self) -> str:
        """How the sides are meant."""
        return str((self.options or {}).get("fit") or "scale-down")

    @property
    def sides(self) -> tuple[Any, Any]:
        """The sides it asks for: pixels, ``None``, or the width ``"auto"``."""
        options = self.options or {}
        return options.get("width"), options.get("height")

    @property
    def is_framed(self) -> bool:
        """Whether its options alone say which shape the picture has."""
        return self.fit in _FRAMED and all(self.sides)


def shape_of(variant: str | FlexibleVariant) -> Shape:
    """The shape of a named or flexible variant; ``InvalidVariantError`` for what cannot be one."""
    if isinstance(variant, FlexibleVariant):
        return flexible(variant)
    name = delivery.clean_variant(variant)
    if delivery.is_flexible(name):
        pairs = (pair.partition("=") for pair in _COMMA.split(name))
        return flexible(FlexibleVariant.from_options({name: value for name, _, value in pairs}))
    declared = conf.variants().get(name)
    return Shape(variant=name, options=None if declared is None else _declared(declared))


def flexible(variant: FlexibleVariant) -> Shape:
    """The shape of a flexible variant; an error where the project declares that it has none."""
    permitted_variant(variant)
    if variant.format == "json":
        raise InvalidVariantError("format=json gives a description, which no image can show: leave it out")
    return Shape(variant=str(variant), options=variant.given())


def resized(shape: Shape, width: int) -> Shape:
    """The same picture ``width`` pixels wide."""
    options = _known(shape)
    height = max(1, round(width * options["height"] / options["width"])) if shape.is_framed else None
    return _changed(options, width=width, height=height, dpr=None)


def denser(shape: Shape, density: str) -> Shape:
    """The same picture for a screen with so many pixels."""
    return _changed(_known(shape), dpr=density)


def tiny(shape: Shape) -> Shape:
    """The same picture, small and blurred."""
    small = {"width": _TINY_WIDTH} if shape.options is None else resized(shape, _TINY_WIDTH).options
    return _changed(small or {}, blur=_TINY_BLUR)


def headroom(shape: Shape, source: Size) -> Fraction:
    """How many times larger the shape may become before Cloudflare has to invent pixels."""
    source = _oriented(shape, source)
    ratios = [Fraction(have, want) for have, want in zip(source, shape.sides, strict=True) if want]
    return min(ratios) if shape.is_framed and shape.fit != "pad" else max(ratios)


def widest(shape: Shape, source: Size) -> int:
    """The width of the largest rendition that is no enlargement."""
    if shape.is_framed:
        return max(1, int((shape.sides[0] or 1) * headroom(shape, source)))
    return _oriented(shape, source)[0]


def is_enlarged(shape: Shape, source: Size) -> bool:
    """Whether the rendition has more pixels than there are."""
    return shape.fit not in _NEVER_ENLARGED and any(shape.sides) and headroom(shape, source) < 1


def size_of(shape: Shape, source: Size | None) -> Size | None:
    """The rendition's sides in pixels of the page, where they are certain."""
    if shape.options is None or shape.sides[0] == "auto":
        return None
    is_trimmed = any(name.startswith("trim") for name in shape.options)  # its pixels depend on dpr
    if source is None or is_trimmed:
        return _frame(shape)
    return _planned(*shape.sides, shape.fit, shape.options.get("rotate") or 0, source)


def _frame(shape: Shape) -> Size | None:
    width, height = shape.sides
    return (width, height) if width and height and shape.fit in _EXACT else None


@lru_cache(maxsize=4096)  # fractions are slow, and a page shows many images of few sizes
def _planned(width: int | None, height: int | None, fit: str, rotate: int, source: Size) -> Size | None:
    from cf_images.rendering import geometry  # Pillow, only where dimensions are known

    transform = Transform(width=width, height=height, fit=fit, rotate=rotate)
    try:
        return geometry.plan(source, transform, kept=None, max_pixels=_MOST_PIXELS).output
    except RenderingError:  # Cloudflare would answer with an error, too
        return None


def _declared(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """A declaration's options by the names that flexible variants have; without what is no pixels."""
    read = Transform.from_options(options)
    sides = {"width": read.width, "height": read.height, "fit": read.fit, "blur": read.blur or None}
    if "metadata" in options:
        sides["metadata"] = read.metadata
    return {name: value for name, value in sides.items() if value is not None}


def _known(shape: Shape) -> Mapping[str, Any]:
    if shape.options is None:
        raise InvalidVariantError(
            f"variant {shape.variant!r} is declared nowhere, so that nobody knows its other sizes; there are "
            f'{", ".join(conf.variants())}: add it to CF_IMAGES["VARIANTS"]'
        )
    if shape.sides[0] == "auto":
        raise InvalidVariantError("width=auto lets Cloudflare choose: leave out either it or widths and dpr")
    return shape.options


def _changed(options: Mapping[str, Any], **changes: Any) -> Shape:
    merged = {name: value for name, value in {**options, **changes}.items() if value is not None}
    if not ("width" in merged and "height" in merged):
        # with one side every fit scales, and what belongs to another is refused
        merged = {name: value for name, value in merged.items() if name not in _FOR_TWO_SIDES}
    return flexible(FlexibleVariant.from_options(merged))


def _oriented(shape: Shape, source: Size) -> Size:
    return source[::-1] if (shape.options or {}).get("rotate") in _SIDEWAYS else source
