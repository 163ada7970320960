"""What takes the place of ``FileSystemStorage`` in Django's tests, for each mode.

The tests store text, which a storage for images refuses. It is put into an image on its way into ``_save()``,
and taken out where the original has been fetched; everything between is the package's own.
"""

from __future__ import annotations

import io
import os
from typing import IO, Any

from django.core.files.base import ContentFile, File

from cf_images.images import detect_format
from cf_images.storage import CloudflareImagesStorage, LocalImagesStorage
from tests.django_suite.images_for_text import image_of, text_of

ALIAS = "default"


class LocalStorage(LocalImagesStorage):
    """Local files, as they are."""


class DirectStorage(CloudflareImagesStorage):
    """Images at the emulator, uploaded by ``save()``.

    It takes the arguments of ``FileSystemStorage``, which the tests pass; the account is its only location.
    """

    OS_OPEN_FLAGS = os.O_CREAT | os.O_EXCL  # read while the tests of Django 5.2 are imported

    def __init__(self, location: Any = None, base_url: Any = None, **arguments: Any) -> None:
        super().__init__()
        self.location = location

    def _find_alias(self) -> str | None:
        return ALIAS  # a project would declare one for each of the subclasses in the tests

    def _save(self, name: str, content: File[Any]) -> str:
        return super()._save(name, as_image(content))

    def _original(self, name: str) -> IO[bytes]:
        original = super()._original(name)
        text = text_of(original.read())
        if text is None:
            original.seek(0)
            return original
        original.close()
        return io.BytesIO(text)

    def size(self, name: str) -> int:
        """Return the bytes of the text, or of an image that carries none."""
        size = super().size(name)
        with self.open(name) as file:
            carries_text = file.size != size
        return size - len(image_of(b"")) if carries_text else size


class PendingStorage(DirectStorage):
    """Images that wait for a worker."""


class StoredStorage(DirectStorage):
    """Images that a worker has uploaded, and deleted, before the call returns."""

    def save(self, *arguments: Any, **keywords: Any) -> str:
        """Save the image, and upload it."""
        name = super().save(*arguments, **keywords)
        process()
        return name

    def delete(self, name: str) -> None:
        """Delete the image here, and there."""
        super().delete(name)
        process()


def process() -> None:
    """Do the work of a worker."""
    from cf_images import background  # its models, which load after the storages of the tests' fields

    background.process()


def as_image(content: File[Any]) -> File[Any]:
    """Return ``content`` if it is an image, else an image that carries it.

    What overrides ``chunks()`` is not read before the package does.
    """
    if "chunks" in vars(content):
        return content
    data = b"".join(chunk.encode() if isinstance(chunk, str) else chunk for chunk in content.chunks())
    if detect_format(data):
        return content
    return ContentFile(image_of(data), name=content.name)
