"""A mirror of local files and the emulator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.files.base import ContentFile
from django.core.files.storage import storages

from cf_images.background import mirrored_names
from cf_images.models import Transfer
from tests.background.conftest import use_background_storage
from tests.pictures import picture

LOCAL, CLOUDFLARE, MIRROR = "local", "cloudflare_images", "photos"


def use_mirror(
    settings: Any,
    emulator: Any,
    folder: Path,
    *,
    primary: str = LOCAL,
    secondary: str = CLOUDFLARE,
    **given: Any,
) -> Any:
    """Return the mirror ``photos`` between a folder and the emulator; ``given`` are options of the latter."""
    use_background_storage(settings, emulator, **{"background": False, **given})
    settings.STORAGES = {
        **settings.STORAGES,
        LOCAL: {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": str(folder), "base_url": "/media/"},
        },
    }
    settings.CF_IMAGES = {**settings.CF_IMAGES, "QUEUE": "none", "API_RATE": None}
    return turn(settings, primary=primary, secondary=secondary)


def turn(settings: Any, *, primary: str, secondary: str) -> Any:
    """Change the roles of the two sides, as a new process with other settings has them."""
    settings.STORAGES = {
        **settings.STORAGES,
        MIRROR: {
            "BACKEND": "cf_images.storage.MirroredStorage",
            "OPTIONS": {"primary": primary, "secondary": secondary},
        },
    }
    mirrored_names.clear_cache()
    return storages[MIRROR]


def image(name: str = "cat.png", seed: int = 1) -> ContentFile[bytes]:
    """Return a new image to save."""
    return ContentFile(picture(seed=seed), name)


def only_row() -> Transfer:
    """Return the only row of the ledger."""
    return Transfer.objects.get()
