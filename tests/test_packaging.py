"""Build files agree: classifiers, tox, the version, and ``dev.py`` on an old Python."""

from __future__ import annotations

import ast
import configparser
import re
import tomllib
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parent.parent
# Pythons that tox runs where they are installed, and that no release was tested with yet.
NOT_PROMISED = {"314"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def tox_environments() -> str:
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    return tox["tox"]["env_list"]


def classified(prefix: str) -> set[str]:
    """Return the version numbers of the classifiers that begin with ``prefix``, without dots."""
    found = (re.fullmatch(rf"{prefix} :: (\d+\.\d+)", line) for line in PROJECT["classifiers"])
    return {match[1].replace(".", "") for match in found if match}


def test_classifiers_list_what_tox_runs() -> None:
    environments = tox_environments()
    pythons = set(re.findall(r"3\d\d", environments))
    assert pythons > NOT_PROMISED
    assert classified("Programming Language :: Python") == pythons - NOT_PROMISED
    assert classified("Framework :: Django") == set(re.findall(r"[4-9]\d", environments))


def test_the_installed_version_is_the_one_of_the_build_file() -> None:
    assert version(PROJECT["name"]) == PROJECT["version"]


def test_the_oldest_python_is_the_same_everywhere() -> None:
    oldest = min(classified("Programming Language :: Python"))
    assert PROJECT["requires-python"] == f">=3.{oldest[1:]}"
    assert f"sys.version_info < (3, {oldest[1:]})" in (ROOT / "dev.py").read_text(encoding="utf-8")


def test_python_3_7_can_read_dev_py_as_far_as_its_message() -> None:
    ast.parse((ROOT / "dev.py").read_text(encoding="utf-8"), feature_version=(3, 7))
