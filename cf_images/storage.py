"""The storages: Cloudflare Images, local files with the same variants, and the choice between them.

Constructing a storage opens nothing and reads no credentials: it happens while models are imported.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any, NoReturn

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import File
from django.core.files.storage import Storage, storages
from django.core.files.utils import validate_file_name
from django.db import DEFAULT_DB_ALIAS
from django.utils import timezone
from django.utils.module_loading import import_string

from cf_images import conf, delivery, images, naming
from cf_images.addresses import AddressedStorage
from cf_images.exceptions import CloudflareUnavailableError, ImageNotFoundError
from cf_images.files import CloudflareImagesFile, downloaded, from_start
from cf_images.local import LocalImagesStorage
from cf_images.metadata import FACTS, described, name_of
from cf_images.replacing import ReplacingStorage

if TYPE_CHECKING:
    from cf_images.client import CloudflareImagesClient, Image
    from cf_images.models import Upload

PRIVATE_WITH_GIVEN_NAMES = (
    "Cloudflare refuses IDs of our own for private images (require_signed_urls), so that they cannot be kept "
    "under a given name (unique_names: False): turn one of the two options off."
)

__all__ = ["CloudflareImagesFile", "CloudflareImagesStorage", "LocalImagesStorage", "named", "select_storage"]


def select_storage() -> Storage:
    """The storage that the environment asks for: local files where ``ENV_NAME`` is one of ``LOCAL_ENVS``.

    For ``ImageField(storage=select_storage)``: migrations hold only this path. Where the settings are
    wrong, models still import, so that the checks can say what is wrong; using the storage says it, too.
    """
    try:
        return storages[conf.selected_alias()]
    except ImproperlyConfigured as error:
        return MisconfiguredStorage(str(error))


def named(alias: str) -> Storage:
    """The storage ``STORAGES[alias]``; what a pickle or a migration holds instead of the settings' values."""
    return storages[alias]


class MisconfiguredStorage(Storage):
    """In place of a storage that the settings cannot give: every use says ``problem``."""

    def __init__(self, problem: str) -> None:
        self._problem = problem

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise ImproperlyConfigured(self._problem)

    save = open = delete = exists = listdir = size = url = url_variant = generate_filename = _refuse
    get_available_name = get_created_time = get_modified_time = get_accessed_time = _refuse


