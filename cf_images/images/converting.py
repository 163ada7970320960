"""Convert an image from a format that Cloudflare refuses to one that it takes, with Pillow."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING

from cf_images.exceptions import ImageRejectedError

if TYPE_CHECKING:
    from PIL import Image

TARGETS = {"jpeg": "JPEG", "jpg": "JPEG", "png": "PNG", "webp": "WEBP"}
MAX_AREA = 200_000_000  # pixels, 800 MB decoded


def convert(file: IO[bytes], formats: Mapping[str, str]) -> IO[bytes]:
    """Return the file itself, or a new one if ``formats`` maps its format, as Pillow calls it, to another.

    The orientation is applied to the pixels, the color profile is kept. Raise ``ImageRejectedError`` for what
    cannot be converted: several frames or pages, more than ``MAX_AREA``, damage.
    """
    from PIL import Image, ImageOps

    wanted = {name.lower(): TARGETS[target.lower()] for name, target in formats.items()}
    file.seek(0)
    try:
        image = Image.open(file)
    except Exception:  # noqa: BLE001  # Pillow's plugins raise what they like; others read what Pillow cannot
        file.seek(0)
        return file
    if (target := wanted.get((image.format or "").lower())) is None:
        file.seek(0)
        return file
    kind = (image.format or "").upper()
    if getattr(image, "n_frames", 1) > 1:
        raise ImageRejectedError(f"The {kind} has several pages or frames, and is not converted.")
    if image.width * image.height > MAX_AREA:
        raise ImageRejectedError(f"The {kind} has more than {MAX_AREA:,} pixels, and is not converted.")
    try:
        return _encoded(ImageOps.exif_transpose(image), target)
    except Exception as error:
        raise ImageRejectedError(f"The {kind} cannot be converted: it is damaged.") from error


def _encoded(image: Image.Image, target: str) -> IO[bytes]:
    profile = image.info.get("icc_profile")
    if target == "JPEG":
        image = image.convert("L" if image.mode in ("1", "L") else "RGB")
    elif image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    encoded = io.BytesIO()
    image.save(encoded, target, quality=90, icc_profile=profile)
    encoded.seek(0)
    return encoded
