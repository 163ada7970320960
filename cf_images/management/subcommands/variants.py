"""``cf_images variants``: the named variants of the project beside those of each account, and how to apply
them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from cf_images import conf
from cf_images.accounts import Account, accounts_by_key
from cf_images.client import CloudflareImagesClient
from cf_images.doctor.variants import flexible_found
from cf_images.exceptions import CloudflareImagesError, ImageNotFoundError, InvalidVariantError
from cf_images.management.arguments import add_noinput, add_storage, no_storage
from cf_images.management.output import confirmed
from cf_images.variants.diff import Step, VariantDiff, compare
from cf_images.variants.named import MAX_VARIANTS, NamedVariant, read_variants

SUMMARY = "Compare and apply the named variants"
HELP = "Compare the project's named variants with the account's; --apply creates and updates them there."


def add_arguments(parser: CommandParser) -> None:
    """Add the account, and what may be done to it."""
    add_storage(parser)
    parser.add_argument("--apply", action="store_true", help="create and update what differs in the account")
    parser.add_argument(
        "--prune", action="store_true", help="with --apply: delete what is only in the account, but public"
    )
    parser.add_argument("--dry-run", action="store_true", help="print what would be done, and do nothing")
    add_noinput(parser)


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    """Handle one account after the other; exit with 1 where one differs, or was not updated."""
    if options["prune"] and not (options["apply"] or options["dry_run"]):
        raise CommandError("--prune deletes variants: add --apply, or --dry-run to see which.")
    try:
        named = read_variants(conf.setting("VARIANTS"))
        accounts = _accounts(options["storage"])
    except InvalidVariantError as error:
        raise CommandError(f"{error.message}.") from None
    except ImproperlyConfigured as error:
        raise CommandError(str(error)) from None
    outcomes = [_one_account(command, members, named, options) for members in accounts]
    if not all(outcomes):
        sys.exit(1)


def _accounts(chosen: str | None) -> list[list[Account]]:
    """Return the accounts; those in one list are the same at Cloudflare."""
    found = []
    for members in accounts_by_key().values():
        if members := [account for account in members if chosen in (None, account.alias)]:
            members[0].options.require("account_id")
            found.append(members)
    if not found:
        raise no_storage(chosen)
    return found


def _one_account(
    command: BaseCommand, members: list[Account], named: Mapping[str, NamedVariant], options: dict[str, Any]
) -> bool:
    """Print the diff, and apply it if requested; return whether everything is as declared."""
    command.stdout.write(f"{', '.join(str(account.alias) for account in members)}:")
    try:
        client = members[0].client()
        diff = _diff(client, named)
    except ImproperlyConfigured as error:
        raise CommandError(str(error)) from None
    except CloudflareImagesError as error:
        command.stderr.write(f"The account cannot be read: {error}")
        return False
    for line in diff.lines():
        command.stdout.write(f"  {line}")
    if options["apply"] or options["dry_run"]:
        return _apply(command, client, diff, options)
    if problem := _quota_problem(diff, prune=False):
        command.stdout.write(f"  {problem}")
    return not diff


def _diff(client: CloudflareImagesClient, named: Mapping[str, NamedVariant]) -> VariantDiff:
    return compare(
        named,
        client.list_variants(),
        flexible_declared=conf.setting("FLEXIBLE_VARIANTS"),
        flexible_found=flexible_found(client),
    )


def _apply(
    command: BaseCommand, client: CloudflareImagesClient, diff: VariantDiff, options: dict[str, Any]
) -> bool:
    """Apply the diff; whatever prevents it is found before the first request."""
    if problem := _quota_problem(diff, prune=options["prune"]):
        command.stderr.write(f"{problem} Nothing was sent.")
        return False
    steps = diff.steps(prune=options["prune"])
    if options["dry_run"]:
        for step in steps:
            command.stdout.write(f"  would {step.verb} {step.what}")
        return not diff
    asks = options["interactive"] and options["prune"] and diff.extra
    if asks and not _confirmed(diff):
        command.stderr.write("Nothing was changed.")
        return False
    return _run_all(command, client, steps)


def _quota_problem(diff: VariantDiff, *, prune: bool) -> str:
    overflow = diff.overflow(prune=prune)
    if not overflow:
        return ""
    return (
        f"The account has {diff.total} of {MAX_VARIANTS} variants: {overflow} of the new ones do not fit. "
        f"--prune deletes the {len(diff.extra)} that are only in the account."
    )


def _confirmed(diff: VariantDiff) -> bool:
    names = ", ".join(diff.extra)
    return confirmed(f"Delete {names} from the account? Pages that use them will show no image.")


def _run_all(command: BaseCommand, client: CloudflareImagesClient, steps: list[Step]) -> bool:
    """Run each step and print it; stop at the first that fails."""
    for number, step in enumerate(steps):
        try:
            _run(step, client)
        except CloudflareImagesError as error:
            left = ", ".join(f"{step.verb} {step.what}" for step in steps[number:])
            command.stderr.write(f"Cloudflare did not {step.verb} {step.what}: {error}")
            command.stderr.write(f"Left to do: {left}. Run the command again to continue.")
            return False
        command.stdout.write(f"  {step.done} {step.what}")
    if any(step.verb == "delete" for step in steps):
        command.stdout.write("  (Cloudflare may list deleted variants for a short while.)")
    return True


def _run(step: Step, client: CloudflareImagesClient) -> None:
    try:
        step.run(client)
    except ImageNotFoundError:
        if step.verb != "delete":  # deleted already, although the list still had it
            raise
