"""``cf_images keys``: the account's signing keys, and a rotation that ends no address before its time."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import storages
from django.core.management.base import BaseCommand, CommandError, CommandParser

from cf_images import conf, keys
from cf_images.client import SigningKey
from cf_images.exceptions import CloudflareImagesError, ImageNotFoundError
from cf_images.storage import CloudflareImagesStorage

HELP = "List the signing keys of private images; --rotate adds a new one, --retire deletes the older one."


def add_arguments(parser: CommandParser) -> None:
    """What to do with them; by default nothing."""
    parser.add_argument("--storage", metavar="ALIAS", help="the account: an alias in STORAGES")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--rotate", action="store_true", help="add a key, which signs from now on")
    action.add_argument("--retire", metavar="NAME", help="delete a key, and end what it has signed")
    action.add_argument("--reveal", action="store_true", help="print the values, for CF_IMG_SIGNING_KEYS")
    parser.add_argument("--noinput", "--no-input", action="store_true", help="do not ask before --retire")


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    """Do it, and say what comes next."""
    storage = _storage(options["storage"])
    try:
        if options["rotate"]:
            _rotate(command, storage)
        elif options["retire"]:
            _retire(command, storage, options["retire"], ask=not options["noinput"])
        else:
            _list(command, storage, reveal=options["reveal"])
    except (CloudflareImagesError, ImproperlyConfigured) as error:
        raise CommandError(str(error)) from None


def _storage(alias: str | None) -> CloudflareImagesStorage:
    alias = alias or conf.package("CLOUDFLARE_ALIAS")
    storage = storages[alias] if alias in storages.backends else None
    if not isinstance(storage, CloudflareImagesStorage):
        raise CommandError(f"STORAGES[{alias!r}] is no CloudflareImagesStorage; choose one with --storage.")
    return storage


def _list(command: BaseCommand, storage: CloudflareImagesStorage, *, reveal: bool) -> None:
    ours = conf.signing_keys(storage.given_options)
    found = keys.by_age(storage.client.signing_keys())
    for key in found:
        use = "in the settings" if key.value in ours else "not in the settings" if ours else "fetched"
        command.stdout.write(f"{key.name:20}  {use}{f'  {key.value}' if reveal else ''}")
    gone = set(ours) - {key.value for key in found}
    if gone:
        command.stderr.write(f"The settings have {len(gone)} signing key(s) that the account does not have.")
    if ours and ours[-1] in gone:
        raise CommandError(
            "The last key of the settings signs, and the account does not have it: 403 for all."
        )


def _rotate(command: BaseCommand, storage: CloudflareImagesStorage) -> None:
    client = storage.client
    before = client.signing_keys()
    if len(before) > 1:
        older = keys.by_age(before)[0].name
        raise CommandError(
            f"The account has two keys already, and Cloudflare allows no third. Once no address of the older "
            f"one is in use: manage.py cf_images keys --retire {older}"
        )
    name = f"k{datetime.now(UTC):%Y%m%d%H%M%S}"
    client.put_signing_key(name)
    if not before:
        command.stdout.write(f"Added {name}, the account's first key.")
        return
    command.stdout.write(f"Added {name}. Both keys open images now.")
    for number, step in enumerate(_next_steps(storage, before), 1):
        command.stdout.write(f"{number}. {step}")


def _next_steps(storage: CloudflareImagesStorage, before: tuple[SigningKey, ...]) -> list[str]:
    if conf.signing_keys(storage.given_options):
        sign = (
            "Put its value (--reveal prints it) at the end of signing_keys, and deploy: the last one signs."
        )
    else:
        sign = f"Every process signs with it within {keys.FRESH / 60:.0f} minutes."
    late = 0 if conf.signing_keys(storage.given_options) else keys.FRESH
    minutes = math.ceil((late + storage.option("expire") * 1.5) / 60)
    return [
        sign,
        f"Wait until addresses signed before have ended: {minutes:,} minutes, or your longest expire=.",
        f"manage.py cf_images keys --retire {before[0].name}",
    ]


def _retire(command: BaseCommand, storage: CloudflareImagesStorage, name: str, *, ask: bool) -> None:
    client = storage.client
    found = client.signing_keys()
    if name not in {key.name for key in found}:
        known = ", ".join(key.name for key in found)
        raise CommandError(f"The account has no key {name!r}; it has {known}.")
    if len(found) == 1:
        raise CommandError("This is the account's only key; --rotate first.")
    ours = conf.signing_keys(storage.given_options)
    if ours and ours[-1] == next(key.value for key in found if key.name == name):
        raise CommandError(f"The settings sign with {name}: take it out of signing_keys and deploy first.")
    if not ours and name == keys.by_age(found)[-1].name:
        raise CommandError(
            f"All processes sign with {name}, the newest: --retire the other one and --rotate first."
        )
    if ask and input(f"Delete {name}, and end every address that it has signed? [y/N] ").lower() != "y":
        raise CommandError("Nothing was deleted.")
    try:
        client.delete_signing_key(name)
    except ImageNotFoundError:
        pass  # somebody else has just done it
    command.stdout.write(f"Deleted {name}.")
