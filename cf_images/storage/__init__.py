"""The storages: Cloudflare Images, local files with the same variants, mirrors, and the choice between them.

Constructing a storage opens nothing and reads no credentials: it happens while models are imported.
Migrations hold ``select_storage`` and ``named``, so these two never move.
"""

from cf_images.storage.base import ImageStorage
from cf_images.storage.cloudflare import CloudflareImagesStorage
from cf_images.storage.files import CloudflareImagesFile
from cf_images.storage.local import LocalImagesStorage
from cf_images.storage.mirror import MirroredStorage
from cf_images.storage.selection import named, select_storage

__all__ = [
    "CloudflareImagesFile",
    "CloudflareImagesStorage",
    "ImageStorage",
    "LocalImagesStorage",
    "MirroredStorage",
    "named",
    "select_storage",
]

# Migrations and pickles hold this path, wherever the code is.
CloudflareImagesStorage.__module__ = MirroredStorage.__module__ = __name__
