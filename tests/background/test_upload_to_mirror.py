"""``upload_from_file`` and ``upload_from_url`` into a mirror."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import storages

from cf_images.background import upload_from_file, upload_from_url
from cf_images.background.worker import process_one
from cf_images.models import State, Transfer, Upload
from tests.background import conftest as background
from tests.pictures import picture
from tests.storage.mirrors import CLOUDFLARE, LOCAL, MIRROR, only_row, use_mirror

pytestmark = pytest.mark.django_db

source = background.source


@pytest.fixture
def use(settings: Any, cf_images_emulator: Any, tmp_path: Path) -> Any:
    """Return a function that makes a mirror."""
    return lambda **given: use_mirror(settings, cf_images_emulator, tmp_path, **given)


def test_file_goes_to_both_sides(use: Any, tmp_path: Path) -> None:
    use()
    name = upload_from_file(io.BytesIO(picture()), filename="cat.png", storage=MIRROR)
    assert (tmp_path / name).read_bytes() == picture()
    assert only_row().source_name == name
    assert not Upload.objects.exists()


def test_pending_file_of_a_primary_at_cloudflare_goes_to_both_sides(use: Any) -> None:
    mirror = use(primary=CLOUDFLARE, secondary=LOCAL, background=True)
    name = upload_from_file(io.BytesIO(picture()), filename="cat.png", storage=mirror)
    assert (Upload.objects.get().name, Upload.objects.get().storage) == (name, CLOUDFLARE)
    assert (only_row().source, only_row().source_name, only_row().name) == (CLOUDFLARE, name, name)
    with mirror.open(name) as file:
        assert file.read() == picture()


def test_file_is_accepted_for_both_sides_or_not_at_all(use: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    use(primary=CLOUDFLARE, secondary=LOCAL, background=True)

    def fail(*_: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr("cf_images.background.enqueue.enqueue_copy", fail)
    with pytest.raises(RuntimeError):
        upload_from_file(io.BytesIO(picture()), filename="cat.png", storage=MIRROR)
    assert not Upload.objects.exists()


def test_image_from_a_url_is_copied_once_it_is_here(
    use: Any, source: str, settings: Any, tmp_path: Path
) -> None:
    use()
    settings.CF_IMAGES = {
        **settings.CF_IMAGES,
        "UPLOAD_URL_SCHEMES": ["http"],
        "UPLOAD_URL_LOCAL_HOSTS": ["127.0.0.1"],
    }
    name = upload_from_url(source, upload_to="cats/", storage=storages[MIRROR])
    assert not Transfer.objects.exists()
    assert process_one()
    assert (tmp_path / name).read_bytes() == picture()
    assert (only_row().source, only_row().source_name, only_row().state) == (LOCAL, name, State.PENDING)
