"""The pages of the documentation, as the tests read them: their code, in order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cf_images

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
PACKAGE = Path(cf_images.__file__).parent  # where it is installed
_FENCE = re.compile(
    r"^(?P<indent> *)(?P<fence>```+)(?P<language>[\w+-]*)[^\n]*\n(?P<text>.*?)^(?P=indent)(?P=fence) *$",
    re.M | re.S,
)


@dataclass(frozen=True)
class Block:
    """A fenced block of code: where it begins, its language, and its text without indentation."""

    page: str
    line: int
    language: str
    text: str

    def run(self, namespace: dict[str, Any]) -> None:
        """Run Python in this namespace; tracebacks name the page and the line."""
        lines = "\n" * self.line + self.text
        exec(compile(lines, str(DOCS / self.page), "exec"), namespace)


def all_pages() -> list[str]:
    """Return the paths of all pages, relative to ``docs/``."""
    return sorted(
        path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md") if "_build" not in path.parts
    )


def blocks(page: str, *languages: str) -> list[Block]:
    """Return the blocks of a page (``"how-to/private-images.md"``), of these languages or of all."""
    return [block for block in _read(page) if not languages or block.language in languages]


def block(page: str, beginning: str) -> Block:
    """Return the only block of a page that begins with this text."""
    found = [each for each in _read(page) if each.text.startswith(beginning)]
    if len(found) != 1:
        raise LookupError(f"{page} has {len(found)} blocks that begin with {beginning!r}; one is expected")
    return found[0]


def run_all(page: str, namespace: dict[str, Any]) -> None:
    """Run the Python of a page from top to bottom, in one namespace."""
    for each in blocks(page, "python", "py"):
        each.run(namespace)


def _read(page: str) -> Iterator[Block]:
    source = (DOCS / page).read_text(encoding="utf-8")
    for match in _FENCE.finditer(source):
        line = source.count("\n", 0, match.start()) + 1
        text = re.sub(rf"^{match['indent']}", "", match["text"], flags=re.M)
        yield Block(page, line, match["language"], text)
