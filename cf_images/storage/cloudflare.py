"""The storage that keeps images at Cloudflare, at once or in the background."""

from __future__ import annotations

import os
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import File
from django.db import DEFAULT_DB_ALIAS

from cf_images import conf, images
from cf_images.accounts import AccountStorage
from cf_images.accounts.account import DeliveredVariant
from cf_images.delivery.signing import Lifetime
from cf_images.exceptions import CloudflareUnavailableError, ImageExistsError, ImageNotFoundError
from cf_images.images import metadata, names
from cf_images.images.reading import from_start
from cf_images.storage import file_names, legacy_names, pending_urls, renamed
from cf_images.storage.base import ImageStorage
from cf_images.storage.file_names import Name
from cf_images.storage.files import CloudflareImagesFile, content_of
from cf_images.storage.selection import named
from cf_images.variants import FlexibleVariant, grammar

if TYPE_CHECKING:
    from cf_images.client import CloudflareImagesClient, Image
    from cf_images.models import Upload

PRIVATE_WITH_GIVEN_NAMES = (
    "Cloudflare refuses custom IDs for private images (require_signed_urls), so that they cannot be kept "
    "under a given name (unique_names: False): turn one of the two options off."
)


EXISTS = (
    "Cloudflare has an image named {name!r} already, and never overwrites one. Perhaps it was saved in a "
    "transaction that was rolled back: that does not undo a direct upload. If no row has that name, call "
    "delete({name!r}) of the storage and save again; with the option background, a rollback undoes uploads."
)


