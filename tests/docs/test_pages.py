"""Every example in the documentation is run by a test, or at least read by what it is written for."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from tests.docs import pages

HERE = Path(__file__)
TESTS = "\n".join(path.read_text(encoding="utf-8") for path in HERE.parent.glob("*.py") if path != HERE)


@pytest.mark.parametrize("page", pages.all_pages())
def test_python_compiles(page: str) -> None:
    for block in pages.blocks(page, "python", "py"):
        compile("\n" * block.line + block.text, page, "exec")


@pytest.mark.parametrize("page", pages.all_pages())
def test_python_is_run_by_a_test(page: str) -> None:
    """Tests name a page whose Python they run from top to bottom, or a block by its first line."""
    if f'run_all("{page}"' in TESTS:
        return
    firsts = [block.text.partition("\n")[0].strip() for block in pages.blocks(page, "python", "py")]
    assert [first for first in firsts if first not in TESTS] == []


@pytest.mark.parametrize("page", pages.all_pages())
def test_data_can_be_read(page: str) -> None:
    for block in pages.blocks(page, "json"):
        json.loads(block.text)
    for block in pages.blocks(page, "toml"):
        tomllib.loads(block.text)
