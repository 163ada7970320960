"""``Transform``: what a variant does to an image, for rendering."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote

from cf_images.variants.grammar import read_leniently, read_strictly
from cf_images.variants.options import OPTIONS
from cf_images.variants.values import Color, Trim


@dataclass(frozen=True, slots=True, kw_only=True)
class Transform:
    """One variant, under the long option names of Cloudflare's "Transform via URL" page.

    Lengths are pixels before ``dpr``; ``gravity`` is a word or a point from (0, 0), top left, to (1, 1);
    ``quality`` is ``None`` if it is not given; ``background`` has four channels of 0 to 255.
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
        """Read a URL's segment such as ``w=200,fit=cover``, percent-encoded or not, as Cloudflare does.

        Raise ``InvalidVariantError`` with code 9401 for what Cloudflare refuses.
        """
        return cls._of(read_leniently(unquote(options)))

    @classmethod
    def from_options(cls, options: Mapping[str, object]) -> Transform:
        """Read options such as ``{"width": 240, "fit": "cover"}``; any error is an ``InvalidVariantError``.

        Options of named variants that change no pixels, such as ``browser_ttl``, are ignored.
        """
        return cls._of(read_strictly(options, "url"))

    @classmethod
    def _of(cls, given: Mapping[str, Any]) -> Transform:
        """Build from read values; ``trim`` in four numbers wins over ``trim_left`` and the like."""
        meanings = {name: OPTIONS[name].meaning(value) for name, value in given.items()}
        parts = {name: meanings.pop(name) for name in given if name.startswith("trim_")}
        if parts:
            trim = Trim(**{name.removeprefix("trim_"): value for name, value in parts.items()})
            meanings.setdefault("trim", trim)
        return cls(**meanings)
