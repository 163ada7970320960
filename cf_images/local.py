"""Local files with Cloudflare's variants, for development: rendered when asked for, kept on disk."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, BinaryIO, cast
from urllib.parse import unquote

from django.apps import apps
from django.core.files.base import File
from django.core.files.storage import FileSystemStorage
from django.urls import NoReverseMatch, reverse
from django.utils.deconstruct import deconstructible

from cf_images import conf, delivery, naming
from cf_images.declared import DeclaredVariant
from cf_images.exceptions import ImageNotFoundError, InvalidVariantError
from cf_images.flexible import FlexibleVariant
from cf_images.options import Transform
from cf_images.permitted import permitted_variant
from cf_images.replacing import ReplacingStorage

# Inside of the media folder, so that it lives and moves with the images; not listed with them.
_CACHE = ".cf_images"
_ORIGINAL = "public"  # the variant in a waiting view's address, where none was asked for
_EXTENSIONS = {
    "image/avif": "avif",
    "image/gif": "gif",
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/svg+xml": "svg",
    "image/webp": "webp",
    "application/json": "json",
}
_CONTENT_TYPES = {extension: content_type for content_type, extension in _EXTENSIONS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalRendition:
    """One rendered variant on disk."""

    path: Path
    content_type: str


@deconstructible(path="cf_images.storage.LocalImagesStorage")
class LocalImagesStorage(ReplacingStorage, FileSystemStorage):
    """Django's files, with ``url(name, variant=…)`` as ``CloudflareImagesStorage`` has it.

    The variants are served by the view in ``cf_images.urls`` for the storage at ``CF_IMAGES["LOCAL_ALIAS"]``
    while ``DEBUG`` is on or ``CF_IMAGES["SERVE_LOCAL_VARIANTS"]`` asks for it; otherwise every variant is
    the original.
    """

    def url(
        self,
        name: str | None,
        variant: str | FlexibleVariant | None = None,
        *,
        expire: object = None,  # noqa: ARG002  # as CloudflareImagesStorage has it
    ) -> str:
        """The original's address, or that of ``variant``; our waiting view's of what is to be fetched.

        Local files are not private: ``expire`` is ignored.
        """
        return self._waiting_address(name or "", variant) or self._address(name, variant)

    def delivery_address(self, name: str, variant: str, **_: object) -> str:
        """The address of ``variant`` when the image has come: there our waiting view leads to."""
        return self._address(name, variant)

    def _address(self, name: str | None, variant: str | FlexibleVariant | None) -> str:
        original = super().url(name)
        if not name or variant is None:
            return original
        cleaned = permitted_variant(variant)
        if not conf.serves_local_variants():
            return original
        try:
            return reverse("cf_images:local_variant", args=[cleaned, name.replace("\\", "/")])
        except NoReverseMatch:
            return original

    def url_variant(self, name: str, variant: str | FlexibleVariant) -> str:
        """``url(name, variant=variant)``, as older recipes call it."""
        return self.url(name, variant=variant)

    def name_of(self, url: str) -> str | None:
        """The name of the image that ``url`` is the original of, ``None`` for anybody else's URL."""
        base = self.base_url
        path = url.partition("?")[0].partition("#")[0]
        # without MEDIA_URL the base is "/", which every path of the site begins with
        if not base or base == "/" or not path.startswith(base) or path == base:
            return None
        return unquote(path[len(base) :])

    def delete(self, name: str) -> None:
        """Delete the image and what was rendered of it; one that is yet to be fetched is not fetched."""
        if (queue := _queue(name)) and (upload := queue.find(name)):
            queue.discard(name, upload.storage)
        self.remove(name)

    def remove(self, name: str) -> None:
        """Delete only the files, as the worker does with half of one before it saves the whole."""
        super().delete(name)
        shutil.rmtree(self._cache_of(name), ignore_errors=True)

    def open(self, name: str, mode: str = "rb") -> File[Any]:
        """The image; empty while it is yet to be fetched, so that loading its model never fails."""
        return File(io.BytesIO(), name) if self.is_awaited(name) else super().open(name, mode)

    def size(self, name: str) -> int:
        """Bytes of the image; 0 while it is yet to be fetched."""
        return 0 if self.is_awaited(name) else super().size(name)

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        """Folders and files below ``path``, without the rendered ones."""
        folders, files = super().listdir(path)
        return [folder for folder in folders if folder != _CACHE], files

    def rendition(self, name: str, variant: str | FlexibleVariant, *, accept: str = "") -> LocalRendition:
        """``variant`` of the image, from the disk or rendered now; ``accept`` is the browser's header.

        Raises ``ImageNotFoundError`` for an unknown image, ``InvalidVariantError`` for an undeclared name,
        ``RenderingError`` for what is no image.
        """
        from cf_images import rendering  # Pillow, only where something is rendered

        transform = _transform(str(variant))
        folder, key = self._cache_of(name), self._key(name, f"{transform} {rendering.accepted(accept)}")
        for kept in folder.glob(f"{key}.*"):
            return LocalRendition(path=kept, content_type=_CONTENT_TYPES[kept.suffix[1:]])
        with self.open(name) as file:
            rendered = rendering.render(cast("BinaryIO", file), transform, accept=accept)
        path = folder / f"{key}.{_EXTENSIONS[rendered.content_type]}"
        _write(path, rendered.body)
        return LocalRendition(path=path, content_type=rendered.content_type)

    def is_awaited(self, name: str) -> bool:
        """Whether the image is yet to be fetched from a URL."""
        queue = _queue(name)
        return queue is not None and not self.exists(name) and bool(queue.has_row(name))

    def _waiting_address(self, name: str, variant: str | FlexibleVariant | None) -> str | None:
        if naming.is_private(name) or (queue := _queue(name)) is None or not queue.is_young(name):
            return None
        address: str | None = queue.waiting_address(name, permitted_variant(variant or _ORIGINAL))
        return address

    def _cache_of(self, name: str) -> Path:
        return Path(self.location) / _CACHE / hashlib.sha256(name.encode()).hexdigest()[:32]

    def _key(self, name: str, asked: str) -> str:
        """A key that changes with the file and with what was ``asked``."""
        path = self.path(name)
        if not os.path.isfile(path):  # says no, where os.stat raises, to a NUL and to 2,000 characters
            raise ImageNotFoundError(f"There is no image {name!r}.")
        file = os.stat(path)
        facts = f"{asked} {file.st_mtime_ns} {file.st_size}"
        return hashlib.sha256(facts.encode()).hexdigest()[:32]


def _queue(name: str) -> Any:
    """The package's ``background``, if the name is one that it has given, else ``None``."""
    if naming.born_at(name) is None or not apps.is_installed("cf_images"):
        return None
    from cf_images import background  # its models, which a project without the app does not have

    return background


def _transform(variant: str) -> Transform:
    if delivery.is_flexible(variant):
        return Transform.parse(permitted_variant(variant))
    declared = conf.variants()
    if variant not in declared:
        raise InvalidVariantError(
            f'No variant {variant!r} is declared in CF_IMAGES["VARIANTS"]; there are {", ".join(declared)}.'
        )
    return DeclaredVariant.from_options(variant, declared[variant]).transform


def _write(path: Path, body: bytes) -> None:
    """The whole file or none of it: two browsers may ask for the same variant at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
        file.write(body)
    os.replace(file.name, path)
