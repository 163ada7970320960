"""Write a file into a storage under exactly its name: the whole file or none, and never over another one."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from tempfile import SpooledTemporaryFile
from typing import IO, Protocol, TypeGuard, cast

from django.core.exceptions import SuspiciousFileOperation
from django.core.files import locks
from django.core.files.base import File
from django.core.files.storage import FileSystemStorage, Storage

from cf_images.exceptions import ImageExistsError, ImageRejectedError, InvalidNameError

_CHUNK_BYTES = 256 * 1024
_MEMORY_BYTES = 1024 * 1024  # what a copy keeps before it goes to disk
_MAX_NAME_LENGTH = 80  # in messages
# What says that a path cannot exist, however often it is tried.
_IMPOSSIBLE = (
    *(errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.ELOOP),
    *(errno.EINVAL, errno.EILSEQ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What was read from a file: its number of bytes, and their SHA-256 in hexadecimal."""

    size: int
    sha256: str


def write_exactly(storage: Storage, name: str, file: IO[bytes]) -> Content:
    """Write ``file``, from where it is, under this very name; return what the storage has by then.

    A file that is there with the same bytes is left as it is. Raise ``ImageExistsError`` where it has other
    bytes, ``InvalidNameError`` for a name that the storage cannot have, and ``OSError`` for what may pass: a
    full disk, a folder that may not be written. Whatever fails, no part of the file stays.
    """
    if is_plain_folder(storage):
        with _possible(name):
            return _write(storage, _path(storage, name), name, file)
    return _save(storage, name, file)


def is_plain_folder(storage: Storage) -> TypeGuard[FileSystemStorage]:
    """Return whether files of the storage are read from a folder as they are, and not decrypted, say."""
    if not isinstance(storage, FileSystemStorage):
        return False
    # Not type(): default_storage is a lazy object around the storage.
    return vars(FileSystemStorage)["_open"] is getattr(storage.__class__, "_open", None)


class Readable(Protocol):
    """What is read in pieces: a file, a download."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes; none at the end."""
        ...


def content_of(file: Readable, copy: IO[bytes] | None = None) -> Content:
    """Read ``file`` to its end, into ``copy`` if one is given."""
    digest, size = hashlib.sha256(), 0
    while chunk := file.read(_CHUNK_BYTES):
        digest.update(chunk)
        size += len(chunk)
        if copy is not None:
            copy.write(chunk)
    return Content(size=size, sha256=digest.hexdigest())


# Folders of this machine


def _path(storage: FileSystemStorage, name: str) -> Path:
    """Return where the file belongs; raise ``InvalidNameError`` for a place outside of the folder."""
    given = PurePath(name)
    if not name or name.endswith("/") or given.is_absolute() or ".." in given.parts:
        raise _invalid(name, "it is absolute, leaves its folder or names a folder")
    try:
        path = Path(storage.path(name))
    except SuspiciousFileOperation:
        raise _invalid(name, "it leads outside of the folder") from None
    if not _real(path.parent).is_relative_to(_real(Path(storage.location))):
        raise _invalid(name, "a symbolic link leads outside of the folder")
    return path


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _write(storage: FileSystemStorage, path: Path, name: str, file: IO[bytes]) -> Content:
    part = _part_of(path)
    if os.path.lexists(path):
        _remove_second_name(part)
        return _compared(path, name, content_of(file))
    _make_folders(path.parent, storage.directory_permissions_mode)
    with _locked(part) as copy:
        written = content_of(file, copy)
        copy.flush()
        if storage.file_permissions_mode is not None:
            os.chmod(part, storage.file_permissions_mode)
        os.fsync(copy.fileno())
        try:
            _give_name(part, path)
        except FileExistsError:
            return _compared(path, name, written)
    _sync_folder(path.parent)
    if (size := path.stat().st_size) != written.size:
        raise OSError(f"{_abbreviated(name)} has {size:,} bytes after {written.size:,} were written.")
    return written


def _part_of(path: Path) -> Path:
    return path.with_name(f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:32]}.cf_images")


@contextmanager
def _locked(part: Path) -> Iterator[IO[bytes]]:
    """Give the file ``part``, empty and of this thread alone; it is removed afterwards.

    Its name depends on that of the file: what a process that was killed has left behind is used again.
    """
    while True:
        file = open(part, "ab", opener=_open_no_link)  # noqa: SIM115  # closed below
        try:
            locks.lock(file, locks.LOCK_EX)
            if _is_only_name(part, file):
                break
        except BaseException:
            file.close()
            raise
        file.close()
    try:
        file.truncate(0)
        yield file
    finally:
        if os.name == "nt":  # pragma: no cover  # Windows does not remove an open file
            file.close()
        part.unlink(missing_ok=True)  # before another thread has the lock
        file.close()


