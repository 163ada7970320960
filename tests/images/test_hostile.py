"""Files that are broken, or built to cost time and memory."""

from __future__ import annotations

import io
import math
import struct
import tracemalloc
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cf_images.exceptions import ImageRejectedError
from cf_images.images import MAX_BYTES, fit_limits, inspect, validate
from tests.images.builders import (
    HEIC,
    SMALL_FILES,
    SVG,
    box,
    extents,
    gif,
    heif,
    jpeg_header,
    picture,
    png_chunk,
    png_header,
    primary,
    properties,
    refusal,
    seen,
    webp_canvas,
)


@pytest.mark.parametrize("name", SMALL_FILES)
def test_file_cut_anywhere_is_refused_or_keeps_its_size(name: str) -> None:
    whole = seen(SMALL_FILES[name])
    accepted = 0
    for length in range(len(SMALL_FILES[name])):
        try:
            kind, width, height, frames = seen(SMALL_FILES[name][:length])
        except ImageRejectedError:
            continue
        accepted += 1
        assert (kind, width, height) == whole[:3]
        assert 1 <= frames <= whole[3]
    assert accepted > 0 or name == "svg"  # whose root is its last element


@pytest.mark.parametrize("name", SMALL_FILES)
def test_file_with_any_byte_broken_is_refused_or_read(name: str) -> None:
    data = SMALL_FILES[name]
    for position in range(min(len(data), 600)):
        for value in (0, 0xFF, data[position] ^ 0x40):
            check_robust(data[:position] + bytes([value]) + data[position + 1 :])


def check_robust(data: bytes) -> None:
    file = io.BytesIO(data)
    file.seek(1)
    try:
        info = inspect(file)
    except ImageRejectedError:
        pass
    else:
        assert info.size == len(data)
        assert info.frames >= 1
        assert (info.width is None) == (info.height is None)
        assert info.width is None or min(info.width, info.height or 0) >= 1
    assert file.tell() == 1


MAGIC = st.sampled_from(
    [
        b"",
        b"\xff\xd8\xff",
        png_header(9, 9),
        b"GIF89a",
        b"RIFF\0\0\0\0WEBP",
        b"RIFF\0\0\0\0WEBPVP8X",
        b"<svg ",
        b"<!--",
        heif(primary(1))[:-22],
        heif()[:24],
        b"\xff\xfe<\0",
        b"<!DOCTYPE svg [",
    ]
)


@given(MAGIC, st.binary(max_size=400))
@example(b"\xff\xd8\xff", b"\xff" * 9)
def test_no_bytes_raise_anything_but_a_refusal(magic: bytes, rest: bytes) -> None:
    check_robust(magic + rest)


@given(st.text(alphabet="<>!?-[]\"'= svgDOCTYPEwidth0.px/:&;\n", max_size=200))
def test_no_markup_raises_anything_but_a_refusal(text: str) -> None:
    check_robust(b"<svg" + text.encode())
    check_robust(b"<" + text.encode())


@given(st.sampled_from(sorted(SMALL_FILES)), st.data())
def test_no_mutation_of_a_real_file_raises_anything_but_a_refusal(name: str, data: st.DataObject) -> None:
    mutated = bytearray(SMALL_FILES[name])
    for _ in range(data.draw(st.integers(1, 6))):
        start = data.draw(st.integers(0, min(len(mutated), 500)))
        stop = start + data.draw(st.integers(0, 8))
        mutated[start:stop] = data.draw(st.binary(max_size=8))
    check_robust(bytes(mutated))


@pytest.mark.parametrize(
    "data",
    [
        gif(10, 10)[:-1] + b"!\xfe" + b"\x01x" * 1_000_000,
        gif(10, 10)[:-1] + b"\0" * 1_000_000,
        b"\xff\xd8\xff\xe0\0\x02" + b"\0" * 1_000_000,
        webp_canvas(10, 10, 1) + (b"JUNK" + bytes(4)) * 1_000_000,
        heif(properties(b"\0\0\0\x08free" * 1_000_000)),
    ],
    ids=["gif blocks", "gif junk", "jpeg junk", "webp chunks", "heic boxes"],
)
def test_file_with_too_many_parts_is_refused_before_it_costs_much(data: bytes) -> None:
    assert refusal(lambda: seen(data)) == "The image has too many parts (frames, blocks or chunks)."


def test_gif_of_the_largest_possible_size_is_counted() -> None:
    frame = b"," + struct.pack("<4HB", 0, 0, 9, 9, 0) + b"\x08" + (b"\xff" + bytes(255)) * 400 + b"\0"
    frames = (MAX_BYTES - 14) // len(frame)
    data = gif(9, 9, 0, end=b"") + frame * frames + b";"
    assert seen(data) == ("gif", 9, 9, frames)


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_animation_far_over_the_byte_limit_is_too_large_and_not_damaged(kind: str) -> None:
    if kind == "gif":
        frame = b"," + struct.pack("<4HB", 0, 0, 9, 9, 0) + b"\x08" + (b"\xff" + bytes(255)) * 400 + b"\0"
        data = gif(9, 9, 0, end=frame * 558 + b";")
    else:
        data = webp_canvas(9, 9, 1) + (b"ANMF" + struct.pack("<I", 240) + bytes(240)) * 240_000
    assert refusal(lambda: validate(io.BytesIO(data))) == (
        f"The image file is too large ({math.ceil(len(data) * 10 / 2**20) / 10:g} MB; the limit is 10 MB)."
    )
    assert "too large" in refusal(lambda: fit_limits(io.BytesIO(data)))


