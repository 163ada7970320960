"""The same page, a new picture: nothing can be overwritten, so a new name comes and the old image goes."""

from __future__ import annotations

from typing import Any

from django.core.files.storage import Storage
from django.db import transaction

from cf_images import naming


class ReplacingStorage(Storage):
    """``replace()``, for storages whose names are never used twice."""

    def replace(
        self, name: str | None, content: Any, *, max_length: int | None = None, using: str | None = None
    ) -> str:
        """Store ``content`` under a new name like ``name``, and delete the old image after the commit.

        Returns the new name, for the field: ``profile.image = storage.replace(profile.image.name, file)``.
        Browsers keep the old address for two days, so that a new picture needs a new one. If the new image
        is refused, or the transaction of the database ``using`` fails, the old one stays. Without an old
        ``name`` it is ``save()``.
        """
        if not name:
            return self.save(None, content, max_length=max_length)
        stored = self.save(self._asked_name(name), content, max_length=max_length)
        self._delete_after_commit(name, using=using)
        return stored

    def _asked_name(self, name: str) -> str | None:
        """``name`` as it was once asked for; ``None`` to take that of the new file."""
        return naming.asked_name(name)

    def _delete_after_commit(self, name: str, *, using: str | None) -> None:
        def delete() -> None:  # no partial: Django cannot log one that fails
            self.delete(name)

        transaction.on_commit(delete, using=using, robust=True)
