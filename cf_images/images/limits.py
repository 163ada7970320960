"""Cloudflare's limits on hosted images (page "Limits and formats"), and the messages for images over them."""

from __future__ import annotations

import math
from typing import Final

from cf_images.exceptions import ImageRejectedError
from cf_images.images.formats import ImageInfo
from cf_images.sentences import Sentence, Value

MAX_BYTES: Final = 10 * 1024 * 1024
MAX_SIDE: Final = 12_000  # pixels; WebP and AVIF are exempt
MAX_AREA: Final = 100_000_000  # pixels; of an animation, all frames together


def check_limits(info: ImageInfo, *, allow_avif: bool = False) -> None:
    """Raise ``ImageRejectedError``, with a message for end users, for what Cloudflare would refuse.

    ``allow_avif`` is for accounts on an Enterprise plan, the only ones that may upload AVIF.
    """
    if info.format == "avif" and not allow_avif:
        raise ImageRejectedError.saying(
            Sentence("AVIF images are not supported; save the image as JPEG, PNG or WebP.")
        )
    check_file_size(info.size)
    if info.format != "svg":  # has no pixels
        _check_pixels(info)


def check_file_size(size: int) -> None:
    """Raise ``ImageRejectedError`` for a file of more than ``MAX_BYTES``."""
    if size > MAX_BYTES:
        megabytes, limit = _rounded_up(size, 1024 * 1024), _rounded_up(MAX_BYTES, 1024 * 1024)
        raise ImageRejectedError.saying(
            Sentence(
                "The image file is too large (%(size)s MB; the limit is %(limit)s MB).",
                {"size": megabytes, "limit": limit},
            )
        )


def _check_pixels(info: ImageInfo) -> None:
    size: dict[str, Value] = {"width": info.width or 0, "height": info.height or 0}
    if info.format not in ("webp", "avif") and max(info.width or 0, info.height or 0) > MAX_SIDE:
        raise ImageRejectedError.saying(
            Sentence(
                "The image is too large (%(width)s × %(height)s pixels; "
                "the limit is %(limit)s pixels per side).",
                {**size, "limit": MAX_SIDE},
            )
        )
    if info.area > MAX_AREA:
        area = {"area": _rounded_up(info.area, 1_000_000), "limit": _rounded_up(MAX_AREA, 1_000_000)}
        raise ImageRejectedError.saying(_over_area({**size, **area, "frames": info.frames}))


def _over_area(values: dict[str, Value]) -> Sentence:
    if values["frames"] == 1:
        return Sentence(
            "The image is too large (%(width)s × %(height)s pixels, %(area)s megapixels; "
            "the limit is %(limit)s megapixels).",
            values,
        )
    return Sentence(
        "The animation is too large (%(frames)s frames of %(width)s × %(height)s pixels, "
        "%(area)s megapixels; the limit is %(limit)s megapixels).",
        values,
    )


def _rounded_up(amount: int, unit: int) -> int | float:
    """Round to at most one decimal, upward, so that no value over a limit looks like the limit."""
    tenths = math.ceil(amount * 10 / unit)
    return tenths / 10 if tenths % 10 else tenths // 10
