"""The ``<img>`` of an image: its URLs, its size on the page, and attributes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from django.utils.safestring import SafeString, mark_safe

from cf_images import conf
from cf_images.markup.attributes import (
    DEFAULTS,
    OPTIONS,
    attribute_keywords,
    attribute_text,
    attributes_html,
    check_keywords,
    escaped,
)
from cf_images.markup.image_plans import ImagePlan, Picture, plan_for
from cf_images.markup.source_image import is_displayable

_MISSING: Any = object()
_NOTHING = SafeString("")
# What decides on the variants; of the others alone a plan is independent.
_PLANNED = ("widths", "sizes", "dpr", "placeholder")


def image_tag(image: Any, variant: Any = None, **keywords: Any) -> SafeString:
    """Return ``<img …>`` with the attributes of ``image_attributes``; ``""`` for an empty field."""
    found = image_attributes(image, variant, **keywords)
    return mark_safe(f"<img{attributes_html(found)}>") if found else _NOTHING  # noqa: S308  # escaped


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
    final: bool = False,
    **others: Any,
) -> dict[str, str]:
    """Return the attributes of an ``<img>``, not escaped; none for an empty field. ``alt`` is required.

    ``image`` is a field file, a URL or a name; ``variant`` a name, a ``FlexibleVariant``, or several names to
    choose from. ``others`` are attributes (``class_``, ``data_id``) and the options of a flexible variant
    (``w``, ``fit``). Sides are in pixels. With ``final``, a pending image has the URLs that it will have once
    it is stored. ``TypeError`` is about keywords, ``ValueError`` (as ``InvalidVariantError`` is) about a
    value.
    """
    _check_given({"alt": alt, "widths": widths, "dpr": dpr}, others)
    values = {**DEFAULTS, **others, "alt": alt}
    names = attribute_keywords(others)
    texts = {name: attribute_text(name, values[keyword]) for name, keyword in names.items()}
    plan = plan_for(variant, _options(others), widths=widths, sizes=sizes, dpr=dpr, placeholder=placeholder)
    picture = plan.picture(image, source_width, source_height, final=final)
    if picture is None or not is_displayable(picture.src):
        return {}
    texts["style"] = _style(picture, texts.pop("style", None))
    found = {"src": picture.src, "srcset": picture.srcset or None, **picture.attributes.values, **texts}
    return {name: text for name, text in found.items() if text is not None}


def srcset(
    image: Any,
    variant: Any = None,
    *,
    widths: Any = None,
    dpr: Any = None,
    source_width: int | None = None,
    source_height: int | None = None,
    final: bool = False,
    **options: Any,
) -> str:
    """Return only the ``srcset``, e.g. for ``<source>``; ``""`` if there is nothing to choose from."""
    _check_given({"alt": "", "widths": widths, "dpr": dpr}, options)
    if options.keys() - OPTIONS:
        raise TypeError(f"srcset() takes options of a flexible variant, not {', '.join(options)}")
    plan = plan_for(variant, options, widths=widths, dpr=dpr)
    picture = plan.picture(image, source_width, source_height, final=final)
    return picture.srcset if picture else ""


class PreparedTag:
    """A tag of which ``constants`` are known before the image; the ``names`` without one are variables.

    Names are keywords of ``image_attributes``, already checked, or ``variant``. Wrong values raise their
    error with each image, as in ``image_tag``.
    """

    def __init__(self, names: Collection[str], constants: Mapping[str, Any]) -> None:
        defaults = {"variant": None, **DEFAULTS}
        self._constants = {name: value for name, value in defaults.items() if name not in names} | {
            **constants
        }
        self._options = [name for name in names if name in OPTIONS]
        self._planned = [name for name in names if name in _PLANNED]
        self._attributes = attribute_keywords(name for name in names if name != "variant")
        self._style_keyword = self._attributes.pop("style", "")
        decisive = ("variant", *self._options, *self._planned)
        self._has_one_plan = not any(name in names and name not in constants for name in decisive)
        self._plan: ImagePlan | None = None
        self._parts: list[str | tuple[str, str]] | None = None

    def html(self, image: Any, variables: Mapping[str, Any]) -> SafeString:
        """Return the ``<img>`` of an image, with a value for each variable; ``""`` for an empty field."""
        given = {**self._constants, **variables} if variables else self._constants
        plan = self._plan
        if plan is None or plan.generation != conf.generation():
            plan = self._plan_for(given)
        attributes = self._attributes_html(given)
        style = attribute_text("style", given[self._style_keyword]) if self._style_keyword else None
        picture = plan.picture(
            image, given.get("source_width"), given.get("source_height"), final=bool(given.get("final"))
        )
        if picture is None or not is_displayable(picture.src):
            return _NOTHING
        urls = f' src="{escaped(picture.src)}"'
        if picture.srcset:
            urls += f' srcset="{escaped(picture.srcset)}"'
        style = _style(picture, style)
        if style is not None:
            attributes += attributes_html({"style": style})
        return mark_safe(f"<img{urls}{picture.attributes.html}{attributes}>")  # noqa: S308  # all escaped

    def _plan_for(self, given: Mapping[str, Any]) -> ImagePlan:
        options = {name: given[name] for name in self._options}
        plan = plan_for(given["variant"], options, **{name: given[name] for name in self._planned})
        if self._has_one_plan:
            self._plan = plan
        return plan

    def _attributes_html(self, given: Mapping[str, Any]) -> str:
        if self._parts is None:
            self._parts = self._prepared_parts()
        parts = self._parts
        if len(parts) == 1 and isinstance(parts[0], str):
            return parts[0]
        return "".join(
            part if isinstance(part, str) else _attribute_html(part[0], given[part[1]]) for part in parts
        )

    def _prepared_parts(self) -> list[str | tuple[str, str]]:
        """Return HTML for what is constant, joined, and the name and the keyword of each other attribute."""
        parts: list[str | tuple[str, str]] = [""]
        for name, keyword in self._attributes.items():
            last = parts[-1]
            if keyword not in self._constants:
                parts.append((name, keyword))
            elif isinstance(last, str):
                parts[-1] = last + _attribute_html(name, self._constants[keyword])
            else:
                parts.append(_attribute_html(name, self._constants[keyword]))
        return parts


def _check_given(own: Mapping[str, Any], others: Mapping[str, Any]) -> None:
    given = [name for name, value in own.items() if value is not (_MISSING if name == "alt" else None)]
    check_keywords([*given, *others])


def _options(keywords: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in keywords.items() if name in OPTIONS}


def _attribute_html(name: str, value: Any) -> str:
    text = attribute_text(name, value)
    return "" if text is None else f' {name}="{escaped(text)}"'


def _style(picture: Picture, given: str | None) -> str | None:
    if not picture.placeholder:
        return given
    return f"{picture.placeholder};{given}" if given else picture.placeholder
