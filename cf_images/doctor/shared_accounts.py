"""The accounts that the doctor examines: those of the Cloudflare aliases in ``STORAGES``, each once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.core.exceptions import ImproperlyConfigured

from cf_images import conf
from cf_images.accounts import Account, backend_options, find_account
from cf_images.client import CloudflareImagesClient
from cf_images.doctor.findings import Finding, failure

MAX_TIMEOUT = 10.0  # seconds that one attempt may take; a person waits


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """``probe``: upload an image; ``flexible_at``: where a template uses a flexible variant, or nothing."""

    probe: bool = False
    flexible_at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedAccount:
    """The accounts of aliases with the same credentials."""

    accounts: tuple[Account, ...]

    @property
    def aliases(self) -> tuple[str, ...]:
        """The aliases, in the order of ``STORAGES``."""
        return tuple(str(account.alias) for account in self.accounts)

    @property
    def options(self) -> conf.StorageOptions:
        """The options of one of them, where only the credentials matter."""
        return self.accounts[0].options

    @property
    def client(self) -> CloudflareImagesClient:
        """A client that gives up soon."""
        return self.accounts[0].client(max_timeout=MAX_TIMEOUT)

    @property
    def private(self) -> tuple[Account, ...]:
        """Those that keep private images."""
        return tuple(account for account in self.accounts if account.options.require_signed_urls)


def shared_accounts(chosen: str | None) -> Iterator[SharedAccount | Finding]:
    """Return all of them, or that of one alias; a storage with wrong options is a finding."""
    shared: dict[object, list[Account]] = {}
    for alias in backend_options():
        if chosen not in (None, alias):
            continue
        try:
            if account := find_account(alias):
                shared.setdefault(_credentials(account), []).append(account)
        except ImproperlyConfigured as error:
            yield failure("settings", f'STORAGES["{alias}"]: {error}', hint="Correct it in the settings.")
    for members in shared.values():
        yield SharedAccount(accounts=tuple(members))


def _credentials(account: Account) -> tuple[object, ...]:
    return tuple(getattr(account.options, name) for name in ("api_url", *conf.CREDENTIALS))
