"""``manage.py cf_images``: the list of subcommands, and Django's common options after their names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core import checks
from django.core.management import CommandError, call_command
from django.core.management.base import SystemCheckError

from cf_images.management.commands.cf_images import SUBCOMMANDS, Command

ROOT = Path(__file__).parent.parent.parent
COMMON = ("--settings=tests.settings", "-v2", "--traceback", "--no-color", "--pythonpath=.", "--skip-checks")


def manage(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a person does, in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    return subprocess.run(
        [sys.executable, "-m", "django", "cf_images", *arguments],
        cwd=ROOT,
        env={**environment, "COLUMNS": "80", "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def options(*arguments: str) -> dict[str, Any]:
    return vars(Command().create_parser("manage.py", "cf_images").parse_args(list(arguments)))


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_common_options_may_stand_before_or_after_the_name(name: str) -> None:
    before, after = options(*COMMON, name), options(name, *COMMON)
    assert before == after
    assert before["verbosity"] == 2
    assert all(
        before[option] for option in ("settings", "traceback", "no_color", "pythonpath", "skip_checks")
    )


def test_defaults_are_djangos_and_only_the_doctor_skips_checks() -> None:
    assert options("prune")["verbosity"] == 1
    assert options("prune")["settings"] is None
    assert {name for name in SUBCOMMANDS if options(name)["skip_checks"]} == {"doctor"}


def test_settings_after_the_subcommand_are_used() -> None:
    done = manage("variants", "--storage=nowhere", "--settings=tests.settings", "--traceback")
    assert "nowhere in STORAGES is not a CloudflareImagesStorage" in done.stderr
    assert "Traceback" in done.stderr
    done = manage("variants", "--storage=nowhere", "--settings=tests.nowhere")
    assert "tests.nowhere" in done.stderr


def test_an_error_of_a_check_is_no_partial_success() -> None:
    def fails(**_: Any) -> list[checks.CheckMessage]:
        return [checks.Error("wrong")]

    checks.register(fails)
    try:
        with pytest.raises(SystemCheckError) as caught:
            call_command("cf_images", "prune", skip_checks=False)
    finally:
        checks.registry.registry.registered_checks.remove(fails)
    assert caught.value.returncode == 2


def test_help_has_a_line_for_each_subcommand() -> None:
    lines = manage("--help", "--settings=tests.settings").stdout.splitlines()
    for name, subcommand in SUBCOMMANDS.items():
        assert f"    {name:<19} {subcommand.SUMMARY}" in lines


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_subcommand_has_help_that_ends_with_djangos_options(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        options(name, "--help")
    text = capsys.readouterr().out
    assert " ".join(SUBCOMMANDS[name].HELP.split()) in " ".join(text.split())
    own = text[text.index("-h, --help") :]
    assert own.index("--settings SETTINGS") > own.index("--version")


def test_unknown_subcommand_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(CommandError, match=r"no subcommand 'uplaods'\. Did you mean 'uploads'") as refused:
        call_command("cf_images", "uplaods")
    assert all(name in str(refused.value) for name in SUBCOMMANDS)
    done = manage("-v2", "proces", "--settings=tests.settings")
    assert done.returncode == 2
    assert "Did you mean 'process'" in done.stderr
    assert "Traceback" not in done.stderr


def test_name_that_resembles_nothing_gets_no_suggestion() -> None:
    with pytest.raises(CommandError, match=r"'xyz'\. The subcommands are defaults, "):
        call_command("cf_images", "xyz")


def test_missing_subcommand_is_refused_with_their_names() -> None:
    done = manage("--settings=tests.settings")
    assert done.returncode == 2
    assert "Name a subcommand (defaults, doctor, " in done.stderr


def test_subcommands_have_one_style() -> None:
    """A summary of one line without a period, a help of sentences, and the same words for shared options."""
    for name, subcommand in SUBCOMMANDS.items():
        assert len(subcommand.SUMMARY) <= 54, name  # what is left of 80 columns
        assert not subcommand.SUMMARY.endswith("."), name
        assert subcommand.HELP.endswith("."), name
