"""The code on the page, read from the files that run: templates, functions, classes, settings."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from textwrap import dedent
from typing import Any, NamedTuple

from django.conf import settings
from django.template import Engine


class Listing(NamedTuple):
    """Some code, and the file that it comes from."""

    source: str
    code: str


def template(name: str) -> Listing:
    """Return the whole of a template."""
    found = Engine.get_default().get_template(name)
    return Listing(Path(found.origin.name).name, found.source.strip())


def python(thing: Any) -> Listing:
    """Return a function or a class."""
    path = Path(inspect.getfile(thing)).relative_to(settings.BASE_DIR)
    return Listing(str(path), dedent(inspect.getsource(thing)).strip())


def setting(key: str) -> Listing:
    """Return an entry of a dictionary in the settings: one line, or all until its indentation returns."""
    text = (settings.BASE_DIR / "config/settings.py").read_text()
    entry = re.search(rf'^( +)"{key}": (.+,|\{{\n(\1 .*\n)+\1\}},)$', text, re.MULTILINE)
    return Listing("config/settings.py", dedent(entry[0]))
