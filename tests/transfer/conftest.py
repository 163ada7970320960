"""Models as projects have them, and a folder of files, for the tests of transfers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, models
from django.test.utils import isolate_apps

from cf_images import image_fields
from cf_images.background import places
from cf_images.transfer import fields
from tests.pictures import picture

Declare = Callable[[], Any]


@pytest.fixture
def declared(transactional_db: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Declare], Any]]:
    """Declare models in a function, as the only ones of the project; their tables are there for a test."""
    made: list[type[models.Model]] = []
    with isolate_apps("tests.app") as isolated:

        def declare(function: Declare) -> Any:
            found = function()
            for module in (fields, image_fields, places):
                monkeypatch.setattr(module, "apps", isolated)
            with connection.schema_editor() as editor:
                for model in isolated.get_models(include_auto_created=True):
                    if model._meta.managed and not model._meta.proxy:
                        editor.create_model(model)
                        made.append(model)
            return found

        yield declare
        with connection.schema_editor() as editor:
            for model in reversed(made):
                editor.delete_model(model)


@pytest.fixture
def media(tmp_path: Path, settings: Any) -> Path:
    """The folder of ``storages["default"]``."""
    folder = tmp_path / "media"
    folder.mkdir()
    settings.MEDIA_ROOT = folder
    return folder


@pytest.fixture
def put(media: Path) -> Callable[..., Path]:
    """Write a picture into that folder, another for each seed."""

    def write(name: str, body: bytes | None = None, *, seed: int = 1) -> Path:
        path = media / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(seed=seed) if body is None else body)
        return path

    return write
