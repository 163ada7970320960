"""What an account's variants lack of the declared ones: in words, and as steps that mend it. Pure.

Works on what the client answers without importing it: neither Django nor the network is needed to compare.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from cf_images.declared import MOST_VARIANTS, PUBLIC, DeclaredVariant, plain

_DEFAULTS = {"fit": "scale-down", "metadata": "none"}
_COMPARED = ("fit", "width", "height", "metadata", "blur", "browser_ttl", "never_require_signed_urls")


class AccountVariant(Protocol):
    """A named variant of the account, as the client has it."""

    @property
    def options(self) -> Mapping[str, Any]:
        """In Cloudflare's words."""
        ...

    @property
    def never_require_signed_urls(self) -> bool:
        """Whether it shows private images to everybody."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A variant whose options differ: each option's name, the account's value, the declared one."""

    variant: DeclaredVariant
    options: tuple[tuple[str, Any, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing to do to the account: ``verb what`` before, ``done what`` afterwards."""

    verb: str
    done: str
    what: str
    run: Callable[[Any], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Between what is declared and what an account has: ``extra`` are only there, ``total`` counts all there.

    Flexible variants: ``None`` is "not declared" and "cannot be read".
    """

    added: tuple[DeclaredVariant, ...]
    changed: tuple[Change, ...]
    extra: tuple[str, ...]
    unchanged: int
    total: int
    flexible_declared: bool | None = None
    flexible_found: bool | None = None

    @property
    def has_other_flexible(self) -> bool:
        """Whether flexible variants are known to be other than declared."""
        return None not in (self.flexible_declared, self.flexible_found) and (
            self.flexible_declared != self.flexible_found
        )

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.extra or self.has_other_flexible)

    def overflow(self, *, prune: bool) -> int:
        """How many of the new variants the account has no room for."""
        return max(0, self.total - (len(self.extra) if prune else 0) + len(self.added) - MOST_VARIANTS)

    def steps(self, *, prune: bool) -> list[Step]:
        """What mends it: deletions first, which make room; ``PATCH`` replaces options, so all are sent."""
        return [
            *(_deletion(name) for name in self.extra if prune),
            *(_update(change.variant) for change in self.changed),
            *(_creation(variant) for variant in self.added),
            *([_switch(on=self.flexible_declared)] if self._must_switch() else []),
        ]

    def _must_switch(self) -> bool:
        """Also where the account does not say: to set it once more does no harm."""
        return self.flexible_declared is not None and self.flexible_declared is not self.flexible_found

    def lines(self) -> Iterator[str]:
        """All of it in words, aligned."""
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
    declared: Mapping[str, DeclaredVariant],
    account: Mapping[str, AccountVariant],
    *,
    flexible_declared: bool | None = None,
    flexible_found: bool | None = None,
) -> Difference:
    """What differs; ``public``, which every account has, only where the project declares it."""
    changes = [
        Change(variant=variant, options=changed)
        for name, variant in declared.items()
        if name in account and (changed := _changed(variant, account[name]))
    ]
    return Difference(
        added=tuple(variant for name, variant in declared.items() if name not in account),
        changed=tuple(changes),
        extra=tuple(name for name in account if name not in declared and name != PUBLIC),
        unchanged=len(declared.keys() & account) - len(changes),
        total=len(account.keys() | {PUBLIC}),
        flexible_declared=flexible_declared,
        flexible_found=flexible_found,
    )


def _changed(variant: DeclaredVariant, found: AccountVariant) -> tuple[tuple[str, Any, Any], ...]:
    """The options that differ, and those that nobody can declare and that sending the others would end."""
    wanted, had = _settings(variant, variant.options), _settings(found, found.options)
    compared = [(name, had.get(name), wanted.get(name)) for name in _COMPARED]
    differing = tuple(triple for triple in compared if triple[1] != triple[2])
    lost = tuple((name, value, None) for name, value in had.items() if name not in _COMPARED)
    return differing and (*differing, *lost)


def _settings(variant: DeclaredVariant | AccountVariant, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with their defaults; ``blur`` of 0 is none."""
    given = {name: plain(value) for name, value in options.items() if value is not None}
    if not given.get("blur", True):
        del given["blur"]
    public = {"never_require_signed_urls": True} if variant.never_require_signed_urls else {}
    return _DEFAULTS | given | public


def _word(value: Any) -> str:
    return "none given" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _on(is_on: bool) -> str:
    return "on" if is_on else "off"


def _deletion(name: str) -> Step:
    return Step(verb="delete", done="deleted", what=name, run=lambda client: client.delete_variant(name))


def _update(variant: DeclaredVariant) -> Step:
    def run(client: Any) -> None:
        client.update_variant(
            variant.name,
            options=variant.options,
            never_require_signed_urls=variant.never_require_signed_urls,
        )

    return Step(verb="change", done="changed", what=variant.name, run=run)


def _creation(variant: DeclaredVariant) -> Step:
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
