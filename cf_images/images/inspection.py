"""Inspect and validate a file: its format, its header, its limits."""

from __future__ import annotations

import dataclasses
import errno
import io
import os
from typing import IO, Final

from cf_images.exceptions import ImageRejectedError
from cf_images.images.formats import ImageInfo, detect_format, unsupported
from cf_images.images.headers import DamagedHeaderError, Source, TooManyPartsError, read_header
from cf_images.images.limits import check_file_size, check_limits
from cf_images.images.svg import SVG_HEAD
from cf_images.sentences import Sentence

_HEAD: Final = 512


def inspect(file: IO[bytes]) -> ImageInfo:
    """Return the format and dimensions of an image file, read from its start; its position is restored.

    Raise ``ImageRejectedError`` for a file that is empty, closed or no image, that cannot seek, or whose
    header is damaged. Take a few KiB of memory (64 KiB for an SVG), whatever the size of the file.
    """
    position, size = _measure(file)
    if not size:
        raise ImageRejectedError.saying(Sentence("The file is empty."))
    try:
        return _inspect(Source(file, size))
    finally:
        file.seek(position)


def inspect_head(head: bytes, size: int) -> ImageInfo | None:
    """Return what the first bytes of a file of ``size`` bytes tell; ``None`` if its header is not in them.

    ``head`` is the first 64 KiB. They hold the header of almost every image; some JPEG files start with more
    metadata. Frames after them are not counted. Raise ``ImageRejectedError`` as :func:`inspect` does.
    """
    try:
        info = inspect(io.BytesIO(head))
    except DamagedHeaderError:
        if len(head) < size:
            return None
        raise
    return dataclasses.replace(info, size=size)


def validate(file: IO[bytes], *, allow_avif: bool = False) -> ImageInfo:
    """Inspect a file and check its limits; raise ``ImageRejectedError``."""
    info = inspect(file)
    check_limits(info, allow_avif=allow_avif)
    return info


def _inspect(source: Source) -> ImageInfo:
    head = source.at(0, min(source.size, _HEAD))
    kind = detect_format(head) or detect_format(source.at(0, min(source.size, SVG_HEAD)))
    if kind is None:
        raise ImageRejectedError.saying(*unsupported(head))
    try:
        width, height, frames = read_header(source, kind)
    except TooManyPartsError:
        check_file_size(source.size)  # a valid file that is too large, and says so, may have as many
        raise
    return ImageInfo(format=kind, size=source.size, width=width, height=height, frames=frames)


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
