"""The storage that keeps its files in two others, so that a site can move while it is up."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import File
from django.core.files.storage import FileSystemStorage, InvalidStorageError, Storage, storages
from django.db import DEFAULT_DB_ALIAS
from django.utils.module_loading import import_string

from cf_images import conf
from cf_images.accounts import AccountStorage, Mirror
from cf_images.delivery.signing import Lifetime
from cf_images.exceptions import ImageExistsError
from cf_images.storage import file_names
from cf_images.storage.base import ImageStorage
from cf_images.storage.file_names import Name
from cf_images.storage.local import LocalImagesStorage
from cf_images.storage.selection import named
from cf_images.variants import FlexibleVariant


class MirroredStorage(Mirror, ImageStorage):
    """Files in ``primary``, with a copy of each in ``secondary``; both are aliases in ``STORAGES``.

    The primary names, keeps, shows and deletes the files. Workers copy them to the secondary under the same
    names, and delete them there, too. A name that was used once is never used again. After the two have
    changed places, what the new primary does not have yet comes from the other.
    """

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._find_alias() or self._aliases}>"

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """Return the alias for migrations, or those of the two storages."""
        if alias := self._find_alias():
            return "cf_images.storage.named", [alias], {}
        primary, secondary = self._aliases
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, [], {"primary": primary, "secondary": secondary}

    def __reduce__(self) -> tuple[Any, ...]:
        if alias := self._find_alias():
            return named, (alias,)
        return type(self), self._aliases

    def _find_alias(self) -> str | None:
        """Find the alias by class and options, since Django does not tell a storage its alias."""
        given = dict(zip(("primary", "secondary"), self._aliases, strict=True))
        for alias, declared in conf.storage_declarations().items():
            backend = declared["BACKEND"]
            if not backend.endswith(f".{type(self).__name__}"):
                continue
            if declared.get("OPTIONS", {}) == given and import_string(backend) is type(self):
                return str(alias)
        return None

    @property
    def primary(self) -> Storage:
        """The storage that names, keeps and shows the files."""
        return self._side(self.primary_alias)

    @property
    def secondary(self) -> Storage:
        """The storage that gets a copy of each file."""
        return self._side(self.secondary_alias)

    def _side(self, alias: str) -> Storage:
        try:
            side = storages[alias]
        except InvalidStorageError as error:
            raise ImproperlyConfigured(f"{self!r}: {error}") from None
        if isinstance(side, Mirror):
            raise ImproperlyConfigured(
                f"{self!r} mirrors STORAGES[{alias!r}], which is a mirror itself: name one of its sides."
            )
        return side

    # Names

    @property
    def default_variant(self) -> str:
        """The variant that ``url()`` of the primary gives without one."""
        primary = self.primary
        if isinstance(primary, ImageStorage):
            return primary.default_variant
        return str(conf.option("variant", {}))

    @property
    def has_unique_names(self) -> bool:
        """Whether the primary gives each save a new name."""
        primary = self.primary
        return isinstance(primary, ImageStorage) and primary.has_unique_names

    def get_valid_name(self, name: str) -> str:
        """Return a file name as the primary may have it."""
        return self.primary.get_valid_name(name)

    def generate_filename(self, filename: Name) -> str:
        """Return a name for ``save()``, as the primary makes it."""
        return self.primary.generate_filename(filename)

    def is_name_available(self, name: str, max_length: int | None = None) -> bool:
        """Return whether neither the primary nor the ledger has the name, and the secondary can keep it."""
        return self.primary.is_name_available(name, max_length=max_length) and self._is_new(name)

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        """Return a name that the primary gives, the secondary can keep, and no file here has ever had.

        Without a query where the primary gives each save a new name.
        """
        from cf_images.background import MAX_NAME_LENGTH  # what the ledger holds

        max_length = min(max_length or MAX_NAME_LENGTH, MAX_NAME_LENGTH)
        found = self.primary.get_available_name(name, max_length=max_length)
        if self.has_unique_names or self._is_new(found):
            return found
        if not self._is_kept(found):
            # What keeps Cloudflare from taking it would stand in Django's alternatives, too.
            return file_names.available(found, is_unique=True, max_length=max_length)
        return Storage.get_available_name(self, found, max_length=max_length)

    def _is_new(self, name: str) -> bool:
        from cf_images.background import transfers

        return self._is_kept(name) and not transfers.was_used(name, *self._places)

    def _is_kept(self, name: str) -> bool:
        from cf_images.background import transfers

        return transfers.is_kept(name, self.secondary_alias)

    @property
    def _places(self) -> tuple[str, str]:
        return self.primary_alias, self.secondary_alias

    def _canonical(self, name: Name) -> str:
        """Return the name as ``save()`` returns it, for every way to name the same file."""
        primary = self.primary
        if isinstance(primary, FileSystemStorage):
            location = os.path.abspath(primary.location)
            return Path(primary.path(file_names.text(name))).relative_to(location).as_posix()
        return file_names.resolve(name)

    def _find(self, name: Name) -> tuple[Storage, str]:
        """Return the storage that has the file, and its name there."""
        from cf_images.background import mirrored_names

        given = file_names.text(name)
        found = mirrored_names.find(given, primary=self.primary_alias, secondary=self.secondary_alias)
        return (self.primary if found.is_in_primary else self.secondary), found.name

    # Storing

    def save(self, name: Name | None, content: Any, max_length: int | None = None) -> str:
        """Save the file in the primary, and let a worker copy it after the commit; return its name."""
        # Not as other storages of images, which remember a requested name to warn of code that asks for it:
        # here, it may be that of an image from before the move.
        saved = Storage.save(self, name, content, max_length=max_length)  # type: ignore[arg-type]
        try:
            return self._mirror(saved, max_length=max_length)
        except BaseException:
            with suppress(Exception):  # the first error is what the caller needs to know
                self.primary.delete(saved)
            raise

    def _save(self, name: str, content: File[Any]) -> str:
        # Not save(), which would choose another name. Django documents _save() for storages; its stubs have
        # none.
        saved: str = self.primary._save(name, content)  # type: ignore[attr-defined]  # noqa: SLF001
        return saved

    def _mirror(self, name: str, *, max_length: int | None) -> str:
        """Make the row of a file; give the file another name where another process has just used its own."""
        from cf_images.background import transfers

        try:
            transfers.enqueue_copy(name, *self._places, max_length=max_length)
        except ImageExistsError:
            primary = self.primary
            other = file_names.available(name, is_unique=True, max_length=max_length)
            with primary.open(name) as file:
                moved = self._save(other, file)
            primary.delete(name)
            transfers.enqueue_copy(moved, *self._places, max_length=max_length)
            return moved
        return name

    def save_exactly(self, name: str, content: Any) -> None:
        """Save under this very name, as a worker does under the name that was chosen before."""
        from cf_images.background import transfers

        primary = self.primary
        save: Callable[[str, Any], str] = getattr(primary, "save_exactly", primary.save)
        saved = save(name, content)
        try:
            transfers.enqueue_copy(saved, *self._places)
        except ImageExistsError:
            pass  # a worker that was killed had come as far

    def delete_files(self, name: str) -> None:
        """Delete only the file of the primary, as a worker does with half of one before it saves the
        whole.
        """
        primary = self.primary
        delete: Callable[[str], None] = getattr(primary, "delete_files", primary.delete)
        delete(name)

    def delete(self, name: Name | None) -> None:
        """Delete the file in the primary, and let a worker delete its copy after the commit; a missing one is
        not an error.
        """
        if not name:
            raise ValueError("The name must be given to delete().")
        from cf_images.background import mirrored_names, transfers

        name = self._canonical(name)
        found = mirrored_names.find(name, primary=self.primary_alias, secondary=self.secondary_alias)
        if found.is_in_primary:  # else workers delete it there, when they have stopped copying it
            self.primary.delete(found.name)
        self._delete_pending(name)
        transfers.enqueue_delete(name, *self._places)

    def _delete_pending(self, name: str) -> None:
        """Delete what was saved while the secondary was the primary, and is not at Cloudflare yet: a DELETE
        would find nothing, and its own upload follow.
        """
        from cf_images import background

        if isinstance(self.secondary, AccountStorage) and background.has_row(name):
            background.delete(name, self.secondary_alias)

    def _delete_after_commit(self, name: Name, *, using: str | None) -> None:
        primary = self.primary
        if isinstance(primary, AccountStorage) and primary.options.background:
            from cf_images import background

            if (using or DEFAULT_DB_ALIAS) == background.database():
                self.delete(name)  # rows of the same transaction, which commits with the new image's
                return
        super()._delete_after_commit(name, using=using)

    def _requested_name(self, name: Name) -> str | None:
        primary = self.primary
        if isinstance(primary, ImageStorage):
            return primary._requested_name(name)  # noqa: SLF001  # of the same base class
        return super()._requested_name(name)

    # Reading

    def url(
        self,
        name: Name | None,
        variant: str | FlexibleVariant | None = None,
        *,
        expire: Lifetime | None = None,
        final: bool = False,
    ) -> str:
        """Return the URL of the primary, or of the secondary as long as only that has the image.

        A storage without variants gives its plain URL.
        """
        storage, found = self._find(name) if name else (self.primary, "")
        if isinstance(storage, ImageStorage):
            return storage.url(found, variant, expire=expire, final=final)
        if variant is not None and hasattr(storage, "url_variant"):
            return str(storage.url_variant(found, variant))
        return storage.url(found)

    def final_url(self, name: str, variant: str, *, expires_at: int | None = None) -> str:
        """Return the URL that ``variant`` has once the image is stored in the primary."""
        storage, found = self._find(name)
        if isinstance(storage, ImageStorage):
            return storage.final_url(found, variant, expires_at=expires_at)
        return storage.url(found)

    def open(self, name: Name, mode: str = "rb") -> File[Any]:
        """Open the file for reading; what is written to it would not be copied."""
        if mode not in ("r", "rb", "rt"):
            raise ValueError(f"Files of a mirror are read, and never changed: mode {mode!r}.")
        storage, found = self._find(name)
        return storage.open(found, mode)

    def path(self, name: Name) -> str:
        """Return where the file is on this machine, if the storage that has it is a local one."""
        storage, found = self._find(name)
        return storage.path(found)

    def exists(self, name: Name) -> bool:
        """Return whether the file is in the primary, or yet to be copied there."""
        storage, found = self._find(name)
        return storage.exists(found)

    def size(self, name: Name) -> int:
        """Return the bytes of the file."""
        storage, found = self._find(name)
        return storage.size(found)

    def listdir(self, path: Name) -> tuple[list[str], list[str]]:
        """Return folders and files of the primary below ``path``."""
        folders, files = self.primary.listdir(file_names.text(path))
        return list(folders), list(files)

    def get_accessed_time(self, name: Name) -> datetime:
        """Return when the file was last read, as the storage that has it says."""
        storage, found = self._find(name)
        return storage.get_accessed_time(found)

    def get_created_time(self, name: Name) -> datetime:
        """Return when the file was made."""
        storage, found = self._find(name)
        return storage.get_created_time(found)

    def get_modified_time(self, name: Name) -> datetime:
        """Return when the file was last changed."""
        storage, found = self._find(name)
        return storage.get_modified_time(found)


def sides(storage: Storage) -> tuple[Storage, ...]:
    """Return primary and secondary of a mirror; any other storage is its own."""
    return (storage.primary, storage.secondary) if isinstance(storage, MirroredStorage) else (storage,)


def local_images() -> LocalImagesStorage | None:
    """Return the storage whose variants this site serves: that of ``CF_IMAGES["LOCAL_ALIAS"]``, or a side of
    the mirror there; ``None`` if it is another package's.
    """
    alias = conf.setting("LOCAL_ALIAS")
    if alias not in conf.storage_declarations():
        return None
    return next((side for side in sides(storages[alias]) if isinstance(side, LocalImagesStorage)), None)
