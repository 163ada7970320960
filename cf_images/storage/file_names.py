"""Names as Django's storages take them: text or ``pathlib.Path``, and never outside of the storage."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath

from django.core.exceptions import SuspiciousFileOperation

from cf_images.exceptions import InvalidNameError

Name = str | os.PathLike[str]


class SuspiciousNameError(InvalidNameError, SuspiciousFileOperation):
    """A name that no image can have; Django answers it with HTTP 400."""


@contextmanager
def suspicious() -> Iterator[None]:
    """Raise ``SuspiciousNameError`` for an ``InvalidNameError``: what Django expects of a storage."""
    try:
        yield
    except InvalidNameError as error:
        raise SuspiciousNameError(error.message) from None


def text(name: Name) -> str:
    """Return a name as the database holds it."""
    return name.as_posix() if isinstance(name, PurePath) else os.fspath(name)


def resolve(name: Name) -> str:
    """Return the name of the same image without ``.`` and ``..``; the folder of all images is empty.

    Raise ``SuspiciousNameError`` for one that is absolute or leads outside.
    """
    given = text(name)
    if {".", ".."}.isdisjoint(given.split("/")) and not given.startswith("/"):
        return given  # imported images may have an ID that only looks odd
    resolved = posixpath.normpath(given)
    if resolved.startswith(("/", "../")) or resolved == "..":
        raise SuspiciousNameError(f"{given[:80]!r} is not a name in this storage: it leads outside.")
    return "" if resolved == "." else resolved
