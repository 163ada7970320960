"""``cf_images keys``: the account's signing keys, and a rotation during which every signed URL stays
valid.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from cf_images.accounts import Account, cloudflare_alias, find_account, signing_keys
from cf_images.client import SigningKey
from cf_images.exceptions import CloudflareImagesError, ImageNotFoundError
from cf_images.management.arguments import add_noinput, add_storage, no_storage
from cf_images.management.output import confirmed

SUMMARY = "List and rotate the signing keys of private images"
HELP = "List the signing keys of private images; --rotate adds a new one, --retire deletes the older one."


def add_arguments(parser: CommandParser) -> None:
    """Add the actions; the default is to list the keys."""
    add_storage(parser, default='CF_IMAGES["CLOUDFLARE_ALIAS"]')
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--rotate", action="store_true", help="add a key, which signs from now on")
    action.add_argument(
        "--retire", metavar="NAME", help="delete a key, and invalidate the URLs that it signed"
    )
    action.add_argument("--reveal", action="store_true", help="print the values, for CF_IMG_SIGNING_KEYS")
    add_noinput(parser)


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    """Run the action, and print what to do next."""
    try:
        account = _account(options["storage"])
        if options["rotate"]:
            _rotate(command, account)
        elif options["retire"]:
            _retire(command, account, options["retire"], ask=options["interactive"])
        else:
            _list(command, account, reveal=options["reveal"])
    except (CloudflareImagesError, ImproperlyConfigured) as error:
        raise CommandError(str(error)) from None


def _account(alias: str | None) -> Account:
    alias = alias or cloudflare_alias()
    account = find_account(alias)
    if account is None:
        raise no_storage(alias)
    return account


def _list(command: BaseCommand, account: Account, *, reveal: bool) -> None:
    in_settings = account.options.signing_keys
    found = signing_keys.by_age(account.client().signing_keys())
    for key in found:
        use = "fetched"
        if in_settings:
            use = "in the settings" if key.value in in_settings else "not in the settings"
        command.stdout.write(f"{key.name:20}  {use}{f'  {key.value}' if reveal else ''}")
    missing = set(in_settings) - {key.value for key in found}
    if missing:
        keys = "1 signing key" if len(missing) == 1 else f"{len(missing)} signing keys"
        command.stderr.write(f"The settings have {keys} that the account does not have.")
    if in_settings and in_settings[-1] in missing:
        raise CommandError(
            "The last key of the settings signs, and the account does not have it: all signed URLs get a 403."
        )


def _rotate(command: BaseCommand, account: Account) -> None:
    client = account.client()
    before = client.signing_keys()
    if len(before) > 1:
        older = signing_keys.by_age(before)[0].name
        raise CommandError(
            f"The account has two keys already, which is Cloudflare's limit. Once no URL of the older one is "
            f"in use: manage.py cf_images keys --retire {older}"
        )
    name = f"k{datetime.now(UTC):%Y%m%d%H%M%S}"
    client.put_signing_key(name)
    if not before:
        command.stdout.write(f"Added {name}, the account's first key.")
        return
    command.stdout.write(f"Added {name}. Both keys are valid now.")
    for number, step in enumerate(_next_steps(account, before), 1):
        command.stdout.write(f"{number}. {step}")


def _next_steps(account: Account, before: tuple[SigningKey, ...]) -> list[str]:
    if account.options.signing_keys:
        delay = 0.0
        sign = (
            "Put its value (--reveal prints it) at the end of signing_keys, and deploy: the last one signs."
        )
    else:
        delay = signing_keys.FRESH
        sign = f"Every process signs with it within {delay / 60:.0f} minutes."
    minutes = math.ceil((delay + account.options.expire * 1.5) / 60)
    return [
        sign,
        f"Wait until URLs signed before have expired: {minutes:,} minutes, or your longest expire=.",
        f"manage.py cf_images keys --retire {before[0].name}",
    ]


def _retire(command: BaseCommand, account: Account, name: str, *, ask: bool) -> None:
    client = account.client()
    found = client.signing_keys()
    if name not in {key.name for key in found}:
        known = ", ".join(key.name for key in found)
        raise CommandError(f"The account has no key {name!r}; its keys are {known}.")
    if len(found) == 1:
        raise CommandError("This is the account's only key; --rotate first.")
    in_settings = account.options.signing_keys
    if in_settings and in_settings[-1] == next(key.value for key in found if key.name == name):
        raise CommandError(f"The settings sign with {name}: remove it from signing_keys and deploy first.")
    if not in_settings and name == signing_keys.by_age(found)[-1].name:
        raise CommandError(
            f"All processes sign with {name}, the newest: --retire the other one and --rotate first."
        )
    if ask and not confirmed(f"Delete {name}, and invalidate every URL that it signed?"):
        raise CommandError("Nothing was deleted.")
    try:
        client.delete_signing_key(name)
    except ImageNotFoundError:
        pass  # deleted by another process meanwhile
    command.stdout.write(f"Deleted {name}.")
