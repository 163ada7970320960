"""What an examination found: one sentence, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """The severity of a finding."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A finding; ``name`` never changes, for machines; ``storages`` are the aliases of the account, if
    any.
    """

    name: str
    level: Level
    message: str
    hint: str = ""
    storages: tuple[str, ...] = ()


def ok(name: str, message: str) -> Finding:
    """Return a finding that nothing is wrong."""
    return Finding(name=name, level=Level.OK, message=message)


def warning(name: str, message: str, *, hint: str) -> Finding:
    """Return a finding about what works, but should be known."""
    return Finding(name=name, level=Level.WARNING, message=message, hint=hint)


def failure(name: str, message: str, *, hint: str) -> Finding:
    """Return a finding about what does not work."""
    return Finding(name=name, level=Level.FAILURE, message=message, hint=hint)


def skipped(name: str, message: str) -> Finding:
    """Return a finding that something was not examined."""
    return Finding(name=name, level=Level.SKIPPED, message=message)
