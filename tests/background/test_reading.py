"""The source of a copy: it is opened, or one line says why it cannot be."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile, File
from django.core.files.storage import FileSystemStorage, InMemoryStorage, Storage

from cf_images.background.reading import open_source
from cf_images.exceptions import ImageRejectedError
from cf_images.storage import LocalImagesStorage
from tests.pictures import picture


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of media, in another folder that is none."""
    media = tmp_path / "media"
    media.mkdir()
    return media


@pytest.fixture
def files(folder: Path) -> FileSystemStorage:
    """Django's storage of that folder."""
    return FileSystemStorage(location=folder)


class Remote(Storage):
    """A storage elsewhere, whose files are streams or raise an error when they are read."""

    def __init__(self, body: Any) -> None:
        self.body = body

    def _open(self, name: str, mode: str = "rb") -> Any:
        return File(Stream(self.body), name)


class Stream(io.RawIOBase):
    """Bytes that are read once."""

    def __init__(self, body: Any) -> None:
        super().__init__()
        self.left = body

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> Any:
        if isinstance(self.left, Exception):
            raise self.left
        size = len(self.left) if size < 0 else size
        part, self.left = self.left[:size], self.left[size:]
        return part


def refusal(storage: Storage, name: str) -> str:
    with pytest.raises(ImageRejectedError) as refused:
        open_source(storage, name)
    return refused.value.message


@pytest.mark.parametrize(
    "name",
    [
        "a.png",
        "a b/100%.png",
        "sub/../a.png",
        "Cafe\u0301.png",
        "Caf\u00e9.png",
        "610a686f-3fa7-46ca-e36d-3c00bd791b00",
        "x" * 200,
    ],
)
def test_a_file_is_read_from_its_first_byte_whatever_its_name(
    files: FileSystemStorage, folder: Path, name: str
) -> None:
    (folder / "sub").mkdir()
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(picture())
    with open_source(files, name) as file:
        assert file.tell() == 0
        assert file.read() == picture()


def test_names_in_other_spellings_are_other_files(files: FileSystemStorage, folder: Path) -> None:
    for name, body in (("Cafe\u0301", b"1"), ("Caf\u00e9", b"2"), ("caf\u00e9", b"3")):
        (folder / name).write_bytes(body)
    for name, body in (("Cafe\u0301", b"1"), ("Caf\u00e9", b"2"), ("caf\u00e9", b"3")):
        with open_source(files, name) as file:
            assert file.read() == body


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "The name is empty."),
        ("  \t", "The name has only spaces."),
        ("gone.png", "There is no file of this name."),
        ("folder", "It is a folder, not a file."),
        ("empty.png", "The file is empty."),
        ("empty.png/a.png", "There is no file of this name: a part of its path is a file, not a folder."),
        ("../secret.png", "The name leads out of the folder of the storage."),
        ("/etc/passwd", "The name leads out of the folder of the storage."),
        ("a\0b.png", "The name contains a character that no file name has."),
        ("x" * 1025, "There is no file of this name: it is too long for the file system."),
        ("loop.png", "The file is a symbolic link that leads to itself."),
        ("pipe", "It is a device or a pipe, not a file."),
        ("https://example.com/a.png", "It is a URL, not the name of a file."),
    ],
)
@pytest.mark.parametrize("kind", [FileSystemStorage, LocalImagesStorage])
def test_what_cannot_be_read_is_refused_with_its_reason(
    kind: type[FileSystemStorage], folder: Path, name: str, reason: str
) -> None:
    (folder / "folder").mkdir()
    (folder / "empty.png").touch()
    (folder.parent / "secret.png").write_bytes(picture())
    (folder / "loop.png").symlink_to(folder / "loop.png")
    os.mkfifo(folder / "pipe")
    assert refusal(kind(location=folder), name) == reason


def test_a_link_out_of_the_folder_is_refused_and_named(files: FileSystemStorage, folder: Path) -> None:
    secret = folder.parent / "secret.png"
    secret.write_bytes(picture())
    (folder / "a.png").symlink_to(secret)
    (folder / "out").symlink_to(folder.parent)
    expected = f"It is a symbolic link to {secret}, outside of the folder: put the file in its place."
    assert refusal(files, "a.png") == expected
    assert refusal(files, "out/secret.png") == expected


def test_links_inside_of_the_folder_and_the_folder_itself_are_followed(folder: Path) -> None:
    (folder / "a.png").write_bytes(picture())
    (folder / "b.png").symlink_to("a.png")
    (folder.parent / "link").symlink_to(folder)
    with open_source(FileSystemStorage(location=folder.parent / "link"), "b.png") as file:
        assert file.read() == picture()


def test_a_stream_is_copied_so_that_it_can_seek() -> None:
    with open_source(Remote(picture()), "a.png") as file:
        assert file.read() == picture()
        file.seek(1)
        assert file.read() == picture()[1:]


def test_storages_that_notice_a_missing_file_when_it_is_read_are_understood() -> None:
    assert refusal(Remote(FileNotFoundError("NoSuchKey")), "a.png") == "There is no file of this name."
    denied = "The file cannot be read: permission denied."
    assert refusal(Remote(PermissionError(13, "Permission denied")), "a.png") == denied
    assert refusal(Remote(PermissionError("403")), "a.png") == denied


def test_an_empty_stream_is_refused() -> None:
    assert refusal(Remote(b""), "a.png") == "The file is empty."


def test_text_is_refused() -> None:
    storage = InMemoryStorage()
    storage.save("a.svg", ContentFile("<svg/>"))
    storage._open = lambda name, mode: File(io.StringIO("<svg/>"), name)  # type: ignore[attr-defined]
    assert refusal(storage, "a.svg") == "The storage gives text, not bytes."


@pytest.mark.parametrize("error", [TimeoutError("slow"), OSError(24, "Too many open files"), RuntimeError()])
def test_an_error_that_may_pass_is_raised_as_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as raised:
        open_source(Remote(error), "a.png")
    assert raised.value is error


def test_a_file_that_is_refused_is_closed(files: FileSystemStorage, folder: Path) -> None:
    (folder / "empty.png").touch()
    opened = []
    original = files._open

    def remember(name: str, mode: str = "rb") -> Any:
        opened.append(original(name, mode))
        return opened[-1]

    files._open = remember  # type: ignore[method-assign]
    refusal(files, "empty.png")
    assert opened[0].closed
