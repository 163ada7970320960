"""Formats, dimensions and frames of real and unusual files."""

from __future__ import annotations

import io
import struct
from typing import Any

import pytest
from django.core.files.images import get_image_dimensions
from django.core.files.uploadedfile import SimpleUploadedFile

from cf_images.images import inspect
from tests.images.builders import (
    EXIF,
    HEIC,
    SMALL_FILES,
    SVG,
    associations,
    box,
    extents,
    gif,
    heif,
    jpeg_header,
    noise,
    picture,
    png_chunk,
    primary,
    properties,
    refusal,
    riff,
    seen,
)

# Valid images


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("JPEG", "RGB", {}),
        ("JPEG", "L", {}),
        ("JPEG", "CMYK", {}),
        ("JPEG", "RGB", {"progressive": True, "comment": b"hello", "exif": EXIF}),
        ("MPO", "RGB", {"frames": 2}),
        ("PNG", "1", {}),
        ("PNG", "L", {}),
        ("PNG", "LA", {}),
        ("PNG", "P", {}),
        ("PNG", "RGB", {"frames": 3}),
        ("PNG", "RGBA", {"icc_profile": b"x" * 3000}),
        ("PNG", "I;16", {}),
        ("GIF", "L", {}),
        ("GIF", "P", {"transparency": 0, "comment": b"hello" * 100}),
        ("WEBP", "RGB", {}),
        ("WEBP", "RGB", {"lossless": True}),
        ("WEBP", "RGBA", {}),
        ("WEBP", "RGBA", {"lossless": True}),
        ("WEBP", "RGB", {"exif": EXIF}),
        ("AVIF", "RGB", {}),
        ("AVIF", "RGBA", {}),
        ("AVIF", "RGB", {"frames": 2}),
    ],
)
@pytest.mark.parametrize("size", [(1, 1), (37, 23), (3, 300), (1023, 2)])
def test_agrees_with_pillow_and_django_about_format_and_size(
    kind: str, mode: str, options: dict[str, Any], size: tuple[int, int]
) -> None:
    data = picture(kind, mode, size, **options)
    expected = "jpeg" if kind == "MPO" else kind.lower()
    assert seen(data) == (expected, *size, 1)
    assert get_image_dimensions(io.BytesIO(data)) == size


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
@pytest.mark.parametrize("frames", [2, 3, 40])
def test_counts_the_frames_of_an_animation(kind: str, frames: int) -> None:
    data = picture(kind, "RGB", frames=frames, duration=40)
    assert seen(data) == (kind.lower(), 37, 23, frames)


def test_animated_gif_with_palettes_and_extensions_is_walked_to_its_end() -> None:
    frames = [noise(50, 40, seed=seed) for seed in range(4)]
    out = io.BytesIO()
    frames[0].save(
        out, "GIF", save_all=True, append_images=frames[1:], loop=0, comment=b"c" * 600, disposal=2
    )
    assert seen(out.getvalue()) == ("gif", 50, 40, 4)


def test_size_is_the_stored_one_whatever_the_orientation() -> None:
    assert seen(picture("JPEG", size=(40, 30), exif=EXIF)) == ("jpeg", 40, 30, 1)


@pytest.mark.parametrize(
    ("kind", "content_type", "extension"),
    [
        ("jpeg", "image/jpeg", "jpg"),
        ("png", "image/png", "png"),
        ("gif", "image/gif", "gif"),
        ("webp", "image/webp", "webp"),
        ("svg", "image/svg+xml", "svg"),
        ("heic", "image/heic", "heic"),
        ("avif", "image/avif", "avif"),
    ],
)
def test_content_type_and_extension_follow_the_bytes(kind: str, content_type: str, extension: str) -> None:
    info = inspect(io.BytesIO(SMALL_FILES[kind]))
    assert (info.format, info.content_type, info.extension) == (kind, content_type, extension)


def test_png_named_jpg_is_a_png() -> None:
    assert inspect(SimpleUploadedFile("photo.jpg", picture("PNG"), "image/jpeg")).format == "png"