class CloudflareImagesStorage(AddressedStorage, ReplacingStorage):
    """Images at Cloudflare, under names of our own; see ``conf.STORAGE_OPTIONS`` for the options.

    Errors are those of ``cf_images.exceptions``; a missing image is also a ``FileNotFoundError``.
    """

    def __init__(self, **options: Any) -> None:
        conf.check_options(options)
        self._options = conf.GivenOptions(options)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.alias or self._public_options()}>"

    # What it is made of

    @property
    def alias(self) -> str | None:
        """Its alias in ``settings.STORAGES``, found by class and options: Django does not tell."""
        for alias, declared in settings.STORAGES.items():
            backend = declared["BACKEND"]
            if not backend.endswith(f".{type(self).__name__}"):
                continue  # other packages' backends need not be imported for this
            if declared.get("OPTIONS", {}) == self._options and import_string(backend) is type(self):
                return str(alias)
        return None

    @property
    def given_options(self) -> Mapping[str, Any]:
        """What it was constructed with, its ``OPTIONS``; shown without secrets."""
        return self._options

    def option(self, name: str) -> Any:
        """One option as the settings have it now."""
        return conf.option(name, self._options)

    @property
    def client(self) -> CloudflareImagesClient:
        """A client with this storage's credentials; cheap, the connections belong to the process."""
        return self.make_client()

    def make_client(self, *, retry: bool = True, longest: float = math.inf) -> CloudflareImagesClient:
        """``client``; or one that tries each request once, or for ``longest`` seconds at most."""
        from cf_images.client import CloudflareImagesClient  # httpx, only for a request

        return CloudflareImagesClient(
            conf.credential("account_id", self._options),
            conf.credential("api_token", self._options),
            api_url=self.option("api_url"),
            timeout=min(self.option("timeout"), longest),
            retry=retry,
        )

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """For migrations: its alias, or the options it was given, without secrets."""
        if alias := self.alias:
            return "cf_images.storage.named", [alias], {}
        return f"{type(self).__module__}.{type(self).__qualname__}", [], self._public_options()

    def __reduce__(self) -> tuple[Any, ...]:
        if alias := self.alias:
            return named, (alias,)
        return _rebuilt, (type(self), self._public_options())

    def _public_options(self) -> dict[str, Any]:
        return {name: value for name, value in self._options.items() if not conf.STORAGE_OPTIONS[name].secret}

    def has_explicit_secret(self) -> bool:
        """Whether a secret was given by hand instead of through the settings."""
        return self.alias is None and self._options != self._public_options()

    # Names

    def get_valid_name(self, name: str) -> str:
        """The file name as it may stand in an image's ID."""
        return naming.valid_filename(name) if self.option("unique_names") else super().get_valid_name(name)

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        """A name nobody else has, without asking anybody; with ``unique_names: False`` the given one."""
        name = str(name).replace("\\", "/")
        validate_file_name(name, allow_relative_path=True)
        private = self.option("require_signed_urls")
        if not self.option("unique_names"):
            if private:
                raise ImproperlyConfigured(f"{self!r}: {PRIVATE_WITH_GIVEN_NAMES}")
            return naming.given_name(name, max_length=max_length)
        if private and not self.option("background"):
            return naming.private_stem(name, max_length=max_length)
        unique = naming.unique_name(name, seconds=int(time.time()), max_length=max_length)
        return naming.private_name(unique) if private else unique

    def image_id(self, name: str) -> str:
        """Cloudflare's ID of the image; also of one whose name is a delivery URL, as older recipes stored."""
        if not naming.is_url(name):
            return self._remote_id(name) or naming.image_id(name)
        address = delivery.parse_url(name, conf.delivery_urls())
        if address is None or not self._is_own(address):
            raise ImageNotFoundError(f"{name} is not an image of this account.")
        return address.image_id

    def _is_own(self, address: delivery.DeliveryURL) -> bool:
        """Whether the account is ours; the shape of a proxy may leave out its hash, and has but one."""
        if address.account_hash:
            return bool(address.account_hash == self.option("account_hash"))
        return address.delivery_url == delivery.base_of(self.option("delivery_url"))

    def _remote_id(self, name: str) -> str | None:
        """The ID of a private image that only its row knows, also where ``background`` is off (by now)."""
        if not naming.is_private(name) or naming.born_at(name) is None:
            return None
        from cf_images import background  # its models, which a project without the app does not have

        found: str | None = background.remote_id(name, self.alias or "")
        return found

    # Background uploads

    @property
    def _queue(self) -> Any:
        """The package's ``background``, where this storage takes part in it, else ``None``."""
        if not self.option("background"):
            return None
        from cf_images import background  # its models, which a project without the app does not have

        return background

    def _required_alias(self) -> str:
        if alias := self.alias:
            return alias
        raise ImproperlyConfigured(
            f"{self!r} uploads in the background, but no alias in STORAGES has its options: a worker could "
            f"not find it again. Add it there and use storages[…], or turn its option background off."
        )

    def _waiting(self, name: str) -> Upload | None:
        """The row of an image that is still here; raises ``ImageNotFoundError`` for a deleted one."""
        if (queue := self._queue) is None:
            return None
        name = self._row_name(name)
        if queue.is_doomed(name):
            raise ImageNotFoundError(f"{name} has been deleted.")
        found: Upload | None = queue.find(name)
        return found

    def _row_name(self, name: str) -> str:
        """The name that an image's row has: where older recipes stored a delivery URL, the ID in it."""
        return self.image_id(name) if naming.is_url(name) else name

    # Storing

    def _save(self, name: str, content: File[Any]) -> str:
        filename = os.path.basename(content.name or name)
        with from_start(content) as start:
            file, info = self._validated(start)
            if self.option("unique_names"):
                name = naming.with_extension(name, info.extension)
            return self._store(name, file, info, filename)

    def _validated(self, file: IO[bytes]) -> tuple[IO[bytes], images.ImageInfo]:
        if self.option("fit_limits"):
            return images.fit_limits(file)
        return file, images.validate(file)

    def _store(self, name: str, file: IO[bytes], info: images.ImageInfo, filename: str) -> str:
        creator, private = self.option("creator"), self.option("require_signed_urls")
        metadata = described(info, filename, self.option("metadata"), name=name if private else "")
        if queue := self._queue:
            queue.stage(
                name=name,
                alias=self._required_alias(),
                file=file,
                info=info,
                filename=os.path.basename(name),
                metadata=metadata,
                creator=creator,
                require_signed_urls=private,
            )
            return name
        send = self._store_private if private else self._store_public
        return send(name, file, info.content_type, metadata=metadata, creator=creator)

    def _store_public(self, name: str, file: IO[bytes], content_type: str, **facts: Any) -> str:
        filename = os.path.basename(name)
        self.client.upload(file, image_id=name, filename=filename, content_type=content_type, **facts)
        return name

    def _store_private(self, name: str, file: IO[bytes], content_type: str, **facts: Any) -> str:
        """Cloudflare refuses custom IDs for private images: reserve one of its own, then fill it."""
        client = self.client
        reserved = client.create_direct_upload(require_signed_urls=True, **facts)
        image = client.upload_direct(
            reserved.upload_url, file, filename=os.path.basename(name), content_type=content_type
        )
        return naming.with_remote_id(name, image.id)

    def delete(self, name: str) -> None:
        """Delete the image, in the background after the commit; one that is not there is not an error."""
        if not name:
            raise ValueError("The name must be given to delete().")
        try:
            if queue := self._queue:
                queue.discard(self._row_name(name), self._required_alias())
            else:
                self.client.delete(self.image_id(name))
        except ImageNotFoundError:
            pass

    def _asked_name(self, name: str) -> str | None:
        try:
            return super()._asked_name(self._row_name(name))
        except ImageNotFoundError:
            return None  # the address of somebody else's image

    def _delete_after_commit(self, name: str, *, using: str | None) -> None:
        queue = self._queue
        if queue and (using or DEFAULT_DB_ALIAS) == queue.database.database():
            self.delete(name)  # a row of the same transaction, which nothing can part from the new image's
        else:
            super()._delete_after_commit(name, using=using)

    # Reading

    def _open(self, name: str, mode: str = "rb") -> CloudflareImagesFile:
        if mode != "rb":
            raise ValueError(f"Images at Cloudflare are read as bytes and never changed: mode {mode!r}.")
        return CloudflareImagesFile(name, lambda: self._original(name))

    def exists(self, name: str) -> bool:
        """Whether the image is at Cloudflare, or here on its way; a reservation without bytes is none."""
        try:
            return self._waiting(name) is not None or not self._details(name).draft
        except ImageNotFoundError:
            return False

    def size(self, name: str) -> int:
        """Bytes of the original: from the metadata of what this package stored, else by reading it."""
        if upload := self._waiting(name):
            return upload.size or 0  # one that Cloudflare has yet to fetch is empty
        facts = self._details(name).metadata.get(FACTS)
        size = facts.get("size") if isinstance(facts, dict) else None
        if isinstance(size, int):
            return size
        with self.open(name) as file:
            return int(file.size)

    def get_created_time(self, name: str) -> datetime:
        """When Cloudflare got the image; aware or naive by ``USE_TZ``."""
        if upload := self._waiting(name):
            return upload.created_at  # the database has it as the settings say
        uploaded_at = self._details(name).uploaded_at
        if uploaded_at is None:
            raise CloudflareUnavailableError(f"Cloudflare does not say when it got {name}.")
        return uploaded_at if settings.USE_TZ else timezone.make_naive(uploaded_at)

    get_modified_time = get_created_time  # an image is never changed, only replaced by another

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        """Folders and images below ``path``; reads the whole account, 1,000 images a request."""
        prefix = f"{path.strip('/')}/" if path.strip("/.") else ""
        folders: set[str] = set()
        files: list[str] = []
        for name in self._all_names():
            folder, slash, _ = name.removeprefix(prefix).partition("/")
            if not name.startswith(prefix):
                continue
            folders.add(folder) if slash else files.append(folder)
        return sorted(folders), files

    def _all_names(self) -> set[str]:
        names = {_name_of(image) for image in self.client.list_images()}
        if (queue := self._queue) is None:
            return names
        alias = self._required_alias()
        waiting: set[str] = queue.waiting_names(alias)
        doomed: set[str] = queue.doomed_names(alias)
        return (names | waiting) - doomed

    def _original(self, name: str) -> IO[bytes]:
        held: IO[bytes] | None = self._queue.open_pending(name) if self._waiting(name) else None
        if held is not None:
            return held
        return downloaded(self.client.download(self.image_id(name)))

    def _details(self, name: str) -> Image:
        return self.client.details(self.image_id(name))


def _rebuilt(storage: type[CloudflareImagesStorage], options: dict[str, Any]) -> CloudflareImagesStorage:
    return storage(**options)


def _name_of(image: Image) -> str:
    """The name under which a field has the image: of one stored as private its metadata tell it."""
    name = name_of(image.metadata)
    if not name:
        return image.id
    return name if naming.is_private(name) else naming.with_remote_id(name, image.id)


@checks.register("cf_images")
def check_installed(**_: Any) -> list[checks.CheckMessage]:
    """W015: the storage is used but the app is not installed; here, since apps.py does not run then."""
    if apps.is_installed("cf_images"):
        return []
    hint = 'Add "cf_images" to INSTALLED_APPS: it brings the checks, the tags and the validation in forms.'
    return [checks.Warning("cf_images is used but not installed.", hint=hint, id="cf_images.W015")]
