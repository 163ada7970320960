"""Local files with Cloudflare's variants, for development: rendered when requested, kept on disk."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
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

from cf_images import conf, images
from cf_images.accounts import cloudflare_alias, cloudflare_options
from cf_images.delivery.signing import Lifetime
from cf_images.exceptions import (
    ImageExistsError,
    ImageNotFoundError,
    ImageRejectedError,
    InvalidVariantError,
)
from cf_images.images import names
from cf_images.images.reading import from_start
from cf_images.storage import file_names
from cf_images.storage.base import ImageStorage
from cf_images.storage.file_names import Name
from cf_images.storage.files import content_of
from cf_images.storage.pending_urls import pending_url, requested_query, with_query
from cf_images.variants import FlexibleVariant, Transform, grammar

# Inside of the media folder, so that it lives and moves with the images; not listed with them.
_CACHE = ".cf_images"
_ORIGINAL = "public"  # the variant in the URL of a pending image, where none was requested
_EXTENSIONS = {
    "image/avif": "avif",
    "image/gif": "gif",
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/svg+xml": "svg",
    "image/webp": "webp",
    "application/json": "json",
}
# For developers: the message itself is for the person who uploads.
_ONLY_IMAGES = (
    "LocalImagesStorage refuses what Cloudflare Images would. Give other files another storage, or set "
    'CF_IMAGES["VALIDATE_LOCAL_FILES"] to False.'
)
_CONTENT_TYPES = {extension: content_type for content_type, extension in _EXTENSIONS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalRendition:
    """One rendered variant on disk."""

    path: Path
    content_type: str


@deconstructible(path="cf_images.storage.LocalImagesStorage")
class LocalImagesStorage(ImageStorage, FileSystemStorage):
    """Django's local files, with the variants of ``CloudflareImagesStorage``.

    The variants are served by the view in ``cf_images.urls`` for the storage at ``CF_IMAGES["LOCAL_ALIAS"]``
    while ``DEBUG`` is on or ``CF_IMAGES["SERVE_LOCAL_VARIANTS"]`` asks for it; otherwise every variant is the
    original.

    Names are those of production: ``unique_names`` is by default what ``CF_IMAGES["CLOUDFLARE_ALIAS"]`` has.
    """

    def __init__(self, *args: Any, unique_names: bool | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unique_names = unique_names

    @property
    def has_unique_names(self) -> bool:
        """Whether each save gets a new name: the option ``unique_names``, else that of production."""
        if self._unique_names is not None:
            return self._unique_names
        declared = conf.storage_declarations().get(cloudflare_alias(), {})
        return bool(conf.option("unique_names", declared.get("OPTIONS") or {}))

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        """Return a unique name, or the given one; raise the errors of ``CloudflareImagesStorage``.

        ``ImageExistsError`` for a given name that is in use, unless ``allow_overwrite`` is on.
        """
        found = file_names.available(name, is_unique=self.has_unique_names, max_length=max_length)
        if not self.has_unique_names and not self.is_name_available(found):
            raise ImageExistsError(
                f"There is another image named {found!r}: delete it first, or choose another name."
            )
        return found

    def _save(self, name: str, content: File[Any]) -> str:
        """Refuse what ``CloudflareImagesStorage`` would, unless ``VALIDATE_LOCAL_FILES`` is off."""
        if not conf.setting("VALIDATE_LOCAL_FILES"):
            return self.save_exactly(self._name_for(name, _extension_of(content)), content)
        original = content_of(content)
        with from_start(original) as start:
            try:
                file, info = images.accept(start, reduce=cloudflare_options().fit_limits)
            except ImageRejectedError as error:
                error.add_note(_ONLY_IMAGES)
                raise
            name = self._name_for(name, info.extension)
            return self.save_exactly(name, content if file is original else File(file))

    def _name_for(self, name: str, extension: str) -> str:
        is_renamed = self.has_unique_names and extension  # none for what is no image
        return names.with_extension(name, extension) if is_renamed else name

    def save_exactly(self, name: str, content: Any) -> str:
        """Write the file under this very name, as a worker does under the name that was chosen before."""
        saved: str = super()._save(name, content)  # type: ignore[misc]
        return saved

    def path(self, name: Name) -> str:
        """Return where the file is, or will be."""
        given = file_names.text(name)
        self._asked_for(given)
        return super().path(given)

    @property
    def default_variant(self) -> str:
        """The variant that ``url()`` gives in production: the option ``variant``."""
        return str(conf.option("variant", {}))

    def url(
        self,
        name: Name | None,
        variant: str | FlexibleVariant | None = None,
        *,
        expire: Lifetime | None = None,  # noqa: ARG002  # local files are not private
        final: bool = False,
    ) -> str:
        """Return the URL of the original, or of ``variant``; of an image that is yet to be fetched, the
        pending view's, unless ``final``.

        Local files are not private: ``expire`` is ignored.
        """
        name = None if name is None else file_names.text(name)
        self._asked_for(name or "")
        pending = None if final else self._pending_url(name or "", variant)
        return pending or self._variant_url(name, variant)

    def final_url(self, name: str, variant: str, *, expires_at: int | None = None) -> str:  # noqa: ARG002
        """Return the URL of ``variant`` once the image is here."""
        return self._variant_url(name, variant)

    def name_of(self, url: str) -> str | None:
        """Return the name of the image that ``url`` is the original of, ``None`` for a foreign URL."""
        base = self.base_url
        path = url.partition("?")[0].partition("#")[0]
        # Without MEDIA_URL the base is "/", which every path of the site begins with.
        if not base or base == "/" or not path.startswith(base) or path == base:
            return None
        return unquote(path[len(base) :])

    def delete(self, name: Name | None) -> None:
        """Delete the image and its renditions; one that is yet to be fetched is not fetched any more."""
        if not name:
            raise ValueError("The name must be given to delete().")
        name = self._resolve(name)
        if self.is_pending(name):
            from cf_images import background

            if upload := background.find(name):
                background.delete(name, upload.storage)
        self.delete_files(name)

    def delete_files(self, name: str) -> None:
        """Delete only the files, as a worker does with half of one before it saves the whole."""
        super().delete(name)
        self._delete_renditions(name)

    def open(self, name: Name, mode: str = "rb") -> File[Any]:
        """Open the image; it is empty while it is yet to be fetched, so that loading its model never
        fails.
        """
        name = file_names.text(name)
        return File(io.BytesIO(), name) if self.is_pending(name) else super().open(name, mode)

    def size(self, name: Name) -> int:
        """Return the bytes of the image; 0 while it is yet to be fetched."""
        name = file_names.text(name)
        return 0 if self.is_pending(name) else super().size(name)

    def listdir(self, path: Name) -> tuple[list[str], list[str]]:
        """Return folders and files below ``path``, without renditions."""
        folders, files = super().listdir(file_names.text(path))
        return [folder for folder in folders if folder != _CACHE], files

    def rendition(
        self,
        name: str,
        variant: str | FlexibleVariant,
        *,
        accept: str = "",
        max_seconds: float | None = None,
        max_pixels: int | None = None,
    ) -> LocalRendition:
        """Return ``variant`` of the image, from the disk or rendered now; ``accept`` is the browser's header.

        Raise ``ImageNotFoundError`` for an unknown image, ``InvalidVariantError`` for an undeclared name,
        ``RenderingError`` for a file that is no image. ``max_seconds`` and ``max_pixels`` are those of
        ``rendering.render``.
        """
        from cf_images import rendering  # Pillow, only where something is rendered

        if found := self.find_rendition(name, variant, accept=accept, max_seconds=max_seconds):
            return found
        transform = _transform(str(variant))
        prefix = self._prefix(name, transform, accept, max_seconds)
        limits = {} if max_pixels is None else {"max_pixels": max_pixels}
        try:
            with self.open(name) as file:
                source = cast("BinaryIO", file)
                rendered = rendering.render(
                    source, transform, accept=accept, max_seconds=max_seconds, **limits
                )
            path = prefix.with_name(f"{prefix.name}.{_EXTENSIONS[rendered.content_type]}")
            _write(path, rendered.body)
        except FileNotFoundError:  # deleted in this moment
            raise ImageNotFoundError(f"There is no image {name!r}.") from None
        if not self.exists(name):  # deleted after it was read: its renditions must not stay
            self._delete_renditions(name)
            raise ImageNotFoundError(f"There is no image {name!r}.")
        return LocalRendition(path=path, content_type=rendered.content_type)

    def find_rendition(
        self,
        name: str,
        variant: str | FlexibleVariant,
        *,
        accept: str = "",
        max_seconds: float | None = None,
    ) -> LocalRendition | None:
        """Return what ``rendition`` has rendered before, ``None`` if there is nothing; the same errors."""
        prefix = self._prefix(name, _transform(str(variant)), accept, max_seconds)
        for kept in prefix.parent.glob(f"{prefix.name}.*"):
            return LocalRendition(path=kept, content_type=_CONTENT_TYPES[kept.suffix[1:]])
        return None

    def is_pending(self, name: str) -> bool:
        """Return whether the image is yet to be fetched from a URL."""
        if not self._is_pending_name(name) or self.exists(name):
            return False
        from cf_images import background

        return background.has_row(name)

    def _resolve(self, name: Name) -> str:
        """Return the path below the folder of all images, in the same words for every way to name it."""
        path = Path(self.path(file_names.text(name)))
        return path.relative_to(self.location).as_posix()

    def _is_pending_name(self, name: str) -> bool:
        """Return whether the package has given the name, and may know a row of it."""
        return names.created_at(name) is not None and apps.is_installed("cf_images")

    def _pending_url(self, name: str, variant: str | FlexibleVariant | None) -> str | None:
        if names.is_private(name) or not self._is_pending_name(name):
            return None
        from cf_images import background

        if not background.is_assumed_pending(name) or self.exists(name):
            return None
        return pending_url(name, conf.clean_variant(variant or _ORIGINAL))

    def _variant_url(self, name: str | None, variant: str | FlexibleVariant | None) -> str:
        original = FileSystemStorage.url(self, name)
        if not name or variant is None:
            return original
        cleaned = conf.clean_variant(variant)
        if not conf.serves_local_variants():
            return original
        name = name.replace("\\", "/")
        try:
            path = reverse("cf_images:local_variant", args=[cleaned, name])
        except NoReverseMatch:
            return original
        # Where DEBUG is on, the view renders what anyone asks for.
        is_open = conf.project_setting("DEBUG")
        return path if is_open else with_query(path, requested_query(name, cleaned))

    def _delete_renditions(self, name: str) -> None:
        shutil.rmtree(self._cache_of(name), ignore_errors=True)

    def _cache_of(self, name: str) -> Path:
        return Path(self.location) / _CACHE / hashlib.sha256(name.encode()).hexdigest()[:32]

    def _prefix(self, name: str, transform: Transform, accept: str, max_seconds: float | None) -> Path:
        """Return the path of a rendition without extension: it changes with the file and what was
        requested.
        """
        from cf_images import rendering  # Pillow, only where something is rendered

        try:
            file = os.stat(self.path(name))
        except (OSError, ValueError):
            file = None  # also for a NUL, and for 2,000 characters
        if file is None or not stat.S_ISREG(file.st_mode):
            raise ImageNotFoundError(f"There is no image {name!r}.")
        requested = f"{transform} {rendering.preferred(transform, accept)} {max_seconds}"
        content = f"{requested} {file.st_mtime_ns} {file.st_size}"
        return self._cache_of(name) / hashlib.sha256(content.encode()).hexdigest()[:32]


def _extension_of(content: File[Any]) -> str:
    """Return the extension that matches the detected format; empty for what is no image, or is read once."""
    if not content.seekable():
        return ""
    try:
        with from_start(content_of(content)) as start:
            return images.inspect(start).extension
    except ImageRejectedError:
        return ""


def _transform(variant: str) -> Transform:
    if grammar.is_flexible(variant):
        return Transform.parse(conf.clean_variant(variant))
    declared = conf.named_variant(variant)
    if declared is None:
        raise InvalidVariantError(
            f'No variant {variant!r} is declared in CF_IMAGES["VARIANTS"]; '
            f"there are {', '.join(conf.variant_names())}."
        )
    return declared.transform


def _write(path: Path, body: bytes) -> None:
    """Write the whole file or nothing: two browsers may request the same variant at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
        try:
            file.write(body)
            file.flush()
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise
