"""The messages that the guides quote under "What can go wrong" are those of the code."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

import cf_images
from tests.docs.pages import DOCS, all_pages

GUIDES = [page for page in all_pages() if page.startswith("how-to/") and page != "how-to/index.md"]
PACKAGE = Path(cf_images.__file__).parent
# Django's own.
OTHERS = ("Upload a valid image",)


@cache
def texts() -> str:
    """Return every text in the code of the package, with "…" for what is inserted, one a line."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
            elif isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "…" for part in node.values]
                found.append("".join(map(str, parts)))
    return "\n".join(found)


def quoted(page: str) -> list[str]:
    """Return the messages in the first column of a page's table: texts of several words."""
    source = (DOCS / page).read_text(encoding="utf-8").partition("\n## What can go wrong\n")[2]
    firsts = [line.split(" | ")[0] for line in source.splitlines() if line.startswith("| ")]
    found = [text for first in firsts for pair in re.findall(r'`([^`]+)`|"([^"]+)"', first) for text in pair]
    return [text for text in found if " " in text and not text.startswith(("cf_images ", "manage.py "))]


@pytest.mark.parametrize("page", GUIDES)
def test_messages_that_a_guide_quotes_are_in_the_code(page: str) -> None:
    for message in quoted(page):
        text = re.sub(r"^(\w+Error)\b:? ?", "", message)
        pieces = [piece.strip(" .'") for piece in re.split(r"…|\b\d+\b", text)]
        for piece in filter(None, pieces):
            assert piece in texts() or piece in OTHERS, message


def test_there_are_such_messages() -> None:
    assert len([message for page in GUIDES for message in quoted(page)]) > 12
