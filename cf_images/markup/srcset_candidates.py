"""The entries of a ``srcset``: the same picture in several sizes, never larger than the source."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from cf_images import conf
from cf_images.exceptions import InvalidVariantError
from cf_images.markup.sized_variants import SizedVariant
from cf_images.markup.source_image import Size
from cf_images.variants.options import MAX_DPR, MAX_SIDE
from cf_images.variants.values import abbreviate, number_text

# A comma ends a candidate and white space its URL: HTML standard, "srcset attributes".
_SEPARATORS = re.compile(r"[,\s]")
_EXAMPLES = {"widths": "320,640,1280", "dpr": "1,2"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One entry: ``descriptor`` is the width (``640w``) or the density (``2x``) of ``variant``."""

    variant: SizedVariant
    descriptor: str

    def at(self, url: str) -> str:
        """Return the entry, with the URL of its variant."""
        return f"{_SEPARATORS.sub(lambda found: quote(found[0]), url)} {self.descriptor}"


def by_widths(base: SizedVariant, widths: Any, source: Size | None) -> list[Candidate]:
    """Return ``base`` at several widths; instead of those beyond the source, the source's own width."""
    requested = sorted(_width(text) for text in _split("widths", widths))
    if source:
        requested = _limited(requested, base.max_width(source))
    return [Candidate(variant=base.resized(width), descriptor=f"{width}w") for width in requested]


def by_densities(base: SizedVariant, densities: Any, source: Size | None) -> list[Candidate]:
    """Return ``base`` for several densities; instead of those beyond the source, the source's own density."""
    if base.options and "dpr" in base.options:
        raise InvalidVariantError(f"{base.name!r} has a dpr already: leave it out there")
    requested = sorted(_density(text) for text in _split("dpr", densities))
    base.with_density("1")  # raises an error for a variant without a size, or of an unknown one
    if source:
        requested = _limited(requested, max(1.0, int(base.headroom(source) * 100) / 100))
    return [_at_density(base, number_text(density)) for density in requested]


def by_names(names: Sequence[Any], source: Size | None) -> list[Candidate]:
    """Return several variants by their widths; an enlarged one only if there is no other."""
    variants = _distinct(names)
    found = sorted(
        ((_known_width(variant, source), variant) for variant in variants), key=lambda pair: pair[0]
    )
    good = [pair for pair in found if not (source and pair[1].is_enlarged(source))] or found[:1]
    by_width: dict[int, SizedVariant] = {}
    for width, variant in good:
        by_width.setdefault(width, variant)
    return [Candidate(variant=variant, descriptor=f"{width}w") for width, variant in by_width.items()]


def split_names(variant: Any) -> list[Any] | None:
    """Return the variants in ``"small,medium"`` or in a list; ``None`` for a single one."""
    if isinstance(variant, (list, tuple)):
        return list(variant)
    text = str(variant)
    return [name.strip() for name in text.split(",")] if "," in text and "=" not in text else None


def _split(keyword: str, given: Any) -> list[str]:
    """Return the numbers in ``"320,640"`` or in a list; ``InvalidVariantError`` for none, or one twice."""
    parts = given.split(",") if isinstance(given, str) else given if isinstance(given, Iterable) else [given]
    texts = [str(part).strip() for part in parts]
    if not texts:
        raise InvalidVariantError(f'{keyword} is empty; give it as in {keyword}="{_EXAMPLES[keyword]}"')
    if repeated := [text for text in texts if texts.count(text) > 1]:
        raise InvalidVariantError(f"{keyword} has {abbreviate(repeated[0])} twice")
    return texts


def _limited(requested: list[Any], maximum: float) -> list[Any]:
    """Return the numbers up to a maximum, and the maximum in place of larger ones."""
    kept = [number for number in requested if number <= maximum]
    return kept if len(kept) == len(requested) or maximum in kept else [*kept, maximum]


def _distinct(names: Sequence[Any]) -> list[SizedVariant]:
    found = [SizedVariant.of(name) for name in names]
    if not found:
        raise InvalidVariantError("the list of variants is empty")
    known = [variant.name for variant in found]
    if repeated := [name for name in known if known.count(name) > 1]:
        raise InvalidVariantError(f"variant {repeated[0]!r} is given twice")
    return found


def _known_width(variant: SizedVariant, source: Size | None) -> int:
    size = variant.size(source)
    width = size[0] if size else variant.sides[0]
    if isinstance(width, int):
        return width
    if variant.options is None:
        problem, hint = "is not declared", f"declared are {', '.join(conf.variant_names())}"
    else:
        problem, hint = "has no width of its own", "declare one, or give a single variant"
    raise InvalidVariantError(
        f"variant {variant.name!r} {problem}, so that browsers could not choose it: {hint}"
    )


def _at_density(base: SizedVariant, density: str) -> Candidate:
    variant = base if density == "1" else base.with_density(density)
    return Candidate(variant=variant, descriptor=f"{density}x")


def _width(text: str) -> int:
    if re.fullmatch(r"[1-9][0-9]{0,4}", text) and int(text) <= MAX_SIDE:
        return int(text)
    raise InvalidVariantError(f"widths cannot have {abbreviate(text)}; valid is 1 to {MAX_SIDE:,} pixels")


def _density(text: str) -> float:
    if re.fullmatch(r"\d(\.\d{1,4})?", text, re.ASCII) and 1 <= float(text) <= MAX_DPR:
        return float(text)
    raise InvalidVariantError(f"dpr cannot have {abbreviate(text)}; valid is 1 to {MAX_DPR}")
