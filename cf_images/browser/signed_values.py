"""The one value that a form carries for an upload: it names a row, and is bound to what the row is for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from django.core import signing

from cf_images.models import Reservation

_SALT = "cf_images.browser.value"
MAX_LENGTH = 2000  # characters; a longer one is not read


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedValue:
    """What a value says: the ``key`` of the row, the file's name, and a digest of what it is bound to."""

    key: str
    filename: str
    bound_to: str

    def is_for(self, *, owner: str, field: str, storage: str) -> bool:
        """Return whether the value was made for this owner, field and storage."""
        return self.bound_to == _digest(owner, field, storage)


def value_of(row: Reservation) -> str:
    """Return the value of a reservation; it does not contain the image's ID."""
    return signing.dumps([row.key, row.filename, _digest(row.owner, row.field, row.storage)], salt=_SALT)


def read(value: str) -> SignedValue | None:
    """Return what a value says; ``None`` for one that this site has not made. No query."""
    if not isinstance(value, str) or len(value) > MAX_LENGTH:
        return None
    try:
        key, filename, bound_to = signing.loads(value, salt=_SALT)
    except (signing.BadSignature, ValueError, TypeError):
        return None
    return SignedValue(key=key, filename=filename, bound_to=bound_to)


def _digest(owner: str, field: str, storage: str) -> str:
    return hashlib.sha256("\0".join((owner, field, storage)).encode()).hexdigest()[:32]
