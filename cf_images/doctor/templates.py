"""Judge what templates ask for: unknown variants, options that Cloudflare refuses or ignores, and texts that
are no image.

``template_files`` finds the files, ``template_uses`` reads them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches

from cf_images import conf
from cf_images.accounts import backend_options
from cf_images.doctor.findings import Finding, Level, failure, ok, warning
from cf_images.doctor.template_files import template_files
from cf_images.doctor.template_uses import Use, uses_in
from cf_images.exceptions import InvalidVariantError
from cf_images.markup.attributes import OPTIONS, check_keywords
from cf_images.markup.srcset_candidates import split_names as names_of
from cf_images.markup.text_images import text_problem
from cf_images.variants import Transform, grammar
from cf_images.variants.flexible import FlexibleVariant
from cf_images.variants.values import abbreviate

_RESIZING = ("widths", "dpr")
_SWITCHES = ("True", "False", "None")
_OPTION_HINT = "Correct it in the template; see variants.md and responsive.md of the how-to guides."
_IMAGE_HINT = "Give a field file, a URL, or a name of the storage that select_storage chooses."
_FLEXIBLE_HINT = 'Declare a named variant in CF_IMAGES["VARIANTS"] and use its name.'


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The uses in all templates, and the files that cannot be read."""

    uses: tuple[Use, ...] = ()
    unreadable: tuple[str, ...] = ()

    @property
    def first_flexible(self) -> str:
        """The first place that needs flexible variants; empty if there is none."""
        return next((use.place for use in self.uses if _flexible(use)), "")


def read() -> Reading:
    """Read all templates of the project."""
    uses: list[Use] = []
    unreadable = []
    for file in template_files():
        try:
            uses.extend(uses_in(file))
        except (OSError, UnicodeError):
            unreadable.append(file.label)
    return Reading(uses=tuple(uses), unreadable=tuple(unreadable))


def judged(reading: Reading) -> Iterator[Finding]:
    """Yield each problem once, with all its places; say so if no use would fail."""
    places: dict[Finding, list[str]] = {}
    for use in reading.uses:
        for problem in _problems(use):
            places.setdefault(problem, []).append(use.place)
    for problem, found in places.items():
        yield replace(problem, message=f"{', '.join(dict.fromkeys(found))}: {problem.message}")
    for label in reading.unreadable:
        hint = "Correct its permissions, or save it in the charset of its engine (by default UTF-8)."
        yield warning("template-unreadable", f"{label} cannot be read.", hint=hint)
    if not any(problem.level is Level.FAILURE for problem in places):
        yield ok("templates", _summary(reading.uses))


def _summary(uses: Collection[Use]) -> str:
    files = {use.place.rpartition(":")[0] for use in uses}
    variables = sum(not use.is_known for use in uses)
    text = f"{_count(len(uses), 'use')} of variants in {_count(len(files), 'template')} checked"
    return f"{text}, except {_count(variables, 'variable')}." if variables else f"{text}."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _problems(use: Use) -> Iterator[Finding]:
    """Yield what is wrong with a use, without its place: equal problems are one finding."""
    if use.is_tag:
        yield from _keyword_problems(use)
    for variant in _variants(use):
        yield from _variant_problems(variant, is_tag=use.is_tag)
    if asked := _flexible(use):
        yield from _flexible_problems(asked)
    if use.image and (problem := text_problem(use.image)):
        message = f"{abbreviate(use.image)} can be neither the name of an image nor its URL: {problem}."
        yield failure("template-image", message, hint=_IMAGE_HINT)


def _variants(use: Use) -> list[str]:
    """Return the variants of a use; a tag may name several, and one more as its placeholder."""
    several = names_of(use.variant) if use.is_tag and use.variant else None
    named = several or ([] if use.variant is None else [use.variant])
    placeholder = use.keywords.get("placeholder")
    return [*named, placeholder] if placeholder and placeholder not in _SWITCHES else named


def _flexible(use: Use) -> str:
    """Return what of a use needs flexible variants; empty if nothing does."""
    asked = [variant for variant in _variants(use) if grammar.is_flexible(variant)]
    asked += [f"{name}=" for name in use.keywords if name in OPTIONS or name in _RESIZING]
    if use.keywords.get("placeholder") == "True":
        asked.append("placeholder=True")
    return ", ".join(asked)


def _variant_problems(variant: str, *, is_tag: bool) -> Iterator[Finding]:
    level, prefix = Level.FAILURE, ""
    try:
        cleaned = grammar.clean_variant(variant)
        if grammar.is_flexible(cleaned):
            Transform.parse(cleaned)
            # What follows Cloudflare only ignores; the tag raises for it.
            level, prefix = Level.FAILURE if is_tag else Level.WARNING, f"in {cleaned!r} "
            FlexibleVariant.parse(cleaned)
        elif cleaned not in (named := conf.variant_names()):
            message = f"variant {cleaned!r} is not declared; named variants are {', '.join(named)}."
            yield failure("template-variant", message, hint=_name_hint(cleaned, named))
    except InvalidVariantError as error:
        yield replace(_option_problem(error, prefix), level=level)


def _keyword_problems(use: Use) -> Iterator[Finding]:
    try:
        check_keywords(use.keywords)
        options = {name: text for name, text in use.keywords.items() if name in OPTIONS and text != "None"}
        if options and None not in options.values():
            FlexibleVariant.from_options(options)
    except (InvalidVariantError, TypeError) as error:
        yield _option_problem(error)


def _flexible_problems(asked: str) -> Iterator[Finding]:
    if conf.setting("FLEXIBLE_VARIANTS") is False:
        message = f'{asked!r} needs flexible variants, and CF_IMAGES["FLEXIBLE_VARIANTS"] is False.'
        yield failure("template-flexible", message, hint=_FLEXIBLE_HINT)
    accounts = backend_options().values()
    if accounts and all(conf.option("require_signed_urls", options) for options in accounts):
        message = f"{asked!r} needs flexible variants, which Cloudflare does not serve for private images."
        yield warning("template-private", message, hint=_FLEXIBLE_HINT)


def _option_problem(error: Exception, prefix: str = "") -> Finding:
    return failure("template-option", f"{prefix}{error.args[0].rstrip('.')}.", hint=_OPTION_HINT)


def _name_hint(variant: str, named: Iterable[str]) -> str:
    by_lower = {name.lower(): name for name in named}
    if nearest := get_close_matches(variant.lower(), by_lower, n=1):
        return f'Write {by_lower[nearest[0]]!r}, or declare {variant!r} in CF_IMAGES["VARIANTS"].'
    return f'Declare {variant!r} in CF_IMAGES["VARIANTS"].'
