"""The ``<img>`` of an image: its addresses, what it measures, and the attributes that make it whole."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString

from cf_images.flexible import FlexibleVariant
from cf_images.markup import attributes, candidates, shapes, sources
from cf_images.markup.candidates import Candidate
from cf_images.markup.shapes import Shape
from cf_images.markup.sources import Size
from cf_images.variants import variant_url

_MISSING: Any = object()
_AS_IT_IS = Shape(variant="", options={})  # a URL that nobody asked a variant of
_DEFAULTS = {"loading": "lazy", "decoding": "async"}
_LAST_IN_PIXELS = re.compile(r"(?:.*,)?\s*(\d{1,5})px\s*", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Picture:
    """An image in a page; ``size`` in pixels of the page, ``None`` where nobody knows it."""

    src: str
    size: Size | None
    srcset: str = ""
    by_width: bool = False
    shape: Shape | None = None  # None: every variant is the same


def image_tag(image: Any, variant: Any = None, **keywords: Any) -> SafeString:
    """``<img …>`` with the attributes of ``image_attributes``; nothing at all for an empty field."""
    found = image_attributes(image, variant, **keywords)
    return format_html("<img {}>", attributes.as_html(found)) if found else SafeString("")


def image_attributes(
    image: Any,
    variant: Any = None,
    *,
    alt: str | None = _MISSING,
    widths: Any = None,
    sizes: str | None = None,
    dpr: Any = None,
    placeholder: bool | str | None = None,
    source_width: int | None = None,
    source_height: int | None = None,
    **others: Any,
) -> dict[str, str]:
    """The attributes of an ``<img>``, not yet escaped; none for an empty field. ``alt`` must be given.

    ``image`` is a field file or a URL; ``variant`` a name, a ``FlexibleVariant``, or several names to choose
    from. ``others`` are attributes (``class_``, ``data_id``) and the options of a flexible variant (``w``,
    ``fit``). Sides are in pixels. ``TypeError`` is about keywords, ``ValueError`` about a value; an
    ``InvalidVariantError`` is one, too.
    """
    own = {"alt": alt, "widths": widths, "dpr": dpr}
    _check(own, others)
    if sizes and widths is None and candidates.names_of(variant) is None:
        raise TypeError("sizes has a meaning only with widths or several variants: a browser chooses by it")
    keywords = attributes.sorted_keywords({**_DEFAULTS, **others})
    source = sources.source_size(image, source_width, source_height)
    picture = _picture(image, variant, keywords.options, widths=widths, dpr=dpr, source=source)
    if picture is None or not sources.is_shown(picture.src):
        return {}
    background = _background(image, picture, placeholder)
    return _written({**_places(picture, sizes), "alt": alt or "", **keywords.attributes}, background)


def srcset(
    image: Any,
    variant: Any = None,
    *,
    widths: Any = None,
    dpr: Any = None,
    source_width: int | None = None,
    source_height: int | None = None,
    **options: Any,
) -> str:
    """Only the ``srcset``, e.g. for ``<source>``; empty where there is nothing to choose from."""
    _check({"alt": "", "widths": widths, "dpr": dpr}, options)
    if attributes.sorted_keywords(options).attributes:
        raise TypeError(f"srcset() takes options of a flexible variant, not {', '.join(options)}")
    source = sources.source_size(image, source_width, source_height)
    picture = _picture(image, variant, options, widths=widths, dpr=dpr, source=source)
    return picture.srcset if picture else ""


def _check(own: Mapping[str, Any], others: Mapping[str, Any]) -> None:
    given = [name for name, value in own.items() if value is not (_MISSING if name == "alt" else None)]
    attributes.check_keywords([*given, *others])


def _picture(
    image: Any, variant: Any, options: Mapping[str, Any], *, widths: Any, dpr: Any, source: Size | None
) -> _Picture | None:
    """The image as it was asked for; what was asked is checked for an empty field, too."""
    base = _base(image, variant, options)
    if isinstance(base, list):
        if widths is not None or dpr is not None:
            raise TypeError("several variants have their own widths: leave out widths and dpr")
        found = candidates.by_names(base, source)
    elif widths is not None:
        found = candidates.by_widths(base, widths, source)
    else:
        found = [] if dpr is None else candidates.by_densities(base, dpr, source)
    by_width = bool(found) and dpr is None
    # the one in the middle, for whatever reads no srcset: neither a stamp nor a poster
    shape = found[len(found) // 2].shape if isinstance(base, list) or by_width else base
    return _shown(image, shape, found, by_width=by_width, source=source) if image else None


def _base(image: Any, variant: Any, options: Mapping[str, Any]) -> Shape | list[Any]:
    """What was asked for: one shape, or several variants."""
    if options and variant is not None:
        raise TypeError(
            f"give either the variant {str(variant)!r} or options ({', '.join(options)}), not both"
        )
    if options:
        return shapes.flexible(FlexibleVariant.from_options(options))
    if (names := candidates.names_of(variant)) is not None:
        return names
    asked = sources.default_variant(image) if variant is None else variant
    return _AS_IT_IS if variant is None and not asked else shapes.shape_of(asked)


def _shown(
    image: Any, shape: Shape, found: list[Candidate], *, by_width: bool, source: Size | None
) -> _Picture:
    if shape is _AS_IT_IS:
        return _Picture(src=_plain(image), size=source)
    src = _plain(variant_url(image, shape.variant))
    if sources.is_svg(image):
        return _Picture(src=src, size=None)
    if not sources.has_variants(image, shape.variant, src):
        return _Picture(src=src, size=source)
    entries = [candidate.at(variant_url(image, candidate.shape.variant)) for candidate in found]
    return _Picture(
        src=src,
        size=shapes.size_of(shape, source),
        srcset=", ".join(entries) if by_width or len(entries) > 1 else "",
        by_width=by_width,
        shape=shape,
    )


def _plain(address: Any) -> str:
    """An address is no HTML, even where a template has marked it as safe."""
    return str(address) + ""


def _places(picture: _Picture, sizes: str | None) -> dict[str, Any]:
    """Where the image is and how much room it takes."""
    sizes = (sizes or "100vw") if picture.by_width else None
    width, height = _on_page(picture.size, sizes) if picture.size else (None, None)
    return {
        "src": picture.src,
        "srcset": picture.srcset or None,
        "sizes": sizes,
        "width": width,
        "height": height,
    }


def _on_page(size: Size, sizes: str | None) -> Size:
    """The pixels in which ``sizes`` ends, without a condition, else those of ``src``."""
    last = _LAST_IN_PIXELS.fullmatch(sizes or "")
    if not last or not (width := int(last[1])):
        return size
    return width, max(1, round(width * size[1] / size[0]))


def _background(image: Any, picture: _Picture, placeholder: bool | str | None) -> str:
    """CSS that shows a tiny rendition until the image covers it."""
    if not placeholder or picture.shape is None:
        return ""
    shape = shapes.tiny(picture.shape) if placeholder is True else shapes.shape_of(placeholder)
    address = variant_url(image, shape.variant)
    return f"background:{attributes.css_url(address)} center/cover no-repeat"


def _written(given: Mapping[str, Any], background: str) -> dict[str, str]:
    texts = {name: attributes.as_text(value) for name, value in given.items()}
    written = {name: text for name, text in texts.items() if text is not None}
    if background:
        written["style"] = ";".join(filter(None, [background, written.get("style")]))
    return written
