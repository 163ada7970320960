"""What the examples of the guides name: a project with an app ``shop``, its pages, and its commands."""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.template import Context, Template

from cf_images import conf
from tests.app import models
from tests.docs import pages
from tests.urls import urlpatterns as project_urls

_COMMAND = re.compile(r"^ *(?:[A-Z_]+=\S+ )*python manage\.py cf_images (.+?) *(?: #.*)?$")


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Let examples import from ``shop.models``; the namespace in which they run."""
    monkeypatch.setitem(sys.modules, "shop", ModuleType("shop"))
    monkeypatch.setitem(sys.modules, "shop.models", models)
    return {"__name__": models.__name__}  # the app of models that an example declares


def templates(page: str) -> list[str]:
    """Return the templates of a page, in order."""
    return [block.text for block in pages.blocks(page, "django")]


def render(template: str, **context: Any) -> str:
    """Return what a template gives, without the white space around it."""
    return Template(template).render(Context(context)).strip()


def without_ellipsis(given: list[Any]) -> list[Any]:
    """Return a list of settings as an example has it, without what stands for the project's own."""
    return [value for value in given if value is not ...]


def commands(page: str) -> list[list[str]]:
    """Return the arguments of each ``python manage.py cf_images …`` of a page's blocks, in order."""
    lines = "\n".join(block.text for block in pages.blocks(page, "sh")).splitlines()
    return [shlex.split(found[1]) for line in lines if (found := _COMMAND.match(line))]


def run_command(arguments: list[str], **replaced: str) -> tuple[int, str]:
    """Run ``cf_images`` with such arguments; return its exit status and its output.

    ``replaced`` maps an argument of the page to the one of the test.
    """
    output, given = io.StringIO(), [replaced.get(argument, argument) for argument in arguments]
    try:
        call_command("cf_images", *given, stdout=output, stderr=output)
    except SystemExit as exit_:
        return int(str(exit_.code or 0)), output.getvalue()
    except CommandError as error:
        return error.returncode, output.getvalue() + str(error)
    return 0, output.getvalue()


def serve(settings: Any, monkeypatch: pytest.MonkeyPatch, *patterns: Any) -> None:
    """Serve these URLs beside those of the test project."""
    module = ModuleType("how_to_urls")
    module.__dict__["urlpatterns"] = [*patterns, *project_urls]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    settings.ROOT_URLCONF = module.__name__


def run_project(folder: Path, files: Mapping[str, str], script: str, **environment: str) -> str:
    """Write a project into a folder, run a script in it by another process, and return what it prints."""
    for name, text in {**files, "script.py": script}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    known = {name for option in conf.STORAGE_OPTIONS.values() for name in option.names}
    kept = {name: value for name, value in os.environ.items() if name not in {*known, "ENV_NAME"}}
    done = subprocess.run(
        [sys.executable, "-W", "error", "script.py"],
        cwd=folder,
        env={**kept, "DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": str(folder), **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
