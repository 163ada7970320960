"""Whether the account has the variants that the project declares and its templates use."""

from __future__ import annotations

from collections.abc import Iterator

from cf_images import conf
from cf_images.client import CloudflareImagesClient
from cf_images.declared import read_variants
from cf_images.difference import compare
from cf_images.doctor.accounts import Account, Asked
from cf_images.doctor.findings import Finding, failure, ok, skipped, warning
from cf_images.exceptions import CloudflareImagesError, InvalidVariantError

APPLY = "manage.py cf_images variants shows the difference, --apply mends it."
_TURN_ON = (
    'Turn them on in the dashboard (Images, Variants), or set CF_IMAGES["FLEXIBLE_VARIANTS"] to True and run '
    "manage.py cf_images variants --apply. Anybody can then see every public image in full size."
)


def named(account: Account, _asked: Asked) -> Iterator[Finding]:
    """Every declared variant is there, as it was declared."""
    try:
        declared = read_variants(conf.package("VARIANTS"))
    except InvalidVariantError as error:
        yield failure(
            "variants", f"{error.message}.", remedy="Correct the declaration: Cloudflare refuses it."
        )
        return
    difference = compare(declared, account.client.list_variants())
    if difference.added:
        names = ", ".join(variant.name for variant in difference.added)
        yield failure("variants", f"The account does not have the declared variants {names}.", remedy=APPLY)
    if difference.changed:
        names = ", ".join(change.variant.name for change in difference.changed)
        yield warning("variants", f"The account has other options for the variants {names}.", remedy=APPLY)
    if not difference.added and not difference.changed:
        others = f"; {len(difference.extra)} more are only there" if difference.extra else ""
        yield ok("variants", f"The account has every declared variant ({len(declared)}){others}.")


def flexible(account: Account, asked: Asked) -> Iterator[Finding]:
    """Flexible variants are on where they are needed."""
    declared = conf.package("FLEXIBLE_VARIANTS")
    is_on = flexible_found(account.client)
    need = _need(asked) if declared is not False else ""
    if is_on is None:
        hint = ", and --probe tries one" if need else ""
        yield skipped("flexible", f"Whether flexible variants are on cannot be read from the account{hint}.")
    elif need and not is_on:
        yield failure("flexible", f"Flexible variants are off, although {need}.", remedy=_TURN_ON)
    elif is_on and declared is False:
        yield warning(
            "flexible",
            "Flexible variants are on, although the settings say off: anybody can see images in full size.",
            remedy=APPLY,
        )
    else:
        yield ok("flexible", f"Flexible variants are {'on' if is_on else 'off'}.")


def flexible_found(client: CloudflareImagesClient) -> bool | None:
    """Whether they are on; ``None`` where the account does not say: the call is undocumented."""
    try:
        found: bool | None = client.config().flexible_variants
    except CloudflareImagesError as error:
        if error.status in (404, 405):
            return None
        raise
    return found


def _need(asked: Asked) -> str:
    """Why they are needed; empty where they are not."""
    if asked.flexible_at:
        return f"{asked.flexible_at} uses one"
    return 'CF_IMAGES["FLEXIBLE_VARIANTS"] is True' if conf.package("FLEXIBLE_VARIANTS") else ""
