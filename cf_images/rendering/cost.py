"""What a rendering will cost, estimated from the head of the file before any pixel is decoded.

Each rate is about the slowest that was measured for its format (noise, gradients and photos at several
qualities; Pillow 13 on one core of an x86-64 server), and ``_MARGIN`` is added for slower machines. Not
measured are HEIC, color profiles with tables, and unusual AVIF: their rates are guesses on the high side.
``benchmarks/pending_view.py`` compares estimates with what renderings take.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from cf_images.exceptions import RenderingError
from cf_images.rendering.encoding import DEFAULT_QUALITY
from cf_images.rendering.geometry import Plan, Size
from cf_images.rendering.sources import AVIF, GIF, HEIC, JPEG, PNG, WEBP, Source, too_many_parts
from cf_images.variants import Transform

_MARGIN = 1.25
# Milliseconds of CPU: for a megapixel of the canvas and a megabyte of the file.
_DECODING = {AVIF: (20.0, 72.0), GIF: (14.0, 0.0), HEIC: (60.0, 100.0), WEBP: (7.0, 57.0)}
_BASELINE, _PROGRESSIVE, _DRAFTED = (0.6, 9.0), (5.0, 28.0), 3.5  # JPEG; the last for a decoded megapixel
_SCAN, _USUAL_SCANS = 0.8, 10  # of a progressive JPEG, for a megapixel and each scan above the usual number
_PNG_SAMPLE = 6.5  # for a million bytes of decoded samples, which is what the filters work on
_ALPHA, _ICC, _CMYK, _TURN, _BORDER = 10.0, 16.0, 18.0, 3.0, 4.0  # for a decoded megapixel
_SHRINKING, _RESULT = 13.0, 15.0  # Lanczos, for a megapixel of the source and of the result
_EFFECTS = {
    "blur": 45.0,
    "sharpen": 57.0,
    "contrast": 4.0,
    "brightness": 4.0,
    "gamma": 4.0,
    "saturation": 8.0,
}  # for a megapixel of the result
_COMPOSITION = 10.0
# For a megapixel of the result, the second rate with an alpha channel.
_ENCODING = {
    AVIF: (150.0, 280.0),
    GIF: (1100.0, 1100.0),
    JPEG: (45.0, 60.0),
    PNG: (240.0, 280.0),
    WEBP: (155.0, 280.0),
}
_LOSSLESS = {AVIF: (200.0, 410.0), JPEG: (60.0, 60.0), WEBP: (11_000.0, 11_000.0)}  # quality 96 to 100
_PALETTE = 1150.0  # PNG8
_PLAIN = Transform()
# Pillow reads these in Python, 3 µs each, and 2 ms for each compressed text.
_MAX_SEGMENTS, _MAX_CHUNKS, _MAX_COMPRESSED_TEXTS = 10_000, 10_000, 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What the head of a file says about the work of decoding it."""

    scans: int = 1
    is_progressive: bool = False
    sample_bytes: float = 3  # of a pixel, as a PNG stores it


def read_head(data: bytes, kind: str) -> Head:
    """Read the head; raise ``RenderingError`` for more parts than any useful file has."""
    if kind == JPEG:
        return _jpeg(data)
    if kind == PNG:
        return _png(data)
    return Head()


def seconds(
    source: Source, head: Head, size: int, planned: Plan, transform: Transform, kind: str, *, frames: int = 1
) -> float:
    """Return the seconds of CPU, rather too many, for a file of ``size`` bytes and a result of ``kind``."""
    alpha = source.image.has_transparency_data
    area = _megapixels(source.size)
    decoded = area if planned.kept or transform.trim else _megapixels(_draft(source, planned))
    milliseconds = _decoding(source.kind, head, area, decoded, size / 1e6 / frames)
    milliseconds += decoded * sum(_conversions(source, transform, alpha=alpha))
    result = _megapixels(planned.output)
    milliseconds += (decoded * _SHRINKING + result * _RESULT) * (1.5 if alpha else 1)
    milliseconds += result * sum(_effects(transform))
    milliseconds += result * _encoding(kind, transform)[alpha]
    return frames * milliseconds * _MARGIN / 1000


