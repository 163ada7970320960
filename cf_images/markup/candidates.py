"""The entries of a ``srcset``: the same picture in several sizes, never larger than it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from cf_images import conf
from cf_images.exceptions import InvalidVariantError
from cf_images.markup import shapes
from cf_images.markup.shapes import Shape
from cf_images.markup.sources import Size, numbers
from cf_images.options.strict import LONGEST_SIDE
from cf_images.options.table import number_text, shown

_HIGHEST_DENSITY = 3  # Cloudflare reduces more to 3
# A comma ends a candidate and white space its address: HTML standard, "srcset attributes".
_SEPARATORS = re.compile(r"[,\s]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One entry: ``descriptor`` is the width (``640w``) or the density (``2x``) of ``shape``."""

    shape: Shape
    descriptor: str

    def at(self, address: str) -> str:
        """The entry, with the address of its shape."""
        return f"{_SEPARATORS.sub(lambda sign: quote(sign[0]), address)} {self.descriptor}"


def by_widths(base: Shape, widths: Any, source: Size | None) -> list[Candidate]:
    """``base`` at several widths; of those beyond the source only the source's own."""
    wanted = sorted(_width(text) for text in numbers("widths", widths))
    if source:
        widest = shapes.widest(base, source)
        kept = [width for width in wanted if width <= widest]
        wanted = kept if len(kept) == len(wanted) or widest in kept else [*kept, widest]
    return [Candidate(shape=shapes.resized(base, width), descriptor=f"{width}w") for width in wanted]


def by_names(names: Sequence[Any], source: Size | None) -> list[Candidate]:
    """Several variants by their widths; an enlarged one only if there is no other."""
    found = sorted(((_width_of(shape, source), shape) for shape in _shapes(names)), key=lambda pair: pair[0])
    good = [pair for pair in found if not (source and shapes.is_enlarged(pair[1], source))] or found[:1]
    by_width: dict[int, Shape] = {}
    for width, shape in good:
        by_width.setdefault(width, shape)
    return [Candidate(shape=shape, descriptor=f"{width}w") for width, shape in by_width.items()]


def by_densities(base: Shape, densities: Any, source: Size | None) -> list[Candidate]:
    """``base`` for screens of several densities; of those beyond the source only the source's own."""
    if base.options and "dpr" in base.options:
        raise InvalidVariantError(f"dpr stands in {base.variant!r} already: leave it out there")
    wanted = sorted(_density(text) for text in numbers("dpr", densities))
    shapes.denser(base, "1")  # a shape without a size, or of an unknown one, cannot be made denser
    if source:
        most = max(1.0, int(shapes.headroom(base, source) * 100) / 100)
        kept = [density for density in wanted if density <= most]
        wanted = kept if len(kept) == len(wanted) or most in kept else [*kept, most]
    return [_dense(base, number_text(density)) for density in wanted]


def names_of(variant: Any) -> list[Any] | None:
    """The variants in ``"small,medium"`` or in a list; ``None`` where it is a single one."""
    if isinstance(variant, (list, tuple)):
        return list(variant)
    text = str(variant)
    return [name.strip() for name in text.split(",")] if "," in text and "=" not in text else None


def _shapes(names: Sequence[Any]) -> list[Shape]:
    found = [shapes.shape_of(name) for name in names]
    variants = [shape.variant for shape in found]
    if not found:
        raise InvalidVariantError("the list of variants is empty")
    if twice := [name for name in variants if variants.count(name) > 1]:
        raise InvalidVariantError(f"variant {twice[0]!r} is given twice")
    return found


def _width_of(shape: Shape, source: Size | None) -> int:
    size = shapes.size_of(shape, source)
    width = size[0] if size else shape.sides[0]
    if isinstance(width, int):
        return width
    if shape.options is None:
        problem, remedy = "is declared nowhere", f"there are {', '.join(conf.variants())}"
    else:
        problem, remedy = "has no width of its own", "declare one, or give a single variant"
    raise InvalidVariantError(
        f"variant {shape.variant!r} {problem}, so that no browser could choose it: {remedy}"
    )


def _dense(base: Shape, density: str) -> Candidate:
    shape = base if density == "1" else shapes.denser(base, density)
    return Candidate(shape=shape, descriptor=f"{density}x")


def _width(text: str) -> int:
    if re.fullmatch(r"[1-9][0-9]{0,4}", text) and int(text) <= LONGEST_SIDE:
        return int(text)
    raise InvalidVariantError(f"widths cannot have {shown(text)}; valid is 1 to {LONGEST_SIDE:,} pixels")


def _density(text: str) -> float:
    if re.fullmatch(r"\d(\.\d{1,4})?", text, re.ASCII) and 1 <= float(text) <= _HIGHEST_DENSITY:
        return float(text)
    raise InvalidVariantError(f"dpr cannot have {shown(text)}; valid is 1 to {_HIGHEST_DENSITY}")
