"""What is no image, and files of every kind."""

from __future__ import annotations

import errno
import io
import os
import tempfile
from dataclasses import replace
from typing import Any

import pytest
from django.core.files.base import ContentFile, File
from django.core.files.uploadedfile import InMemoryUploadedFile, SimpleUploadedFile, TemporaryUploadedFile

from cf_images.images import ImageInfo, detect_format, inspect, inspect_head
from tests.images.builders import (
    SMALL_FILES,
    associations,
    box,
    extents,
    gif,
    heif,
    jpeg_header,
    picture,
    png_header,
    primary,
    properties,
    refusal,
    seen,
)

# What is no image


@pytest.mark.parametrize(
    ("data", "likeness"),
    [
        (picture("TIFF"), "looks like a TIFF image"),
        (b"MM\0*" + bytes(20), "looks like a TIFF image or a raw photo"),
        (box(b"ftyp", b"crx \0\0\0\0"), "looks like a raw photo"),
        (picture("BMP"), "looks like a BMP image"),
        (picture("ICO"), "looks like an ICO image"),
        (b"8BPS\0\x01" + bytes(30), "looks like a Photoshop document"),
        (b"\xff\x0a" + bytes(30), "looks like a JPEG XL image"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "looks like a JPEG XL image"),
        (picture("JPEG2000"), "looks like a JPEG 2000 image"),
        (picture("PDF"), "looks like a PDF document"),
        (picture("EPS"), "looks like a PostScript document"),
        (box(b"ftyp", b"qt  \0\0\0\0qt  "), "looks like a video"),
        (b"RIFF\0\0\0\0AVI LIST", "looks like a video"),
        (b"\x1a\x45\xdf\xa3" + bytes(30), "looks like a video"),
        (b"PK\x03\x04" + bytes(30), "looks like a compressed archive"),
        (b"<!-- Not found -->\n<!doctype html><title>404</title>", "looks like an HTML page"),
        (b"\xef\xbb\xbf<html lang=en>", "looks like an HTML page"),
        (b'<!DOCTYPE html><svg width="1" height="1"></svg>', "looks like an HTML page"),
        (b'<?xml version="1.0"?><rss/>', "looks like an XML document"),
        (b"hello", "looks like plain text"),
        ("grüße\n".encode(), "looks like plain text"),
        (b"a" * 100_000, "looks like plain text"),
        (b"\0\x01\x02\x03", "is in no known image format"),
        (b"\x89", "looks like plain text"),
    ],
)
def test_refusal_says_what_the_file_looks_like(data: bytes, likeness: str) -> None:
    message = refusal(lambda: seen(data))
    assert message.startswith(f"The file {likeness}")
    assert message.endswith(". JPEG, PNG, GIF, WebP, SVG and HEIC are supported.")


def test_text_file_named_png_is_refused() -> None:
    upload = SimpleUploadedFile("photo.png", b"not a photo", "image/png")
    assert "looks like plain text" in refusal(lambda: inspect(upload))


def test_comments_before_no_html_do_not_make_the_refusal_slow() -> None:
    assert refusal(lambda: seen(b"<!---->" * 70 + b"<a>"))


def test_empty_file_is_refused() -> None:
    assert refusal(lambda: seen(b"")) == "The file is empty."


@pytest.mark.parametrize(
    "data",
    [
        png_header(0, 5),
        png_header(5, 0),
        jpeg_header(0, 5),
        jpeg_header(5, 0),
        heif(properties(extents(0, 5))),
    ],
)
def test_image_without_area_is_damaged(data: bytes) -> None:
    assert refusal(lambda: seen(data)) == "The image is damaged: it has no picture."


# Files of every kind


def test_position_is_restored_and_the_start_is_read_whatever_it_was() -> None:
    for position in (0, 5, 10_000):
        file = io.BytesIO(picture("PNG"))
        file.seek(position)
        assert inspect(file).format == "png"
        assert file.tell() == position


def test_position_is_restored_after_a_refusal() -> None:
    for data in (b"hello world", picture("PNG")[:20], b"<svg"):
        file = io.BytesIO(data)
        file.seek(3)
        refusal(lambda file=file: inspect(file))
        assert file.tell() == 3


def test_every_kind_of_file_is_read(tmp_path: Any) -> None:
    data = picture("JPEG", size=(40, 30))
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    spooled = tempfile.SpooledTemporaryFile(max_size=100)  # noqa: SIM115
    temporary = TemporaryUploadedFile("photo.jpg", "image/jpeg", len(data), None)
    for file in (spooled, temporary):
        file.write(data)
    in_memory = InMemoryUploadedFile(io.BytesIO(data), "image", "photo.jpg", "image/jpeg", len(data), None)
    with path.open("rb") as buffered, path.open("rb", buffering=0) as raw:
        for file in (buffered, raw, File(buffered), ContentFile(data), spooled, temporary, in_memory):
            before = file.tell()
            assert inspect(file) == ImageInfo(format="jpeg", size=len(data), width=40, height=30)
            assert file.tell() == before
    spooled.close()
    temporary.close()


