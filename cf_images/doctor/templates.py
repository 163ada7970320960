"""Whether the variants that templates ask for exist: what Cloudflare would refuse, and what it would ignore.

``template_files`` finds the files, ``usages`` reads them; here is what is wrong with what they ask for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches

from cf_images import conf, delivery
from cf_images.checks import cloudflare_options
from cf_images.doctor.findings import Finding, Level, ok, warning
from cf_images.doctor.template_files import template_files
from cf_images.doctor.usages import Use, uses_in
from cf_images.exceptions import InvalidVariantError
from cf_images.flexible import FlexibleVariant
from cf_images.markup.attributes import OPTIONS, check_keywords
from cf_images.markup.candidates import names_of
from cf_images.options import Transform

UNDECLARED, OPTION, FLEXIBLE = "template-variant", "template-option", "template-flexible"

_COMMA = re.compile(r",(?![^(]*\))")  # rgb(1,2,3) has commas of its own
_RESIZING = ("widths", "dpr")
_SWITCHES = ("True", "False", "None")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The uses of our tags in all templates, and the files that could not be read."""

    uses: tuple[Use, ...] = ()
    unreadable: tuple[str, ...] = ()

    @property
    def first_flexible(self) -> str:
        """Where a flexible variant is used; empty where none is."""
        return next((use.place for use in self.uses if _flexible(use)), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Problem:
    """What is wrong with a use; equal ones are told once, with all their places."""

    name: str
    message: str
    remedy: str
    level: Level = Level.FAILURE


def read() -> Reading:
    """Every use in the project's own templates."""
    uses: list[Use] = []
    unreadable = []
    for file in template_files():
        try:
            uses.extend(uses_in(file))
        except (OSError, UnicodeError):
            unreadable.append(file.shown)
    return Reading(uses=tuple(uses), unreadable=tuple(unreadable))


def judged(reading: Reading) -> Iterator[Finding]:
    """Each problem with the places where it is, or that there is none."""
    places: dict[_Problem, list[str]] = {}
    for use in reading.uses:
        for problem in _problems(use):
            places.setdefault(problem, []).append(use.place)
    for problem, found in places.items():
        message = f"{', '.join(dict.fromkeys(found))}: {problem.message}"
        yield Finding(name=problem.name, level=problem.level, message=message, remedy=problem.remedy)
    for path in reading.unreadable:
        remedy = "Make it readable, and save it in the encoding of the engine."
        yield warning("template-unreadable", f"{path} cannot be read.", remedy=remedy)
    if not any(problem.level is Level.FAILURE for problem in places):
        yield ok("templates", _summary(reading.uses))


def _summary(uses: Iterable[Use]) -> str:
    uses = list(uses)
    files = {use.place.rpartition(":")[0] for use in uses}
    unknown = sum(not use.is_known for use in uses)
    words = f"{len(uses)} uses of variants in {len(files)} templates are as declared"
    return f"{words}; {unknown} of them only rendering knows." if unknown else f"{words}."


def _problems(use: Use) -> Iterator[_Problem]:
    if use.is_tag:
        yield from _keyword_problems(use)
    for variant in _variants(use):
        yield from _variant_problems(variant, is_tag=use.is_tag)
    if asked := _flexible(use):
        yield from _flexible_problems(asked)


def _variants(use: Use) -> list[str]:
    """The variants that a use names: a tag may have several, and another as its placeholder."""
    several = names_of(use.variant) if use.is_tag and use.variant else None
    named = several or ([] if use.variant is None else [use.variant])
    placeholder = use.keywords.get("placeholder")
    return [*named, placeholder] if placeholder and placeholder not in _SWITCHES else named


def _flexible(use: Use) -> str:
    """What of a use needs flexible variants; empty where nothing does."""
    asked = [variant for variant in _variants(use) if delivery.is_flexible(variant)]
    asked += [f"{name}=" for name in use.keywords if name in OPTIONS or name in _RESIZING]
    if use.keywords.get("placeholder") == "True":
        asked.append("placeholder=True")
    return ", ".join(asked)


def _variant_problems(variant: str, *, is_tag: bool) -> Iterator[_Problem]:
    try:
        cleaned = delivery.clean_variant(variant)
        if delivery.is_flexible(cleaned):
            Transform.parse(cleaned)
    except InvalidVariantError as error:
        yield _Problem(name=OPTION, message=_sentence(error), remedy=_OPTION_REMEDY)
        return
    if delivery.is_flexible(cleaned):
        yield from _strict_problems(cleaned, is_tag=is_tag)
    elif cleaned not in (declared := conf.variants()):
        yield _Problem(
            name=UNDECLARED,
            message=f"variant {cleaned!r} is declared nowhere; declared are {', '.join(declared)}.",
            remedy=f'{_nearest(cleaned, declared)}eclare it in CF_IMAGES["VARIANTS"].',
        )


def _strict_problems(variant: str, *, is_tag: bool) -> Iterator[_Problem]:
    """What Cloudflare only ignores; our tag refuses it."""
    pairs = (pair.partition("=") for pair in _COMMA.split(variant))
    try:
        FlexibleVariant.from_options({name: value for name, _, value in pairs})
    except InvalidVariantError as error:
        level = Level.FAILURE if is_tag else Level.WARNING
        message = f"in {variant!r} {_sentence(error)}"
        yield _Problem(name=OPTION, level=level, message=message, remedy=_OPTION_REMEDY)


def _keyword_problems(use: Use) -> Iterator[_Problem]:
    try:
        check_keywords(use.keywords)
        options = {name: text for name, text in use.keywords.items() if name in OPTIONS and text != "None"}
        if options and None not in options.values():
            FlexibleVariant.from_options(options)
    except InvalidVariantError as error:
        yield _Problem(name=OPTION, message=_sentence(error), remedy=_OPTION_REMEDY)
    except TypeError as error:
        yield _Problem(name=OPTION, message=f"{error}.", remedy="Correct the keywords of the tag.")


def _flexible_problems(asked: str) -> Iterator[_Problem]:
    if conf.package("FLEXIBLE_VARIANTS") is False:
        yield _Problem(
            name=FLEXIBLE,
            message=f'{asked!r} needs flexible variants, and CF_IMAGES["FLEXIBLE_VARIANTS"] is False.',
            remedy='Declare a named variant in CF_IMAGES["VARIANTS"] and use its name.',
        )
    ours = cloudflare_options().values()
    if ours and all(conf.option("require_signed_urls", options) for options in ours):
        yield _Problem(
            name="template-private",
            level=Level.WARNING,
            message=f"{asked!r} needs flexible variants, and the images are private: Cloudflare signs none.",
            remedy='Declare a named variant in CF_IMAGES["VARIANTS"] and use its name.',
        )


_OPTION_REMEDY = "Correct it in the template; the README's section Variants has the forms."


def _nearest(variant: str, declared: Iterable[str]) -> str:
    by_lower = {name.lower(): name for name in declared}
    nearest = get_close_matches(variant.lower(), by_lower, n=1)
    return f"Write {by_lower[nearest[0]]!r}, or d" if nearest else "D"


def _sentence(error: InvalidVariantError) -> str:
    return error.message.rstrip(".") + "."
