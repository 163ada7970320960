"""Dimensions and frames from the header of each format, read by hand.

Pillow's plugin classes are no substitute. They read WebP and AVIF files whole and HEIC not at all. Of a JPEG
they keep all metadata (300 MB for 10 MB of empty segments) and warn about broken EXIF; of a PNG they
decompress each color profile and text before the pixels (11 s for 5 MB); of a GIF they keep comments (450 MB
for 10 MB), and warn about or refuse large first frames. Warnings cannot be caught in one thread alone. For an
ordinary JPEG or PNG they take three to five times as long.

These readers seek past data instead of reading it: a few KiB of memory, whatever the size of the file.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any, Final

from cf_images.exceptions import ImageRejectedError
from cf_images.images.svg import SVG_HEAD, svg_size
from cf_images.sentences import Sentence


class DamagedHeaderError(ImageRejectedError):
    """A header that cannot be read; it may be intact in a longer part of the file."""


class TooManyPartsError(DamagedHeaderError):
    """More blocks, chunks or boxes than a file within the limits has; read no further."""


_CUT_OFF: Final = Sentence("The image is damaged: it ends too early.")


class Source:
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
        """Return exactly ``length`` bytes; raise ``DamagedHeaderError`` if the file ends before."""
        self._reads += 1
        if self._reads > self._MAX_READS:
            raise TooManyPartsError.saying(
                Sentence("The image has too many parts (frames, blocks or chunks).")
            )
        skip = offset - self._start
        if skip < 0 or skip + length > len(self._window):
            self._load(offset, length)
            skip = 0
        return self._window[skip : skip + length]

    def unpack(self, layout: str, offset: int) -> tuple[Any, ...]:
        """Return the numbers at an offset, in :mod:`struct`'s notation."""
        return struct.unpack(layout, self.at(offset, struct.calcsize(layout)))

    def _load(self, offset: int, length: int) -> None:
        if offset + length > self.size:
            raise DamagedHeaderError.saying(_CUT_OFF)
        self._file.seek(offset)
        window = b""
        while len(window) < length:  # a raw file may give less than it was asked for
            try:
                chunk = self._file.read(max(length, self._WINDOW) - len(window))
            except UnicodeDecodeError:
                chunk = None
            if not isinstance(chunk, bytes):
                raise ImageRejectedError("The file is open in text mode; open it in binary mode.")
            if not chunk:
                raise DamagedHeaderError.saying(_CUT_OFF)
            window += chunk
        self._start, self._window = offset, window


_Header = tuple[int | None, int | None, int]  # width, height, frames
_MAX_SIDE: Final = 2**31 - 1  # pixels, of a PNG (its specification, 11.2.1); also what databases hold


def read_header(source: Source, kind: str) -> _Header:
    """Return width, height and frames, as in ``ImageInfo``; raise ``DamagedHeaderError``."""
    header = _READERS[kind](source)
    if 0 in header:
        raise DamagedHeaderError.saying(Sentence("The image is damaged: it has no picture."))
    if max(header[0] or 0, header[1] or 0) > _MAX_SIDE:
        raise DamagedHeaderError.saying(Sentence("The image is damaged: no side can be as long as it says."))
    return header


_JPEG_BARE: Final = {0x00, 0x01, *range(0xD0, 0xD9)}  # without a length: stuffing, TEM, RSTn, SOI
_JPEG_FRAMES: Final = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOFn; the three are DHT, JPG and DAC
_JPEG_EOI, _JPEG_SOS = 0xD9, 0xDA


def _jpeg(source: Source) -> _Header:
    """From the frame header, behind segments of any length (ITU-T T.81, B.1.1.2 and B.2.2)."""
    offset = 2
    while True:
        lead, marker = source.at(offset, 2)
        if lead != 0xFF or marker == 0xFF:  # junk, which decoders skip, or a fill byte
            offset += 1
        elif marker in _JPEG_BARE:
            offset += 2
        elif marker in (_JPEG_EOI, _JPEG_SOS):
            raise DamagedHeaderError.saying(Sentence("The image is damaged: it has no frame header."))
        elif marker in _JPEG_FRAMES:
            height, width = source.unpack(">HH", offset + 5)
            return width, height, 1
        else:
            offset += 2 + source.unpack(">H", offset + 2)[0]


def _png(source: Source) -> _Header:
    """From IHDR, the first chunk (PNG specification, 11.2.1). To Cloudflare an APNG is a still image."""
    length, kind, width, height, checksum = source.unpack(">I4sII5xI", 8)
    if (length, kind) != (13, b"IHDR") or checksum != zlib.crc32(source.at(12, 17)):
        raise DamagedHeaderError.saying(
            Sentence("The image is damaged: its first chunk is not a PNG header.")
        )
    return width, height, 1


def _gif(source: Source) -> _Header:
    """From the logical screen, enlarged to the first frame as viewers do; counts frames."""
    width, height = source.unpack("<HH", 6)
    frames = 0
    for right, bottom in gif_frames(source):
        if not frames:
            width, height = max(width, right), max(height, bottom)
        frames += 1
    return width, height, frames


