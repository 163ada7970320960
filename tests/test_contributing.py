"""What CONTRIBUTING.md names exists: paths, layers, the parts of the package."""

from __future__ import annotations

import re
from pathlib import Path

from cf_images import conf
from tests.test_architecture import LAYERS

ROOT = Path(__file__).parent.parent
PACKAGE = Path(conf.__file__).parent  # where it is installed
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PLACES = CONTRIBUTING.partition("| look in |")[2].partition("\n\n")[0]  # the table of what belongs where


def test_every_path_in_contributing_exists() -> None:
    paths = re.findall(r"`((?:\w+/)+(?:\w+\.py)?|\w+\.py)`", PLACES)
    assert len(paths) > 30
    for path in paths:
        assert (PACKAGE / path).exists(), path


def test_every_part_of_the_package_has_a_place_in_contributing() -> None:
    for part in {part for parts in LAYERS for part in parts} - {"exceptions", "tasks", "apps"}:
        assert re.search(rf"`{part}(?:/|\.py)", PLACES), part


def test_the_layers_in_contributing_are_those_of_the_tests() -> None:
    lines = re.findall(
        r"^\d+\. (.*)$", CONTRIBUTING.partition("earlier layer")[2].partition("\n## ")[0], re.M
    )
    assert [tuple(re.findall(r"`(\w+)`", line)) for line in lines] == list(LAYERS)
