"""Small real images for the tests."""

from __future__ import annotations

import io
import random
from functools import cache
from typing import Any

from PIL import Image


@cache
def picture(
    kind: str = "PNG", size: tuple[int, int] = (64, 48), *, mode: str = "RGB", seed: int = 1
) -> bytes:
    """A picture with some texture; the same arguments give the same bytes."""
    bands = len(Image.new(mode, (1, 1)).getbands())
    texture = Image.frombytes(mode, (8, 8), random.Random(seed).randbytes(64 * bands))
    return encoded(texture.resize(size, Image.Resampling.BICUBIC), kind)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """``image`` as a file."""
    body = io.BytesIO()
    image.save(body, kind, **options)
    return body.getvalue()
