"""``cf_images variants``: the declared variants beside those of each account, and how to push them there."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import storages
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.module_loading import import_string

from cf_images import conf
from cf_images.declared import MOST_VARIANTS, DeclaredVariant, read_variants
from cf_images.difference import Difference, Step, compare
from cf_images.doctor.variants import flexible_found
from cf_images.exceptions import CloudflareImagesError, ImageNotFoundError, InvalidVariantError
from cf_images.storage import CloudflareImagesStorage

HELP = "Compare the declared variants with the account's, and push them there with --apply."


def add_arguments(parser: CommandParser) -> None:
    """Which account, and what may be done to it."""
    parser.add_argument("--storage", metavar="ALIAS", help="only the account of this storage (default: all)")
    parser.add_argument("--apply", action="store_true", help="create and update what differs in the account")
    parser.add_argument(
        "--prune", action="store_true", help="with --apply: delete what is only in the account, but public"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    parser.add_argument(
        *("--noinput", "--no-input"), action="store_false", dest="interactive", help="delete without asking"
    )


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    """One account after the other; exit status 1 where one differs, or was not mended."""
    if options["prune"] and not (options["apply"] or options["dry_run"]):
        raise CommandError("--prune deletes variants: add --apply, or --dry-run to see which.")
    try:
        declared = read_variants(conf.package("VARIANTS"))
        accounts = _accounts(options["storage"])
    except InvalidVariantError as error:
        raise CommandError(f"{error.message}.") from None
    except ImproperlyConfigured as error:
        raise CommandError(str(error)) from None
    outcomes = [_one_account(command, aliases, declared, options) for aliases in accounts]
    if not all(outcomes):
        sys.exit(1)


def _accounts(chosen: str | None) -> list[list[str]]:
    """The aliases of each account: several storages may share one."""
    shared: dict[tuple[str, str], list[str]] = {}
    for alias in _aliases():
        if chosen in (None, alias):
            given: Any = settings.STORAGES[alias].get("OPTIONS") or {}
            account = (conf.credential("account_id", given), conf.option("api_url", given))
            shared.setdefault(account, []).append(alias)
    if not shared:
        known = ", ".join(_aliases()) or "there is none"
        raise CommandError(f"{chosen or 'No alias'} in STORAGES is no Cloudflare Images storage ({known}).")
    return list(shared.values())


def _aliases() -> Iterator[str]:
    for alias, storage in settings.STORAGES.items():
        backend = import_string(storage["BACKEND"])
        if isinstance(backend, type) and issubclass(backend, CloudflareImagesStorage):
            yield alias


def _one_account(
    command: BaseCommand, aliases: list[str], declared: Mapping[str, DeclaredVariant], options: dict[str, Any]
) -> bool:
    """Show it, and mend it where that is wanted; whether all is well."""
    command.stdout.write(f"{', '.join(aliases)}:")
    storage: Any = storages[aliases[0]]
    try:
        client = storage.client
        difference = _difference(client, declared)
    except ImproperlyConfigured as error:
        raise CommandError(str(error)) from None
    except CloudflareImagesError as error:
        command.stderr.write(f"The account cannot be read: {error}")
        return False
    for line in difference.lines():
        command.stdout.write(f"  {line}")
    if options["apply"] or options["dry_run"]:
        return _mend(command, client, difference, options)
    if problem := _no_room(difference, prune=False):
        command.stdout.write(f"  {problem}")
    return not difference


def _difference(client: Any, declared: Mapping[str, DeclaredVariant]) -> Difference:
    return compare(
        declared,
        client.list_variants(),
        flexible_declared=conf.package("FLEXIBLE_VARIANTS"),
        flexible_found=flexible_found(client),
    )


def _mend(command: BaseCommand, client: Any, difference: Difference, options: dict[str, Any]) -> bool:
    """Everything that speaks against it comes before the first request."""
    if problem := _no_room(difference, prune=options["prune"]):
        command.stderr.write(f"{problem} Nothing was sent.")
        return False
    steps = difference.steps(prune=options["prune"])
    if options["dry_run"]:
        for step in steps:
            command.stdout.write(f"  would {step.verb} {step.what}")
        return not difference
    asks = options["interactive"] and options["prune"] and difference.extra
    if asks and not _confirmed(difference):
        command.stderr.write("Nothing was changed.")
        return False
    return _done(command, client, steps)


def _no_room(difference: Difference, *, prune: bool) -> str:
    overflow = difference.overflow(prune=prune)
    if not overflow:
        return ""
    return (
        f"The account has {difference.total} of {MOST_VARIANTS} variants: {overflow} of the new ones do not "
        f"fit. --prune deletes the {len(difference.extra)} that are only in the account."
    )


def _confirmed(difference: Difference) -> bool:
    names = ", ".join(difference.extra)
    question = f"Delete {names} from the account? Pages that use them will show no image. [y/N] "
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:  # nobody is there to ask
        return False


def _done(command: BaseCommand, client: Any, steps: list[Step]) -> bool:
    """Each step is said when it is done; the first that fails ends it."""
    for number, step in enumerate(steps):
        try:
            _run(step, client)
        except CloudflareImagesError as error:
            left = ", ".join(f"{step.verb} {step.what}" for step in steps[number:])
            command.stderr.write(f"Cloudflare did not {step.verb} {step.what}: {error}")
            command.stderr.write(f"Left to do: {left}. Run the command again to go on.")
            return False
        command.stdout.write(f"  {step.done} {step.what}")
    if any(step.verb == "delete" for step in steps):
        command.stdout.write("  (Cloudflare may go on listing deleted variants for a short while.)")
    return True


def _run(step: Step, client: Any) -> None:
    try:
        step.run(client)
    except ImageNotFoundError:
        if step.verb != "delete":  # it is gone, although the list still had it
            raise
