"""What an examination found: one plain sentence, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """``name`` never changes, for machines; ``storages`` are the aliases that share the account, if any."""

    name: str
    level: Level
    message: str
    remedy: str = ""
    storages: tuple[str, ...] = ()


def ok(name: str, message: str) -> Finding:
    """All is well."""
    return Finding(name=name, level=Level.OK, message=message)


def warning(name: str, message: str, *, remedy: str) -> Finding:
    """It works, but somebody should know."""
    return Finding(name=name, level=Level.WARNING, message=message, remedy=remedy)


def failure(name: str, message: str, *, remedy: str) -> Finding:
    """It does not work."""
    return Finding(name=name, level=Level.FAILURE, message=message, remedy=remedy)


def skipped(name: str, message: str) -> Finding:
    """Nobody looked."""
    return Finding(name=name, level=Level.SKIPPED, message=message)
