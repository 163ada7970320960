"""How the subcommands print: one line a fact, whatever the terminal and whatever a name contains."""

from __future__ import annotations

from typing import TextIO

from django.core.management.base import BaseCommand, OutputWrapper


def one_line(text: str) -> str:
    """Return ``text`` on one line, without control characters: parts of it come from other machines."""
    return "".join(char if char.isprintable() else "?" for char in " ".join(text.split()))


def write(command: BaseCommand, line: str = "") -> None:
    """Print a line, also where the stream cannot write all of its characters."""
    _write(command.stdout, line)


def write_problem(command: BaseCommand, line: str) -> None:
    """Print what is wrong, as an error."""
    _write(command.stderr, line)


def can_write(stream: OutputWrapper | TextIO, text: str) -> bool:
    """Return whether the stream can write ``text``."""
    try:
        text.encode(getattr(stream, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def confirmed(question: str) -> bool:
    """Ask a person; whoever does not answer has not confirmed."""
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:  # not interactive
        return False


def _write(stream: OutputWrapper, line: str) -> None:
    stream.write(line if can_write(stream, line) else line.encode("ascii", "replace").decode())
