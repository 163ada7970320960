"""Checks of the images that rows have without one of their own."""

from __future__ import annotations

from typing import Any

from django.core import checks

from cf_images.accounts import Account, AccountStorage, backend_options, cloudflare_alias
from cf_images.checks.storages import Check, Messages
from cf_images.exceptions import InvalidNameError
from cf_images.image_fields import Default, defaults, find_static, selects_storage
from cf_images.images import names
from cf_images.storage.cloudflare import PRIVATE_WITH_GIVEN_NAMES
from cf_images.storage.mirror import sides

COMMAND = "manage.py cf_images defaults"
_EMPTY = "or leave the field empty, and let templates show a static image instead"


def default_images() -> Messages:
    """E028, W028, W029: a default is an image that must be uploaded, under exactly its name."""
    for default in defaults():
        alias, account = _production_alias(default)
        if account is None:
            continue
        what = f"The default {default.name!r}"
        where = f'STORAGES["{alias}"]' if alias else "the storage of the field"
        if problem := _name_problem(default.name, account):
            yield checks.Error(
                f"{what} cannot be the name of an image in {where}: {problem}",
                hint=f"Name another default, {_EMPTY}.",
                obj=default.field,
                id="cf_images.E028",
            )
        elif find_static(default.name) is None:
            yield checks.Warning(
                f"{what} is no static file of this project, so that nothing uploads it to {where}: rows "
                f"without an image would show none.",
                hint=f"Put it among the static files under this name and run `{COMMAND}`, {_EMPTY}.",
                obj=default.field,
                id="cf_images.W029",
            )
        else:
            yield checks.Warning(
                f"{what} must be in {where} under exactly this name; otherwise rows without an image show "
                f"none.",
                hint=f"Run `{COMMAND}` with each deployment (`--dry-run` tells whether it is there) and "
                f"silence this check, {_EMPTY}.",
                obj=default.field,
                id="cf_images.W028",
            )


CHECKS: tuple[Check, ...] = (default_images,)


def _production_alias(default: Default) -> tuple[str, Account | None]:
    """Return the field's alias in production, and its account; ``None`` where it is not at Cloudflare."""
    field = default.field
    if not selects_storage(field):
        for storage in sides(field.storage):
            if isinstance(storage, AccountStorage):
                return storage.alias or "", storage.account
        return "", None
    alias = cloudflare_alias()
    options: dict[str, Any] | None = backend_options().get(alias)
    return alias, None if options is None else Account(options, alias=alias)


def _name_problem(name: str, account: Account) -> str:
    if account.options.require_signed_urls:
        return PRIVATE_WITH_GIVEN_NAMES
    try:
        found = names.given_name(name)
    except InvalidNameError as error:
        return error.message
    return "" if found == name else f"it would be {found!r}."
