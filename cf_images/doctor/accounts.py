"""Whom the doctor sees: the accounts that the Cloudflare aliases of STORAGES use, each once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import storages

from cf_images import conf
from cf_images.checks import cloudflare_options
from cf_images.client import CloudflareImagesClient
from cf_images.doctor.findings import Finding, failure
from cf_images.storage import CloudflareImagesStorage

LONGEST = 10.0  # seconds that one attempt may take; a person waits


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """``probe``: upload an image; ``flexible_at``: where a template uses a flexible variant, or nothing."""

    probe: bool = False
    flexible_at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Storages with the same credentials."""

    aliases: tuple[str, ...]
    storages: tuple[CloudflareImagesStorage, ...]

    @property
    def storage(self) -> CloudflareImagesStorage:
        """Any of them, where only the credentials matter."""
        return self.storages[0]

    @property
    def client(self) -> CloudflareImagesClient:
        """A client that gives up soon."""
        return self.storage.make_client(longest=LONGEST)

    @property
    def private(self) -> tuple[CloudflareImagesStorage, ...]:
        """The storages that keep private images."""
        return tuple(storage for storage in self.storages if storage.option("require_signed_urls"))


def accounts(chosen: str | None) -> Iterator[Account | Finding]:
    """All of them, or that of one alias; a storage that cannot be made is a finding."""
    shared: dict[object, list[tuple[str, CloudflareImagesStorage]]] = {}
    for alias in cloudflare_options():
        if chosen not in (None, alias):
            continue
        try:
            storage = _storage(alias)
            shared.setdefault(_credentials(storage), []).append((alias, storage))
        except ImproperlyConfigured as error:
            yield failure("settings", f'STORAGES["{alias}"]: {error}', remedy="Correct it in the settings.")
    for members in shared.values():
        aliases, found = zip(*members, strict=True)
        yield Account(aliases=aliases, storages=found)


def _storage(alias: str) -> CloudflareImagesStorage:
    storage = storages[alias]
    assert isinstance(storage, CloudflareImagesStorage)  # noqa: S101  # cloudflare_options() gives no others
    return storage


def _credentials(storage: CloudflareImagesStorage) -> tuple[object, ...]:
    return tuple(storage.option(name) for name in ("api_url", *conf.CREDENTIALS))
