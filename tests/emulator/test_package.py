"""The package itself: its docstring is the map of the folder."""

from __future__ import annotations

import re
from pathlib import Path

from cf_images import emulator


def test_every_module_is_on_the_map_in_the_docstring() -> None:
    mapped = set(re.findall(r"``(\w+)``", str(emulator.__doc__)))
    modules = {path.stem for path in Path(str(emulator.__file__)).parent.glob("*.py")}
    assert modules - {"__init__", "__main__"} <= mapped
