"""The module is small, complete and translatable; it needs no browser to tell."""

from __future__ import annotations

import gzip
import re

from cf_images.browser.texts import texts
from tests.browser.page.site import STATIC

MODULE = (STATIC / "cf_images/upload.js").read_text(encoding="utf-8")
STYLE = (STATIC / "cf_images/upload.css").read_text(encoding="utf-8")


def test_the_module_is_at_most_12_kb_gzipped() -> None:
    assert len(gzip.compress(MODULE.encode(), 9)) <= 12 * 1024


def test_the_module_needs_no_other_module_and_evaluates_no_text() -> None:
    assert not re.search(
        r"\bimport\b|\beval\(|new Function|innerHTML|insertAdjacentHTML|setAttribute\(.style", MODULE
    )


def test_the_style_loads_nothing() -> None:
    assert "url(" not in STYLE
    assert "@import" not in STYLE


def test_each_text_of_the_module_exists_and_is_used() -> None:
    used = set(re.findall(r'\b(?:text|say|announce)\(\s*"(\w+)"', MODULE))
    used |= set(
        re.findall(r'"(tooLarge|tooManyPixels|location|chooseMany|replace|choose|gone|attached)"', MODULE)
    )
    buttons = set(re.findall(r'this\.button\("(\w+)"', MODULE))
    used |= buttons | {f"{name}Name" for name in buttons}
    assert used == set(texts())