def _open_no_link(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def _is_only_name(part: Path, file: IO[bytes]) -> bool:
    """Return whether ``part`` is the name of the open file, and its only one: it is not complete then."""
    opened = os.fstat(file.fileno())
    try:
        found = part.stat(follow_symlinks=False)
    except FileNotFoundError:
        return False  # whoever had the lock has removed it
    if not os.path.samestat(opened, found):
        return False
    _remove_second_name(part)
    return opened.st_nlink == 1


def _remove_second_name(part: Path) -> None:
    """Remove the temporary name of a complete file: a process was killed before it did so."""
    try:
        if part.stat(follow_symlinks=False).st_nlink > 1:
            part.unlink()
    except FileNotFoundError:
        pass


def _give_name(part: Path, path: Path) -> None:
    """Give a complete file its name; raise ``FileExistsError`` if another one has it."""
    try:
        os.link(part, path)  # unlike a renaming, it never replaces a file
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        os.rename(part, path)


def _make_folders(folder: Path, mode: int | None) -> None:
    if folder.is_dir():
        return
    _make_folders(folder.parent, mode)
    try:
        folder.mkdir()
    except FileExistsError:
        if folder.is_dir():  # another thread was faster
            return
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from None
    if mode is not None:
        folder.chmod(mode)


def _sync_folder(folder: Path) -> None:
    """Write the new name to the disk, where folders can be opened."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _compared(path: Path, name: str, expected: Content) -> Content:
    if path.is_symlink() or not path.is_file():
        raise ImageExistsError(f"{_abbreviated(name)} is a folder or a link in the target, and was left.")
    with path.open("rb") as file:
        return _checked(name, content_of(file), expected)


# Other storages


def _save(storage: Storage, name: str, file: IO[bytes]) -> Content:
    with SpooledTemporaryFile(max_size=_MEMORY_BYTES) as copy:  # storages seek, and ask for the size
        written = content_of(file, copy)
        copy.seek(0)
        try:
            if storage.exists(name):
                return _checked(name, _stored(storage, name), written)
            saved = storage.save(name, File(copy, name))
        except SuspiciousFileOperation as error:
            raise _invalid(name, str(error).rstrip(".")) from None
    if saved != name:
        storage.delete(saved)
        raise _invalid(name, f"the storage makes {_abbreviated(saved)} of it")
    if not _has_size(storage, name, written.size) and _stored(storage, name) != written:
        storage.delete(name)
        raise OSError(f"The storage has not kept the bytes of {_abbreviated(name)}.")
    return written


def _has_size(storage: Storage, name: str, size: int) -> bool:
    """Return whether the storage says this size; that of encrypted files, for example, is another one."""
    try:
        return storage.size(name) == size
    except NotImplementedError:
        return False


def _stored(storage: Storage, name: str) -> Content:
    with storage.open(name, "rb") as file:
        return content_of(cast("IO[bytes]", file))


# Errors


def _checked(name: str, existing: Content, expected: Content) -> Content:
    if existing != expected:
        raise ImageExistsError(
            f"Another file is named {_abbreviated(name)} in the target, and was left: it has "
            f"{existing.size:,} bytes, this one {expected.size:,}."
        )
    return existing


@contextmanager
def _possible(name: str) -> Iterator[None]:
    """Raise ``InvalidNameError`` for what the operating system says of a path that cannot exist."""
    try:
        yield
    except OSError as error:
        if error.errno not in _IMPOSSIBLE:
            raise
        raise _invalid(name, str(error.strerror)) from None
    except ValueError as error:  # a NUL, or half a surrogate pair
        if isinstance(error, ImageRejectedError):
            raise
        raise _invalid(name, str(error)) from None


def _invalid(name: str, problem: str) -> InvalidNameError:
    return InvalidNameError(f"{_abbreviated(name)} cannot be the name of a file in the target: {problem}.")


def _abbreviated(name: str) -> str:
    return repr(name if len(name) <= _MAX_NAME_LENGTH else f"{name[: _MAX_NAME_LENGTH - 3]}…")
