"""Accounts at Cloudflare: which alias has which credentials, client, signing keys, and the URL of an image.

``account`` is the concept, ``backend`` the base class by which a storage has one, ``signing_keys`` where keys
come from. Everything else asks an ``Account`` instead of reading credentials itself.
"""

from cf_images.accounts.account import Account, replaced_clients
from cf_images.accounts.backend import (
    AccountStorage,
    Mirror,
    accounts_by_key,
    backend_of,
    backend_options,
    cloudflare_alias,
    cloudflare_options,
    find_account,
    is_mirror,
    sides_of,
    usable_accounts,
)

__all__ = [
    "Account",
    "AccountStorage",
    "Mirror",
    "accounts_by_key",
    "backend_of",
    "backend_options",
    "cloudflare_alias",
    "cloudflare_options",
    "find_account",
    "is_mirror",
    "replaced_clients",
    "sides_of",
    "usable_accounts",
]
