"""Files that are written under exactly their names: whole or not at all, and never over others."""

from __future__ import annotations

import errno
import io
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile, File
from django.core.files.storage import FileSystemStorage, InMemoryStorage

from cf_images.background import writing
from cf_images.background.writing import Content, content_of, write_exactly
from cf_images.exceptions import CloudflareUnavailableError, ImageExistsError, InvalidNameError
from cf_images.storage import LocalImagesStorage

BYTES = b"not even an image" * 100_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "media").mkdir()
    return tmp_path / "media"


@pytest.fixture
def storage(folder: Path) -> FileSystemStorage:
    return FileSystemStorage(location=folder)


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


class _Broken(io.BytesIO):
    """A download that breaks off."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell():
            raise CloudflareUnavailableError("Cloudflare stopped in the middle.")
        return super().read(10)


def test_the_bytes_are_in_the_file_of_this_name(storage: Any, folder: Path) -> None:
    written = write_exactly(storage, "a/b/Jäne 100%.jpg", io.BytesIO(BYTES))
    assert (folder / "a/b/Jäne 100%.jpg").read_bytes() == BYTES
    assert written == content_of(io.BytesIO(BYTES))
    assert files_in(folder) == ["a/b/Jäne 100%.jpg"]


def test_local_images_keep_their_exact_names(folder: Path) -> None:
    write_exactly(LocalImagesStorage(location=folder), "Jane Doe.jpg", io.BytesIO(BYTES))
    assert files_in(folder) == ["Jane Doe.jpg"]


def test_an_empty_file_is_a_file(storage: Any, folder: Path) -> None:
    assert write_exactly(storage, "empty", io.BytesIO()).size == 0
    assert files_in(folder) == ["empty"]


def test_the_same_bytes_twice_are_one_file(storage: Any, folder: Path) -> None:
    first = write_exactly(storage, "a.jpg", io.BytesIO(BYTES))
    changed_at = (folder / "a.jpg").stat().st_mtime_ns
    assert write_exactly(storage, "a.jpg", io.BytesIO(BYTES)) == first
    assert (folder / "a.jpg").stat().st_mtime_ns == changed_at


def test_another_file_of_this_name_is_left(storage: Any, folder: Path) -> None:
    (folder / "a.jpg").write_bytes(b"mine")
    with pytest.raises(ImageExistsError, match=r"'a\.jpg' in the target, and was left: it has 4 bytes"):
        write_exactly(storage, "a.jpg", io.BytesIO(BYTES))
    assert (folder / "a.jpg").read_bytes() == b"mine"


def test_another_file_that_appears_meanwhile_is_left(storage: Any, folder: Path) -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            (folder / "a.jpg").write_bytes(b"mine")
            return super().read(size)

    with pytest.raises(ImageExistsError):
        write_exactly(storage, "a.jpg", Slow(BYTES))
    assert (folder / "a.jpg").read_bytes() == b"mine"
    assert files_in(folder) == ["a.jpg"]


@pytest.mark.parametrize(
    "name",
    [
        *("", "/etc/passwd", "../outside", "a/../../outside", "a/../b", "folder/"),
        *("nul\0.jpg", "half\ud800.jpg", "x" * 300, "x/" * 3000 + "y", "file/below"),
    ],
)
def test_a_name_that_cannot_be_is_refused(storage: Any, folder: Path, name: str) -> None:
    (folder / "file").write_bytes(b"no folder")
    before = files_in(folder.parent)
    with pytest.raises(InvalidNameError, match="cannot be the name of a file in the target") as caught:
        write_exactly(storage, name, io.BytesIO(BYTES))
    assert len(caught.value.summary) < 200
    assert files_in(folder.parent) == before


def test_a_link_out_of_the_folder_is_not_followed(storage: Any, folder: Path) -> None:
    (folder.parent / "outside").mkdir()
    (folder / "link").symlink_to(folder.parent / "outside")
    (folder / "direct.jpg").symlink_to(folder.parent / "outside/new.jpg")
    with pytest.raises(InvalidNameError, match="a symbolic link leads outside"):
        write_exactly(storage, "link/a.jpg", io.BytesIO(BYTES))
    with pytest.raises(ImageExistsError, match="a folder or a link"):
        write_exactly(storage, "direct.jpg", io.BytesIO(BYTES))
    assert files_in(folder.parent / "outside") == []


def test_a_folder_of_this_name_is_left(storage: Any, folder: Path) -> None:
    (folder / "a.jpg").mkdir()
    with pytest.raises(ImageExistsError, match="a folder or a link"):
        write_exactly(storage, "a.jpg", io.BytesIO(BYTES))


def test_a_folder_that_is_itself_a_link_is_written(folder: Path) -> None:
    (folder.parent / "link").symlink_to(folder)
    write_exactly(FileSystemStorage(location=folder.parent / "link"), "a/b.jpg", io.BytesIO(BYTES))
    assert files_in(folder) == ["a/b.jpg"]


def test_a_source_that_breaks_off_leaves_nothing(storage: Any, folder: Path) -> None:
    with pytest.raises(CloudflareUnavailableError):
        write_exactly(storage, "a.jpg", _Broken(BYTES))
    assert files_in(folder) == []


def test_a_full_disk_leaves_nothing(storage: Any, folder: Path) -> None:
    code = (
        "import io, resource, signal, sys, django;"
        "django.setup();"
        "from django.core.files.storage import FileSystemStorage;"
        "from cf_images.background.writing import write_exactly;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000));"
        "write_exactly(FileSystemStorage(location=sys.argv[1]), 'a.jpg', io.BytesIO(b'x' * 1_000_000))"
    )
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=False)
    assert "OSError: [Errno 27] File too large" in done.stderr
    assert files_in(folder) == []


def test_a_full_disk_is_no_fault_of_the_name(
    storage: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writing.os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_exactly(storage, "a.jpg", io.BytesIO(BYTES))
    assert not isinstance(caught.value, InvalidNameError)
    assert files_in(folder) == []


def test_what_a_killed_process_left_is_used_again(storage: Any, folder: Path) -> None:
    code = (
        "import os, io, sys, django;"
        "django.setup();"
        "from django.core.files.storage import FileSystemStorage;"
        "from cf_images.background import writing;"
        "setattr(writing, sys.argv[2], lambda *_: os._exit(9)) if sys.argv[2] != 'unlink' else "
        "setattr(writing.Path, 'unlink', lambda *_, **__: os._exit(9));"
        "writing.write_exactly(FileSystemStorage(location=sys.argv[1]), 'a.jpg', io.BytesIO(b'half'))"
    )
    subprocess.run([sys.executable, "-c", code, folder, "_give_name"], check=False)
    assert len(files_in(folder)) == 1
    write_exactly(storage, "a.jpg", io.BytesIO(BYTES))
    assert files_in(folder) == ["a.jpg"]
    assert (folder / "a.jpg").read_bytes() == BYTES

    (folder / "a.jpg").unlink()
    subprocess.run([sys.executable, "-c", code, folder, "unlink"], check=False)
    assert len(files_in(folder)) == 2  # two names of one file
    write_exactly(storage, "a.jpg", io.BytesIO(b"half"))
    assert files_in(folder) == ["a.jpg"]
    assert (folder / "a.jpg").read_bytes() == b"half"


def test_a_complete_file_with_two_names_is_never_written_into(storage: Any, folder: Path) -> None:
    """It was killed before it removed the temporary name, and the file was renamed by a person since."""
    path = folder / "a.jpg"
    path.write_bytes(b"complete")
    os.link(path, writing._part_of(path))
    path.rename(folder / "renamed.jpg")
    write_exactly(storage, "a.jpg", io.BytesIO(BYTES))
    assert (folder / "renamed.jpg").read_bytes() == b"complete"
    assert path.read_bytes() == BYTES
    assert files_in(folder) == ["a.jpg", "renamed.jpg"]


def test_many_threads_that_write_one_name_write_it_once(storage: Any, folder: Path) -> None:
    start, failures = threading.Barrier(8), []

    def write() -> None:
        start.wait()
        try:
            for number in range(20):
                write_exactly(storage, f"{number}/a.jpg", io.BytesIO(BYTES))
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert files_in(folder) == sorted(f"{number}/a.jpg" for number in range(20))
    assert all((folder / f"{number}/a.jpg").read_bytes() == BYTES for number in range(20))


def test_the_file_of_another_process_is_finished_first(storage: Any, folder: Path) -> None:
    """The other one has the lock: this one waits, and finds the file there."""
    path = folder / "a.jpg"
    with writing._locked(writing._part_of(path)) as copy:
        second = threading.Thread(target=write_exactly, args=(storage, "a.jpg", io.BytesIO(b"same")))
        second.start()
        copy.write(b"same")
        copy.flush()
        os.link(writing._part_of(path), path)
    second.join(timeout=30)
    assert not second.is_alive()
    assert path.read_bytes() == b"same"
    assert files_in(folder) == ["a.jpg"]


def test_files_and_folders_have_the_modes_of_the_storage(folder: Path) -> None:
    given = FileSystemStorage(location=folder, file_permissions_mode=0o604, directory_permissions_mode=0o705)
    write_exactly(given, "new/folder/a.jpg", io.BytesIO(BYTES))
    assert stat.S_IMODE((folder / "new/folder/a.jpg").stat().st_mode) == 0o604
    assert stat.S_IMODE((folder / "new").stat().st_mode) == 0o705
    assert stat.S_IMODE((folder / "new/folder").stat().st_mode) == 0o705


def test_without_modes_they_are_those_that_djangos_storage_gives(storage: Any, folder: Path) -> None:
    write_exactly(storage, "ours/a.jpg", io.BytesIO(BYTES))
    storage.save("djangos/a.jpg", ContentFile(BYTES))
    assert (folder / "ours/a.jpg").stat().st_mode == (folder / "djangos/a.jpg").stat().st_mode
    assert (folder / "ours").stat().st_mode == (folder / "djangos").stat().st_mode


def test_a_file_system_without_links_is_written_as_well(
    storage: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(writing.os, "link", link)
    write_exactly(storage, "a.jpg", io.BytesIO(BYTES))
    assert files_in(folder) == ["a.jpg"]
    with pytest.raises(FileExistsError):
        writing._give_name(folder / "other", folder / "a.jpg")


# Other storages


class Encrypted(FileSystemStorage):
    """One of those that change the bytes on the disk."""

    def _save(self, name: str, content: Any) -> str:
        saved: str = super()._save(name, ContentFile(content.read()[::-1] + b"IV"))  # type: ignore[misc]
        return saved

    def _open(self, name: str, mode: str = "rb") -> File[Any]:
        with super()._open(name, mode) as file:  # type: ignore[misc]
            return ContentFile(file.read()[:-2][::-1])


class Renaming(InMemoryStorage):
    """One that chooses the names itself."""

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        return f"{name}_1"


class Losing(InMemoryStorage):
    """One that does not keep everything."""

    def _save(self, name: str, content: Any) -> str:
        saved: str = super()._save(name, ContentFile(content.read()[1:]))  # type: ignore[misc]
        return saved


def test_another_storage_saves_the_file_itself(folder: Path) -> None:
    for storage in (Encrypted(location=folder), InMemoryStorage()):
        for _ in range(2):
            written = write_exactly(storage, "a/b.jpg", io.BytesIO(BYTES))
            assert written == Content(size=len(BYTES), sha256=content_of(io.BytesIO(BYTES)).sha256)
        with storage.open("a/b.jpg") as file:
            assert file.read() == BYTES
        assert storage.listdir("a") == ([], ["b.jpg"])
        with pytest.raises(ImageExistsError):
            write_exactly(storage, "a/b.jpg", io.BytesIO(b"other"))
        with pytest.raises(InvalidNameError, match="cannot be the name"):
            write_exactly(storage, "../b.jpg", io.BytesIO(BYTES))


def test_a_storage_that_gives_another_name_keeps_nothing() -> None:
    storage = Renaming()
    with pytest.raises(InvalidNameError, match=r"the storage makes 'a\.jpg_1' of it"):
        write_exactly(storage, "a.jpg", io.BytesIO(BYTES))
    assert storage.listdir("") == ([], [])


def test_a_storage_that_loses_bytes_keeps_nothing() -> None:
    storage = Losing()
    with pytest.raises(OSError, match="has not kept the bytes"):
        write_exactly(storage, "a.jpg", io.BytesIO(BYTES))
    assert storage.listdir("") == ([], [])
