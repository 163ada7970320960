"""Formats, dimensions and limits: real files, hostile files, and reducing what is too large."""

from __future__ import annotations

import base64
import errno
import io
import math
import os
import random
import struct
import subprocess
import sys
import tempfile
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.base import ContentFile, File
from django.core.files.images import get_image_dimensions
from django.core.files.uploadedfile import InMemoryUploadedFile, SimpleUploadedFile, TemporaryUploadedFile
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps, features

from cf_images import images
from cf_images.exceptions import ImageRejectedError
from cf_images.images import MAX_BYTES, ImageInfo, can_be_reduced, check_limits, fit_limits, inspect, validate

# Files


def picture(
    kind: str = "PNG", mode: str = "RGB", size: tuple[int, int] = (37, 23), *, frames: int = 1, **options: Any
) -> bytes:
    """A file made by Pillow: a gradient, so that up, down, left and right differ."""
    gradient = Image.linear_gradient("L").resize(size).convert("RGB").convert(mode)
    if frames > 1:
        colors = Image.new("RGB", size, "red"), Image.new("RGB", size, "blue")
        options |= {"save_all": True, "append_images": [colors[number % 2] for number in range(1, frames)]}
    out = io.BytesIO()
    gradient.save(out, kind, **options)
    return out.getvalue()


def noise(width: int, height: int, mode: str = "RGB", *, seed: int = 7) -> Image.Image:
    """A picture that no encoder makes small."""
    data = random.Random(seed).randbytes(width * height * len(mode))
    return Image.frombytes(mode, (width, height), data)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int) -> bytes:
    shape = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", shape)


def jpeg_header(width: int, height: int, *, before: bytes = b"") -> bytes:
    return b"\xff\xd8" + before + b"\xff\xc0" + struct.pack(">HBHHB", 17, 8, height, width, 3) + bytes(9)


