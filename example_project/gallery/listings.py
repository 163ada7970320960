"""Code as the page shows it, taken from what runs: a template, a function, a part of the settings.

Nothing is written twice, so that nothing can differ.
"""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

from django.template import Engine

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = ROOT / "settings.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A piece of code, and the file that it comes from."""

    source: str
    code: str


def template(name: str) -> Listing:
    """The whole of a template."""
    found = Engine.get_default().get_template(name)
    return Listing(source=Path(found.origin.name).name, code=found.source.strip())


def python(thing: Any) -> Listing:
    """A function or a class."""
    path = Path(inspect.getfile(thing)).relative_to(ROOT)
    return Listing(source=str(path), code=dedent(inspect.getsource(thing)).strip())


def setting(name: str, *keys: str) -> Listing:
    """One entry of a dictionary in the settings, e.g. ``("STORAGES", "private_images")``."""
    text = SETTINGS.read_text()
    first, last = _lines_of(_value_of(text, name), keys)
    lines = text.splitlines()[first - 1 : last]
    return Listing(source=f"{SETTINGS.name}: {name}", code=dedent("\n".join(lines)).strip())


def _value_of(text: str, name: str) -> ast.expr:
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return node.value
    raise LookupError(f"{SETTINGS.name} sets no {name}")


def _lines_of(value: ast.expr, keys: tuple[str, ...]) -> tuple[int, int]:
    for key in keys:
        entries = {ast.literal_eval(k): (k, v) for k, v in zip(value.keys, value.values, strict=True)}
        found, value = entries[key]
    return found.lineno, value.end_lineno
