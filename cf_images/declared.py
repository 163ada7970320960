"""Named variants as a project declares them, read strictly, in the words of Cloudflare's documentation.

Pure: the settings come in as a dictionary, and out go the options for Cloudflare's API and for rendering.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from typing import Any

from cf_images.exceptions import InvalidVariantError
from cf_images.options import Transform
from cf_images.options.strict import STRICT, checked
from cf_images.options.table import ALIASES, OPTIONS, Option, shown, whole, words

MOST_VARIANTS = 100  # of an account, "public" included ("Create predefined variants")
PUBLIC = "public"

_NAME = re.compile(r"[A-Za-z0-9]{1,99}")  # the API's schema; a hyphen is refused with 5400
_LONGEST_SIDE = 9_999  # pixels; Cloudflare names no maximum, other clients of this call have this one
_SIDE = Option(whole(1, _LONGEST_SIDE), valid=f"a whole number of pixels, 1 to {_LONGEST_SIDE:,}")
_DECLARED: Mapping[str, Option] = {
    "fit": words("scale-down", "contain", "cover", "crop", "pad"),
    "width": _SIDE,
    "height": _SIDE,
    "metadata": OPTIONS["metadata"],
    "blur": STRICT["blur"],
    "browser_ttl": Option(  # "Browser TTL"
        whole(3_600, 31_536_000), valid="3600 to 31536000 seconds, from an hour to a year"
    ),
    "never_require_signed_urls": replace(OPTIONS["anim"], valid="True or False"),
}
_SPELLINGS = {"w": "width", "h": "height", "neverRequireSignedURLs": "never_require_signed_urls"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredVariant:
    """One named variant with Cloudflare's defaults: sizes in pixels, ``browser_ttl`` in seconds.

    With ``never_require_signed_urls`` it shows private images to everybody.
    """

    name: str
    fit: str = "scale-down"
    width: int | None = None
    height: int | None = None
    metadata: str = "none"
    blur: float | None = None
    browser_ttl: int | None = None
    never_require_signed_urls: bool = False

    @classmethod
    def from_options(cls, name: object, options: object) -> DeclaredVariant:
        """Read one declaration; ``InvalidVariantError`` says what Cloudflare would refuse in it."""
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InvalidVariantError("a name is 1 to 99 letters and digits")
        if not isinstance(options, Mapping):
            raise InvalidVariantError("its options are no dictionary")
        given: dict[str, Any] = {}
        for written, value in options.items():
            option = _option(str(written))
            if option in given:
                raise InvalidVariantError(f"{option} is declared twice, once as {shown(written)}")
            given[option] = checked(option, value, _DECLARED)
        return cls(name=name, **given)

    @property
    def options(self) -> dict[str, Any]:
        """Its options as Cloudflare's API has them, with the defaults that Cloudflare would fill in."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        del given["name"], given["never_require_signed_urls"]
        return {name: plain(value) for name, value in given.items() if value is not None}

    @property
    def transform(self) -> Transform:
        """What it does to an image."""
        return Transform(
            fit=self.fit,
            width=self.width,
            height=self.height,
            metadata=self.metadata,
            blur=self.blur or 0.0,
        )


def read_variants(declared: Mapping[str, Any]) -> dict[str, DeclaredVariant]:
    """All declarations by name; ``InvalidVariantError`` about the first that is wrong names it."""
    for place, flaw in flaws(declared):
        raise InvalidVariantError(f"VARIANTS{place}: {flaw}")
    return {name: DeclaredVariant.from_options(name, options) for name, options in declared.items()}


def flaws(declared: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is wrong with each declaration, its name in brackets before; with all together, nothing before."""
    known = {PUBLIC: PUBLIC}  # of every account
    for name, options in declared.items():
        try:
            DeclaredVariant.from_options(name, options)
        except InvalidVariantError as error:
            yield f"[{name!r}]", error.message
            continue
        if (first := known.setdefault(name.lower(), name)) != name:
            yield f"[{name!r}]", f"names that differ in case only are one variant, and there is {first!r}"
    if (count := len({PUBLIC, *declared})) > MOST_VARIANTS:
        yield "", f"{count} variants with {PUBLIC!r}; an account may have {MOST_VARIANTS}"


def plain(value: Any) -> Any:
    """A number without a fraction as a whole one, as JSON should have it."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _option(written: str) -> str:
    """The name of an option under any of its spellings."""
    name = _SPELLINGS.get(written, written.replace("-", "_"))
    if name in _DECLARED:
        return name
    in_urls = written.replace("_", "-")
    if ALIASES.get(in_urls, in_urls) in OPTIONS:
        raise InvalidVariantError(
            f"{written} exists only in flexible variants; named ones have {', '.join(_DECLARED)}"
        )
    nearest = get_close_matches(name.lower(), _DECLARED, n=1)
    hint = f" (did you mean {nearest[0]}?)" if nearest else ""
    raise InvalidVariantError(f"unknown option {shown(written)}{hint}; known are {', '.join(_DECLARED)}")