def gif(width: int, height: int, frames: int = 1, *, end: bytes = b";") -> bytes:
    frame = b"," + struct.pack("<4HB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0) + frame * frames + end


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(
        kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for kind, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def webp_canvas(width: int, height: int, frames: int = 0) -> bytes:
    flags = b"\x02" if frames else b"\0"
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return riff((b"VP8X", flags + bytes(3) + canvas), *[(b"ANMF", bytes(17))] * frames)


def box(kind: bytes, *payload: bytes) -> bytes:
    body = b"".join(payload)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def extents(width: int, height: int) -> bytes:
    return box(b"ispe", struct.pack(">III", 0, width, height))


def heif(*meta: bytes, brands: bytes = b"heic\0\0\0\0mif1heic") -> bytes:
    return box(b"ftyp", brands) + box(b"meta", bytes(4), *meta)


def properties(*boxes: bytes, associations: bytes = b"") -> bytes:
    return box(b"iprp", box(b"ipco", *boxes), associations)


HEIC = base64.b85decode(  # 80 x 64 pixels, made by libheif
    "0000SW^{RQXk}?*00000ZE0pPXk}?*ZE0a<00042ZDn*}000000000XXk=`10000000000aA{+700000000000000000000B57=I"
    "V*mgE07O6l0RRC200001dH?|c00000000{R001LtX>Mi!000000RR916=`l}WdZ;I000310BCk&F#rGn01j|zbZr0t000010002i"
    "X>f9I0002DX>en20001ZXm(>m0RwOV0058x000009`FGC{rLC*01pFT0096PKmiN^|NjGU00093kN^M!000939=ZZRVE_RDD?$MQ"
    "18@KU0|1Z!00RI30{|YND1il*>PacCZUPz%2mk;B0LTCU0{{p>VgLaE2SfqEa<C#m0000JV{dG7ZewhC0096E00w{n000zeb8uw<"
    "00000002+`002M$000nhX?SS>000032nYxO000+haBX1#00000000310R({p0|Wp703&T=VRQfh02e3$uM1%M#=+PB`DJ_c6hY93"
    "?K0`3@&"
)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="120" height="80"/>'

SMALL_FILES = {
    "jpeg": picture("JPEG", size=(9, 7)),
    "png": picture("PNG", size=(9, 7)),
    "gif": picture("GIF", "P", size=(9, 7), frames=3),
    "webp": picture("WEBP", size=(9, 7)),
    "webp animation": picture("WEBP", size=(9, 7), frames=3),
    "heic": HEIC,
    "avif": picture("AVIF", size=(9, 7)),
    "svg": b'<?xml version="1.0"?><!-- A sun --><!DOCTYPE svg>\n' + SVG,
}


def seen(data: bytes) -> tuple[str, int | None, int | None, int]:
    """What inspect() says of these bytes, without their number."""
    info = inspect(io.BytesIO(data))
    assert info.size == len(data)
    return info.format, info.width, info.height, info.frames


def refusal(call: Callable[[], object]) -> str:
    """The message of the ImageRejectedError that this call raises."""
    with pytest.raises(ImageRejectedError) as caught:
        call()
    return str(caught.value)


def oriented(orientation: int) -> bytes:
    """EXIF that says so."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


EXIF = oriented(6)


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
    assert message == "The image is damaged: its first chunk is no WebP header."


# PNG


def test_png_whose_header_fails_its_checksum_is_damaged() -> None:
    data = bytearray(picture("PNG"))
    data[19] ^= 1
    assert "no PNG header" in refusal(lambda: seen(bytes(data)))


def test_png_that_begins_with_another_chunk_is_damaged() -> None:
    data = b"\x89PNG\r\n\x1a\n" + png_chunk(b"CgBI", bytes(13))
    assert "no PNG header" in refusal(lambda: seen(data))


# HEIC and AVIF


def test_heic_is_measured() -> None:
    assert seen(HEIC) == ("heic", 80, 64, 1)


def primary(item: int, *, version: int = 0) -> bytes:
    return box(b"pitm", bytes([version]), bytes(3), struct.pack(">I" if version else ">H", item))


def associations(*entries: tuple[int, list[int]], version: int = 0, wide: bool = False) -> bytes:
    body = struct.pack(">B2xBI", version, wide, len(entries))
    for item, numbers in entries:
        body += struct.pack(">IB" if version else ">HB", item, len(numbers))
        body += b"".join(struct.pack(">H" if wide else ">B", number) for number in numbers)
    return box(b"ipma", body)


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("wide", [False, True])
def test_heic_size_is_that_of_the_primary_item_not_of_tiles_or_previews(version: int, wide: bool) -> None:
    essential = 0x8000 if wide else 0x80
    links = associations((1, [1, 2]), (49, [essential | 3, 1, 4]), (50, [5]), version=version, wide=wide)
    data = heif(
        primary(49, version=version),
        properties(
            box(b"hvcC", bytes(20)), extents(512, 512), box(b"irot", b"\x01"), extents(4032, 3024),
            extents(9999, 9999), associations=links,
        ),
    )  # fmt: skip
    assert seen(data) == ("heic", 4032, 3024, 1)


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
    assert "possible" in refusal(lambda: seen(data))


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
    assert message.endswith("; JPEG, PNG, GIF, WebP, SVG and HEIC are possible.")


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


def test_pipe_is_refused_with_a_remedy() -> None:
    reader, writer = os.pipe()
    os.close(writer)
    for buffering in (0, -1):
        with open(os.dup(reader), "rb", buffering=buffering) as pipe:
            assert "copy it to a temporary file" in refusal(lambda pipe=pipe: inspect(pipe))
    os.close(reader)


class Stream:
    """Only reads, as the body of an HTTP answer does."""

    def read(self, size: int = -1) -> bytes:
        return b""


def test_stream_that_cannot_seek_is_refused_with_a_remedy() -> None:
    assert "copy it to a temporary file" in refusal(lambda: inspect(Stream()))  # type: ignore[arg-type]


class BrokenDisk(io.BytesIO):
    def tell(self) -> int:
        raise OSError(errno.EIO, "Input/output error")


def test_trouble_with_the_disk_is_not_blamed_on_the_image() -> None:
    with pytest.raises(OSError, match="Input/output"):
        inspect(BrokenDisk())


def test_text_is_refused_with_a_remedy(tmp_path: Any) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(picture("PNG"))
    with path.open(encoding="utf-8") as file:
        assert "open it in binary mode" in refusal(lambda: inspect(file))  # type: ignore[arg-type]
    assert "open it in binary mode" in refusal(lambda: inspect(ContentFile("text")))  # type: ignore[arg-type]


# Hostile files


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
def test_file_in_too_many_pieces_is_refused_before_it_costs_much(data: bytes) -> None:
    assert refusal(lambda: seen(data)) == "The image is damaged: it is in too many pieces."


def test_gif_of_the_largest_possible_size_is_counted() -> None:
    frame = b"," + struct.pack("<4HB", 0, 0, 9, 9, 0) + b"\x08" + (b"\xff" + bytes(255)) * 400 + b"\0"
    frames = (MAX_BYTES - 14) // len(frame)
    data = gif(9, 9, 0, end=b"") + frame * frames + b";"
    assert seen(data) == ("gif", 9, 9, frames)


class Counting(io.BytesIO):
    """Counts what is read."""

    consumed = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.consumed += len(data)
        return data


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
    file = Counting(data)
    inspect(file)  # compiles the patterns
    file.consumed = 0
    tracemalloc.start()
    try:
        assert inspect(file)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert file.consumed < 40_000
    assert peak < 32 * 1024


# Limits


def info(kind: str = "jpeg", width: int | None = 100, height: int | None = 100, **more: Any) -> ImageInfo:
    return ImageInfo(**{"format": kind, "size": 1000, "width": width, "height": height} | more)


@pytest.mark.parametrize(
    "accepted",
    [
        info(size=MAX_BYTES),
        info(width=12_000, height=8_333),
        info(width=10_000, height=10_000),
        info("webp", 16_383, 6_000),
        info("gif", 1_000, 1_000, frames=100),
        info("webp", 1_000, 1_000, frames=100),
        info("heic", 12_000, 8_000),
        info("svg", None, None),
        info("svg", 999_999, 999_999),
    ],
)
def test_image_at_its_limit_is_accepted(accepted: ImageInfo) -> None:
    check_limits(accepted)


AT_MOST = "at most 100 megapixels are possible."


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (info(size=MAX_BYTES + 1), "The image file is 10.1 MB; at most 10 MB are possible."),
        (info("svg", None, None, size=14_200_000), "The image file is 13.6 MB; at most 10 MB are possible."),
        (
            info("png", 13_000, 400),
            "The image is 13,000 x 400 pixels; at most 12,000 pixels a side are possible.",
        ),
        (
            info("heic", 3, 12_001),
            "The image is 3 x 12,001 pixels; at most 12,000 pixels a side are possible.",
        ),
        (
            info("jpeg", 10_001, 10_000),
            f"The image is 10,001 x 10,000 pixels (100.1 megapixels); {AT_MOST}",
        ),
        (
            info("webp", 16_000, 8_000),
            f"The image is 16,000 x 8,000 pixels (128.0 megapixels); {AT_MOST}",
        ),
        (
            info("gif", 999, 500, frames=201),
            f"The image is 201 frames of 999 x 500 pixels (100.4 megapixels); {AT_MOST}",
        ),
        (info("avif"), "AVIF images are not possible; save the image as JPEG, PNG or WebP."),
    ],
)
def test_refusal_says_the_limit_and_the_value(refused: ImageInfo, message: str) -> None:
    assert refusal(lambda: check_limits(refused)).replace("\N{MULTIPLICATION SIGN}", "x") == message


def test_avif_is_accepted_where_the_plan_allows_it() -> None:
    check_limits(info("avif", 16_000, 6_000), allow_avif=True)
    assert validate(io.BytesIO(SMALL_FILES["avif"]), allow_avif=True).format == "avif"
    assert "at most 100 megapixels" in refusal(
        lambda: check_limits(info("avif", 16_000, 9_000), allow_avif=True)
    )
    assert "AVIF images are not possible" in refusal(lambda: validate(io.BytesIO(SMALL_FILES["avif"])))


@pytest.mark.parametrize(
    ("data", "limit"),
    [
        (png_header(12_001, 1), "12,000 pixels a side"),
        (png_header(2**31 - 1, 2**31 - 1), "12,000 pixels a side"),
        (jpeg_header(65_535, 65_535), "12,000 pixels a side"),
        (jpeg_header(10_001, 10_000), "100 megapixels"),
        (gif(60_000, 1), "12,000 pixels a side"),
        (gif(1_000, 1_000, 101), "100 megapixels"),
        (webp_canvas(2**24, 2**8), "100 megapixels"),
        (webp_canvas(1_000, 1_000, 101), "100 megapixels"),
        (heif(properties(extents(20_000, 10))), "12,000 pixels a side"),
        (SVG + bytes(MAX_BYTES), "at most 10 MB"),
    ],
)
def test_file_over_a_limit_is_refused_by_its_header_alone(data: bytes, limit: str) -> None:
    assert limit in refusal(lambda: validate(io.BytesIO(data)))


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_animation_is_refused_by_the_sum_of_its_frames(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_AREA", 1_000_000)
    for frames, refused in ((55, False), (56, True)):
        data = picture(kind, size=(150, 120), frames=frames)
        if refused:
            assert "56 frames of 150" in refusal(lambda data=data: validate(io.BytesIO(data)))
        else:
            assert validate(io.BytesIO(data)).frames == 55


def test_apng_counts_as_one_image() -> None:
    assert validate(io.BytesIO(picture("PNG", frames=3))).frames == 1


def test_valid_image_is_validated_in_place() -> None:
    file = io.BytesIO(picture("JPEG"))
    file.seek(4)
    assert validate(file) == ImageInfo(format="jpeg", size=len(file.getvalue()), width=37, height=23)
    assert file.tell() == 4


# Reducing


def fitted(data: bytes, **options: Any) -> tuple[Image.Image, ImageInfo]:
    """The reduced image, decoded; checks what is true of each."""
    file = io.BytesIO(data)
    file.seek(2)
    reduced, found = fit_limits(file, **options)
    assert reduced is not file
    assert not file.closed
    assert file.tell() == 2
    assert reduced.tell() == 0
    assert inspect(reduced) == found
    check_limits(found)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # for the test's own decoding
        image = Image.open(reduced)
        image.load()
    assert image.size == (found.width, found.height)
    return image, found


@pytest.fixture
def profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> int:
    """As if 40 KB were the most: the same rules for less work."""
    monkeypatch.setattr(images, "MAX_BYTES", 40_000)
    return 40_000


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def with_red_corner(image: Image.Image) -> Image.Image:
    """Red in the stored top left quarter."""
    image.paste((255, 0, 0), (0, 0, image.width // 2, image.height // 2))
    return image


def is_red(image: Image.Image, x: float, y: float) -> bool:
    """Whether the surroundings of a point, given in parts of the image, are."""
    rgb = image.convert("RGB").resize((8, 8), Image.Resampling.BOX)
    red, green, blue = rgb.getpixel((int(x * 8), int(y * 8)))  # type: ignore[misc]
    return red > 200 and green < 60 and blue < 60


def test_file_within_the_limits_comes_back_untouched() -> None:
    file = io.BytesIO(picture("JPEG"))
    file.seek(3)
    same, found = fit_limits(file)
    assert same is file
    assert file.tell() == 3
    assert found == inspect(file)


def test_pillow_is_not_imported_for_what_needs_no_reducing() -> None:
    code = (
        "import io, sys; from cf_images import images;"
        f"images.fit_limits(io.BytesIO({SMALL_FILES['jpeg']!r}));"
        "assert not {'PIL', 'django', 'httpx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_photo_of_fourteen_megabytes_keeps_orientation_and_color_profile(profile: bytes) -> None:
    data = encoded(with_red_corner(noise(4_400, 2_900)), "JPEG", exif=EXIF, quality=98, icc_profile=profile)
    assert len(data) > 14 * 1000 * 1000
    image, found = fitted(data)
    assert (found.format, found.width, found.height) == ("jpeg", 2_900, 4_400)
    assert found.size <= MAX_BYTES
    assert image.info["icc_profile"] == profile
    assert image.getexif().get(0x0112, 1) == 1
    assert is_red(image, 0.9, 0.1)  # orientation 6: the stored top left is shown at the top right
    assert not is_red(image, 0.1, 0.1)


@pytest.mark.usefixtures("small_limit")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_reduced_image_looks_as_a_viewer_showed_the_original(kind: str, orientation: int) -> None:
    source = with_red_corner(noise(300, 200))
    data = encoded(source, kind, exif=oriented(orientation), quality=100)
    before = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    image, found = fitted(data)
    after = ImageOps.exif_transpose(image)
    assert found.format == kind.lower()
    assert math.isclose(after.width / after.height, before.width / before.height, rel_tol=0.02)
    for point in [(0.1, 0.1), (0.9, 0.1), (0.1, 0.9), (0.9, 0.9)]:
        assert is_red(after, *point) == is_red(before, *point)


def test_wide_png_with_alpha_is_brought_to_twelve_thousand_pixels() -> None:
    source = Image.new("RGBA", (13_000, 260), (0, 255, 0, 100))
    source.paste((0, 0, 0, 0), (0, 0, 6_500, 260))
    image, found = fitted(encoded(source, "PNG"))
    assert (found.format, found.width, found.height, image.mode) == ("png", 12_000, 240, "RGBA")
    assert image.getpixel((100, 100)) == (0, 0, 0, 0)
    assert image.getpixel((11_900, 100)) == (0, 255, 0, 100)


def test_jpeg_of_120_megapixels_is_brought_to_100() -> None:
    image, found = fitted(encoded(Image.new("L", (12_000, 10_000), 77), "JPEG", quality=20))
    assert (found.format, image.mode) == ("jpeg", "L")
    assert image.getpixel((5_000, 5_000)) == pytest.approx(77, abs=2)
    assert found.width is not None
    assert found.height is not None
    assert 99_900_000 < found.width * found.height <= 100_000_000
    assert math.isclose(found.width / found.height, 1.2, rel_tol=0.001)


def test_decoder_scales_a_much_larger_jpeg_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    data = picture("JPEG", size=(1_000, 500))
    resized = []

    def resize(image: Image.Image, *args: Any, **options: Any) -> Image.Image:
        resized.append(image.size)
        return original(image, *args, **options)

    original = Image.Image.resize
    monkeypatch.setattr(Image.Image, "resize", resize)
    monkeypatch.setattr(images, "MAX_SIDE", 100)
    _, found = fit_limits(io.BytesIO(data))
    assert (found.width, found.height) == (100, 50)
    assert resized == [(125, 63)]


@pytest.mark.parametrize(("width", "height", "shape"), [(40_000, 2, (12_000, 1)), (1, 30_000, (1, 12_000))])
def test_thin_image_keeps_at_least_one_pixel(width: int, height: int, shape: tuple[int, int]) -> None:
    assert fitted(picture("PNG", "L", (width, height)))[0].size == shape


@pytest.mark.usefixtures("small_limit")
@pytest.mark.parametrize(
    ("kind", "mode", "reduced_format", "reduced_mode"),
    [
        ("JPEG", "L", "jpeg", "L"),
        ("JPEG", "RGB", "jpeg", "RGB"),
        ("JPEG", "CMYK", "jpeg", "CMYK"),
        ("MPO", "RGB", "jpeg", "RGB"),
        ("PNG", "L", "png", "L"),
        ("PNG", "LA", "png", "LA"),
        ("PNG", "RGB", "png", "RGB"),
        ("PNG", "RGBA", "png", "RGBA"),
        ("WEBP", "RGB", "webp", "RGB"),
        ("WEBP", "RGBA", "webp", "RGBA"),
        ("AVIF", "RGB", "jpeg", "RGB"),
        ("AVIF", "RGBA", "png", "RGBA"),
    ],
)
def test_format_mode_and_profile_are_kept_where_possible(
    kind: str, mode: str, reduced_format: str, reduced_mode: str, profile: bytes
) -> None:
    size = (240, 200) if len(mode) > 2 else (400, 300)
    channels = [noise(*size, "L", seed=seed) for seed in range(1 if mode == "L" else len(mode))]
    more: dict[str, Any] = {"save_all": True, "append_images": [channels[0]]} if kind == "MPO" else {}
    data = encoded(Image.merge(mode, channels), kind, quality=100, icc_profile=profile, **more)
    image, found = fitted(data, allow_avif=True)
    assert (found.format, image.mode) == (reduced_format, reduced_mode)
    assert image.info["icc_profile"] == profile


@pytest.mark.usefixtures("small_limit")
@pytest.mark.parametrize(("mode", "reduced"), [("1", "L"), ("P", "RGB"), ("I;16", "I;16")])
def test_png_of_a_rare_mode_is_reduced_smoothly(mode: str, reduced: str) -> None:
    data = random.Random(1).randbytes(900 * 900 * 2)
    source = {
        "1": lambda: Image.frombytes("1", (900, 896), data[: 113 * 896]),
        "P": lambda: noise(300, 300, "L").convert("P"),
        "I;16": lambda: Image.frombytes("I;16", (300, 200), data[: 300 * 200 * 2]),
    }[mode]()
    assert fitted(encoded(source, "PNG"))[0].mode == reduced


@pytest.mark.usefixtures("small_limit")
@pytest.mark.parametrize(
    ("kind", "mode", "reduced_mode"),
    [("PNG", "P", "RGBA"), ("PNG", "L", "LA"), ("PNG", "RGB", "RGBA"), ("GIF", "P", "RGBA")],
)
def test_transparent_color_becomes_an_alpha_channel(kind: str, mode: str, reduced_mode: str) -> None:
    key: Any = (0, 0, 0) if mode == "RGB" else 0
    source = noise(300, 300, "P" if mode == "P" else mode).point(lambda value: value | 1)
    if mode == "P":
        source.putpalette(random.Random(5).randbytes(768))
    source.paste(key, (0, 0, 150, 150))
    image, found = fitted(encoded(source, kind, transparency=key))
    assert (found.format, image.mode) == ("png", reduced_mode)
    alpha = image.getchannel("A")
    assert alpha.getpixel((3, 3)) == 0
    assert alpha.getpixel((image.width - 9, image.height - 9)) == 255


@pytest.mark.usefixtures("small_limit")
def test_still_gif_becomes_a_png() -> None:
    assert fitted(encoded(noise(300, 300, "L"), "GIF"))[1].format == "png"


@pytest.mark.usefixtures("small_limit")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\0\0", EXIF.replace(b"\x01\x12\0\x03", b"\x01\x12\0\x02")]
)
def test_broken_exif_does_not_keep_an_image_from_being_reduced(kind: str, exif: bytes) -> None:
    image, _ = fitted(encoded(noise(300, 200), kind, exif=exif, quality=100))
    assert image.width > image.height


@pytest.mark.usefixtures("small_limit")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_other_metadata_is_dropped(kind: str) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker of cameras"
    data = encoded(noise(300, 200), kind, exif=exif.tobytes(), comment=b"Maker of cameras", quality=100)
    assert b"Maker of cameras" in data
    reduced, _ = fit_limits(io.BytesIO(data))
    assert b"Maker of cameras" not in reduced.read()


def test_avif_that_the_plan_does_not_allow_is_converted() -> None:
    _, found = fitted(SMALL_FILES["avif"])
    assert (found.format, found.width, found.height) == ("jpeg", 9, 7)
    file = io.BytesIO(SMALL_FILES["avif"])
    assert fit_limits(file, allow_avif=True)[0] is file


def test_heic_is_reduced_where_pillow_can_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def decoded(file: object, name: str) -> Image.Image:
        return Image.new("RGB", (80, 64), "red")

    assert not can_be_reduced(info("heic"))
    monkeypatch.setitem(Image.OPEN, "HEIF", (decoded, None))
    monkeypatch.setattr(images, "MAX_SIDE", 40)
    assert can_be_reduced(info("heic"))
    image, found = fitted(HEIC)
    assert (found.format, found.width, found.height) == ("jpeg", 40, 32)
    assert is_red(image, 0.5, 0.5)


@pytest.mark.parametrize(
    ("data", "limit"),
    [
        (gif(1_000, 1_000, 101), "101 frames"),
        (webp_canvas(1_000, 1_000, 101), "101 frames"),
        (SVG + bytes(MAX_BYTES), "at most 10 MB"),
        (heif(properties(extents(13_000, 10))), "12,000 pixels a side"),
        (png_header(20_000, 10_001), "12,000 pixels a side"),
        (jpeg_header(65_535, 65_535), "12,000 pixels a side"),
    ],
)
def test_what_cannot_be_mended_is_refused_by_its_limit(
    data: bytes, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "_reduce", lambda *_: pytest.fail("it was decoded"))
    file = io.BytesIO(data)
    assert limit in refusal(lambda: fit_limits(file))
    assert not can_be_reduced(inspect(file))


@pytest.mark.parametrize("kind", ["PNG", "AVIF"])
def test_animation_that_cloudflare_would_keep_is_not_reduced_to_one_frame(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "MAX_SIDE", 20)
    monkeypatch.setattr(images, "MAX_AREA", 400)
    refusal(lambda: fit_limits(io.BytesIO(picture(kind, frames=2)), allow_avif=True))


def test_damaged_image_over_the_limits_is_refused_with_both_reasons() -> None:
    data = picture("PNG", "L", (13_000, 20))
    file = io.BytesIO(data[: len(data) // 2])
    message = refusal(lambda: fit_limits(file))
    assert message.endswith(
        "12,000 pixels a side are possible. It is too large or too damaged to be reduced."
    )
    assert "13,000" in message
    assert file.tell() == 0


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_color_profile_that_is_too_large_by_itself_ends_in_a_refusal(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "MAX_BYTES", 3_000)
    data = picture(kind, icc_profile=random.Random(3).randbytes(4_000))
    assert "at most" in refusal(lambda: fit_limits(io.BytesIO(data)))


def test_pillow_can_read_and_write_what_these_tests_are_about() -> None:
    assert features.check("webp")
    assert features.check("avif")
