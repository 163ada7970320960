"""The options of a variant as a whole: read from a URL or a declaration, as Cloudflare reads them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

from cf_images.options.table import (
    ALIASES,
    OPTIONS,
    Color,
    RefusedError,
    Trim,
    UnreadableError,
    invalid,
    invalid_value,
    shown,
)

# What a hosted variant may declare besides its pixels.
_NOT_PIXELS = {"browser-ttl", "never-require-signed-urls", "neverRequireSignedURLs"}
# Commas inside parentheses belong to a color: background=rgb(240,40,145).
_PIECE = re.compile(r"[^,(]*(?:\([^)]*\)?[^,(]*)*")


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
            raise invalid(f"{shown(options)} has no options; expected a form such as w=200,fit=cover")
        given: dict[str, object] = {}
        for name, value in pairs:
            given.setdefault(name.strip(), value.strip())
        values = {}
        for name, value in _by_long_name(given):
            if name not in OPTIONS:
                continue
            try:
                values[name] = OPTIONS[name].meaning(value)
            except UnreadableError:
                continue
            except RefusedError:
                raise invalid_value(name, value) from None
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
            if name not in OPTIONS:
                raise invalid(f"unknown option {shown(name)}; known are {', '.join(sorted(OPTIONS))}")
            try:
                values[name] = OPTIONS[name].meaning(value)
            except (UnreadableError, RefusedError):
                raise invalid_value(name, value) from None
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
        long_name = ALIASES.get(name, name)
        if long_name == name or long_name not in given:
            yield long_name, value
