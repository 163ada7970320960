"""What the storages of this package have beyond Django's: variants in ``url()``, and ``replace()``."""

from __future__ import annotations

from typing import Any

from django.core.files.storage import Storage
from django.db import transaction

from cf_images.delivery.signing import Lifetime
from cf_images.images import names
from cf_images.storage import file_names, renamed
from cf_images.storage.file_names import Name
from cf_images.storage.files import UploadedFile, content_of
from cf_images.variants import FlexibleVariant


class ImageStorage(Storage):
    """A storage whose images have variants, and whose names are unique or exactly as they are given."""

    @property
    def default_variant(self) -> str:
        """The variant that ``url()`` gives without one."""
        raise NotImplementedError(f"{type(self).__name__} must define default_variant.")

    @property
    def has_unique_names(self) -> bool:
        """Whether each save gets a new name; otherwise it keeps the given one."""
        return True

    def get_valid_name(self, name: str) -> str:
        """Return a file name as it may stand in an image ID."""
        return names.valid_filename(name) if self.has_unique_names else super().get_valid_name(name)

    def save(self, name: Name | None, content: Any, max_length: int | None = None) -> str:
        """Save the image; return its name, which is another than ``name`` where names are unique."""
        saved = self._taken_name(name, content, max_length) or super().save(
            name,  # type: ignore[arg-type]  # a path, too
            content,
            max_length=max_length,
        )
        if self.has_unique_names:
            renamed.remember(file_names.text(name or content.name), saved)
        return saved

    def _taken_name(self, name: Name | None, content: Any, max_length: int | None) -> str | None:
        file = content_of(content)
        if not isinstance(file, UploadedFile):
            return None
        return file.take_name(self, file_names.text(name or content.name), max_length=max_length)

    def url(
        self,
        name: Name | None,
        variant: str | FlexibleVariant | None = None,
        *,
        expire: Lifetime | None = None,
        final: bool = False,
    ) -> str:
        """Return the URL of ``variant`` of the image; ``expire`` is the lifetime of a signed one.

        With ``final``, of a pending image, too, the URL that it will have once it is stored.
        """
        raise NotImplementedError(f"{type(self).__name__} must define url().")

    def url_variant(self, name: str, variant: str | FlexibleVariant) -> str:
        """Return ``url(name, variant=variant)``: the method that templates look for in a storage of any
        package.
        """
        return self.url(name, variant=variant)

    def final_url(self, name: str, variant: str, *, expires_at: int | None = None) -> str:
        """Return the URL that ``variant`` has once the image is stored, whether it is by now or not.

        Signed only until ``expires_at`` (seconds since 1970): ``name`` may come from a visitor.
        """
        raise NotImplementedError(f"{type(self).__name__} must define final_url().")

    def replace(
        self, name: Name | None, content: Any, *, max_length: int | None = None, using: str | None = None
    ) -> str:
        """Store ``content`` under a new name like ``name``, and delete the old image after the commit.

        Return the new name, for the field: ``profile.image = storage.replace(profile.image.name, file)``.
        Browsers keep an old URL for two days, so that a new picture needs a new one. If the new image is
        rejected, or the transaction of the database ``using`` fails, the old one stays. Without ``name`` it
        is ``save()``.
        """
        if not name:
            return self.save(None, content, max_length=max_length)
        stored = self.save(self._requested_name(name), content, max_length=max_length)
        self._delete_after_commit(name, using=using)
        return stored

    def _asked_for(self, name: str) -> None:
        """Log a name that a save has changed; where names are given, it may be another image's."""
        if name in renamed.changed and self.has_unique_names:
            renamed.asked_for(name)

    def _requested_name(self, name: Name) -> str | None:
        """Return ``name`` as it was requested from ``save()``; ``None`` to take that of the new file."""
        return names.requested_name(file_names.text(name))

    def _delete_after_commit(self, name: Name, *, using: str | None) -> None:
        def delete() -> None:  # no partial: Django cannot log one that fails
            self.delete(name)  # type: ignore[arg-type]  # ours take a path, too

        transaction.on_commit(delete, using=using, robust=True)
