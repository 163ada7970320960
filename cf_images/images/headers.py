"""Format, dimensions and frames from an image's header, read by hand.

Pillow reads a WebP or AVIF file whole, and warns about the very images that are to be refused here. Seeks
past data instead of reading it: a few KiB of memory, whatever the size of the file.
"""

from __future__ import annotations

import codecs
import errno
import math
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any, Final

from cf_images.exceptions import ImageRejectedError


def read_header(file: IO[bytes], size: int) -> tuple[str, int | None, int | None, int]:
    """Format, width, height and frames of a file of ``size`` bytes; as in ``ImageInfo``.

    Raises ``ImageRejectedError`` for what is no image or has a damaged header. Leaves the file anywhere.
    """
    source = _Source(file, size)
    kind = _sniff(source)
    width, height, frames = _PARSERS[kind](source)
    if width == 0 or height == 0 or frames == 0:
        raise _damaged("it has no picture")
    return kind, width, height, frames


def measure(file: IO[bytes]) -> tuple[int, int]:
    """The position and the length of a file."""
    try:
        position = file.tell()
        file.seek(0, os.SEEK_END)
        size = file.tell()
        file.seek(position)
    except (AttributeError, OSError) as error:
        # io.UnsupportedOperation has no errno; anything else (a missing file) is not about the image
        if getattr(error, "errno", None) not in (None, errno.ESPIPE):
            raise
        raise ImageRejectedError("The file cannot be rewound; copy it to a temporary file first.") from error
    except ValueError as error:
        raise ImageRejectedError("The file is closed; open it before it is checked or saved.") from error
    return position, size


class _Source:
    """Random access to a file through a small window; every loop over it comes to an end."""

    _WINDOW = 4096  # bytes
    _MAX_READS = 200_000  # a fraction of a second; a usual GIF of 10 MB takes 45,000

    def __init__(self, file: IO[bytes], size: int) -> None:
        self.size = size
        self._file = file
        self._start = 0
        self._window = b""
        self._reads = 0

    def at(self, offset: int, length: int) -> bytes:
        """Exactly so many bytes from there."""
        self._reads += 1
        if self._reads > self._MAX_READS:
            raise _damaged("it is in too many pieces")
        skip = offset - self._start
        if skip < 0 or skip + length > len(self._window):
            self._load(offset, length)
            skip = 0
        return self._window[skip : skip + length]

    def unpack(self, layout: str, offset: int) -> tuple[Any, ...]:
        """The numbers that lie there, in :mod:`struct`'s notation."""
        return struct.unpack(layout, self.at(offset, struct.calcsize(layout)))

    def _load(self, offset: int, length: int) -> None:
        if offset + length > self.size:
            raise _damaged("it ends too early")
        self._file.seek(offset)
        window = b""
        while len(window) < length:  # a raw file may give less than it was asked for
            chunk = self._read(max(length, self._WINDOW) - len(window))
            if not chunk:
                raise _damaged("it ends too early")
            window += chunk
        self._start, self._window = offset, window

    def _read(self, length: int) -> bytes:
        try:
            chunk = self._file.read(length)
        except UnicodeDecodeError:
            chunk = None
        if not isinstance(chunk, bytes):
            raise ImageRejectedError("The file is open in text mode; open it in binary mode.")
        return chunk


def _damaged(reason: str) -> ImageRejectedError:
    return ImageRejectedError(f"The image is damaged: {reason}.")


# Formats

