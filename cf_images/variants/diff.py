"""How an account's variants differ from the declared ones: in words, and as steps that change the account.

Pure: takes what the client returns, without importing it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from cf_images.variants.named import DEFAULTS, MAX_VARIANTS, PUBLIC, NamedVariant, plain_number
from cf_images.variants.options import fields_of

_COMPARED = fields_of("named")


class AccountVariant(Protocol):
    """A named variant of the account, as the client returns it."""

    @property
    def options(self) -> Mapping[str, Any]:
        """Its options, in Cloudflare's words."""
        ...

    @property
    def never_require_signed_urls(self) -> bool:
        """Whether anyone can see private images in it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantChange:
    """A variant with different options: each option's name, the account's value, the declared value."""

    variant: NamedVariant
    options: tuple[tuple[str, Any, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One change of the account; ``verb what`` announces it, ``done what`` reports it."""

    verb: str
    done: str
    what: str
    run: Callable[[Any], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantDiff:
    """What differs between the project and an account.

    ``extra`` variants are only in the account, which has ``total`` variants. Flexible variants are on or off;
    ``None`` is "not declared" and "cannot be read".
    """

    added: tuple[NamedVariant, ...]
    changed: tuple[VariantChange, ...]
    extra: tuple[str, ...]
    unchanged: int
    total: int
    flexible_declared: bool | None = None
    flexible_found: bool | None = None

    @property
    def has_other_flexible(self) -> bool:
        """Whether flexible variants are known to differ from the setting."""
        return None not in (self.flexible_declared, self.flexible_found) and (
            self.flexible_declared != self.flexible_found
        )

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.extra or self.has_other_flexible)

    def overflow(self, *, prune: bool) -> int:
        """Return how many of the new variants exceed the account's limit."""
        return max(0, self.total - (len(self.extra) if prune else 0) + len(self.added) - MAX_VARIANTS)

    def steps(self, *, prune: bool) -> list[Step]:
        """Return the changes that remove the difference.

        Deletions come first, to make room; ``PATCH`` replaces all options, so all are sent.
        """
        return [
            *(_deletion(name) for name in self.extra if prune),
            *(_update(change.variant) for change in self.changed),
            *(_creation(variant) for variant in self.added),
            *([_switch(on=self.flexible_declared)] if self._must_switch() else []),
        ]

    def _must_switch(self) -> bool:
        """Return whether to set flexible variants; setting them again is harmless if they cannot be read."""
        return self.flexible_declared is not None and self.flexible_declared is not self.flexible_found

    def lines(self) -> Iterator[str]:
        """Yield the difference as aligned lines of text."""
        rows = [*self._rows()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()

    def _rows(self) -> Iterator[tuple[str, str, str]]:
        for variant in self.added:
            values = (f"{name} {_word(value)}" for name, value in _settings(variant, variant.options).items())
            yield "new", variant.name, ", ".join(values)
        for change in self.changed:
            head = ("changed", change.variant.name)
            for name, old, new in change.options:
                yield *head, f"{name} {_word(old)} → {_word(new)}"
                head = ("", "")
        for name in self.extra:
            yield "only in the account", name, ""
        yield "as declared", f"{self.unchanged}", ""
        yield "flexible variants", *self._flexible_words()

    def _flexible_words(self) -> tuple[str, str]:
        found = "cannot be read" if self.flexible_found is None else _on(self.flexible_found)
        if self.flexible_declared is None:
            return found, "not declared in FLEXIBLE_VARIANTS"
        if self.has_other_flexible:
            return f"{found} → {_on(self.flexible_declared)}", ""
        return found, f"declared: {_on(self.flexible_declared)}" if self.flexible_found is None else ""


def compare(
    declared: Mapping[str, NamedVariant],
    account: Mapping[str, AccountVariant],
    *,
    flexible_declared: bool | None = None,
    flexible_found: bool | None = None,
) -> VariantDiff:
    """Return what differs; ``public``, which every account has, counts only if the project declares it."""
    changes = [
        VariantChange(variant=variant, options=changed)
        for name, variant in declared.items()
        if name in account and (changed := _changed(variant, account[name]))
    ]
    return VariantDiff(
        added=tuple(variant for name, variant in declared.items() if name not in account),
        changed=tuple(changes),
        extra=tuple(name for name in account if name not in declared and name != PUBLIC),
        unchanged=len(declared.keys() & account) - len(changes),
        total=len(account.keys() | {PUBLIC}),
        flexible_declared=flexible_declared,
        flexible_found=flexible_found,
    )


def _changed(variant: NamedVariant, found: AccountVariant) -> tuple[tuple[str, Any, Any], ...]:
    """Return the options that differ; if any do, also those that sending the declared ones would remove."""
    declared, existing = _settings(variant, variant.options), _settings(found, found.options)
    compared = [(name, existing.get(name), declared.get(name)) for name in _COMPARED]
    differing = tuple(triple for triple in compared if triple[1] != triple[2])
    removed = tuple((name, value, None) for name, value in existing.items() if name not in _COMPARED)
    return differing and (*differing, *removed)


def _settings(variant: NamedVariant | AccountVariant, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with their defaults; a ``blur`` of 0 is none."""
    given = {name: plain_number(value) for name, value in options.items() if value is not None}
    if not given.get("blur", True):
        del given["blur"]
    public = {"never_require_signed_urls": True} if variant.never_require_signed_urls else {}
    return DEFAULTS | given | public


def _word(value: Any) -> str:
    return "not given" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _on(is_on: bool) -> str:
    return "on" if is_on else "off"


def _deletion(name: str) -> Step:
    return Step(verb="delete", done="deleted", what=name, run=lambda client: client.delete_variant(name))


def _update(variant: NamedVariant) -> Step:
    def run(client: Any) -> None:
        client.update_variant(
            variant.name,
            options=variant.options,
            never_require_signed_urls=variant.never_require_signed_urls,
        )

    return Step(verb="change", done="changed", what=variant.name, run=run)


def _creation(variant: NamedVariant) -> Step:
    def run(client: Any) -> None:
        client.create_variant(
            variant.name,
            options=variant.options,
            never_require_signed_urls=variant.never_require_signed_urls,
        )

    return Step(verb="add", done="added", what=variant.name, run=run)


def _switch(*, on: bool | None) -> Step:
    return Step(
        verb="turn",
        done="turned",
        what=f"flexible variants {_on(bool(on))}",
        run=lambda client: client.update_config(flexible_variants=on),
    )