def gif_frames(source: Source) -> Iterator[tuple[int, int]]:
    """Yield the right and the bottom edge of each frame on the logical screen (GIF89a, 17-25)."""
    offset = 13 + _gif_palette(source.at(10, 1)[0])
    while offset < source.size and (kind := source.at(offset, 1)) != b";":
        if kind == b"!":
            offset = _after_gif_blocks(source, offset + 2)
        elif kind != b",":
            offset += 1  # junk, which decoders skip
        elif offset + 10 > source.size:
            break  # the file was cut here
        else:
            left, top, width, height, flags = source.unpack("<4HB", offset + 1)
            yield left + width, top + height
            offset = _after_gif_blocks(source, offset + 11 + _gif_palette(flags))


def _gif_palette(flags: int) -> int:
    """Return the size in bytes of the color table that these flags announce."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _after_gif_blocks(source: Source, offset: int) -> int:
    while offset < source.size and (length := source.at(offset, 1)[0]):
        offset += 1 + length
    return offset + 1


def _webp(source: Source) -> _Header:
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
    raise DamagedHeaderError.saying(Sentence("The image is damaged: its first chunk is not a WebP header."))


def _webp_frames(source: Source) -> int:
    frames, offset = 0, 12
    while offset + 8 <= source.size:
        chunk, length = source.unpack("<4sI", offset)
        frames += chunk == b"ANMF"
        offset += 8 + length + length % 2
    return frames


_HEIF_BLOCK: Final = 64  # pixels; the largest coding tree block of HEVC (ITU-T H.265, 7.4.3.2.1)
_Span = tuple[int, int]  # the first byte and the one after the last


def _heic(source: Source) -> _Header:
    """As the picture is turned: decoders do that, since HEIC has no other orientation (6.5.10)."""
    width, height, turns = _heif_size(source)
    return (height, width, 1) if turns % 2 else (width, height, 1)


def _avif(source: Source) -> _Header:
    """As the pixels are stored: Pillow gives the turns as an orientation in EXIF."""
    width, height, _ = _heif_size(source)
    return width, height, 1


def _heif_size(source: Source) -> tuple[int, int, int]:
    """Return the extents of the primary item, else the largest ones, and its quarter turns.

    ISO/IEC 23008-12, 6.5.3 and 6.5.10.
    """
    start, end = _box(source, b"meta", (0, source.size))
    meta = min(start + 4, end), end  # a "full box": a version and flags come first
    properties = _box(source, b"iprp", meta)
    primary = _primary_properties(source, meta, properties)
    sizes: list[tuple[int, int]] = []
    of_primary: dict[bytes, int] = {}
    for number, (kind, (start, _)) in enumerate(_boxes(source, _box(source, b"ipco", properties)), 1):
        if kind == b"ispe":
            sizes.append(source.unpack(">II", start + 4))
        if number in primary:
            of_primary.setdefault(kind, start)
    if b"ispe" not in of_primary:
        return *max(sizes, key=math.prod, default=(0, 0)), 0
    width, height = source.unpack(">II", of_primary[b"ispe"] + 4)
    if b"clap" in of_primary:
        width, height = _without_padding(width, height, source.unpack(">4I", of_primary[b"clap"]))
    turns = source.at(of_primary[b"irot"], 1)[0] & 3 if b"irot" in of_primary else 0
    return width, height, turns


def _without_padding(width: int, height: int, aperture: tuple[int, ...]) -> tuple[int, int]:
    """Return the clean aperture where it only removes what an encoder has added to fill its blocks.

    A smaller one would hide from the limits what a decoder has to decode.
    """
    across, across_by, down, down_by = aperture
    if not (across_by and down_by):
        return width, height
    clean = across // across_by, down // down_by
    is_padding = 0 <= width - clean[0] < _HEIF_BLOCK and 0 <= height - clean[1] < _HEIF_BLOCK
    return clean if is_padding else (width, height)


def _primary_properties(source: Source, meta: _Span, properties: _Span) -> set[int]:
    """Return the numbers of the primary item's properties; none if the file does not say."""
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


def _box(source: Source, kind: bytes, parent: _Span) -> _Span:
    """Return the payload of the first such box inside another; an empty span if there is none."""
    return next((payload for found, payload in _boxes(source, parent) if found == kind), (0, 0))


def _boxes(source: Source, parent: _Span) -> Iterator[tuple[bytes, _Span]]:
    """Yield the type and payload of each box inside another (ISO/IEC 14496-12, 4.2)."""
    offset, end = parent
    while offset + 8 <= end:
        size, kind = source.unpack(">I4s", offset)
        start = offset + 8
        if size == 1:
            (size,) = source.unpack(">Q", start)
            start += 8
        after = offset + size if size else end
        if after < start:
            raise DamagedHeaderError.saying(
                Sentence("The image is damaged: it has a box smaller than its header.")
            )
        yield kind, (start, after)
        offset = after


def _svg(source: Source) -> _Header:
    return *svg_size(source.at(0, min(source.size, SVG_HEAD))), 1


_READERS: Final[dict[str, Callable[[Source], _Header]]] = {
    "jpeg": _jpeg,
    "png": _png,
    "gif": _gif,
    "webp": _webp,
    "svg": _svg,
    "heic": _heic,
    "avif": _avif,
}
