"""Upload in the background from anywhere in a project: by URL, or from a file."""

from __future__ import annotations

import os
import posixpath
import time
from collections.abc import Mapping
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import File
from django.core.files.storage import Storage, storages

from cf_images import conf, images, naming
from cf_images.background.staging import stage, stage_url
from cf_images.files import from_start
from cf_images.metadata import described
from cf_images.sources import validate_source_url

MAX_LENGTH = 100  # of a name, as Django's ImageField has it by default
_EXTENSIONS = {
    "jpg": "jpg",
    "jpeg": "jpg",
    "png": "png",
    "gif": "gif",
    "webp": "webp",
    "svg": "svg",
    "heic": "heic",
}


def upload_from_url(
    url: str,
    *,
    upload_to: str = "",
    storage: str | Storage | None = None,
    metadata: Mapping[str, Any] | None = None,
    creator: str | None = None,
    require_signed_urls: bool | None = None,
) -> str:
    """Have Cloudflare fetch the image at ``url`` soon; returns the final name, for an ``ImageField``.

    ``upload_to`` takes strftime codes, as a field's does; ``storage`` is an alias or a storage, by default
    what ``select_storage`` gives; what is not given comes from its options. Raises ``ValidationError`` for
    a URL that may not be fetched. A storage of local files gets the image from our worker instead. One at
    Cloudflare shows, opens and deletes an image that waits only where its option ``background`` is on.
    """
    validate_source_url(url)
    target, alias = _storage(storage)
    private = bool(_option(target, "require_signed_urls", require_signed_urls))
    name = _name(upload_to, _filename(url), private=private)
    stage_url(
        name=name,
        alias=alias,
        url=url,
        metadata=_option(target, "metadata", metadata) or {},
        creator=_option(target, "creator", creator),
        require_signed_urls=private,
    )
    return name


def upload_from_file(
    file: IO[bytes] | File[Any],
    *,
    upload_to: str = "",
    filename: str | None = None,
    storage: str | Storage | None = None,
    metadata: Mapping[str, Any] | None = None,
    creator: str | None = None,
    require_signed_urls: bool | None = None,
) -> str:
    """Upload ``file`` soon; returns the final name, for an ``ImageField``. The file is kept in the database.

    Options as for ``upload_from_url``. Raises ``ImageRejectedError`` for what Cloudflare would not take. A
    storage of local files saves it at once.
    """
    target, alias = _storage(storage)
    filename = os.path.basename(filename or str(getattr(file, "name", None) or "image"))
    if not hasattr(target, "make_client"):
        return target.save(
            _path(upload_to, target.get_valid_name(filename)), File(file), max_length=MAX_LENGTH
        )
    with from_start(file) as start:
        start, info = _validated(target, start)
        private = bool(_option(target, "require_signed_urls", require_signed_urls))
        name = naming.with_extension(_name(upload_to, filename, private=private), info.extension)
        stage(
            name=name,
            alias=alias,
            file=start,
            info=info,
            filename=posixpath.basename(name),
            metadata=described(
                info, filename, _option(target, "metadata", metadata) or {}, name=name if private else ""
            ),
            creator=_option(target, "creator", creator),
            require_signed_urls=private,
        )
    return name


def _filename(url: str) -> str:
    """The last part of the path, with an extension if it is an image's; the bytes are not here to ask."""
    last = posixpath.basename(unquote(urlsplit(url).path))
    stem, _, ending = last.rpartition(".")
    extension = _EXTENSIONS.get(ending.lower())
    return f"{stem}.{extension}" if extension else (stem or last).replace(".", "-")


def _storage(given: str | Storage | None) -> tuple[Storage, str]:
    """The storage that is meant, and its alias, by which a worker finds it again."""
    if given is None:
        given = conf.selected_alias()
    if isinstance(given, str):
        return storages[given], given
    for alias in settings.STORAGES:
        if storages[alias] is given or getattr(given, "alias", None) == alias:
            return given, alias
    raise ImproperlyConfigured(
        f"{given!r} is not in STORAGES: a worker could not find it again. Give it an alias there."
    )


def _validated(storage: Storage, file: IO[bytes]) -> tuple[IO[bytes], images.ImageInfo]:
    if _option(storage, "fit_limits", None):
        return images.fit_limits(file)
    return file, images.validate(file)


def _option(storage: Storage, name: str, given: Any) -> Any:
    if given is not None or not hasattr(storage, "option"):
        return given
    return storage.option(name)


def _path(upload_to: str, filename: str) -> str:
    return posixpath.join(time.strftime(upload_to), filename)  # local time, as Django's fields have it


def _name(upload_to: str, filename: str, *, private: bool) -> str:
    name = naming.unique_name(_path(upload_to, filename), seconds=int(time.time()), max_length=MAX_LENGTH)
    return naming.private_name(name) if private else name
