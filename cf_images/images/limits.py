"""Cloudflare's limits on hosted images (page "Limits and formats"), and the messages for images over them."""

from __future__ import annotations

import math
from typing import Final

from cf_images.exceptions import ImageRejectedError
from cf_images.images.formats import ImageInfo

MAX_BYTES: Final = 10 * 1024 * 1024
MAX_SIDE: Final = 12_000  # pixels; WebP and AVIF are exempt
MAX_AREA: Final = 100_000_000  # pixels; of an animation, all frames together


def check_limits(info: ImageInfo, *, allow_avif: bool = False) -> None:
    """Raise ``ImageRejectedError``, with a message for end users, for what Cloudflare would refuse.

    ``allow_avif`` is for accounts on an Enterprise plan, the only ones that may upload AVIF.
    """
    if info.format == "avif" and not allow_avif:
        raise ImageRejectedError("AVIF images are not supported; save the image as JPEG, PNG or WebP.")
    check_file_size(info.size)
    if info.format != "svg":  # has no pixels
        _check_pixels(info)


def check_file_size(size: int) -> None:
    """Raise ``ImageRejectedError`` for a file of more than ``MAX_BYTES``."""
    if size > MAX_BYTES:
        megabytes, limit = _rounded_up(size, 1024 * 1024), _rounded_up(MAX_BYTES, 1024 * 1024)
        raise ImageRejectedError(f"The image file is too large ({megabytes} MB; the limit is {limit} MB).")


def _check_pixels(info: ImageInfo) -> None:
    size = f"{info.width or 0:,} \N{MULTIPLICATION SIGN} {info.height or 0:,} pixels"
    if info.format not in ("webp", "avif") and max(info.width or 0, info.height or 0) > MAX_SIDE:
        raise ImageRejectedError(
            f"The image is too large ({size}; the limit is {MAX_SIDE:,} pixels per side)."
        )
    if info.area > MAX_AREA:
        subject = "animation" if info.frames > 1 else "image"
        size = f"{info.frames:,} frames of {size}" if info.frames > 1 else size
        area, limit = _rounded_up(info.area, 1_000_000), _rounded_up(MAX_AREA, 1_000_000)
        raise ImageRejectedError(
            f"The {subject} is too large ({size}, {area} megapixels; the limit is {limit} megapixels)."
        )


def _rounded_up(amount: int, unit: int) -> str:
    """Round to at most one decimal, upward, so that no value over a limit looks like the limit."""
    return f"{math.ceil(amount * 10 / unit) / 10:,.1f}".removesuffix(".0")
