"""Packages with tables and settings of their own: ``cases`` run under ``tests.neighbors.settings``."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
CASES = Path(__file__).with_name("cases.py")


@pytest.mark.timeout(300)
def test_each_package_reads_writes_and_deletes_through_the_storage() -> None:
    pytest.importorskip("magic", reason="django-versatileimagefield needs libmagic", exc_type=ImportError)
    names = re.findall(r"^def (test_\w+)", CASES.read_text(encoding="utf-8"), re.MULTILINE)
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider"]
    ran = subprocess.run(
        [*command, "--ds=tests.neighbors.settings", str(CASES)],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    for name in names:
        assert f"::{name} PASSED" in ran.stdout or f"::{name} SKIPPED" in ran.stdout
