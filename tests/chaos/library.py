"""A folder of pictures, and the rows that refer to them: a site before it moves to Cloudflare Images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.db.models import Model

from tests.chaos.models import Document, Photo
from tests.chaos.pictures import jpeg

_NUMBER_BYTES = 8
_PER_FOLDER = 1000
_BATCH = 1000  # rows that are inserted at once


def library(photos: str, documents: str, size: str) -> None:
    """Write public ``photos`` and private ``documents`` of ``size`` bytes, no two alike; small ones for 0."""
    picture = jpeg(64, 48) if int(size) else jpeg(8, 6)
    picture = picture.ljust(int(size) - _NUMBER_BYTES, b"\0")
    for model, count in ((Photo, int(photos)), (Document, int(documents))):
        _fill(model, (_written(model, number, picture) for number in range(count)))


def _fill(model: type[Model], names: Iterator[str]) -> None:
    rows = []
    for name in names:
        rows.append(model(image=name))
        if len(rows) == _BATCH:
            model._base_manager.bulk_create(rows)  # documented
            rows.clear()
    model._base_manager.bulk_create(rows)


def _written(model: type[Model], number: int, picture: bytes) -> str:
    kind = model.__name__.lower()
    name = f"{kind}s/{number // _PER_FOLDER}/{kind} {number}.jpg"
    path = Path(settings.MEDIA_ROOT, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture + f"{kind[0]}{number:0{_NUMBER_BYTES - 1}}".encode())
    return name