def test_truncated_image_with_an_intact_header_passes() -> None:
    data = picture("JPEG", size=(400, 300))
    assert seen(data[: len(data) // 2]) == ("jpeg", 400, 300, 1)


# JPEG


def test_jpeg_size_is_found_behind_megabytes_of_metadata() -> None:
    segments = b"".join(b"\xff\xe2\xff\xff" + bytes(65533) for _ in range(60))
    assert seen(jpeg_header(640, 480, before=segments)) == ("jpeg", 640, 480, 1)


def test_jpeg_thumbnail_in_the_metadata_is_not_the_image() -> None:
    thumbnail = jpeg_header(160, 120)
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail
    assert seen(jpeg_header(640, 480, before=segment)) == ("jpeg", 640, 480, 1)


@pytest.mark.parametrize(
    "before",
    [
        b"\xff\xff\xff",
        b"\xff\x00",
        b"\xff\x01",
        b"\xff\xd0",
        b"\xff\xd8",
        b"\xff\xc4\x00\x03\x00",
        b"\xff\xfe\x00\x00",
    ],
)
def test_jpeg_fill_bytes_and_bare_markers_are_skipped(before: bytes) -> None:
    assert seen(jpeg_header(640, 480, before=before)) == ("jpeg", 640, 480, 1)


def test_jpeg_junk_between_segments_is_skipped() -> None:
    data = jpeg_header(640, 480, before=b"\xff\xe0\x00\x04ab" + b"junk" * 5)
    assert seen(data) == ("jpeg", 640, 480, 1)


@pytest.mark.parametrize("before", [b"\xff\xd9", b"\xff\xda\x00\x02"])
def test_jpeg_without_a_frame_header_is_damaged(before: bytes) -> None:
    message = refusal(lambda: seen(jpeg_header(640, 480, before=before)))
    assert message == "The image is damaged: it has no frame header."


# GIF


def test_gif_size_includes_a_first_frame_larger_than_the_screen() -> None:
    frame = b"," + struct.pack("<4HB", 5, 6, 70, 60, 0) + b"\x02\x02\x44\x01\x00"
    for screen, size in (((10, 100), (75, 100)), ((100, 10), (100, 66))):
        data = b"GIF89a" + struct.pack("<HHBBB", *screen, 0, 0, 0) + frame + b";"
        assert seen(data) == ("gif", *size, 1)
        assert get_image_dimensions(io.BytesIO(data)) == size


def test_gif_size_ignores_later_frames_beyond_the_screen() -> None:
    frame = b"," + struct.pack("<4HB", 0, 0, 70, 60, 0) + b"\x02\x02\x44\x01\x00"
    assert seen(gif(10, 10, end=frame)) == ("gif", 10, 10, 2)


@pytest.mark.parametrize(
    "end", [b"", b";", b"\0\0;", b";,trailing", b"!\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00;"]
)
def test_gif_frames_are_counted_however_it_ends(end: bytes) -> None:
    assert seen(gif(10, 10, 3, end=end)) == ("gif", 10, 10, 3)


def test_gif_without_a_frame_is_damaged() -> None:
    assert refusal(lambda: seen(gif(10, 10, 0))) == "The image is damaged: it has no picture."


# WebP


def test_webp_frames_behind_odd_chunks_are_counted() -> None:
    canvas = (99).to_bytes(3, "little") + (49).to_bytes(3, "little")
    chunks = [
        (b"ICCP", bytes(7)),
        (b"ANIM", bytes(6)),
        (b"ANMF", bytes(9)),
        (b"ANMF", bytes(8)),
        (b"EXIF", b"x"),
    ]
    data = riff((b"VP8X", b"\x02" + bytes(3) + canvas), *chunks)
    assert seen(data) == ("webp", 100, 50, 2)
    assert seen(data + b"ANMF") == ("webp", 100, 50, 2)


@pytest.mark.parametrize(
    "chunk", [(b"VP8 ", bytes(20)), (b"VP8L", bytes(20)), (b"ICCP", bytes(20)), (b"ANMF", bytes(20))]
)
def test_webp_with_another_first_chunk_is_damaged(chunk: tuple[bytes, bytes]) -> None:
    message = refusal(lambda: seen(riff(chunk)))
    assert message == "The image is damaged: its first chunk is not a WebP header."


# PNG


def test_png_whose_header_fails_its_checksum_is_damaged() -> None:
    data = bytearray(picture("PNG"))
    data[19] ^= 1
    assert "not a PNG header" in refusal(lambda: seen(bytes(data)))


def test_png_that_begins_with_another_chunk_is_damaged() -> None:
    data = b"\x89PNG\r\n\x1a\n" + png_chunk(b"CgBI", bytes(13))
    assert "not a PNG header" in refusal(lambda: seen(data))


# HEIC and AVIF


def test_heic_is_measured() -> None:
    assert seen(HEIC) == ("heic", 80, 64, 1)


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("wide", [False, True])
def test_heic_size_is_that_of_the_primary_item_not_of_tiles_or_previews(version: int, wide: bool) -> None:
    """Upright, as decoders return it: the item is turned by a quarter."""
    essential = 0x8000 if wide else 0x80
    links = associations((1, [1, 2]), (49, [essential | 3, 1, 4]), (50, [5]), version=version, wide=wide)
    data = heif(
        primary(49, version=version),
        properties(
            box(b"hvcC", bytes(20)), extents(512, 512), box(b"irot", b"\x01"), extents(4032, 3024),
            extents(9999, 9999), associations=links,
        ),
    )  # fmt: skip
    assert seen(data) == ("heic", 3024, 4032, 1)


@pytest.mark.parametrize(
    ("aperture", "size"),
    [
        ((119, 1, 79, 1), (119, 79)),
        ((238, 2, 158, 2), (119, 79)),
        ((10, 1, 10, 1), (128, 80)),  # a crop: the limits are about what is decoded
        ((129, 1, 81, 1), (128, 80)),
        ((119, 0, 79, 0), (128, 80)),
        ((0, 1, 0, 1), (128, 80)),
    ],
)
def test_heic_size_is_without_the_padding_of_the_encoder(
    aperture: tuple[int, ...], size: tuple[int, int]
) -> None:
    clean = box(b"clap", struct.pack(">8I", *aperture, 0, 1, 0, 1))
    links = associations((1, [1, 2]))
    data = heif(primary(1), properties(extents(128, 80), clean, associations=links))
    assert seen(data) == ("heic", *size, 1)


@pytest.mark.parametrize(
    "meta",
    [
        [properties(extents(3500, 3400), extents(4032, 3024), extents(320, 240))],
        [primary(1), properties(extents(512, 512), extents(4032, 3024))],
        [properties(extents(512, 512), extents(4032, 3024), associations=associations((1, [1])))],
        [primary(9), properties(extents(512, 512), extents(4032, 3024), associations=associations((1, [1])))],
    ],
)
def test_heic_size_is_the_largest_when_no_primary_item_is_known(meta: list[bytes]) -> None:
    assert seen(heif(*meta)) == ("heic", 4032, 3024, 1)


@pytest.mark.parametrize(
    ("brands", "kind"),
    [
        (b"heic\0\0\0\0", "heic"),
        (b"mif1\0\0\0\0mif1heic", "heic"),
        (b"mif1\0\0\0\0mif1avifmiaf", "avif"),
        (b"avis\0\0\0\0avifavismsf1", "avif"),
    ],
)
def test_heic_and_avif_are_told_apart_by_their_brands(brands: bytes, kind: str) -> None:
    assert seen(heif(properties(extents(30, 20)), brands=brands)) == (kind, 30, 20, 1)


def test_brands_end_where_the_file_type_box_ends() -> None:
    data = box(b"ftyp", b"isom\0\0\0\0mp42") + b"avif" * 20
    assert "looks like a video" in refusal(lambda: seen(data))


def test_heic_boxes_far_apart_and_in_any_order_are_found() -> None:
    far = box(b"iloc", bytes(9_000))
    ordered = box(b"hvcC", bytes(9_000)), extents(512, 512), extents(30, 20)
    data = heif(primary(7), far, properties(*ordered, associations=far + associations((7, [3]))))
    assert seen(data) == ("heic", 30, 20, 1)


def test_heic_with_64_bit_and_open_ended_boxes_is_read() -> None:
    meta = bytes(4) + properties(extents(30, 20))
    start = box(b"ftyp", b"heic\0\0\0\0") + struct.pack(">I4sQ", 1, b"free", 21) + b"12345"
    assert seen(start + struct.pack(">I4s", 0, b"meta") + meta) == ("heic", 30, 20, 1)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (box(b"ftyp", b"heic\0\0\0\0"), "it has no picture"),
        (heif(), "it has no picture"),
        (heif(box(b"iprp")), "it has no picture"),
        (heif(properties(box(b"hvcC"))), "it has no picture"),
        (box(b"ftyp", b"heic\0\0\0\0") + struct.pack(">I4s", 0, b"meta"), "it has no picture"),
        (box(b"ftyp", b"heic\0\0\0\0") + b"\0\0\0\x07meta", "it has a box smaller than its header"),
        (
            box(b"ftyp", b"heic\0\0\0\0") + struct.pack(">I4sQ", 1, b"free", 3),
            "it has a box smaller than its header",
        ),
        (
            heif(primary(1), properties(extents(9, 9), associations=box(b"ipma", b"\0" * 4 + b"\xff" * 4))),
            "ends too",
        ),
    ],
)
def test_heic_without_readable_extents_is_damaged(data: bytes, reason: str) -> None:
    message = refusal(lambda: seen(data))
    assert message.startswith("The image is damaged: ")
    assert reason in message