class CloudflareImagesStorage(AccountStorage, ImageStorage):
    """Images at Cloudflare, under unique names; see ``conf.STORAGE_OPTIONS`` for the options.

    Errors are those of ``cf_images.exceptions``; a missing image is also a ``FileNotFoundError``.
    """

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._find_alias() or conf.public_options(self.given_options)}>"

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """Return the alias for migrations, or the options without secrets."""
        if alias := self.alias:
            return "cf_images.storage.named", [alias], {}
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            [],
            conf.public_options(self.given_options),
        )

    def __reduce__(self) -> tuple[Any, ...]:
        if alias := self.alias:
            return named, (alias,)
        return _rebuild, (type(self), conf.public_options(self.given_options))

    def has_explicit_secret(self) -> bool:
        """Return whether a secret was passed in code instead of through the settings."""
        return self.alias is None and self.given_options != conf.public_options(self.given_options)

    @property
    def client(self) -> CloudflareImagesClient:
        """A client with this storage's credentials; cheap, the connections belong to the process."""
        return self.account.client()

    # Names

    @property
    def has_unique_names(self) -> bool:
        """Whether each save gets a new name: the option ``unique_names``."""
        return self.options.unique_names

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        """Return a unique name without a request; with ``unique_names: False`` the given one.

        Raise ``SuspiciousNameError`` for what cannot be a name, or does not fit into ``max_length``.
        """
        options = self.options
        if not options.unique_names and options.require_signed_urls:
            raise ImproperlyConfigured(f"{self!r}: {PRIVATE_WITH_GIVEN_NAMES}")
        if options.background:
            from cf_images import background

            allowed = background.MAX_NAME_LENGTH
            max_length = allowed if max_length is None else min(max_length, allowed)
        if options.require_signed_urls and not options.background:
            return file_names.with_room_for_id(name, max_length=max_length)
        return file_names.available(
            name,
            is_unique=options.unique_names,
            is_private=options.require_signed_urls,
            max_length=max_length,
        )

    def image_id(self, name: Name) -> str:
        """Return Cloudflare's ID of the image."""
        name = self._resolve(name)
        if "~" not in name:
            return name
        return self._id_in_row(name) or names.image_id(name)

    def _resolve(self, name: Name) -> str:
        given = file_names.text(name)
        if names.is_url(given):
            return legacy_names.image_id(given, self.account)
        self._asked_for(given)
        return file_names.resolve(given)

    def _id_in_row(self, name: str) -> str | None:
        """Return the ID of a private image that only its row has, also where ``background`` is off by now."""
        if not names.has_id_in_row(name):
            return None
        from cf_images import background  # its models, which a project without the app does not have

        return background.remote_id(name)

    # URLs

    @property
    def default_variant(self) -> str:
        """The variant that ``url()`` gives without one: the option ``variant``."""
        return self.options.variant

    def url(
        self,
        name: Name | None,
        variant: str | FlexibleVariant | None = None,
        *,
        expire: Lifetime | None = None,
        final: bool = False,
    ) -> str:
        """Return the URL at which browsers get the image, by default as the option ``variant``.

        The URL of a private image is signed and valid for at least ``expire``: see ``signing.expiry``. A
        pending image has the URL of this package's own view, absolute where ``CF_IMAGES["SITE_URL"]`` is set;
        with ``final`` Cloudflare's, which works once it is stored. Never makes a request, but for signing
        keys that the settings do not have.
        """
        if not name:
            return self._base_url(variant)
        if type(name) is not str:
            name = file_names.text(name)
        if name in renamed.changed:  # here, since most pages ask for most names
            self._asked_for(name)
        account = self.account
        if names.is_url(name):
            return name if variant is None else self._url_of_url(name, variant, expire)
        found, options = account.variant(variant), account.options
        expires_at = None
        private_id = names.private_id(name) if "~" in name else None
        if private_id or options.require_signed_urls:
            expires_at = self._expiry(found, expire)
        if options.background and not final and (pending := self._pending_url(name, found.name, expires_at)):
            return pending
        image_id = private_id or (names.image_id(name) if "~" in name else name)
        if private_id and names.has_id_in_row(name):
            known = self._known_id(name)
            if known is None and not final and (pending := self._view_url(name, found.name, expires_at)):
                return pending
            image_id = known or self._stored_id(name, final=final)
        return found.url(image_id) if expires_at is None else account.signed_url(found, image_id, expires_at)

    def _base_url(self, variant: str | FlexibleVariant | None) -> str:
        """Return what the URLs of all images begin with, as Django's storages do for no name."""
        if variant is not None:
            raise ValueError("An image without a name has no URL.")
        return self.account.variant().before

    def final_url(self, name: str, variant: str, *, expires_at: int | None = None) -> str:
        """Return the delivery URL, whether Cloudflare has the image by now or not; signed until
        ``expires_at``.
        """
        return self.account.url(self.image_id(name), variant, expires_at=expires_at)

    def _url_of_url(self, name: str, variant: str | FlexibleVariant, expire: Lifetime | None) -> str:
        found = self.account.variant(variant)
        expires_at = self._expiry(found, expire) if self.options.require_signed_urls else None
        return legacy_names.with_variant(name, self.account, found.name, expires_at=expires_at)

    def _expiry(self, variant: DeliveredVariant, expire: Lifetime | None) -> int | None:
        """Return when the URL of a private image expires; ``None`` where it needs no signature."""
        if variant.is_never_signed:
            return None
        if variant.is_flexible:
            grammar.check_signable(variant.name)
        return self.account.expiry(expire)

    def _pending_url(self, name: str, variant: str, expires_at: int | None) -> str | None:
        from cf_images import background  # its models, which a project without the app does not have

        return self._view_url(name, variant, expires_at) if background.is_pending(name) else None

    def _view_url(self, name: str, variant: str, expires_at: int | None) -> str | None:
        """Return the URL of the view, which knows every image; ``None`` where it is not mounted."""
        path = pending_urls.pending_url(name, variant, expires_at=expires_at)
        return path and pending_urls.site_url() + path

    def _known_id(self, name: str) -> str | None:
        from cf_images import background

        return background.known_remote_id(name)

    def _stored_id(self, name: str, *, final: bool) -> str:
        """Return the ID that only the row has; raise an error where it has none and there is no view."""
        if found := self._id_in_row(name):
            return found
        text = f"{name} is private and not stored: Cloudflare has not chosen its ID yet."
        if final:
            raise ImageNotFoundError(f"{text} url() without final is the URL of this package's view of it.")
        raise ImproperlyConfigured(
            f"{text} The view of pending images is not mounted: set ROOT_URLCONF, and add "
            f'path("cf-images/", include("cf_images.urls")) to its urlpatterns.'
        )

    # Background uploads

    def _required_alias(self) -> str:
        if alias := self.alias:
            return alias
        raise ImproperlyConfigured(
            f"{self!r} uploads in the background, but no alias in STORAGES has its options, so that a worker "
            f"could not find it. Add it there and use storages[…], or turn its option background off."
        )

    def _row(self, name: Name) -> Upload | None:
        """Return the row of an image that Cloudflare has not confirmed; ``ImageNotFoundError`` for a deleted
        one.
        """
        if not self.options.background:
            return None
        from cf_images import background

        return background.pending_row(self._resolve(name))

    # Storing

    def _save(self, name: str, content: File[Any]) -> str:
        name = file_names.text(name)  # a path, where get_available_name() of a subclass leaves it one
        filename = os.path.basename(content.name or name)
        with from_start(content_of(content)) as start:
            file, info = images.accept(start, reduce=self.options.fit_limits)
            if self.options.unique_names:
                name = names.with_extension(name, info.extension)
            return self._store(name, file, info, filename)

    def _store(self, name: str, file: IO[bytes], info: images.ImageInfo, filename: str) -> str:
        options = self.options
        private = options.require_signed_urls
        facts: dict[str, Any] = {
            "metadata": metadata.build(
                info, filename, options.metadata, site=options.site, name=name if private else ""
            ),
            "creator": options.creator,
        }
        if options.background:
            from cf_images import background

            background.enqueue_file(
                name=name,
                alias=self._required_alias(),
                file=file,
                info=info,
                filename=os.path.basename(name),
                require_signed_urls=private,
                has_unique_name=options.unique_names,
                **facts,
            )
            return name
        send = self._store_private if private else self._store_public
        return send(name, file, info.content_type, facts)

    def _store_public(self, name: str, file: IO[bytes], content_type: str, facts: dict[str, Any]) -> str:
        filename = os.path.basename(name)
        try:
            self.client.upload(file, image_id=name, filename=filename, content_type=content_type, **facts)
        except ImageExistsError as error:
            raise ImageExistsError(
                EXISTS.format(name=name), status=error.status, code=error.code, request=error.request
            ) from None
        return name

    def _store_private(self, name: str, file: IO[bytes], content_type: str, facts: dict[str, Any]) -> str:
        """Reserve an ID of Cloudflare's, then fill it: Cloudflare refuses custom IDs for private images."""
        client = self.client
        reserved = client.create_direct_upload(require_signed_urls=True, **facts)
        image = client.upload_direct(
            reserved.upload_url, file, filename=os.path.basename(name), content_type=content_type
        )
        return names.with_remote_id(name, image.id)

    def delete(self, name: Name | None) -> None:
        """Delete the image, in the background after the commit; a missing one is not an error."""
        try:
            name = self._resolve(name or "")
            if not name:
                raise ValueError("The name must be given to delete().")
            if self.options.background:
                from cf_images import background

                background.delete(name, self._required_alias())
            else:
                self.client.delete(self.image_id(name))
        except ImageNotFoundError:
            pass

    def _requested_name(self, name: Name) -> str | None:
        try:
            return super()._requested_name(self._resolve(name))
        except ImageNotFoundError:
            return None  # the URL of a foreign image

    def _delete_after_commit(self, name: Name, *, using: str | None) -> None:
        if self.options.background:
            from cf_images import background

            if (using or DEFAULT_DB_ALIAS) == background.database():
                self.delete(name)  # a row of the same transaction, which commits with the new image's
                return
        super()._delete_after_commit(name, using=using)

    # Reading

    def _open(self, name: Name, mode: str = "rb") -> CloudflareImagesFile:
        if mode != "rb":
            raise ValueError(f"Images at Cloudflare are read as bytes and never changed: mode {mode!r}.")
        return CloudflareImagesFile(file_names.text(name), lambda: self._original(name))

    def exists(self, name: Name) -> bool:
        """Return whether the image is at Cloudflare or pending; a reservation without bytes does not
        count. The folder of all images always exists.
        """
        try:
            if not self._resolve(name):
                return True
            return self._row(name) is not None or not self._details(name).draft
        except ImageNotFoundError:
            return False

    def size(self, name: Name) -> int:
        """Return the bytes of the original: from the metadata of what this package stored, else by reading
        it.
        """
        if upload := self._row(name):
            return upload.size or 0  # one that Cloudflare has yet to fetch is empty
        size = metadata.size_of(self._details(name).metadata)
        if size is not None:
            return size
        with self._open(name) as file:
            return int(file.size)

    def get_created_time(self, name: Name) -> datetime:
        """Return when Cloudflare got the image; aware or naive by ``USE_TZ``."""
        if upload := self._row(name):
            return upload.created_at  # the database has it as the settings say
        uploaded_at = self._details(name).uploaded_at
        if uploaded_at is None:
            raise CloudflareUnavailableError(f"Cloudflare does not say when it got {name}.")
        if conf.project_setting("USE_TZ"):
            return uploaded_at
        return datetime.fromtimestamp(uploaded_at.timestamp())  # noqa: DTZ006  # the system's zone, as Django

    get_modified_time = get_created_time  # an image is never changed, only replaced by another

    def listdir(self, path: Name) -> tuple[list[str], list[str]]:
        """Return folders and images below ``path``; reads the whole account, 1,000 images a request."""
        parent = file_names.resolve(path).rstrip("/")
        prefix = f"{parent}/" if parent else ""
        folders: set[str] = set()
        files: list[str] = []
        for name in self._all_names():
            folder, slash, _ = name.removeprefix(prefix).partition("/")
            if not name.startswith(prefix):
                continue
            folders.add(folder) if slash else files.append(folder)
        return sorted(folders), files

    def _all_names(self) -> set[str]:
        found = self._with_saved_names({_name_of(image) for image in self.client.list_images()})
        if not self.options.background:
            return found
        from cf_images import background

        alias = self._required_alias()
        return (found | background.pending_names(alias)) - background.deleting_names(alias)

    def _with_saved_names(self, found: set[str]) -> set[str]:
        """Give uploads from browsers the names that fields have: Cloudflare knows only their IDs."""
        ids = {name for name in found if names.REMOTE_ID.fullmatch(name)}
        if not ids or not apps.is_installed("cf_images"):
            return found
        from cf_images import background

        saved = background.saved_names(ids, self.account.key)
        return (found - saved.keys()) | set(saved.values())

    def _original(self, name: Name) -> IO[bytes]:
        if self.options.background:
            from cf_images import background

            if (pending := background.open_pending(self._resolve(name))) is not None:
                return pending
        from cf_images.client.seekable import seekable  # httpx, only for a request

        return seekable(self.client.download(self.image_id(name)))

    def _details(self, name: Name) -> Image:
        return self.client.details(self.image_id(name))


def _rebuild(storage: type[CloudflareImagesStorage], options: dict[str, Any]) -> CloudflareImagesStorage:
    return storage(**options)


def _name_of(image: Image) -> str:
    """Return the name under which a field has the image; the metadata of a private one tell it."""
    name = metadata.name_of(image.metadata)
    if not name:
        return image.id
    return name if names.is_private(name) else names.with_remote_id(name, image.id)
