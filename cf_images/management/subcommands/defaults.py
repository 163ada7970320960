"""``cf_images defaults``: upload the default images of fields under exactly their names."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured, SuspiciousFileOperation
from django.core.files.base import File
from django.core.files.storage import FileSystemStorage, Storage
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils._os import safe_join

from cf_images.accounts import AccountStorage
from cf_images.background import is_deleting
from cf_images.exceptions import CloudflareImagesError, ImageExistsError
from cf_images.image_fields import Default, defaults, find_static
from cf_images.management.output import one_line, write, write_problem
from cf_images.storage.mirror import sides

SUMMARY = "Upload the default images of fields"
HELP = (
    "Upload the default images of fields from the project's static files to the storages of these fields, "
    "under exactly their names. What is there already is compared and never changed; exit with 1 if anything "
    "is missing or different."
)


def add_arguments(parser: CommandParser) -> None:
    """Add where the images are, and ``--dry-run``."""
    parser.add_argument(
        "--path", metavar="DIR", help="take them from this folder (default: where staticfiles finds them)"
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be uploaded")


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    """Upload each image once, however many fields have it."""
    folder = options["path"]
    if folder is not None and not Path(folder).is_dir():
        raise CommandError(f"There is no folder {folder}.")
    try:
        found = list(_by_image(defaults(call=True)))
    except ImproperlyConfigured as error:
        raise CommandError(str(error)) from None
    problems = 0
    for default in found:
        for storage in sides(default.field.storage):
            done, problem = _one(default, storage, folder, dry_run=options["dry_run"])
            line = one_line(f"{default.name} ({default.field}): {problem or done}")
            write_problem(command, line) if problem else write(command, line)
            problems += bool(problem)
    if not found:
        write(command, "No field on a storage of this package has a default image.")
    if problems:
        sys.exit(1)


def _by_image(found: Iterable[Default]) -> Iterable[Default]:
    images: dict[tuple[int, str], Default] = {}
    for default in found:
        images.setdefault((id(default.field.storage), default.name), default)
    return images.values()


def _one(default: Default, storage: Storage, folder: str | None, *, dry_run: bool) -> tuple[str, str]:
    """Return what was done, and what is wrong."""
    try:
        if _is_being_deleted(storage, default.name):
            return "", "it has been deleted, but not yet at Cloudflare: run this again after a worker."
        source = find_static(default.name) if folder is None else _inside(folder, default.name)
        return _stored(_exact(storage), default.name, source, dry_run=dry_run)
    except (CloudflareImagesError, ImproperlyConfigured, SuspiciousFileOperation, OSError) as error:
        return "", str(error)


def _is_being_deleted(storage: Storage, name: str) -> bool:
    return isinstance(storage, AccountStorage) and storage.options.background and is_deleting(name)


def _inside(folder: str, name: str) -> Path | None:
    path = Path(safe_join(folder, name))
    return path if path.is_file() else None


def _stored(storage: Storage, name: str, source: Path | None, *, dry_run: bool) -> tuple[str, str]:
    if storage.exists(name):
        return _compared(storage, name, source)
    if source is None:
        return "", "it is neither in the storage nor among the static files; put it there, or give --path."
    if dry_run:
        return "", f"missing; {source} would be uploaded."
    try:
        with source.open("rb") as file:
            stored = storage.save(name, File(file, name))
    except ImageExistsError:  # uploaded by another process meanwhile, or reserved
        return _compared(storage, name, source)
    return f"uploaded {source}.", "" if stored == name else f"the storage has given it the name {stored!r}."


def _compared(storage: Storage, name: str, source: Path | None) -> tuple[str, str]:
    if source is None:
        return "there already, and no static file to compare it with.", ""
    with storage.open(name) as stored:
        is_same = stored.read() == source.read_bytes()
    if is_same:
        return "there already.", ""
    return "", f"another image has this name, and was left alone: delete it, or give {source} a new name."


def _exact(storage: Storage) -> Storage:
    """Return the same storage as one that keeps the bytes under the given name, at once."""
    if isinstance(storage, AccountStorage):
        changed = {"unique_names": False, "background": False, "fit_limits": False}
        return type(storage)(**{**storage.given_options, **changed})
    if isinstance(storage, FileSystemStorage):
        return FileSystemStorage(
            location=storage.location,
            base_url=storage.base_url,
            file_permissions_mode=storage.file_permissions_mode,
            directory_permissions_mode=storage.directory_permissions_mode,
        )
    return storage
