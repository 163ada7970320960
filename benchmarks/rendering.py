"""A 12-megapixel JPEG as a 240 × 240 avatar: with the decoder's own scaling, and decoded whole."""

from __future__ import annotations

import io

from PIL import Image, ImageOps

from benchmarks.measure import best, jpeg, table


def main() -> None:
    """Print both times and their ratio."""
    from cf_images.rendering import Transform, render

    photo = jpeg(4000, 3000)
    transform = Transform(width=240, height=240, fit="cover", format="jpeg")
    ours = best(lambda: render(photo, transform), number=1)
    whole = best(lambda: _decoded_whole(photo), number=1)
    rows = [
        ("Pillow, decoded whole, then `ImageOps.fit`", f"{whole * 1000:.0f} ms", "1.0"),
        ("`rendering.render`", f"{ours * 1000:.0f} ms", f"{whole / ours:.1f} × faster"),
    ]
    table(("4000 × 3000 JPEG to 240 × 240", "time", "ratio"), rows)


def _decoded_whole(photo: bytes) -> bytes:
    picture = Image.open(io.BytesIO(photo))
    picture.load()
    body = io.BytesIO()
    ImageOps.fit(picture, (240, 240), Image.Resampling.LANCZOS).save(body, "JPEG", quality=85)
    return body.getvalue()
