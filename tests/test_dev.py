"""``dev.py``: what its commands run, and what they say at the end."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import dev
from tests.django_suite.__main__ import SKIPPED


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """What dev.py has set up and called; nothing happens, and every call ends well."""
    happened: dict[str, list[Any]] = {"set_up": [], "call": []}

    def call(*command: object) -> int:
        happened["call"].append(command[2:])
        return 0

    monkeypatch.setattr(dev, "set_up", happened["set_up"].append)
    monkeypatch.setattr(dev, "call", call)
    return happened


def test_the_locked_versions_are_installed_first_and_checked_by_their_hashes() -> None:
    locked, package = dev.installations("dev")
    assert locked == ("--require-hashes", "-r", dev.ROOT / "requirements" / "dev.txt")
    assert package == ("--no-build-isolation", "-e", ".[emulator,heic,prometheus]", "--group", "dev")


def test_a_new_lock_is_installed_at_the_next_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    called = []
    monkeypatch.setattr(dev, "PYTHON", tmp_path / "python")
    monkeypatch.setattr(dev, "STAMP", tmp_path / "stamp")
    monkeypatch.setattr(dev, "REQUIREMENTS", tmp_path)
    monkeypatch.setattr(dev, "usable", lambda: True)
    monkeypatch.setattr(dev, "call", lambda *command: called.append(command) or 0)
    dev.PYTHON.touch()
    for setup in dev.SETUPS:
        dev.lock_file(setup).write_text("django==5.2")
    dev.set_up("dev")
    assert len(called) == 2
    dev.set_up("dev")
    dev.set_up("run")  # a part of it
    assert len(called) == 2
    dev.lock_file("dev").write_text("django==6.0")
    dev.set_up("dev")
    assert len(called) == 4
    assert capsys.readouterr().out.count("setting up .venv") == 2


def test_coverage_is_measured_where_a_person_asks_for_it() -> None:
    ordinary = dev.pytest_arguments([])
    assert ordinary == ("-n", "3", "-m", "not every")
    assert dev.pytest_arguments(["--coverage"]) == (*ordinary, *dev.COVERAGE)
    assert dev.pytest_arguments(["-k", "stem"]) == ("-k", "stem")
    assert dev.ALL_TESTS["pytest"][-len(dev.COVERAGE) :] == dev.COVERAGE


def ending(*statuses: int) -> dict[str, tuple[str, ...]]:
    """Return commands that end with these statuses."""
    return {f"status {status}": ("-c", f"raise SystemExit({status})") for status in statuses}


def test_all_tests_are_pytest_and_those_of_django_and_tox(
    ran: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["dev.py", "test", "--all"])
    with pytest.raises(SystemExit) as ended:
        dev.main()
    assert ended.value.code == 0
    assert ran["set_up"] == ["dev"]  # it has tox
    assert [command[0] for command in ran["call"]] == ["pytest", "tests.django_suite", "tox"]


@pytest.mark.parametrize(
    ("statuses", "code", "printed"),
    [
        ((0, 0), 0, ""),
        ((0, SKIPPED), 0, "dev.py: skipped: status 77"),
        ((3, 0, SKIPPED), "dev.py: failed: status 3", "dev.py: skipped: status 77"),
    ],
)
def test_each_command_runs_and_failures_are_named(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    statuses: tuple[int, ...],
    code: object,
    printed: str,
) -> None:
    monkeypatch.setattr(dev, "PYTHON", Path(sys.executable))
    with pytest.raises(SystemExit) as ended:
        dev.run_each(ending(*statuses))
    assert ended.value.code == code
    assert printed in capsys.readouterr().out


def test_ci_knows_the_status_of_a_skip() -> None:
    assert dev.SKIPPED == SKIPPED
    ci = (dev.ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert f"{SKIPPED}) outcome=skipped" in ci
