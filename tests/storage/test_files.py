"""The file that the storage opens, and the file that it reads an upload from."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.core.files.base import ContentFile, File

from cf_images import images
from cf_images.client.seekable import seekable
from cf_images.exceptions import CloudflareUnavailableError, ImageRejectedError
from cf_images.images.reading import from_start
from cf_images.storage import CloudflareImagesFile
from tests.pictures import picture

BODY = bytes(range(256)) * 1024


class FakeDownload:
    """A download in chunks of 1,000 bytes that counts the bytes, and can break off."""

    def __init__(self, *, size: int | None = len(BODY), breaks_at: int | None = None) -> None:
        self.size, self.breaks_at = size, breaks_at
        self.fetched = 0
        self.closed = False

    def __iter__(self) -> Any:
        while chunk := BODY[self.fetched : self.fetched + 1000]:
            if self.breaks_at is not None and self.fetched >= self.breaks_at:
                raise CloudflareUnavailableError("cut off")
            self.fetched += len(chunk)
            yield chunk

    def close(self) -> None:
        self.closed = True


def opened(download: FakeDownload) -> CloudflareImagesFile:
    return CloudflareImagesFile("photo.png", lambda: seekable(download))


def test_nothing_is_fetched_before_it_is_read() -> None:
    download = FakeDownload()
    with opened(download):
        assert download.fetched == 0


def test_only_the_head_is_fetched_when_only_the_head_is_read() -> None:
    download = FakeDownload()
    with opened(download) as file:
        assert file.read(100) == BODY[:100]
        assert download.fetched < len(BODY) / 2


def test_size_comes_from_the_header_and_fetches_nothing() -> None:
    download = FakeDownload()
    with opened(download) as file:
        assert file.size == len(BODY)
        assert download.fetched == 0


def test_size_is_counted_where_there_is_no_header() -> None:
    with opened(FakeDownload(size=None)) as file:
        assert file.size == len(BODY)
        assert file.read() == BODY


def test_what_was_fetched_is_kept_for_seeking_back() -> None:
    download = FakeDownload()
    with opened(download) as file:
        assert file.read() == BODY
        file.seek(5)
        assert file.read() == BODY[5:]
        assert download.fetched == len(BODY)


def test_seeking_past_the_end_reads_nothing_and_before_the_start_is_an_error() -> None:
    with opened(FakeDownload()) as file:
        file.seek(len(BODY) + 10)
        assert file.read() == b""
        with pytest.raises(ValueError, match=r"before the first byte|negative"):
            file.seek(-1)


def test_closing_ends_the_download() -> None:
    download = FakeDownload()
    file = opened(download)
    file.close()
    assert download.closed
    with pytest.raises(ValueError, match="closed"):
        file.read()


def test_opening_again_after_closing_fetches_anew() -> None:
    downloads: list[FakeDownload] = []

    def fetch() -> Any:
        downloads.append(FakeDownload())
        return seekable(downloads[-1])

    file = CloudflareImagesFile("photo.png", fetch)
    file.close()
    with file.open() as again:
        assert again.read() == BODY
    assert len(downloads) == 2


def test_opening_an_open_file_goes_back_to_its_start() -> None:
    with opened(FakeDownload()) as file:
        file.read(9)
        assert file.open("rb").read() == BODY


def test_write_modes_are_refused() -> None:
    with opened(FakeDownload()) as file, pytest.raises(ValueError, match="never changed: mode 'wb'"):
        file.open("wb")


def test_a_download_that_breaks_off_is_an_error_and_never_a_short_image() -> None:
    with opened(FakeDownload(breaks_at=50_000)) as file:
        for _ in range(2):
            with pytest.raises(CloudflareUnavailableError):
                file.read()


def test_reading_the_head_of_a_download_that_breaks_off_is_an_error() -> None:
    with pytest.raises(CloudflareUnavailableError), seekable(FakeDownload(breaks_at=0)) as file:
        images.inspect(file)


def test_an_upload_begins_at_the_first_byte_and_the_file_stays_where_it_was() -> None:
    content = ContentFile(BODY)
    content.seek(77)
    with from_start(content) as file:
        assert file.read() == BODY
    assert content.tell() == 77


def test_the_position_is_put_back_after_an_error_too() -> None:
    content = ContentFile(BODY)
    content.seek(77)
    with pytest.raises(RuntimeError), from_start(content):
        raise RuntimeError
    assert content.tell() == 77


def test_a_closed_file_is_refused_by_name() -> None:
    content = File(io.BytesIO(BODY), name="jane.jpg")
    content.file.close()
    with pytest.raises(ImageRejectedError, match=r"'jane\.jpg' is closed"), from_start(content):
        pass


class Stream(io.RawIOBase):
    """A pipe: reads, but does not seek."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        chunk = self._body.read(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)


def test_a_stream_that_cannot_seek_is_copied_to_a_file_that_can() -> None:
    with from_start(File(Stream(io.BytesIO(BODY)), name="pipe")) as file:
        assert file.read() == BODY
        file.seek(0)
        assert file.read(3) == BODY[:3]


def test_an_endless_stream_is_refused() -> None:
    class Endless:
        def read(self, size: int) -> bytes:
            return bytes(size)

    with pytest.raises(ImageRejectedError, match="more than 100 MB"), from_start(File(Stream(Endless()))):
        pass


class Decrypted(File):  # type: ignore[type-arg]
    """A file of a project whose chunks are not what lies on its disk."""

    def chunks(self, chunk_size: int | None = None) -> Any:
        body = self.file.getvalue()[::-1]
        yield from (body[start : start + 100] for start in range(0, len(body), 100))


@pytest.mark.parametrize("size", [(64, 48), (700, 500)])
def test_a_file_that_makes_its_chunks_itself_is_saved_as_they_are(images: Any, size: tuple[int, int]) -> None:
    body = picture(size=size)
    content = Decrypted(io.BytesIO(body[::-1]), name="a.png")
    name = images.save("a.png", content)
    with images.open(name) as file:
        assert file.read() == body
    assert not content.closed


def test_chunks_that_are_no_image_are_refused(images: Any) -> None:
    with pytest.raises(ImageRejectedError):
        images.save("a.png", Decrypted(io.BytesIO(picture()), name="a.png"))
