"""What all images of one tag have in common: worked out once for each size of source, without any URL."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cf_images import conf
from cf_images.markup import srcset_candidates
from cf_images.markup.attributes import attributes_html, css_url
from cf_images.markup.sized_variants import SizedVariant
from cf_images.markup.source_image import Size, default_variant, is_svg, source_size
from cf_images.markup.srcset_candidates import Candidate
from cf_images.markup.text_images import image_of
from cf_images.markup.variant_urls import clean_variant_url
from cf_images.variants import FlexibleVariant

_UNCHANGED = SizedVariant(name="", options={})  # a URL without a requested variant
_LAST_IN_PIXELS = re.compile(r"(?:.*,)?\s*(\d{1,5})px\s*", re.DOTALL)
_MAX_LAYOUTS = 1024  # of one tag; sizes of sources come from visitors
# What plans are kept for: other values may be equal and differ, or change.
_KEPT_TYPES = (str, int, float, bool, type(None), FlexibleVariant)


@dataclass(frozen=True, slots=True)
class StaticAttributes:
    """Attributes that are the same for many images, also as HTML with a space before each."""

    values: Mapping[str, str]
    html: str

    @classmethod
    def of(cls, **values: Any) -> StaticAttributes:
        """Return the attributes that are not ``None``."""
        given = {name: str(value) for name, value in values.items() if value is not None}
        return cls(given, attributes_html(given))


_NONE = StaticAttributes.of()


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The image for sources of one size; ``full_size`` is for images whose variants are all the same."""

    variant: str
    candidates: tuple[Candidate, ...]
    placeholder: str
    attributes: StaticAttributes
    full_size: StaticAttributes


@dataclass(frozen=True, slots=True)
class Picture:
    """One image with its URLs; ``placeholder`` is CSS that shows a small rendition behind the image."""

    src: str
    attributes: StaticAttributes
    srcset: str = ""
    placeholder: str = ""