def _decoding(kind: str, head: Head, area: float, decoded: float, megabytes: float) -> float:
    if kind == JPEG:
        pixels, file = _PROGRESSIVE if head.is_progressive else _BASELINE
        scans = _SCAN * max(0, head.scans - _USUAL_SCANS)
        return area * (pixels + scans) + megabytes * file + decoded * _DRAFTED
    if kind == PNG:
        return area * head.sample_bytes * _PNG_SAMPLE
    pixels, file = _DECODING[kind]
    return area * pixels + megabytes * file


def _draft(source: Source, planned: Plan) -> Size:
    """Return the size that a JPEG is decoded at: a half, a quarter or an eighth."""
    width, height = source.size
    if source.kind != JPEG:
        return width, height
    factor = min(width / planned.scaled[0], height / planned.scaled[1], 8)
    scale = max(scale for scale in (1, 2, 4, 8) if scale <= max(factor, 1))
    return -(-width // scale), -(-height // scale)


def _conversions(source: Source, transform: Transform, *, alpha: bool) -> Iterator[float]:
    if alpha:
        yield _ALPHA
    if source.image.info.get("icc_profile"):
        yield _ICC * (2 if source.image.mode == "CMYK" else 1)
    if source.image.mode == "CMYK":
        yield _CMYK
    if source.orientation > 1:
        yield _TURN
    if transform.trim == "border":
        yield _BORDER


def _effects(transform: Transform) -> Iterator[float]:
    for name, rate in _EFFECTS.items():
        if getattr(transform, name) != getattr(_PLAIN, name):
            yield rate
    yield _COMPOSITION


def _encoding(kind: str, transform: Transform) -> tuple[float, float]:
    quality = transform.quality or DEFAULT_QUALITY
    if kind == PNG and transform.quality is not None:
        return _PALETTE, _PALETTE
    return (_LOSSLESS if quality > 95 else _ENCODING).get(kind, _ENCODING[PNG])


def _jpeg(data: bytes) -> Head:
    """Walk the segments up to the first scan (JPEG, ITU T.81, B.1)."""
    position, parts, progressive = 2, 0, False
    while position + 4 <= len(data):
        marker = data[position + 1]
        if data[position] != 0xFF or marker in (0xFF, 0x00):
            position += 1
            continue
        if marker in (0xC9, 0xCA, 0xCB):
            raise _too_expensive("arithmetic coding")
        if marker == 0xDA:
            break
        progressive = progressive or marker == 0xC2
        position += 2 + struct.unpack_from(">H", data, position + 2)[0]
        parts += 1
        _check_parts(parts, _MAX_SEGMENTS)
    # In a scan, no data look like this marker.
    return Head(scans=data.count(b"\xff\xda", position), is_progressive=progressive)


def _png(data: bytes) -> Head:
    """Walk all chunks (PNG, 5.3): Pillow reads each of them in Python."""
    position, parts, texts = 8, 0, 0
    while position + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        position += 12 + length
        parts += 1
        texts += name in (b"iCCP", b"iTXt", b"zTXt")
        _check_parts(parts, _MAX_CHUNKS)
        _check_parts(texts, _MAX_COMPRESSED_TEXTS)
    depth, color, _compression, _filter, interlaced = data[24:29]
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(color, 4)
    return Head(sample_bytes=samples * max(depth, 8) / 8 * (1.5 if interlaced else 1))


def _check_parts(parts: int, limit: int) -> None:
    if parts > limit:
        raise too_many_parts(limit)


def _too_expensive(reason: str) -> RenderingError:
    return RenderingError(f"the image is too expensive to render here: {reason}", status=422, code=9516)


def check(estimated: float, limit: float) -> None:
    """Raise ``RenderingError`` for an estimate above the limit, both in seconds."""
    if estimated > limit:
        raise _too_expensive(f"{estimated:.2f} s of CPU are expected, and {limit:g} s are allowed")


def _megapixels(size: Size) -> float:
    return size[0] * size[1] / 1e6
