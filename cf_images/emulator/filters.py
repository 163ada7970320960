"""The metadata filters of list v2: ``meta.<field>[<operator>:<type>]=<value>``, combined with AND."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cf_images.emulator.errors import BAD_REQUEST, ApiError
from cf_images.emulator.limits import FILTER_CONDITIONS, FILTER_DEPTH, FILTER_FIELD_LENGTH, FILTER_VALUES

CONDITION = re.compile(r"meta\.(?P<field>[^\[\]]*)\[(?P<operator>[a-z]+)(?::(?P<type>[a-z]+))?\]")
FIELD = re.compile(rf"[A-Za-z0-9_]{{1,{FILTER_FIELD_LENGTH}}}")
TYPES = {
    "eq": ("string", "number", "boolean"),
    "in": ("string", "number"),
    **dict.fromkeys(("gt", "gte", "lt", "lte"), ("number",)),
}
Comparison = Callable[[Any, Any], bool]
RANGES: dict[str, Comparison] = {
    "gt": lambda value, bound: value > bound,
    "gte": lambda value, bound: value >= bound,
    "lt": lambda value, bound: value < bound,
    "lte": lambda value, bound: value <= bound,
}
SQL = {"eq": "=", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One filter; ``expected`` has several values for ``in``, otherwise one."""

    path: tuple[str, ...]
    operator: str
    expected: tuple[Any, ...]
    typed: bool

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """Return whether the metadata of an image satisfies the condition."""
        value: Any = metadata
        for name in self.path:
            if not isinstance(value, dict) or name not in value:
                return False
            value = value[name]
        if compare := RANGES.get(self.operator):
            return type(value) in (int, float) and bool(compare(value, self.expected[0]))
        return any(self._equal(value, expected) for expected in self.expected)

    def _equal(self, value: Any, expected: Any) -> bool:
        if self.typed:
            return bool(isinstance(value, bool) == isinstance(expected, bool) and value == expected)
        return bool(_as_text(value) == expected)


def parse(query: Iterable[tuple[str, str]]) -> list[Condition]:
    """Return the conditions of a query string; raise :class:`ApiError` with 5400 for an unsupported one."""
    conditions = [_condition(name, value) for name, value in query if name.startswith("meta")]
    if len(conditions) > FILTER_CONDITIONS:
        raise ApiError(BAD_REQUEST, f"the maximum is {FILTER_CONDITIONS} metadata conditions")
    return conditions


def narrow(conditions: Iterable[Condition]) -> list[tuple[str, Any]]:
    """Return SQL and its value for what SQLite can decide quickly: each selects all images that match, and
    perhaps others.
    """
    narrowed = []
    for condition in conditions:
        expected, comparison = condition.expected[0], SQL.get(condition.operator)
        if comparison and condition.typed and isinstance(expected, str | float):
            path = "$" + "".join(f'."{name}"' for name in condition.path)
            compared = f"json_extract(metadata, '{path}') {comparison} ?"
            # Python writes NaN, which SQLite does not read.
            narrowed.append((f"CASE WHEN json_valid(metadata) THEN {compared} ELSE 1 END", expected))
    return narrowed


def _condition(name: str, value: str) -> Condition:
    match = CONDITION.fullmatch(name)
    if match is None:
        raise ApiError(BAD_REQUEST, f"{name!r} is not of the form meta.field[operator]")
    operator, tag = match["operator"], match["type"]
    if operator not in TYPES or (tag and tag not in TYPES[operator]):
        raise ApiError(BAD_REQUEST, f"unknown operator in {name!r}")
    path = tuple(match["field"].split("."))
    if len(path) > FILTER_DEPTH or not all(FIELD.fullmatch(part) for part in path):
        raise ApiError(BAD_REQUEST, f"unsupported field name in {name!r}")
    values = value.split("|") if operator == "in" else [value]
    if len(values) > FILTER_VALUES:
        raise ApiError(BAD_REQUEST, f"the maximum is {FILTER_VALUES} values in {name!r}")
    kind = "number" if operator in RANGES else tag
    expected = tuple(_convert(text, kind) for text in values)
    return Condition(path=path, operator=operator, expected=expected, typed=kind is not None)


def _convert(text: str, kind: str | None) -> str | float | bool:
    if kind == "number":
        try:
            return float(text)
        except ValueError as error:
            raise ApiError(BAD_REQUEST, f"{text!r} is not a number") from error
    if kind == "boolean":
        if text not in ("true", "false"):
            raise ApiError(BAD_REQUEST, f"{text!r} is not true or false")
        return text == "true"
    return text


def _as_text(value: Any) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | float) else None
