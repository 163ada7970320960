"""Whether private images can be signed: with a key that the account has."""

from __future__ import annotations

from collections.abc import Iterator

from cf_images import conf
from cf_images.doctor.accounts import Account, Asked
from cf_images.doctor.findings import Finding, failure, ok, warning

_NEWEST = (
    "manage.py cf_images keys --reveal prints the account's keys: put one of them at the end of "
    "CF_IMG_SIGNING_KEYS, or leave it out, and each process fetches them."
)


def keys(account: Account, _asked: Asked) -> Iterator[Finding]:
    """The account has a key, and of the settings' keys at least the last one, which signs."""
    if not account.private:
        return
    found = {key.value for key in account.client.signing_keys()}
    if not found:
        remedy = "manage.py cf_images keys --rotate adds one."
        yield failure("keys", "The account has no signing key: no private image opens.", remedy=remedy)
        return
    for ours in dict.fromkeys(conf.signing_keys(storage.given_options) for storage in account.private):
        yield from _compared(ours, found)


def _compared(ours: tuple[str, ...], found: set[str]) -> Iterator[Finding]:
    gone = [key for key in ours if key not in found]
    if not ours:
        yield ok("keys", f"The account has {len(found)} signing key(s), which each process fetches.")
    elif ours[-1] in gone:
        yield failure(
            "keys",
            "The last signing key of the settings signs, and the account does not have it: it was rotated "
            "away, and no private image opens.",
            remedy=_NEWEST,
        )
    elif gone:
        yield warning(
            "keys",
            f"{len(gone)} older signing key(s) of the settings are not in the account: what they signed does "
            f"not open.",
            remedy="Take them out of CF_IMG_SIGNING_KEYS.",
        )
    else:
        yield ok("keys", "The account has every signing key of the settings.")
