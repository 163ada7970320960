"""The images that the site uploads, by number."""

from __future__ import annotations

import io
import random

from PIL import Image

_SMALL, _LARGE = 20_000, 1_300_000  # bytes


def picture(number: int) -> bytes:
    """Return the image of this number, different from all others; one in twenty takes three chunks."""
    return jpeg(64, 48, at_least=_LARGE if number % 20 == 0 else _SMALL, seed=number)


def jpeg(width: int, height: int, *, at_least: int = 0, seed: int = 1) -> bytes:
    """Return a photo-like JPEG, padded after its end to ``at_least`` bytes."""
    noise = random.Random(seed).randbytes(64 * 64 * 3)
    image = Image.frombytes("RGB", (64, 64), noise).resize((width, height), Image.Resampling.BICUBIC)
    body = io.BytesIO()
    image.save(body, "JPEG", quality=80)
    return body.getvalue().ljust(at_least, b"\0")
