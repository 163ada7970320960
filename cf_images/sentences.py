"""Sentences for visitors, by modules that know no Django: English here, translated by ``translation``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Value = str | int | float


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence with placeholders such as ``%(size)s``, and their values; as text it is English.

    The template is the message in the catalogs. The extraction reads it in the source: write it as a literal.
    """

    template: str
    values: Mapping[str, Value] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.template % {name: _in_english(value) for name, value in self.values.items()}


def _in_english(value: Value) -> str:
    return value if isinstance(value, str) else f"{value:,}"