class Counting(io.BytesIO):
    """Counts what is read."""

    consumed = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.consumed += len(data)
        return data


def cost(data: bytes) -> tuple[int, int]:
    """The bytes that inspect() reads of a file, and the most memory that it holds meanwhile."""
    inspect(io.BytesIO(SVG))  # compiles the patterns
    file = Counting(data)
    tracemalloc.start()
    try:
        inspect(file)
        return file.consumed, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "data",
    [
        picture("PNG") + bytes(MAX_BYTES),
        picture("JPEG") + bytes(MAX_BYTES),
        jpeg_header(9, 9, before=(b"\xff\xe2\xff\xff" + bytes(65533)) * 3),
        webp_canvas(9, 9, 1)[:-26]
        + b"ICCP"
        + struct.pack("<I", MAX_BYTES)
        + bytes(MAX_BYTES)
        + webp_canvas(9, 9, 1)[-26:],
        HEIC + box(b"mdat", bytes(MAX_BYTES)),
        box(b"ftyp", b"heic\0\0\0\0") + box(b"mdat", bytes(MAX_BYTES)) + heif(properties(extents(9, 9))),
    ],
    ids=["png", "jpeg", "jpeg with metadata", "webp animation", "heic", "heic with its data first"],
)
def test_inspecting_ten_megabytes_reads_and_holds_a_few_kilobytes(data: bytes) -> None:
    consumed, peak = cost(data)
    assert consumed < 40_000
    assert peak < 32 * 1024


def segment(marker: int, data: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data


BOMB = zlib.compress(bytes(2**20 - 100), 9)  # 1 MB in 1 KB; Pillow decompresses up to that much a chunk


@pytest.mark.parametrize(
    "data",
    [
        png_header(9, 9) + png_chunk(b"iCCP", b"k\0\0" + BOMB) * 9_000,
        png_header(9, 9) + png_chunk(b"zTXt", b"k\0\0" + BOMB) * 9_000,
        png_header(9, 9) + png_chunk(b"iTXt", b"k\0\1\0\0\0" + BOMB) * 9_000,
        png_header(9, 9) + png_chunk(b"prVt", b"") * 800_000,
        png_header(9, 9) + png_chunk(b"eXIf", bytes(MAX_BYTES)),
        png_header(9, 9) + png_chunk(b"acTL", bytes(8)),
        jpeg_header(9, 9, before=segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(9))),
        gif(10, 10) + b"!\xfe" + b"\xffcomment" * 1_000_000,
        gif(0, 0)[:-16] + b"," + struct.pack("<4HB", 0, 0, 60_000, 60_000, 0) + b"\x02\0;",
    ],
    ids=[
        "png profile bombs", "png text bombs", "png unicode text bombs", "png chunks", "png exif", "png apng",
        "jpeg broken exif", "gif comment after the end", "gif large first frame",
    ],
)  # fmt: skip
def test_what_pillow_would_decompress_keep_or_warn_about_is_not_read(data: bytes) -> None:
    consumed, peak = cost(data)
    assert consumed < 10_000
    assert peak < 32 * 1024


@pytest.mark.parametrize(
    ("before", "parts"),
    [
        (segment(0xE1, b"Exif\0\0II*\0" + bytes(65_000)), 160),
        (segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(65_000)), 160),
        (segment(0xDB, (b"\0" + bytes(64)) * 1_008), 150),
        (segment(0xFE, b"x" * 65_000), 160),
    ],
    ids=["exif", "profile", "quantization tables", "comments"],
)
def test_jpeg_metadata_costs_a_window_for_each_segment_and_is_not_kept(before: bytes, parts: int) -> None:
    consumed, peak = cost(jpeg_header(9, 9, before=before * parts))
    assert consumed <= (parts + 3) * 4096
    assert peak < 32 * 1024


@pytest.mark.parametrize(
    "data",
    [
        jpeg_header(9, 9, before=segment(0xE5, b"x") * 60_000),
        gif(9, 9)[:-1] + b"!\xfe" + (b"\xff" + b"c" * 255) * 40_000 + b"\0;",
    ],
    ids=["jpeg", "gif"],
)
def test_many_small_parts_are_read_once_and_not_kept(data: bytes) -> None:
    consumed, peak = cost(data)
    assert consumed < 1.01 * len(data) + 8192
    assert peak < 32 * 1024


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8" + segment(0xE5, b"") * 2_500_000,
        gif(9, 9, 690_000),
        gif(9, 9)[:-1] + b"!\xfe" + b"\x01x" * 5_000_000,
    ],
    ids=["jpeg segments", "gif frames", "gif blocks"],
)
def test_reads_end_however_many_parts_a_file_has(data: bytes) -> None:
    file = Counting(data)
    assert "too many parts" in refusal(lambda: inspect(file))
    assert file.consumed < len(data) / 3
