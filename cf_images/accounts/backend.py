"""The accounts that ``STORAGES`` declares; the base classes of storages that have one, and of mirrors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import Storage, storages
from django.utils.module_loading import import_string

from cf_images import conf
from cf_images.accounts.account import Account


class AccountStorage(Storage):
    """A storage whose files are images of an account; ``OPTIONS`` are those of ``conf.STORAGE_OPTIONS``."""

    def __init__(self, **options: Any) -> None:
        conf.check_options(options)
        self.given_options: Mapping[str, Any] = conf.GivenOptions(options)
        self._account: Account | None = None

    @property
    def account(self) -> Account:
        """The account with the settings as they are now."""
        account = self._account
        if account is None or account.generation != conf.generation():
            generation = conf.generation()  # first: another thread may change the settings meanwhile
            account = Account(self.given_options, alias=self._find_alias())
            account.generation = generation
            self._account = account
        return account

    @property
    def options(self) -> conf.StorageOptions:
        """The options with the settings as they are now."""
        return self.account.options

    @property
    def alias(self) -> str | None:
        """Its alias in ``STORAGES``; ``None`` for a storage that was made by hand with other options."""
        return self.account.alias

    def _find_alias(self) -> str | None:
        """Find the alias by class and options, since Django does not tell a storage its alias."""
        for alias, declared in conf.storage_declarations().items():
            backend = declared["BACKEND"]
            if not backend.endswith(f".{type(self).__name__}"):
                continue  # backends of other packages need not be imported for this
            if declared.get("OPTIONS", {}) == self.given_options and import_string(backend) is type(self):
                return str(alias)
        return None


class Mirror(Storage):
    """A storage that keeps its files in two others, which it names by their aliases."""

    def __init__(self, primary: str | None = None, secondary: str | None = None, **unknown: Any) -> None:
        if unknown:
            raise ImproperlyConfigured(
                f"Unknown option of {type(self).__name__}: {', '.join(sorted(unknown))}. "
                f"The options are primary, secondary."
            )
        self._aliases = (primary, secondary)

    @property
    def primary_alias(self) -> str:
        """The alias of the storage that names, keeps and shows the files."""
        return self._required(0, "primary")

    @property
    def secondary_alias(self) -> str:
        """The alias of the storage that gets a copy of each file in the background."""
        return self._required(1, "secondary")

    def _required(self, index: int, name: str) -> str:
        alias = self._aliases[index]
        if not alias or not isinstance(alias, str):
            raise ImproperlyConfigured(
                f"{type(self).__name__} has no {name}: give it the alias of a storage in STORAGES."
            )
        return alias


def is_mirror(alias: str) -> bool:
    """Return whether the storage of an alias is a mirror."""
    return issubclass(backend_of(alias), Mirror)


def sides_of(alias: str) -> tuple[str, ...]:
    """Return the aliases of primary and secondary of a mirror, as far as they are given; that of any other
    storage is its own.
    """
    if not is_mirror(alias):
        return (alias,)
    options = _options_of(alias)
    return tuple(str(side) for side in (options.get("primary"), options.get("secondary")) if side)


def cloudflare_alias() -> str:
    """Return ``CF_IMAGES["CLOUDFLARE_ALIAS"]``; of a mirror, that of the side at Cloudflare."""
    chosen = str(conf.setting("CLOUDFLARE_ALIAS"))
    declared = backend_options()
    return next((side for side in sides_of(chosen) if side in declared), chosen)


def backend_options() -> dict[str, dict[str, Any]]:
    """Return the ``OPTIONS`` of every alias whose backend is an ``AccountStorage``, right or wrong."""
    aliases = [
        alias for alias in conf.storage_declarations() if issubclass(backend_of(alias), AccountStorage)
    ]
    return {alias: _options_of(alias) for alias in aliases}


def backend_of(alias: str) -> type:
    """Return the storage class of an alias; ``object`` where there is none, which Django itself reports."""
    try:
        backend = import_string(conf.storage_declarations()[alias]["BACKEND"])
    except (ImportError, KeyError, TypeError, AttributeError):
        return object
    return backend if isinstance(backend, type) else object


def find_account(alias: str) -> Account | None:
    """Return the account of an alias, of a mirror that of its primary; ``None`` for another package's storage
    and for an unknown alias.

    Raise ``ImproperlyConfigured`` for options that the storage does not have, and for what is no dictionary.
    """
    alias = next(iter(sides_of(alias)), alias)
    if not issubclass(backend_of(alias), AccountStorage):
        return None
    _options_of(alias)
    storage = storages[alias]
    return Account(storage.given_options, alias=alias) if isinstance(storage, AccountStorage) else None


def cloudflare_options() -> conf.StorageOptions:
    """Return the options of images that go to Cloudflare, also while they stay local.

    Those of ``CF_IMAGES["CLOUDFLARE_ALIAS"]``; where that is no storage of this package, the general ones.
    """
    account = find_account(cloudflare_alias())
    return account.options if account else conf.StorageOptions({})


def accounts_by_key() -> dict[str, list[Account]]:
    """Return the accounts of all aliases by ``Account.key``: aliases in one list share an account.

    Raise ``ImproperlyConfigured`` for an alias with wrong options.
    """
    found: dict[str, list[Account]] = {}
    for account in filter(None, map(find_account, backend_options())):
        found.setdefault(account.key, []).append(account)
    return found


def usable_accounts() -> list[Account]:
    """Return the accounts of all aliases without those whose options are wrong, which a check reports."""
    found = []
    for alias in conf.storage_declarations():
        try:
            found.append(find_account(alias))
        except ImproperlyConfigured:
            continue
    return list(filter(None, found))


def _options_of(alias: str) -> dict[str, Any]:
    options: Any = conf.storage_declarations()[alias].get("OPTIONS") or {}
    if not isinstance(options, dict):
        raise ImproperlyConfigured(f'STORAGES["{alias}"]["OPTIONS"] is not a dictionary.')
    return options
