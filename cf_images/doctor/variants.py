"""Whether the account has the variants that the project declares and its templates use."""

from __future__ import annotations

from collections.abc import Iterator

from cf_images import conf
from cf_images.client import CloudflareImagesClient
from cf_images.doctor.findings import Finding, failure, ok, skipped, warning
from cf_images.doctor.shared_accounts import Request, SharedAccount
from cf_images.exceptions import CloudflareImagesError, InvalidVariantError
from cf_images.variants.diff import compare
from cf_images.variants.named import read_variants

APPLY = "manage.py cf_images variants shows the diff, --apply applies it."
_TURN_ON = (
    'Turn them on in the dashboard (Images, Variants), or set CF_IMAGES["FLEXIBLE_VARIANTS"] to True and run '
    "manage.py cf_images variants --apply. Every visitor can then see every public image in full size."
)


def named(account: SharedAccount, _request: Request) -> Iterator[Finding]:
    """Examine whether every named variant of the project is in the account, with the same options."""
    try:
        declared = read_variants(conf.setting("VARIANTS"))
    except InvalidVariantError as error:
        yield failure("variants", f"{error.message}.", hint="Correct the declaration: Cloudflare refuses it.")
        return
    difference = compare(declared, account.client.list_variants())
    if difference.added:
        names = ", ".join(variant.name for variant in difference.added)
        yield failure("variants", f"The account does not have the declared variants {names}.", hint=APPLY)
    if difference.changed:
        names = ", ".join(change.variant.name for change in difference.changed)
        yield warning("variants", f"The account has other options for the variants {names}.", hint=APPLY)
    if not difference.added and not difference.changed:
        others = f"; {len(difference.extra)} more are only there" if difference.extra else ""
        yield ok("variants", f"The account has every declared variant ({len(declared)}){others}.")


def flexible(account: SharedAccount, request: Request) -> Iterator[Finding]:
    """Examine whether flexible variants are on where they are needed."""
    declared = conf.setting("FLEXIBLE_VARIANTS")
    is_on = flexible_found(account.client)
    need = _need(request) if declared is not False else ""
    if is_on is None:
        hint = ", and --probe tries one" if need else ""
        yield skipped("flexible", f"Whether flexible variants are on cannot be read from the account{hint}.")
    elif need and not is_on:
        yield failure("flexible", f"Flexible variants are off, although {need}.", hint=_TURN_ON)
    elif is_on and declared is False:
        yield warning(
            "flexible",
            "Flexible variants are on, although the settings say off: visitors can see images in full size.",
            hint=APPLY,
        )
    else:
        yield ok("flexible", f"Flexible variants are {'on' if is_on else 'off'}.")


def flexible_found(client: CloudflareImagesClient) -> bool | None:
    """Return whether they are on; ``None`` where the account does not say: the request is undocumented."""
    try:
        found: bool | None = client.config().flexible_variants
    except CloudflareImagesError as error:
        if error.status in (404, 405):
            return None
        raise
    return found


def _need(request: Request) -> str:
    """Return why they are needed; empty where they are not."""
    if request.flexible_at:
        return f"{request.flexible_at} uses one"
    return 'CF_IMAGES["FLEXIBLE_VARIANTS"] is True' if conf.setting("FLEXIBLE_VARIANTS") else ""
