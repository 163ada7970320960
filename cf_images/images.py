"""What Cloudflare Images accepts: the format, dimensions and frames of a file, and the limits on them.

Nothing here decodes pixels, except :func:`fit_limits`, which is asked to. The headers are read by hand:
Pillow reads a WebP or AVIF file whole, and warns about the very images that this module is there to
refuse. A file that is damaged *after* its header passes.

The limits are those of Cloudflare's page "Limits and formats", hosted images.
"""

from __future__ import annotations

import codecs
import errno
import io
import math
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final

from cf_images.exceptions import ImageRejectedError

if TYPE_CHECKING:
    from PIL import Image

MAX_BYTES: Final = 10 * 1024 * 1024
MAX_SIDE: Final = 12_000  # pixels; WebP and AVIF are exempt
MAX_AREA: Final = 100_000_000  # pixels; of an animation, all frames together

MAX_REDUCIBLE_AREA: Final = 200_000_000  # pixels; the largest phone camera's, 800 MB decoded


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInfo:
    """What the header of an image says.

    ``format`` is ``"jpeg"``, ``"png"``, ``"gif"``, ``"webp"``, ``"svg"``, ``"heic"`` or ``"avif"``; ``size``
    is in bytes. ``width`` and ``height`` are the stored pixels, before any orientation is applied, as in
    Django's ``get_image_dimensions``; ``None`` for an SVG without a size in pixels. ``frames`` counts what
    Cloudflare treats as animation, GIF and WebP; it is 1 for everything else.
    """

    format: str
    size: int
    width: int | None
    height: int | None
    frames: int = 1

    @property
    def content_type(self) -> str:
        """The media type, as ``image/jpeg``."""
        return "image/svg+xml" if self.format == "svg" else f"image/{self.format}"

    @property
    def extension(self) -> str:
        """The usual file extension, without the dot."""
        return "jpg" if self.format == "jpeg" else self.format


def inspect(file: IO[bytes]) -> ImageInfo:
    """The format and dimensions of an image file, from its start; its position is restored.

    Raises ``ImageRejectedError`` for what is empty, closed, cannot seek, is no image or has a damaged header.
    Costs a few KiB of memory (64 KiB for an SVG), whatever the size of the file.
    """
    position, size = _measure(file)
    if not size:
        raise ImageRejectedError("The file is empty.")
    try:
        source = _Source(file, size)
        kind = _sniff(source)
        width, height, frames = _PARSERS[kind](source)
    finally:
        file.seek(position)
    if width == 0 or height == 0 or frames == 0:
        raise _damaged("it has no picture")
    return ImageInfo(format=kind, size=size, width=width, height=height, frames=frames)


def check_limits(info: ImageInfo, *, allow_avif: bool = False) -> None:
    """Refuse what Cloudflare would refuse, with an ``ImageRejectedError`` fit for an end user.

    ``allow_avif`` is for accounts on an Enterprise plan, the only ones that may upload AVIF.
    """
    if complaint := _complaint(info, allow_avif=allow_avif):
        raise ImageRejectedError(complaint)


def validate(file: IO[bytes], *, allow_avif: bool = False) -> ImageInfo:
    """Inspect a file and check its limits; raises ``ImageRejectedError``."""
    info = inspect(file)
    check_limits(info, allow_avif=allow_avif)
    return info


def can_be_reduced(info: ImageInfo) -> bool:
    """Whether :func:`fit_limits` would try its hand at this image, should it break a limit."""
    return (
        info.frames == 1
        and info.format != "svg"
        and _area(info) <= MAX_REDUCIBLE_AREA
        and _opener(info.format) is not None
    )


def fit_limits(file: IO[bytes], *, allow_avif: bool = False) -> tuple[IO[bytes], ImageInfo]:
    """The same file when it is within the limits, else a new, smaller one; with what it is.

    A reduced image keeps its format, color profile and transparency; its orientation is applied to the
    pixels; other metadata is dropped. HEIC and AVIF become JPEG (PNG when transparent), GIF becomes PNG.
    Decoding takes up to four bytes of memory a pixel. Raises ``ImageRejectedError`` for what cannot be
    mended: animations, SVG, more than ``MAX_REDUCIBLE_AREA``, a format Pillow cannot decode here, damage.
    """
    info = inspect(file)
    complaint = _complaint(info, allow_avif=allow_avif)
    if complaint is None:
        return file, info
    if not can_be_reduced(info):
        raise ImageRejectedError(complaint)
    position = file.tell()
    try:
        reduced = _reduce(file, info)
    except Exception as error:  # Pillow's plugins raise what they like
        raise ImageRejectedError(f"{complaint} It is too large or too damaged to be reduced.") from error
    finally:
        file.seek(position)
    if reduced is None:
        raise ImageRejectedError(complaint)
    return reduced, inspect(reduced)


# Limits


