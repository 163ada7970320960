"""A 12-megapixel JPEG as a 240 × 240 avatar: scaled by the decoder, and decoded at full size."""

from __future__ import annotations

import io

from PIL import Image, ImageOps

from benchmarks.measure import compared, per_call, table
from tests.chaos.pictures import jpeg


def main() -> None:
    """Print both times and their ratio."""
    from cf_images.rendering import Transform, render

    photo = jpeg(4000, 3000)
    transform = Transform(width=240, height=240, fit="cover", format="jpeg")
    scaled = per_call(lambda: render(photo, transform), number=1)
    whole = per_call(lambda: _decoded_whole(photo), number=1)
    compared("a 12-megapixel JPEG as an avatar", "Pillow, decoded at full size", scaled / whole)
    rows = [
        ("Pillow, decoded at full size, then `ImageOps.fit`", f"{whole * 1000:.0f} ms", "1.0"),
        ("`rendering.render`", f"{scaled * 1000:.0f} ms", f"{whole / scaled:.1f} × faster"),
    ]
    table(("4000 × 3000 JPEG to 240 × 240", "time", "ratio"), rows)


def _decoded_whole(photo: bytes) -> bytes:
    picture = Image.open(io.BytesIO(photo))
    picture.load()
    body = io.BytesIO()
    ImageOps.fit(picture, (240, 240), Image.Resampling.LANCZOS).save(body, "JPEG", quality=85)
    return body.getvalue()