def test_heic_with_a_box_beyond_any_seekable_offset_is_refused() -> None:
    data = box(b"ftyp", b"heic\0\0\0\0") + struct.pack(">I4sQ", 1, b"free", 2**64 - 1)
    assert "no picture" in refusal(lambda: seen(data))


# SVG


@pytest.mark.parametrize(
    "data",
    [
        SVG,
        b"\xef\xbb\xbf" + SVG,
        b" \r\n\t" + SVG,
        SVG.decode().encode("utf-16"),
        b"\xfe\xff" + SVG.decode().encode("utf-16-be"),
        b'<?xml version="1.0" encoding="ISO-8859-1"?>\n<!-- caf\xe9 <svg> -->\n' + SVG,
        b'<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">'
        + SVG,
        b'<!DOCTYPE svg [\n<!ENTITY ns "http://www.w3.org/2000/svg">\n<!ENTITY a ">">\n] >\n<!-- x -->' + SVG,
        b'<svg:svg xmlns:svg="http://www.w3.org/2000/svg" width = "120px" height=\'80.4\' ><g/></svg:svg>',
        b"<svg\n  height=' 80 '\n  width='119.6'\n  style='a > b'\n></svg>",
        b"<svg data-width='1' title=\" width='7' \" width='120' height='80'>",
        SVG + b"\0" * 200_000,
    ],
)
def test_svg_is_recognized_by_its_root_and_measured_by_its_attributes(data: bytes) -> None:
    assert seen(data) == ("svg", 120, 80, 1)


