"""Open the source of a copy, or say in one line why its file cannot be read."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from tempfile import SpooledTemporaryFile
from typing import IO, Any, cast

from django.core.exceptions import SuspiciousOperation
from django.core.files.storage import FileSystemStorage, Storage

from cf_images.exceptions import ImageRejectedError
from cf_images.images import names
from cf_images.images.reading import from_start

_MEMORY_BYTES = 1024 * 1024  # what a copy of a stream keeps before it goes to disk

# What stays so however often it is tried. Others pass: no more descriptors, a network that is away.
_FINAL = {
    errno.ENOENT: "There is no file of this name.",
    errno.ENOTDIR: "There is no file of this name: a part of its path is a file, not a folder.",
    errno.EISDIR: "It is a folder, not a file.",
    errno.EACCES: "The file cannot be read: permission denied.",
    errno.EPERM: "The file cannot be read: permission denied.",
    errno.ENAMETOOLONG: "There is no file of this name: it is too long for the file system.",
    errno.ELOOP: "The file is a symbolic link that leads to itself.",
    errno.EILSEQ: "There is no file of this name: the file system cannot write its characters.",
    errno.EINVAL: "There is no file of this name: the file system does not accept it.",
}
_WITHOUT_NUMBER = (
    (FileNotFoundError, errno.ENOENT),
    (NotADirectoryError, errno.ENOTDIR),
    (IsADirectoryError, errno.EISDIR),
    (PermissionError, errno.EACCES),
)


def open_source(storage: Storage, name: str) -> IO[bytes]:
    """Return the file at its first byte; it can seek, and the caller closes it.

    Raise ``ImageRejectedError`` for a file that is missing, empty, unreadable, a folder, or outside of the
    storage, and for a name that is none. What may pass, such as a network error, is raised as it is.
    """
    if not name.strip():
        raise ImageRejectedError("The name has only spaces." if name else "The name is empty.")
    if names.is_url(name):
        raise ImageRejectedError("It is a URL, not the name of a file.")
    try:
        if isinstance(storage, FileSystemStorage):
            _check_path(storage, name)
        return _opened(storage, name)
    except SuspiciousOperation:
        raise ImageRejectedError("The name leads out of the folder of the storage.") from None
    except OSError as error:
        if reason := _reason(error):
            raise ImageRejectedError(reason) from None
        raise
    except ValueError:  # for example a NUL
        raise ImageRejectedError("The name contains a character that no file name has.") from None


def _opened(storage: Storage, name: str) -> IO[bytes]:
    file = cast("IO[bytes]", storage.open(name, "rb"))
    try:
        if not file.seekable():
            file = _copied(file)
        start: Any = file.read(1)  # many storages notice a missing file only now
        if isinstance(start, str):
            raise ImageRejectedError("The storage gives text, not bytes.")
        if not start:
            raise ImageRejectedError("The file is empty.")
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def _copied(stream: IO[bytes]) -> IO[bytes]:
    copy = SpooledTemporaryFile(max_size=_MEMORY_BYTES)  # noqa: SIM115  # the caller closes it
    try:
        with stream, from_start(stream) as start:
            shutil.copyfileobj(start, copy)
        copy.seek(0)
    except BaseException:
        copy.close()
        raise
    return cast("IO[bytes]", copy)


def _check_path(storage: FileSystemStorage, name: str) -> None:
    """Refuse what Django would open and should not be published: it follows links to anywhere."""
    path = storage.path(name)
    folder, real = os.path.realpath(storage.location), os.path.realpath(path)
    if os.path.commonpath((folder, real)) != folder:
        raise ImageRejectedError(
            f"It is a symbolic link to {real}, outside of the folder: put the file in its place."
        )
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError
    if not stat.S_ISREG(mode):  # opening a pipe would wait for ever
        raise ImageRejectedError("It is a device or a pipe, not a file.")


def _reason(error: OSError) -> str | None:
    """Return why there is nothing to read; ``None`` for an error that may pass."""
    if error.errno in _FINAL:
        return _FINAL[error.errno]
    return next((_FINAL[number] for kind, number in _WITHOUT_NUMBER if isinstance(error, kind)), None)
