"""Flexible variants, built option by option: ``FlexibleVariant(width=200, fit="cover", height=200)``.

They have every option of Cloudflare's "Features" page that a URL can have (``border`` is only for Workers).
What Cloudflare would ignore without a word is an error here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from operator import attrgetter
from typing import Any, Literal

from cf_images.exceptions import InvalidVariantError
from cf_images.variants.grammar import by_field, clean_variant, split_options
from cf_images.variants.options import OPTIONS, fields_of
from cf_images.variants.values import Trim, abbreviate

Fit = Literal["scale-down", "contain", "cover", "crop", "pad", "squeeze", "aspect-crop", "scale-up"]
Format = Literal["auto", "avif", "webp", "jpeg", "baseline-jpeg", "png", "json"]
Gravity = Literal["auto", "face", "entropy", "left", "right", "top", "bottom", "center"]
Quality = Literal["low", "medium-low", "medium-high", "high"]

_CROPPING = ("cover", "crop", "aspect-crop")
_ENLARGING = ("contain", "cover", "pad", "squeeze", "scale-up")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class FlexibleVariant:
    """Options of a flexible variant, validated on construction; ``None`` is "not given".

    ``str()`` returns its canonical short form, ``w=200,h=200,fit=cover``: equal variants have equal ones.
    Lengths are pixels before ``dpr``; numbers have up to four decimals. ``gravity`` is a word or a point
    from (0, 0), top left, to (1, 1); ``trim`` is (top, right, bottom, left), ``trim_left`` and the like the
    part that is kept; ``background`` is a CSS color. ``InvalidVariantError`` says what is wrong, and what is
    valid.
    """

    width: int | Literal["auto"] | None = None
    height: int | None = None
    fit: Fit | None = None
    format: Format | None = None
    quality: int | Quality | None = None
    gravity: Gravity | tuple[float, float] | None = None
    zoom: float | None = None
    dpr: float | None = None
    trim: Trim | tuple[float, float, float, float] | Literal["border"] | None = None
    trim_width: int | None = None
    trim_height: int | None = None
    trim_left: float | None = None
    trim_top: float | None = None
    background: str | None = None
    rotate: Literal[90, 180, 270] | None = None
    flip: Literal["h", "v", "hv"] | None = None
    blur: float | None = None
    sharpen: float | None = None
    brightness: float | None = None
    contrast: float | None = None
    gamma: float | None = None
    saturation: float | None = None
    anim: bool | None = None
    metadata: Literal["copyright", "keep", "none"] | None = None
    compression: Literal["fast"] | None = None
    segment: Literal["foreground"] | None = None
    upscale: Literal["interpolate", "generate"] | None = None
    slow_connection_quality: int | Quality | None = None
    onerror: Literal["redirect"] | None = None
    _text: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        given = self.given()
        if not given:
            raise InvalidVariantError("a flexible variant needs at least one option, such as width=200")
        parts = []
        for name, value in given.items():
            kept, part = _read(name, value)
            object.__setattr__(self, name, kept)
            parts.append(part)
        object.__setattr__(self, "_text", ",".join(parts))
        for is_ignored, problem in filter(None, map(_RULES.get, given)):
            if is_ignored(self):
                raise InvalidVariantError(problem.format(self))

    @staticmethod
    def parse(text: str) -> FlexibleVariant:
        """Read the text form ``w=200,fit=cover`` strictly, with long and short names in any order."""
        return _parsed(str(text))

    @staticmethod
    def of(**options: Any) -> FlexibleVariant:
        """Build one from keywords by any of their names: ``of(w=200)``."""
        return FlexibleVariant.from_options(options)

    @staticmethod
    def from_options(options: Mapping[str, Any]) -> FlexibleVariant:
        """Build one from a mapping; long and short names, with ``_``, ``-`` or ``.`` between words."""
        # 1 and True are equal, and different options
        given = tuple((name, value, type(value)) for name, value in options.items())
        try:
            return _from_options(given)
        except TypeError:  # a list cannot be a key of the cache
            return _from_options.__wrapped__(given)

    def given(self) -> dict[str, Any]:
        """Return the options that are given, in the order of ``str()``."""
        pairs = zip(_FIELDS, _values(self), strict=True)
        return {name: value for name, value in pairs if value is not None}

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"FlexibleVariant({', '.join(f'{name}={value!r}' for name, value in self.given().items())})"


_FIELDS = fields_of("flexible")
_values = attrgetter(*_FIELDS)  # all at once, which is faster


@lru_cache(maxsize=1024)  # a template has the same few for each image
def _parsed(text: str) -> FlexibleVariant:
    pairs = split_options(clean_variant(text))
    if not pairs:
        raise InvalidVariantError(f"{abbreviate(text)} is a name; expected options such as w=200,fit=cover")
    return FlexibleVariant(**by_field(pairs, "flexible"))


@lru_cache(maxsize=1024)
def _from_options(options: Iterable[tuple[str, Any, type]]) -> FlexibleVariant:
    return FlexibleVariant(**by_field(((name, value) for name, value, _ in options), "flexible"))


def _read(name: str, value: Any) -> tuple[Any, str]:
    """Return a value as the variant keeps it, and the option as a URL has it."""
    try:
        return _read_once(name, value)
    except TypeError:  # a list cannot be a key of the cache
        return _read_once.__wrapped__(name, value)


@lru_cache(maxsize=1024, typed=True)
def _read_once(name: str, value: Any) -> tuple[Any, str]:
    option = OPTIONS[name]
    kept, text = option.read(value, "flexible")
    return kept, f"{option.short_name}={text}"


def _has_size(variant: FlexibleVariant) -> bool:
    return variant.width is not None or variant.height is not None


def _has_trim_parts(variant: FlexibleVariant) -> bool:
    parts = (variant.trim_width, variant.trim_height, variant.trim_left, variant.trim_top)
    return parts != (None, None, None, None)


# Valid options that Cloudflare would ignore because of others, or because others are missing.
_RULES: Mapping[str, tuple[Callable[[FlexibleVariant], bool], str]] = {
    "trim": (
        _has_trim_parts,
        "trim and trim_left, trim_top, trim_width or trim_height exclude each other: give either",
    ),
    "fit": (
        lambda variant: not _has_size(variant),
        "fit {0.fit!r} has no effect without width or height: give at least one of them",
    ),
    "gravity": (
        lambda variant: variant.fit not in _CROPPING,
        f"gravity {{0.gravity!r}} has an effect only with fit {' or '.join(map(repr, _CROPPING))}",
    ),
    "zoom": (
        lambda variant: variant.gravity != "face",
        "zoom {0.zoom!r} has an effect only with gravity 'face'",
    ),
    "dpr": (
        lambda variant: not (_has_size(variant) or variant.trim or _has_trim_parts(variant)),
        "dpr {0.dpr!r} has an effect only with width, height or trim, which it multiplies",
    ),
    "upscale": (
        lambda variant: variant.fit not in _ENLARGING,
        f"upscale {{0.upscale!r}} has an effect only with fit {' or '.join(map(repr, _ENLARGING))}",
    ),
}