@pytest.mark.parametrize(
    "attributes",
    [
        "",
        'viewBox="0 0 24 24"',
        'width="100%" height="100%"',
        'width="10mm" height="80"',
        'width="120"',
        'width="0" height="80"',
        'width="-5" height="80"',
        'width="1e3" height="80"',
        'width="99999999999999999999" height="80"',
        'width="0.2" height="80"',
        'width="&w;" height="80"',
    ],
)
def test_svg_without_a_size_in_pixels_has_none(attributes: str) -> None:
    assert seen(f"<svg {attributes}></svg>".encode()) == ("svg", None, None, 1)


@pytest.mark.parametrize(
    "data",
    [
        b"<svg",
        b'<svg width="1',
        b"<svgx/>",
        b"<g><svg/></g>",
        b"text <svg/>",
        b"<!-- <svg/> -->",
        b"<!-- never closed <svg/>",
        b'<!DOCTYPE svg [ <!ENTITY a "b"> <svg/>',
        b"<SVG/>",
        b"<!-- " + b" " * 70_000 + b"--><svg/>",
    ],
)
def test_what_only_mentions_svg_is_no_svg(data: bytes) -> None:
    assert "supported" in refusal(lambda: seen(data))


@pytest.mark.parametrize(
    "data",
    [
        b"<!---->" * 9_000,
        b"<!DOCTYPE" + b"[]" * 30_000,
        b"<!DOCTYPE [" + b"] " * 30_000,
        b'<!DOCTYPE "' * 6_000,
        b"<?" * 30_000,
        b" " * 65_000,
        b"<svg" + b" " * 65_000,
        b"<svg " + b"a" * 65_000,
        b"<svg" + b" a=''" * 13_000,
        b"<svg a='" + b"'a='" * 16_000,
    ],
)
def test_hostile_markup_is_refused_in_linear_time(data: bytes) -> None:
    assert refusal(lambda: seen(data))  # a backtracking pattern would run into the suite's time limit