class OneByteAtATime(io.BytesIO):
    """A raw file that gives less than it was asked for, as sockets and pipes do."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(1, size or 0))


@pytest.mark.parametrize("name", SMALL_FILES)
def test_short_reads_are_put_together(name: str) -> None:
    assert inspect(OneByteAtATime(SMALL_FILES[name])) == inspect(io.BytesIO(SMALL_FILES[name]))


class Shrunken(io.BytesIO):
    """A file that another process cuts short once its length is known."""

    def read(self, size: int | None = -1, /) -> bytes:
        return b""


def test_file_that_shrinks_is_damaged() -> None:
    assert "it ends too early" in refusal(lambda: inspect(Shrunken(picture("PNG"))))


@pytest.mark.parametrize("closed", [io.BytesIO(b"x"), ContentFile(b"x"), SimpleUploadedFile("a.png", b"x")])
def test_closed_file_is_refused_as_closed(closed: Any) -> None:
    closed.close()
    if not closed.closed:
        closed.file.close()
    assert "The file is closed" in refusal(lambda: inspect(closed))


def test_pipe_is_refused_with_a_hint() -> None:
    reader, writer = os.pipe()
    os.close(writer)
    for buffering in (0, -1):
        with open(os.dup(reader), "rb", buffering=buffering) as pipe:
            assert "copy it to a temporary file" in refusal(lambda pipe=pipe: inspect(pipe))
    os.close(reader)


class Stream:
    """Only reads, as the body of an HTTP response does."""

    def read(self, size: int = -1) -> bytes:
        return b""


def test_stream_that_cannot_seek_is_refused_with_a_hint() -> None:
    assert "copy it to a temporary file" in refusal(lambda: inspect(Stream()))  # type: ignore[arg-type]


class BrokenDisk(io.BytesIO):
    def tell(self) -> int:
        raise OSError(errno.EIO, "Input/output error")


def test_trouble_with_the_disk_is_not_blamed_on_the_image() -> None:
    with pytest.raises(OSError, match="Input/output"):
        inspect(BrokenDisk())


def test_text_is_refused_with_a_hint(tmp_path: Any) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(picture("PNG"))
    with path.open(encoding="utf-8") as file:
        assert "open it in binary mode" in refusal(lambda: inspect(file))  # type: ignore[arg-type]
    assert "open it in binary mode" in refusal(lambda: inspect(ContentFile("text")))  # type: ignore[arg-type]


# The head of a file

HEAD = 64 * 1024


@pytest.mark.parametrize("name", SMALL_FILES)
def test_head_tells_what_the_whole_file_would(name: str) -> None:
    data = SMALL_FILES[name] + bytes(200_000)
    assert inspect_head(data[:HEAD], len(data)) == inspect(io.BytesIO(data))
    assert inspect_head(SMALL_FILES[name], len(SMALL_FILES[name])) == inspect(io.BytesIO(SMALL_FILES[name]))


@pytest.mark.parametrize("name", sorted(set(SMALL_FILES) - {"svg"}))
def test_head_of_any_length_that_shows_the_format_tells_the_size_or_nothing(name: str) -> None:
    data = SMALL_FILES[name]
    whole = inspect(io.BytesIO(data))
    for length in range(40, len(data)):
        found = inspect_head(data[:length], len(data))
        assert found is None or replace(found, frames=whole.frames) == whole


def test_frames_after_the_head_are_not_counted() -> None:
    data = gif(10, 10, 9_000)
    found = inspect_head(data[:HEAD], len(data))
    assert found is not None
    assert 4_000 < found.frames < 9_000


@pytest.mark.parametrize("cut", range(15))
def test_head_that_ends_within_a_frame_counts_the_frames_before(cut: int) -> None:
    data = gif(10, 10, 6)
    found = inspect_head(data[: len(data) - 2 - cut], len(data))
    assert found is not None
    assert found.frames == (6 if cut < 5 else 5)


@pytest.mark.parametrize(
    "data",
    [
        jpeg_header(640, 480, before=(b"\xff\xe2\xff\xff" + bytes(65533)) * 2),
        box(b"ftyp", b"heic\0\0\0\0") + box(b"mdat", bytes(HEAD)) + heif(properties(extents(9, 9))),
    ],
    ids=["jpeg with metadata", "heic with its data first"],
)
def test_header_behind_the_head_is_unknown_and_not_damaged(data: bytes) -> None:
    assert inspect_head(data[:HEAD], len(data)) is None
    assert inspect(io.BytesIO(data))


def test_heic_whose_metadata_are_cut_has_not_the_size_of_a_tile() -> None:
    data = heif(
        primary(49),
        properties(extents(512, 512), extents(4032, 3024), associations=associations((49, [2]))),
    )
    for length in range(32, len(data)):
        assert inspect_head(data[:length], len(data)) in (None, inspect(io.BytesIO(data)))
    assert "damaged" in refusal(lambda: inspect(io.BytesIO(data[:-1])))


@pytest.mark.parametrize("data", [b"", b"hello", png_header(0, 5)])
def test_complete_head_is_refused_as_the_file_would_be(data: bytes) -> None:
    assert refusal(lambda: inspect_head(data, len(data))) == refusal(lambda: inspect(io.BytesIO(data)))


def test_head_of_what_is_no_image_is_refused() -> None:
    assert "looks like plain text" in refusal(lambda: inspect_head(b"a" * HEAD, 10 * HEAD))


@pytest.mark.parametrize(
    ("name", "kind"), [("webp animation", "webp"), *((kind, kind) for kind in ("jpeg", "svg", "heic"))]
)
def test_format_is_detected_by_the_first_bytes_alone(name: str, kind: str) -> None:
    assert detect_format(SMALL_FILES[name][:200]) == kind
    assert detect_format(b"hello") is None