def _complaint(info: ImageInfo, *, allow_avif: bool) -> str | None:
    shape = f"{info.width or 0:,} \N{MULTIPLICATION SIGN} {info.height or 0:,} pixels"
    megapixels, most = _rounded_up(_area(info), 1_000_000), MAX_AREA // 1_000_000
    if info.format == "avif" and not allow_avif:
        return "AVIF images are not possible; save the image as JPEG, PNG or WebP."
    if info.size > MAX_BYTES:
        size, limit = _rounded_up(info.size, 1024 * 1024), MAX_BYTES // (1024 * 1024)
        return f"The image file is {size} MB; at most {limit} MB are possible."
    if info.format == "svg":
        return None  # has no pixels
    if info.format not in ("webp", "avif") and max(info.width or 0, info.height or 0) > MAX_SIDE:
        return f"The image is {shape}; at most {MAX_SIDE:,} pixels a side are possible."
    if _area(info) <= MAX_AREA:
        return None
    if info.frames > 1:
        shape = f"{info.frames:,} frames of {shape}"
    return f"The image is {shape} ({megapixels} megapixels); at most {most} megapixels are possible."


def _area(info: ImageInfo) -> int:
    return (info.width or 0) * (info.height or 0) * info.frames


def _rounded_up(amount: int, unit: int) -> str:
    """To one decimal, upwards: what is over a limit never looks like the limit."""
    return f"{math.ceil(amount * 10 / unit) / 10:,.1f}"


# Reading


def _measure(file: IO[bytes]) -> tuple[int, int]:
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


# Reducing, with Pillow

_EXIF_ORIENTATION: Final = 0x0112
_UPRIGHT: Final = {  # what undoes each orientation, by Pillow's names
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
_MAX_ATTEMPTS: Final = 20


def _opener(kind: str) -> Any:
    """Pillow's decoder for a format, if it has one; HEIC needs ``pillow_heif.register_heif_opener()``.

    Not ``Image.open``, which warns about the images that are to be reduced, and refuses larger ones.
    """
    from PIL import Image

    Image.init()
    opener, _ = Image.OPEN.get("HEIF" if kind == "heic" else kind.upper(), (None, None))
    return opener


def _reduce(file: IO[bytes], info: ImageInfo) -> io.BytesIO | None:
    from PIL.Image import Transpose

    file.seek(0)
    image: Image.Image = _opener(info.format)(file, "")
    if info.format != "jpeg" and getattr(image, "is_animated", False):
        return None  # an APNG or AVIF sequence; the further pictures of a JPEG are previews and gain maps
    size = _fitting(*image.size)
    image.draft(None, size)  # a JPEG can be halved while it is decoded
    image.load()
    profile, orientation = image.info.get("icc_profile"), _orientation(image)
    image = _resized(_resampleable(image), size)
    image.info = {}  # what Pillow would write by itself, as the comment of a JPEG
    if orientation in _UPRIGHT:
        image = image.transpose(Transpose[_UPRIGHT[orientation]])
    return _encode(image, _target(info, image), profile)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except (SyntaxError, ValueError, TypeError, LookupError, OSError, struct.error):
        return 1  # viewers ignore broken EXIF, too


def _fitting(width: int, height: int) -> tuple[int, int]:
    """The largest size of this shape within the limits on side and area."""
    longest = max(width, height, MAX_SIDE)
    width, height = max(1, width * MAX_SIDE // longest), max(1, height * MAX_SIDE // longest)
    scale = min(1.0, math.sqrt(MAX_AREA / (width * height)))
    return max(1, int(width * scale)), max(1, int(height * scale))


def _resampleable(image: Image.Image) -> Image.Image:
    """In a mode that can be resampled, without losing transparency or what the color profile is about."""
    if image.mode in ("RGBA", "LA", "CMYK", "I;16"):
        return image
    gray = image.mode in ("1", "L")
    if image.has_transparency_data:
        return image.convert("LA" if gray else "RGBA")
    return image.convert("L" if gray else "RGB")


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    from PIL.Image import Resampling

    return image if image.size == size else image.resize(size, Resampling.LANCZOS)


def _target(info: ImageInfo, image: Image.Image) -> str:
    if info.format in ("jpeg", "png", "webp"):
        return info.format.upper()
    return "PNG" if info.format == "gif" or image.has_transparency_data else "JPEG"


def _encode(image: Image.Image, target: str, profile: bytes | None) -> io.BytesIO | None:
    """Within ``MAX_BYTES``: first with less quality, then with fewer pixels."""
    for attempt in range(_MAX_ATTEMPTS):
        encoded = io.BytesIO()
        image.save(encoded, target, quality=80 if attempt else 90, icc_profile=profile)
        size = encoded.getbuffer().nbytes
        if size <= MAX_BYTES:
            encoded.seek(0)
            return encoded
        if attempt or target == "PNG":  # which has no quality to lower
            scale = min(0.9, math.sqrt(MAX_BYTES / size))
            image = _resized(image, (max(1, int(image.width * scale)), max(1, int(image.height * scale))))
    return None  # nothing but a color profile that is too large by itself
