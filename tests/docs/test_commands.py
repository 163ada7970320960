"""Every command line of the documentation is one that the command itself would accept."""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

import dev
from cf_images.emulator.__main__ import parser as emulator_parser
from cf_images.management.commands.cf_images import Command
from tests.docs.pages import ROOT
from tests.docs.test_links import FILES

_BLOCK = re.compile(r"^(?P<indent> *)```(?:sh|console|bash|shell)\n(?P<text>.*?)^(?P=indent)```", re.M | re.S)
_INLINE = re.compile(r"`([^`\n]+)`")
_COMMAND = re.compile(
    r"\bmanage\.py cf_images(?P<manage>(?=\s|$)[^;|&>]*)|\bdev\.py (?P<dev>[^;|&>]*)"
    r"|\bpython3? -m cf_images\.emulator(?P<emulator>[^;|&>]*)"
)


def lines() -> Iterator[tuple[Path, str]]:
    """Yield each line of a shell block, and each inline code, without comments and line continuations."""
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        for block in _BLOCK.finditer(text):
            for line in block["text"].replace("\\\n", " ").splitlines():
                yield path, re.sub(r"(?:^|\s)#.*", "", line)
        for code in _INLINE.findall(text):
            yield path, code


FOUND = sorted(
    {
        (path.relative_to(ROOT).as_posix(), program, arguments.strip())
        for path, line in lines()
        for match in _COMMAND.finditer(line)
        for program, arguments in match.groupdict().items()
        if arguments is not None
    }
)


def of(program: str) -> list[tuple[str, str]]:
    """Return where a program is called, and its arguments."""
    return [(path, arguments) for path, found, arguments in FOUND if found == program]


def test_there_are_command_lines() -> None:
    assert len(of("manage")) > 20
    assert len(of("dev")) > 5
    assert of("emulator")


@pytest.mark.parametrize(("path", "arguments"), of("manage"))
def test_manage_py_accepts_the_line(path: str, arguments: str) -> None:
    accept(Command().create_parser("manage.py", "cf_images"), arguments)


@pytest.mark.parametrize(("path", "arguments"), of("emulator"))
def test_the_emulator_accepts_the_line(path: str, arguments: str) -> None:
    accept(emulator_parser(), arguments)


@pytest.mark.parametrize(("path", "arguments"), of("dev"))
def test_dev_py_accepts_the_line(path: str, arguments: str) -> None:
    command = arguments.partition(" ")[0].strip("…")
    assert command in {"", "-h", "--help", *dev.COMMANDS}


def accept(parser: argparse.ArgumentParser, arguments: str) -> None:
    """Let a parser read arguments; what is left out as ``…`` may be anything."""
    words = shlex.split(arguments.partition("…")[0])
    output = io.StringIO()
    with contextlib.redirect_stderr(output), contextlib.redirect_stdout(output):
        try:
            parser.parse_args(words)
        except SystemExit as stopped:
            if stopped.code:  # of --help it is 0
                pytest.fail(output.getvalue())
