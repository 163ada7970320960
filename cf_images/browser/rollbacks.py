"""Save an upload again whose transaction was rolled back after a field had got its name.

A project that catches an error of the database and saves the same instance once more has only the name in it:
the field has no file to save. Without this, the reservation would stay open, and a worker would delete the
image of a row.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.db.models import FileField, Model, signals

from cf_images.background.rows import database
from cf_images.models import Reservation

SaveAgain = Callable[[Reservation, str], None]

_MAX_NAMES = 10_000  # of transactions that are under way in this process, or were rolled back
_names: OrderedDict[str, tuple[Reservation, SaveAgain]] = OrderedDict()


def note(row: Reservation, name: str, *, save_again: SaveAgain) -> None:
    """Let ``save_again`` be called when an instance with this name is saved, until the transaction commits.

    Savepoints count: what was noted within one that is rolled back stays noted.
    """
    using = database()
    if not transaction.get_connection(using).in_atomic_block:
        _names.pop(name, None)
        return
    _names[name] = row, save_again
    while len(_names) > _MAX_NAMES:
        _names.popitem(last=False)

    def forget() -> None:
        _names.pop(name, None)

    transaction.on_commit(forget, using=using)
    signals.pre_save.connect(_before_save, dispatch_uid="cf_images.browser.rollbacks")


def _before_save(sender: type[Model], instance: Model, raw: bool = False, **_: Any) -> None:
    if raw or not _names:
        return
    for field in sender._meta.concrete_fields:
        if isinstance(field, FileField) and (known := _names.get(str(instance.__dict__.get(field.attname)))):
            row, save_again = known
            name = str(instance.__dict__[field.attname])
            save_again(row, name)
            note(row, name, save_again=save_again)
