"""Names that are URLs: older recipes for Cloudflare Images stored the delivery URL in the database.

Everything else knows only names; a storage translates such a name first.
"""

from __future__ import annotations

from dataclasses import replace

from cf_images import conf
from cf_images.accounts import Account
from cf_images.delivery import signing, urls
from cf_images.exceptions import ImageNotFoundError


def image_id(url: str, account: Account) -> str:
    """Return the ID in a delivery URL of this account; ``ImageNotFoundError`` for any other URL."""
    found = urls.parse_url(url, conf.delivery_urls())
    if found is None or not account.owns(found):
        raise ImageNotFoundError(f"{url} is not an image of this account.")
    return found.image_id


def with_variant(url: str, account: Account, variant: str, *, expires_at: int | None) -> str:
    """Return a delivery URL with another variant; a foreign or signed URL unchanged."""
    found = urls.parse_url(url, conf.delivery_urls())
    if found is None or found.is_signed:
        return url
    changed = replace(found, variant=variant)
    if expires_at is None:
        return str(changed)
    return str(signing.sign(changed, account.signing_keys()[-1], expires_at=expires_at))