_SIGNATURES: Final = (
    (rb"\xff\xd8\xff", "jpeg"),
    (rb"\x89PNG\r\n\x1a\n", "png"),
    (rb"GIF8[79]a", "gif"),
    (rb"RIFF....WEBP", "webp"),
)
_LOOKALIKES: Final = (
    (rb"II[*+]\0|MM\0[*+]", "a TIFF image or a raw photo"),
    (rb".{4}ftypcrx ", "a raw photo"),
    (rb"BM.{4}\0{4}", "a BMP image"),
    (rb"\0\0\x01\0", "an ICO image"),
    (rb"8BPS", "a Photoshop document"),
    (rb"\0{3}\x0cJXL |\xff\x0a", "a JPEG XL image"),
    (rb"\0{3}\x0cjP {2}|\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (rb"%PDF-", "a PDF document"),
    (rb"%!PS", "a PostScript document"),
    (rb".{4}ftyp|\x1a\x45\xdf\xa3|RIFF....AVI ", "a video"),
    (rb"PK\x03\x04|\x1f\x8b", "a compressed archive"),
    (rb"(\xef\xbb\xbf)?(\s|<!--.*?-->)*+<(?i:!doctype html|html|head|body)\b", "an HTML page"),
    (rb"(\xef\xbb\xbf)?\s*<\?xml\b", "an XML document"),
    (rb"[\t\n\f\r\x20-\x7e\x80-\xff]+\Z", "plain text"),
)
_AVIF_BRANDS: Final = {b"avif", b"avis"}
_HEIC_BRANDS: Final = set(b"heic heix heim heis hevc hevx hevm hevs mif1 msf1".split())


def _sniff(source: _Source) -> str:
    head = source.at(0, min(source.size, 512))
    found = _match(_SIGNATURES, head) or _brand(head)
    if found:
        return found
    if _svg_root(source) is not None:
        return "svg"
    likeness = _match(_LOOKALIKES, head)
    looks = f"looks like {likeness}" if likeness else "is in no known image format"
    raise ImageRejectedError(f"The file {looks}; JPEG, PNG, GIF, WebP, SVG and HEIC are possible.")


def _match(table: tuple[tuple[bytes, str], ...], head: bytes) -> str | None:
    return next((name for pattern, name in table if re.match(pattern, head, re.DOTALL)), None)


def _brand(head: bytes) -> str | None:
    """HEIC or AVIF by the brands of the file type box (ISO/IEC 23008-12, AV1 Image File Format)."""
    if head[4:8] != b"ftyp":
        return None
    end = int.from_bytes(head[:4], "big")
    brands = {head[start : start + 4] for start in range(8, min(end, len(head)), 4)}
    if brands & _AVIF_BRANDS:  # first: an AVIF file may carry HEIF's general brand "mif1", too
        return "avif"
    return "heic" if brands & _HEIC_BRANDS else None


# Each parser returns width, height and frames.

_JPEG_BARE: Final = {0x00, 0x01, *range(0xD0, 0xD9)}  # without a length: stuffing, TEM, RSTn, SOI
_JPEG_FRAMES: Final = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOFn; the three are DHT, JPG and DAC
_JPEG_EOI, _JPEG_SOS = 0xD9, 0xDA


def _jpeg(source: _Source) -> tuple[int, int, int]:
    """From the frame header, behind segments of any length (ITU-T T.81, B.1.1.2 and B.2.2)."""
    offset = 2
    while True:
        lead, marker = source.at(offset, 2)
        if lead != 0xFF or marker == 0xFF:  # junk, which decoders skip, or a fill byte
            offset += 1
        elif marker in _JPEG_BARE:
            offset += 2
        elif marker in (_JPEG_EOI, _JPEG_SOS):
            raise _damaged("it has no frame header")
        elif marker in _JPEG_FRAMES:
            height, width = source.unpack(">HH", offset + 5)
            return width, height, 1
        else:
            offset += 2 + source.unpack(">H", offset + 2)[0]


def _png(source: _Source) -> tuple[int, int, int]:
    """From IHDR, the first chunk (PNG specification, 11.2.1). To Cloudflare an APNG is a still image."""
    length, kind, width, height, checksum = source.unpack(">I4sII5xI", 8)
    if (length, kind) != (13, b"IHDR") or checksum != zlib.crc32(source.at(12, 17)):
        raise _damaged("its first chunk is no PNG header")
    return width, height, 1


def _gif(source: _Source) -> tuple[int, int, int]:
    """From the logical screen, enlarged to the first frame as viewers do; counts frames (GIF89a, 17-25)."""
    width, height, flags = source.unpack("<HHB", 6)
    offset = 13 + _gif_palette(flags)
    frames = 0
    while offset < source.size and (kind := source.at(offset, 1)) != b";":
        if kind == b",":
            left, top, frame_width, frame_height, flags = source.unpack("<4HB", offset + 1)
            if not frames:
                width, height = max(width, left + frame_width), max(height, top + frame_height)
            frames += 1
            offset = _after_gif_blocks(source, offset + 11 + _gif_palette(flags))
        elif kind == b"!":
            offset = _after_gif_blocks(source, offset + 2)
        else:
            offset += 1  # junk, which decoders skip
    return width, height, frames


def _gif_palette(flags: int) -> int:
    """The size in bytes of the color table that these flags announce."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _after_gif_blocks(source: _Source, offset: int) -> int:
    while offset < source.size and (length := source.at(offset, 1)[0]):
        offset += 1 + length
    return offset + 1


def _webp(source: _Source) -> tuple[int, int, int]:
    """From the first chunk, whichever of three it is (RFC 9649, 2.5 to 2.7; RFC 6386, 9.1)."""
    chunk = source.at(12, 4)
    if chunk == b"VP8X":
        flags = source.at(20, 1)[0]
        width, height = (1 + int.from_bytes(source.at(offset, 3), "little") for offset in (24, 27))
        return width, height, _webp_frames(source) if flags & 0x02 else 1
    if chunk == b"VP8L" and source.at(20, 1) == b"\x2f":
        (bits,) = source.unpack("<I", 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF), 1
    if chunk == b"VP8 " and source.at(23, 3) == b"\x9d\x01\x2a":
        width, height = source.unpack("<HH", 26)
        return width & 0x3FFF, height & 0x3FFF, 1
    raise _damaged("its first chunk is no WebP header")


def _webp_frames(source: _Source) -> int:
    frames, offset = 0, 12
    while offset + 8 <= source.size:
        chunk, length = source.unpack("<4sI", offset)
        frames += chunk == b"ANMF"
        offset += 8 + length + length % 2
    return frames


_Span = tuple[int, int]  # the first byte and the one after the last


def _heif(source: _Source) -> tuple[int, int, int]:
    """From the extents of the primary item, else the largest ones (ISO/IEC 23008-12, 6.5.3)."""
    start, end = _box(source, b"meta", (0, source.size))
    meta = min(start + 4, end), end  # a "full box": a version and flags come first
    properties = _box(source, b"iprp", meta)
    primary = _primary_properties(source, meta, properties)
    largest = 0, 0
    for number, (kind, (start, _)) in enumerate(_boxes(source, _box(source, b"ipco", properties)), 1):
        if kind == b"ispe":
            width, height = source.unpack(">II", start + 4)
            if number in primary:
                return width, height, 1
            largest = max(largest, (width, height), key=math.prod)
    return *largest, 1


def _primary_properties(source: _Source, meta: _Span, properties: _Span) -> set[int]:
    """The numbers of the properties that the primary item has; none if the file does not say."""
    (start, end), (offset, associations_end) = _box(source, b"pitm", meta), _box(source, b"ipma", properties)
    if start == end or offset == associations_end:
        return set()
    (primary,) = source.unpack(">4xI" if source.at(start, 1)[0] else ">4xH", start)
    version, flags, entries = source.unpack(">B2xBI", offset)
    offset += 8
    for _ in range(entries):
        item, count = source.unpack(">IB" if version else ">HB", offset)
        offset += 5 if version else 3
        layout = f">{count}{'H' if flags & 1 else 'B'}"
        if item == primary:  # the highest bit says "essential"
            return {number & (0x7FFF if flags & 1 else 0x7F) for number in source.unpack(layout, offset)}
        offset += struct.calcsize(layout)
    return set()


def _box(source: _Source, kind: bytes, parent: _Span) -> _Span:
    """The payload of the first such box inside another; an empty span if there is none."""
    return next((payload for found, payload in _boxes(source, parent) if found == kind), (0, 0))


def _boxes(source: _Source, parent: _Span) -> Iterator[tuple[bytes, _Span]]:
    """The type and payload of each box inside another (ISO/IEC 14496-12, 4.2)."""
    offset, end = parent
    while offset + 8 <= end:
        size, kind = source.unpack(">I4s", offset)
        start = offset + 8
        if size == 1:
            (size,) = source.unpack(">Q", start)
            start += 8
        after = offset + size if size else end
        if after < start:
            raise _damaged("it has a box smaller than its header")
        yield kind, (start, min(after, end))
        offset = after


_SVG_HEAD: Final = 64 * 1024
_SVG: Final = re.compile(
    rb"""
    (?: \s | <\?.*?\?> | <!--.*?-->
      | <!DOCTYPE \s+ (?:[\w.-]+:)? svg \b (?: [^\["'>] | "[^"]*" | '[^']*' | \[.*?\]\s*(?=>) )*+ > )*+
    < (?:[\w.-]+:)? svg ( (?: \s+ [^\s=>"'/]+ \s*=\s* (?: "[^"]*" | '[^']*' ) )*+ ) \s* /?>
    """,
    re.DOTALL | re.VERBOSE,
)
_SVG_ATTRIBUTE: Final = re.compile(rb"""([^\s=]+)\s*=\s*("[^"]*"|'[^']*')""")
_SVG_PIXELS: Final = re.compile(rb"""["']\s*(\d{1,6}(?:\.\d*)?|\.\d+)(?:px)?\s*["']""")


def _svg(source: _Source) -> tuple[int | None, int | None, int]:
    """From the attributes of the root element, in pixels; both or none.

    No XML parser: what a document declares before its root cannot expand.
    """
    attributes = dict(_SVG_ATTRIBUTE.findall(_svg_root(source) or b""))
    width, height = (_svg_pixels(attributes.get(name, b"")) for name in (b"width", b"height"))
    return (width, height, 1) if width and height else (None, None, 1)


def _svg_pixels(value: bytes) -> int:
    length = _SVG_PIXELS.fullmatch(value)
    return round(float(length[1])) if length else 0


def _svg_root(source: _Source) -> bytes | None:
    """The attributes of the root element, if it is ``<svg>``."""
    head = source.at(0, min(source.size, _SVG_HEAD))
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        head = head.decode("utf-16", "ignore").encode()
    root = _SVG.match(head.removeprefix(codecs.BOM_UTF8))  # other encodings agree with ASCII
    return root[1] if root else None


_PARSERS: Final[dict[str, Callable[[_Source], tuple[int | None, int | None, int]]]] = {
    "jpeg": _jpeg,
    "png": _png,
    "gif": _gif,
    "webp": _webp,
    "svg": _svg,
    "heic": _heif,
    "avif": _heif,
}
