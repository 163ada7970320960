"""Flexible variants, built option by option: ``FlexibleVariant(width=200, fit="cover", height=200)``.

Pure: usable wherever the name of a variant is, with every option of Cloudflare's "Features" page that a
URL can have (``border`` is for Workers alone). What Cloudflare would ignore in silence is an error here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from functools import lru_cache
from operator import attrgetter
from typing import Any, Literal

from cf_images.exceptions import InvalidVariantError
from cf_images.options.strict import STRICT, checked
from cf_images.options.table import ALIASES, Trim, shown

Fit = Literal["scale-down", "contain", "cover", "crop", "pad", "squeeze", "aspect-crop", "scale-up"]
Format = Literal["auto", "avif", "webp", "jpeg", "baseline-jpeg", "png", "json"]
Gravity = Literal["auto", "face", "entropy", "left", "right", "top", "bottom", "center"]
Quality = Literal["low", "medium-low", "medium-high", "high"]

_CROPPING = ("cover", "crop", "aspect-crop")
_ENLARGING = ("contain", "cover", "pad", "squeeze", "scale-up")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class FlexibleVariant:
    """Options of a flexible variant, checked when it is made; ``None`` is "not given".

    ``str()`` of it is its one short form, ``w=200,h=200,fit=cover``: equal variants have equal ones.
    Lengths are pixels before ``dpr``; numbers have up to four decimals. ``gravity`` is a word or a point
    from (0, 0), top left, to (1, 1); ``trim`` is (top, right, bottom, left), ``trim_left`` and the like the
    part that is kept; ``background`` a CSS color. ``InvalidVariantError`` names what is wrong, and what would
    be right.
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
        pieces = []
        for name, value in given.items():
            kept, piece = _canonical(name, value)
            object.__setattr__(self, name, kept)
            pieces.append(piece)
        object.__setattr__(self, "_text", ",".join(pieces))
        for name in given:
            for is_wrong, problem in _RULES.get(name, ()):
                if is_wrong(self):
                    raise InvalidVariantError(problem.format(self))

    @staticmethod
    def of(**options: Any) -> FlexibleVariant:
        """The same from keywords that may be wrong, or short: ``of(w=200)``; all errors are ours."""
        return FlexibleVariant.from_options(options)

    @staticmethod
    def from_options(options: Mapping[str, Any]) -> FlexibleVariant:
        """The same from a mapping; long and short names, with ``_``, ``-`` or ``.`` between words."""
        # 1 and True are equal, and different options
        given = tuple((name, value, type(value)) for name, value in options.items())
        try:
            return _made(given)
        except TypeError:  # a list, which cannot be a key
            return _made.__wrapped__(given)

    def given(self) -> dict[str, Any]:
        """The options that were given, in the order of ``str()``."""
        pairs = zip(_NAMES, _values(self), strict=True)
        return {name: value for name, value in pairs if value is not None}

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"FlexibleVariant({', '.join(f'{name}={value!r}' for name, value in self.given().items())})"


_NAMES = tuple(option.name for option in fields(FlexibleVariant) if option.init)
_values = attrgetter(*_NAMES)  # all at once, which is faster
_IN_URLS = {name: name.replace("_", "." if name.startswith("trim_") else "-") for name in _NAMES}
_SHORT = {name: short for short, name in ALIASES.items() if len(short) < len(name)}
_FIELDS = {
    **{name: name for name in _NAMES},
    **{alias.replace("-", "_"): name.replace("-", "_") for alias, name in ALIASES.items()},
}


@lru_cache(maxsize=256)  # a template makes the same few for each image
def _made(options: tuple[tuple[str, Any, type], ...]) -> FlexibleVariant:
    given: dict[str, Any] = {}
    for written, value, _ in options:
        name = _field(written)
        if name in given:
            raise InvalidVariantError(f"{name} is given twice, once as {shown(written)}")
        given[name] = value
    return FlexibleVariant(**given)


def _field(written: str) -> str:
    """The field of an option under any of its names."""
    name = str(written).replace("-", "_").replace(".", "_")
    if name in _FIELDS:
        return _FIELDS[name]
    if name == "border":
        raise InvalidVariantError("border exists only in Workers, not in the address of an image")
    nearest = get_close_matches(name.lower(), _FIELDS, n=1)
    hint = f" (did you mean {nearest[0]}?)" if nearest else ""
    raise InvalidVariantError(f"unknown option {shown(written)}{hint}; known are {', '.join(_NAMES)}")


def _canonical(name: str, value: Any) -> tuple[Any, str]:
    """A value as the variant keeps it, and the option as the URL has it."""
    try:
        return _remembered(name, value)
    except TypeError:  # a list, which cannot be a key
        return _remembered.__wrapped__(name, value)


@lru_cache(maxsize=1024, typed=True)
def _remembered(name: str, value: Any) -> tuple[Any, str]:
    in_urls = _IN_URLS[name]
    kept = checked(in_urls, value, STRICT, called=name)
    return kept, f"{_SHORT.get(in_urls, in_urls)}={STRICT[in_urls].write(kept)}"


def _has_size(variant: FlexibleVariant) -> bool:
    return variant.width is not None or variant.height is not None


def _has_trim_parts(variant: FlexibleVariant) -> bool:
    parts = (variant.trim_width, variant.trim_height, variant.trim_left, variant.trim_top)
    return parts != (None, None, None, None)


# By the option that Cloudflare would ignore beside others or for want of them, right as it is by itself.
_RULES: Mapping[str, tuple[tuple[Callable[[FlexibleVariant], bool], str], ...]] = {
    "trim": (
        (
            _has_trim_parts,
            "trim and trim_left, trim_top, trim_width or trim_height exclude each other: give either",
        ),
    ),
    "fit": (
        (
            lambda variant: not _has_size(variant),
            "fit {0.fit!r} has no effect without width or height: give at least one of them",
        ),
    ),
    "gravity": (
        (
            lambda variant: variant.fit not in _CROPPING,
            f"gravity {{0.gravity!r}} has an effect only with fit {' or '.join(map(repr, _CROPPING))}",
        ),
    ),
    "zoom": (
        (
            lambda variant: variant.gravity != "face",
            "zoom {0.zoom!r} has an effect only with gravity 'face'",
        ),
    ),
    "dpr": (
        (
            lambda variant: not (_has_size(variant) or variant.trim or _has_trim_parts(variant)),
            "dpr {0.dpr!r} has an effect only with width, height or trim, which it multiplies",
        ),
    ),
    "upscale": (
        (
            lambda variant: variant.fit not in _ENLARGING,
            f"upscale {{0.upscale!r}} has an effect only with fit {' or '.join(map(repr, _ENLARGING))}",
        ),
    ),
}
