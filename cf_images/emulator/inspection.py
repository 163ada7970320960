"""Check the format and the dimensions of an upload; read headers and decode no pixels."""

from __future__ import annotations

import struct
from typing import IO

from PIL.GifImagePlugin import GifImageFile
from PIL.Image import DecompressionBombError, DecompressionBombWarning
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from cf_images.emulator.assumptions import BAD_INPUT
from cf_images.emulator.errors import ANIMATION_TOO_LARGE, UNSUPPORTED_TYPE, ApiError
from cf_images.emulator.limits import Limits

HEAD = 1_024
HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"mif1", b"msf1")
NO_SIDE_LIMIT = ("image/webp",)
READERS: dict[str, type[ImageFile]] = {
    "image/gif": GifImageFile,
    "image/jpeg": JpegImageFile,
    "image/png": PngImageFile,
    "image/webp": WebPImageFile,
}
ANIMATED = (GifImageFile, WebPImageFile)
BROKEN = (
    *(OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, ArithmeticError, struct.error),
    *(DecompressionBombError, DecompressionBombWarning),
)
"""Exceptions that Pillow's readers raise for invalid files."""


def inspect(stream: IO[bytes], *, limits: Limits) -> str:
    """Return the content type by the bytes alone; raise :class:`ApiError` with 5455, 5400 or 5443.

    SVG and HEIC are not measured: SVG has no pixels, and Pillow cannot read HEIC.
    """
    stream.seek(0)
    content_type = sniff(stream.read(HEAD))
    if content_type is None:
        raise ApiError(UNSUPPORTED_TYPE)
    if content_type in READERS:
        _measure(stream, content_type, limits=limits)
    return content_type


def sniff(head: bytes) -> str | None:
    """Return the content type by the first bytes of a file, or ``None`` if Cloudflare does not support it."""
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    if head[4:8] == b"ftyp" and head[8:12] in HEIC_BRANDS:
        return "image/heic"
    return "image/svg+xml" if _is_svg(head) else None


def _is_svg(head: bytes) -> bool:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return start.startswith((b"<?xml", b"<!--", b"<!doctype svg", b"<svg")) and b"<svg" in start


def _measure(stream: IO[bytes], content_type: str, *, limits: Limits) -> None:
    width, height, frames = _size(stream, content_type)
    dimensions = f"{width} x {height} pixels"
    if content_type not in NO_SIDE_LIMIT and max(width, height) > limits.side:
        raise ApiError(BAD_INPUT, f"{dimensions}: the maximum side is {limits.side:,}")
    if width * height > limits.area:
        raise ApiError(BAD_INPUT, f"{dimensions}: the maximum area is {limits.area / 1e6:g} MP")
    if frames > 1 and width * height * frames > limits.animation_area:
        raise ApiError(
            ANIMATION_TOO_LARGE,
            f"{frames} frames of {dimensions}, the maximum is {limits.animation_area / 1e6:g} MP in total",
        )


def _size(stream: IO[bytes], content_type: str) -> tuple[int, int, int]:
    """Return width, height and number of frames.

    ``Image.open`` would check large images against a limit of the whole process. The readers of the formats
    do not, so that the limits of the account apply.
    """
    stream.seek(0)
    try:
        image = READERS[content_type](stream)
        frames = image.n_frames if isinstance(image, ANIMATED) else 1
    except BROKEN as error:
        raise ApiError(BAD_INPUT, "bad image format") from error
    return image.width, image.height, frames
