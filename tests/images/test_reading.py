"""Files of callers: what is read, and that they stay as they were."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile

from cf_images.exceptions import ImageRejectedError
from cf_images.images.reading import from_start
from tests.pictures import picture

PNG = picture()


class Unseekable(io.BytesIO):
    """A stream like that of a response."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: Any) -> int:
        raise io.UnsupportedOperation


class OwnChunks(ContentFile):  # type: ignore[type-arg]
    """A file that gives ``given`` in its chunks."""

    given: tuple[Any, ...] = (PNG[:10], b"", PNG[10:])

    def chunks(self, chunk_size: int | None = None) -> Any:
        yield from self.given


@pytest.mark.parametrize(
    "file", [io.BytesIO(PNG), SimpleUploadedFile("a.png", PNG)], ids=["BytesIO", "upload"]
)
def test_a_file_that_seeks_is_not_copied(file: Any) -> None:
    with from_start(file) as start:
        assert start is file


@pytest.mark.parametrize("file", [Unseekable(PNG), OwnChunks(b"other")], ids=["unseekable", "own chunks"])
def test_other_files_are_copied(file: Any) -> None:
    with from_start(file) as start:
        assert start.read() == PNG
        start.seek(0)
        assert start.read() == PNG
    assert not file.closed


def test_a_file_with_chunks_of_its_own_is_where_it_was() -> None:
    file = OwnChunks(b"other")
    file.seek(3)
    with from_start(file) as start:
        start.read()
    assert file.tell() == 3


def test_chunks_may_close_their_file() -> None:
    class ClosingChunks(OwnChunks):
        def chunks(self, chunk_size: int | None = None) -> Any:
            yield PNG
            self.close()

    with from_start(ClosingChunks(b"other")) as start:
        assert start.read() == PNG


@pytest.mark.parametrize("given", [("text",), ("",)], ids=["text", "empty text"])
def test_chunks_of_text_are_refused_in_words(given: tuple[str, ...]) -> None:
    file = OwnChunks(b"other", name="notes.txt")
    file.given = given
    refused = pytest.raises(ImageRejectedError, match="gives text; open it in binary mode")
    with refused, from_start(file):
        pass


def test_chunks_without_end_are_refused() -> None:
    file = OwnChunks(b"other")
    file.given = (bytes(1024**2),) * 101
    with pytest.raises(ImageRejectedError, match="more than 100 MB"), from_start(file):
        pass