class ImagePlan:
    """The variants that a tag requests of any image; wrong values raise their error before there is a URL."""

    def __init__(
        self,
        variant: Any,
        options: Mapping[str, Any],
        *,
        widths: Any = None,
        sizes: str | None = None,
        dpr: Any = None,
        placeholder: bool | str | None = None,
    ) -> None:
        self.generation = conf.generation()
        self._variant, self._options, self._names = variant, options, srcset_candidates.split_names(variant)
        self._widths, self._sizes, self._dpr, self._placeholder = widths, sizes, dpr, placeholder
        self._layouts: dict[tuple[str, Size | None], Layout] = {}
        if options and variant is not None:
            raise TypeError(
                f"give either the variant {str(variant)!r} or options ({', '.join(options)}), not both"
            )
        if self._names is not None and not (widths is None and dpr is None):
            raise TypeError("several variants have their own widths: leave out widths and dpr")
        if sizes and widths is None and self._names is None:
            raise TypeError("sizes needs widths or several variants, from which a browser chooses by it")

    def picture(
        self, image: Any, source_width: Any = None, source_height: Any = None, *, final: bool = False
    ) -> Picture | None:
        """Return the image with its URLs; ``None`` for an empty field, whose tag is checked all the same."""
        image = image_of(image)
        source = source_size(image, source_width, source_height)
        needs_default = self._variant is None and not self._options
        layout = self._layout(default_variant(image) if needs_default else "", source)
        if not image:
            return None
        if not layout.variant:
            return Picture(_plain(image), layout.full_size)
        src = _plain(clean_variant_url(image, layout.variant, final=final))
        if is_svg(image):
            return Picture(src, _NONE)
        urls = [
            src
            if candidate.variant.name == layout.variant
            else clean_variant_url(image, candidate.variant.name, final=final)
            for candidate in layout.candidates
        ]
        if not _has_variants(image, layout, src, urls, final=final):
            return Picture(src, layout.full_size)
        return Picture(
            src,
            layout.attributes,
            ", ".join([candidate.at(url) for candidate, url in zip(layout.candidates, urls, strict=True)]),
            _background(image, layout.placeholder, final=final) if layout.placeholder else "",
        )

    def _layout(self, default: str, source: Size | None) -> Layout:
        key = default, source
        if (found := self._layouts.get(key)) is None:
            if len(self._layouts) >= _MAX_LAYOUTS:
                self._layouts.clear()
            found = self._layouts[key] = self._new_layout(default, source)
        return found

    def _new_layout(self, default: str, source: Size | None) -> Layout:
        by_width = self._names is not None or self._widths is not None
        if self._names is not None:
            candidates = srcset_candidates.by_names(self._names, source)
        else:
            base = self._base(default)
            candidates = self._candidates(base, source)
        # For whatever does not read srcset, the middle one: neither a thumbnail nor a poster.
        variant = candidates[len(candidates) // 2].variant if by_width else base
        sizes = (self._sizes or "100vw") if by_width else None
        size = variant.size(source)
        return Layout(
            variant=variant.name,
            candidates=tuple(candidates) if by_width or len(candidates) > 1 else (),
            placeholder=self._placeholder_of(variant),
            attributes=_size_attributes(size, sizes),
            full_size=_size_attributes(source, None),
        )

    def _base(self, default: str) -> SizedVariant:
        if self._options:
            return SizedVariant.of_flexible(FlexibleVariant.from_options(self._options))
        requested = default if self._variant is None else self._variant
        return _UNCHANGED if self._variant is None and not requested else SizedVariant.of(requested)

    def _candidates(self, base: SizedVariant, source: Size | None) -> list[Candidate]:
        if self._widths is not None:
            return srcset_candidates.by_widths(base, self._widths, source)
        return [] if self._dpr is None else srcset_candidates.by_densities(base, self._dpr, source)

    def _placeholder_of(self, variant: SizedVariant) -> str:
        if not self._placeholder or variant is _UNCHANGED:
            return ""
        found = variant.placeholder() if self._placeholder is True else SizedVariant.of(self._placeholder)
        return found.name


def plan_for(variant: Any, options: Mapping[str, Any], **others: Any) -> ImagePlan:
    """Return the plan for such values, the same one for equal values."""
    given = tuple((name, value, type(value)) for name, value in {**options, **others}.items())
    if not all(isinstance(value, _KEPT_TYPES) for value in (variant, *options.values(), *others.values())):
        return ImagePlan(variant, options, **others)
    return _kept_plan(conf.generation(), (variant, type(variant)), given, tuple(options))


@lru_cache(maxsize=512)
def _kept_plan(
    _generation: int,
    variant: tuple[Any, type],
    given: tuple[tuple[str, Any, type], ...],
    options: tuple[str, ...],
) -> ImagePlan:
    values = {name: value for name, value, _ in given}
    return ImagePlan(variant[0], {name: values.pop(name) for name in options}, **values)


def _has_variants(image: Any, layout: Layout, src: str, urls: list[str], *, final: bool) -> bool:
    """Return whether another variant of the image has another URL, where that makes a difference."""
    for candidate, url in zip(layout.candidates, urls, strict=True):
        if candidate.variant.name != layout.variant:
            return url != src
    if not layout.candidates and not layout.placeholder and layout.attributes.html == layout.full_size.html:
        return True
    another = "public" if layout.variant != "public" else "another"
    return clean_variant_url(image, another, final=final) != src


def _size_attributes(size: Size | None, sizes: str | None) -> StaticAttributes:
    width, height = _size_on_page(size, sizes) if size else (None, None)
    return StaticAttributes.of(sizes=sizes, width=width, height=height)


def _size_on_page(size: Size, sizes: str | None) -> Size:
    """Return the pixels in which ``sizes`` ends, without a condition, else those of ``src``."""
    last = _LAST_IN_PIXELS.fullmatch(sizes or "")
    if not last or not (width := int(last[1])):
        return size
    return width, max(1, round(width * size[1] / size[0]))


def _background(image: Any, variant: str, *, final: bool) -> str:
    return f"background:{css_url(clean_variant_url(image, variant, final=final))} center/cover no-repeat"


def _plain(url: Any) -> str:
    """Return a URL as plain text, also where a template has marked it as safe HTML."""
    return str(url) + ""
