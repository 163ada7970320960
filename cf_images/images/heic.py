"""HEIC, in which phones save photos: Pillow reads it with pillow-heif, which the extra ``[heic]`` installs.

Cloudflare accepts HEIC without it; forms, dimensions, ``fit_limits`` and local variants need it.
"""

from __future__ import annotations

from typing import Final

from cf_images.sentences import Sentence

FORMAT: Final = "HEIF"  # Pillow's name
NOT_READABLE: Final = Sentence(
    'HEIC images cannot be read here: pip install "django-cf-images[heic]", or use JPEG.'
)


def register() -> bool:
    """Let Pillow read HEIC, and return whether it can; doing it twice is harmless."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    from PIL import Image

    if FORMAT not in Image.OPEN:  # else the project has, perhaps with options of its own
        register_heif_opener()
    return True
