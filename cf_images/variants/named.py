"""Named variants as a project declares them, in the words of Cloudflare's documentation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cf_images.exceptions import InvalidVariantError
from cf_images.variants.grammar import NAME, read_strictly
from cf_images.variants.options import fields_of
from cf_images.variants.transform import Transform

MAX_VARIANTS = 100  # of an account, "public" included ("Create predefined variants")
PUBLIC = "public"  # which every account has

DEFAULTS: dict[str, Any] = {"fit": "scale-down", "metadata": "none"}  # which Cloudflare fills in


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedVariant:
    """One named variant; ``None`` is "not given". Sizes are pixels, ``browser_ttl`` is seconds.

    With ``never_require_signed_urls`` anyone can see private images in it.
    """

    name: str
    width: int | None = None
    height: int | None = None
    fit: str | None = None
    blur: float | None = None
    metadata: str | None = None
    browser_ttl: int | None = None
    never_require_signed_urls: bool = False

    @classmethod
    def from_options(cls, name: object, options: object) -> NamedVariant:
        """Read one declaration; raise ``InvalidVariantError`` for what Cloudflare would refuse."""
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise InvalidVariantError("a name is 1 to 99 letters and digits")
        if not isinstance(options, Mapping):
            raise InvalidVariantError("its options are not a dictionary")
        return cls(name=name, **read_strictly(options, "named"))

    @property
    def given(self) -> dict[str, Any]:
        """The options that change the image, without the defaults."""
        options = ((name, getattr(self, name)) for name in _PIXEL_OPTIONS)
        return {name: value for name, value in options if value is not None}

    @property
    def options(self) -> dict[str, Any]:
        """The options for Cloudflare's API, with the defaults that Cloudflare would fill in."""
        ttl = {} if self.browser_ttl is None else {"browser_ttl": self.browser_ttl}
        return {name: plain_number(value) for name, value in (DEFAULTS | self.given | ttl).items()}

    @property
    def transform(self) -> Transform:
        """What it does to an image."""
        return Transform(**(DEFAULTS | self.given))


_PIXEL_OPTIONS = tuple(
    name for name in fields_of("named") if name not in ("browser_ttl", "never_require_signed_urls")
)


def read_variants(declared: Mapping[str, Any]) -> dict[str, NamedVariant]:
    """Return all declarations by name; raise ``InvalidVariantError`` for the first problem."""
    for place, problem in problems(declared):
        raise InvalidVariantError(f"VARIANTS{place}: {problem}")
    return {name: NamedVariant.from_options(name, options) for name, options in declared.items()}


def problems(declared: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each problem after its place: the name in brackets, or ``""`` for all variants together."""
    known = {PUBLIC: PUBLIC}
    for name, options in declared.items():
        try:
            NamedVariant.from_options(name, options)
        except InvalidVariantError as error:
            yield f"[{name!r}]", error.message
            continue
        if (first := known.setdefault(name.lower(), name)) != name:
            yield f"[{name!r}]", f"names that differ only in case are one variant, and {first!r} exists"
    if (count := len({PUBLIC, *declared})) > MAX_VARIANTS:
        yield "", f"{count} variants with {PUBLIC!r}; an account may have {MAX_VARIANTS}"


def plain_number(value: Any) -> Any:
    """Return a number without a fraction as an ``int``, as JSON should have it."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
