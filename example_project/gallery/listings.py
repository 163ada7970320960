"""The code on the page, read from the files that run: templates, functions, classes, settings."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from textwrap import dedent
from typing import Any, NamedTuple

from django.conf import settings
from django.template import Engine
from django.utils.safestring import SafeString, mark_safe
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name

LANGUAGES = {".py": "python", ".html": "html+django"}
# Classes alone, without inline styles: site.css has the colors, for light and dark.
FORMATTER = HtmlFormatter(nowrap=True)
DEEPEST = 24  # spaces; site.css has a class for each even number up to it


class Listing(NamedTuple):
    """Some code, and the file that it comes from."""

    source: str
    code: str

    @property
    def html(self) -> SafeString:
        """The code, highlighted. A line that is too long continues below its own indentation."""
        lexer = get_lexer_by_name(LANGUAGES[Path(self.source).suffix], stripnl=False, ensurenl=False)
        highlighted = highlight(self.code, lexer, FORMATTER).removesuffix("\n")
        lines = zip(highlighted.splitlines(keepends=True), self.code.splitlines(), strict=True)
        return mark_safe("".join(_line(html, text) for html, text in lines))  # noqa: S308 - Pygments escapes


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


def _line(html: str, text: str) -> str:
    """Return a line of code, and the end of the line, in an element that knows its indentation."""
    spaces = len(text) - len(text.lstrip(" "))
    return f'<span class="line in{min(spaces // 2 * 2, DEEPEST)}">{html}</span>'
