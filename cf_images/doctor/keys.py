"""Whether the URLs of private images are signed with a key that the account has."""

from __future__ import annotations

from collections.abc import Iterator

from cf_images.doctor.findings import Finding, failure, ok, warning
from cf_images.doctor.shared_accounts import Request, SharedAccount

_NEWEST = (
    "manage.py cf_images keys --reveal prints the account's keys: put one of them at the end of "
    "CF_IMG_SIGNING_KEYS, or leave it out, and each process fetches them."
)


def keys(account: SharedAccount, _request: Request) -> Iterator[Finding]:
    """Examine whether the account has a key, and of the settings' keys at least the last one, which signs."""
    if not account.private:
        return
    found = {key.value for key in account.client.signing_keys()}
    if not found:
        hint = "manage.py cf_images keys --rotate adds one."
        yield failure("keys", "The account has no signing key: no private image is shown.", hint=hint)
        return
    for in_settings in dict.fromkeys(member.options.signing_keys for member in account.private):
        yield from _compared(in_settings, found)


def _compared(in_settings: tuple[str, ...], found: set[str]) -> Iterator[Finding]:
    missing = [key for key in in_settings if key not in found]
    if not in_settings:
        yield ok("keys", f"The account has {_keys(len(found))}, which each process fetches.")
    elif in_settings[-1] in missing:
        yield failure(
            "keys",
            "The last signing key of the settings signs, and the account does not have it any more: a "
            "rotation has replaced it, and no private image is shown.",
            hint=_NEWEST,
        )
    elif missing:
        yield warning(
            "keys",
            f"The settings have {_keys(len(missing))} that the account does not have; URLs signed with "
            f"it are invalid.",
            hint="Take them out of CF_IMG_SIGNING_KEYS.",
        )
    else:
        yield ok("keys", "The account has every signing key of the settings.")


def _keys(count: int) -> str:
    return "1 signing key" if count == 1 else f"{count} signing keys"
