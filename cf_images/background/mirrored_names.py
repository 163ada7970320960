"""Where a mirrored image is: in the primary, perhaps under another name, or as yet only in the secondary.

After the two have changed roles, what is the primary by now may lack the last images. The ledger knows them:
one query for each name in a process. That an image is in the primary never changes, so it is remembered.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from django.core.exceptions import SynchronousOnlyOperation
from django.db import Error
from django.db.models import Q

from cf_images.background.rows import savepoint
from cf_images.background.transfers import key_of, transfers
from cf_images.models import UNCONFIRMED, State

_MAX_NAMES = 50_000  # about 10 MB

_in_primary: OrderedDict[tuple[str, str, str], str] = OrderedDict()


@dataclass(frozen=True, slots=True)
class MirroredName:
    """The name of an image in the primary, or in the secondary as long as only that has it."""

    name: str
    is_in_primary: bool = True


def find(name: str, *, primary: str, secondary: str) -> MirroredName:
    """Return where the image is that rows call ``name``.

    Where the database cannot be asked, as in async code, that is the primary.
    """
    key = (primary, secondary, name)
    if (known := _in_primary.get(key)) is not None:
        return MirroredName(known)
    try:
        with savepoint():
            found = _read(name, primary, secondary)
    except (SynchronousOnlyOperation, Error, ValueError):  # a ValueError for a text that no database takes
        return MirroredName(name)
    if found.is_in_primary:
        _remember(key, found.name)
    return found


def _read(name: str, primary: str, secondary: str) -> MirroredName:
    copied_here = key_of(secondary, primary, name)
    copied_from_here = Q(source=primary, storage=secondary, name=name)
    rows = transfers().filter(Q(key=copied_here) | copied_from_here)
    found = {row.key: row for row in rows.only("key", "state", "name", "source_name")}
    if copied := found.pop(copied_here, None):
        if copied.state in UNCONFIRMED:
            return MirroredName(name, is_in_primary=False)
        return MirroredName(copied.name if copied.state == State.STORED and copied.name else name)
    # Otherwise rows have the name in the secondary, where the two names differ: they have been switched.
    return MirroredName(next((row.source_name for row in found.values()), name))


def _remember(key: tuple[str, str, str], name: str) -> None:
    _in_primary[key] = name
    while len(_in_primary) > _MAX_NAMES:
        try:
            _in_primary.popitem(last=False)
        except KeyError:  # another thread was faster
            break


def clear_cache() -> None:
    """Forget all names: in a test."""
    _in_primary.clear()
