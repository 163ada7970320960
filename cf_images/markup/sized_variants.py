"""Variants with their options: which size a rendition has, and the same variant in other sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

from cf_images import conf
from cf_images.exceptions import InvalidVariantError, RenderingError
from cf_images.markup.source_image import Size
from cf_images.variants import FlexibleVariant, Transform, grammar

# Both sides are a frame that is filled; the other fits keep the aspect ratio of the source within it.
_FRAMED = ("cover", "crop", "aspect-crop", "pad", "squeeze")
_EXACT = ("cover", "pad", "squeeze")
_NEVER_ENLARGED = ("scale-down", "crop", "aspect-crop")
_FOR_TWO_SIDES = ("fit", "gravity", "zoom", "upscale")
_SIDEWAYS = (90, 270)
_TINY_WIDTH, _TINY_BLUR = 32, 2  # enough to recognize the image, and less than a kilobyte


@dataclass(frozen=True, slots=True, kw_only=True)
class SizedVariant:
    """``name`` as URLs have it; ``options`` by field, ``None`` for a named variant that is not declared."""

    name: str
    options: Mapping[str, Any] | None

    @classmethod
    def of(cls, variant: Any) -> SizedVariant:
        """Return a named or flexible variant with its options; ``InvalidVariantError`` for an invalid one."""
        name = conf.clean_variant(variant)
        if grammar.is_flexible(name):
            return cls.of_flexible(
                variant if isinstance(variant, FlexibleVariant) else FlexibleVariant.parse(name)
            )
        found = conf.named_variant(name)
        if found is None:
            return cls(name=name, options=None)
        fit = {"fit": found.transform.fit}  # which flexible variants do not have by default
        return cls(name=name, options={**found.given, **fit})

    @classmethod
    def of_flexible(cls, variant: FlexibleVariant) -> SizedVariant:
        """Return a flexible variant with its options; raise an error where the settings exclude them."""
        name = conf.clean_variant(variant)
        if variant.format == "json":
            raise InvalidVariantError(
                "format=json returns a description, which browsers cannot show: omit it"
            )
        return cls(name=name, options=variant.given())

    @property
    def fit(self) -> str:
        """How the sides are meant."""
        return str((self.options or {}).get("fit") or "scale-down")

    @property
    def sides(self) -> tuple[Any, Any]:
        """Width and height: pixels, ``None``, or the width ``"auto"``."""
        options = self.options or {}
        return options.get("width"), options.get("height")

    @property
    def is_framed(self) -> bool:
        """Whether the options alone determine the aspect ratio."""
        return self.fit in _FRAMED and all(self.sides)

    def resized(self, width: int) -> SizedVariant:
        """Return the same variant, ``width`` pixels wide."""
        options = self._known_options()
        height = max(1, round(width * options["height"] / options["width"])) if self.is_framed else None
        return _flexible({**options, "width": width, "height": height, "dpr": None})

    def with_density(self, density: str) -> SizedVariant:
        """Return the same variant for screens with so many pixels."""
        return _flexible({**self._known_options(), "dpr": density})

    def placeholder(self) -> SizedVariant:
        """Return the same variant, small and blurred."""
        small = self.resized(_TINY_WIDTH).options if self.options is not None else {"width": _TINY_WIDTH}
        return _flexible({**(small or {}), "blur": _TINY_BLUR})

    def headroom(self, source: Size) -> Fraction:
        """Return how many times larger a rendition can be before Cloudflare would invent pixels."""
        pairs = zip(self._turned(source), self.sides, strict=True)
        ratios = [Fraction(available, requested) for available, requested in pairs if requested]
        return min(ratios) if self.is_framed and self.fit != "pad" else max(ratios)

    def max_width(self, source: Size) -> int:
        """Return the width of the largest rendition that is not enlarged."""
        if self.is_framed:
            return max(1, int((self.sides[0] or 1) * self.headroom(source)))
        return self._turned(source)[0]

    def is_enlarged(self, source: Size) -> bool:
        """Return whether the rendition has more pixels than the source."""
        return self.fit not in _NEVER_ENLARGED and any(self.sides) and self.headroom(source) < 1

    def size(self, source: Size | None) -> Size | None:
        """Return the sides of the rendition in CSS pixels, ``None`` if they are not certain."""
        if self.options is None or self.sides[0] == "auto":
            return None
        is_trimmed = any(name.startswith("trim") for name in self.options)  # its pixels depend on dpr
        if source is None or is_trimmed:
            return self.sides if all(self.sides) and self.fit in _EXACT else None
        return _rendered_size(*self.sides, self.fit, self.options.get("rotate") or 0, source)

    def _turned(self, source: Size) -> Size:
        return source[::-1] if (self.options or {}).get("rotate") in _SIDEWAYS else source

    def _known_options(self) -> Mapping[str, Any]:
        if self.options is None:
            raise InvalidVariantError(
                f"variant {self.name!r} is not declared, so that its other sizes are unknown; declared are "
                f'{", ".join(conf.variant_names())}: add it to CF_IMAGES["VARIANTS"]'
            )
        if self.sides[0] == "auto":
            raise InvalidVariantError(
                "width=auto lets Cloudflare choose: leave out either it or widths and dpr"
            )
        return self.options


def _flexible(options: Mapping[str, Any]) -> SizedVariant:
    given = {name: value for name, value in options.items() if value is not None}
    if not ("width" in given and "height" in given):
        # with one side every fit only scales, and options of the other fits are refused
        given = {name: value for name, value in given.items() if name not in _FOR_TWO_SIDES}
    return SizedVariant.of_flexible(FlexibleVariant.from_options(given))


@lru_cache(maxsize=4096)  # fractions are slow, and a page shows many images of few sizes
def _rendered_size(width: int | None, height: int | None, fit: str, rotate: int, source: Size) -> Size | None:
    from cf_images.rendering import geometry  # Pillow, only where dimensions are known

    transform = Transform(width=width, height=height, fit=fit, rotate=rotate)
    try:
        return geometry.plan(source, transform, kept=None, max_pixels=geometry.MAX_PIXELS).output
    except RenderingError:  # Cloudflare would respond with an error, too
        return None
