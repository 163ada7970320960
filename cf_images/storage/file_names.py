"""Names as Django's storages take them: text or ``pathlib.Path``, and never outside of the storage."""

from __future__ import annotations

import os
import posixpath
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath

from django.core.exceptions import SuspiciousFileOperation
from django.core.files.utils import validate_file_name

from cf_images.exceptions import InvalidNameError
from cf_images.images import names

Name = str | os.PathLike[str]


class SuspiciousNameError(InvalidNameError, SuspiciousFileOperation):
    """A name that no image can have; Django answers it with HTTP 400."""


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


def available(name: Name, *, is_unique: bool, is_private: bool = False, max_length: int | None = None) -> str:
    """Return the name under which an image is kept: a unique one, or the given one.

    Raise ``SuspiciousNameError`` for what cannot be a name, or does not fit into ``max_length``.
    """
    with _suspicious():
        if not is_unique:
            return names.given_name(_valid(name), max_length=max_length)
        return names.unique_name(
            _valid(name), seconds=int(time.time()), max_length=max_length, is_private=is_private
        )


def with_room_for_id(name: Name, *, max_length: int | None = None) -> str:
    """Return the name of a private image to which Cloudflare's ID is added; the same errors."""
    with _suspicious():
        return names.private_stem(_valid(name), max_length=max_length)


def with_room_for_direct_id(name: Name, *, max_length: int | None = None) -> str:
    """Return the same of a public image that a browser has uploaded."""
    with _suspicious():
        return names.direct_stem(_valid(name), max_length=max_length)


def _valid(name: Name) -> str:
    given = str(name).replace("\\", "/")
    validate_file_name(given, allow_relative_path=True)
    return given


@contextmanager
def _suspicious() -> Iterator[None]:
    """Raise ``SuspiciousNameError`` for an ``InvalidNameError``: what Django expects of a storage."""
    try:
        yield
    except InvalidNameError as error:
        raise SuspiciousNameError(error.message) from None
