"""Times of images: aware or naive, and in the zone, as those of Django's own storage."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, Storage, storages
from django.utils import timezone

from cf_images import background
from cf_images.storage import LocalImagesStorage
from tests.conftest import point_at
from tests.pictures import picture

pytestmark = pytest.mark.django_db


@pytest.fixture(params=[True, False], ids=["USE_TZ", "no USE_TZ"])
def zones(request: pytest.FixtureRequest, settings: Any) -> Iterator[None]:
    """The system is in New York, and a view has activated Kathmandu."""
    settings.USE_TZ = request.param
    settings.TIME_ZONE = "America/New_York"
    with timezone.override("Asia/Kathmandu"):
        yield


@pytest.mark.usefixtures("zones")
@pytest.mark.parametrize("method", ["get_created_time", "get_modified_time"])
@pytest.mark.parametrize("mode", ["local", "direct", "pending", "stored"])
def test_time_is_that_of_a_file_saved_at_the_same_moment(
    mode: str, method: str, tmp_path: Path, settings: Any, request: pytest.FixtureRequest
) -> None:
    storage: Storage
    if mode == "local":
        storage = LocalImagesStorage(location=tmp_path / "local")
    else:
        emulator = request.getfixturevalue("cf_images_emulator")
        point_at(settings, emulator, background=mode != "direct", queue="none")
        storage = storages["cloudflare_images"]
    django = FileSystemStorage(location=tmp_path / "django")
    names = [each.save("a.png", ContentFile(picture())) for each in (storage, django)]
    if mode == "stored":
        assert background.process() == 1
    found, expected = getattr(storage, method)(names[0]), getattr(django, method)(names[1])
    assert found.tzinfo == expected.tzinfo
    assert abs(found - expected) < timedelta(minutes=1)
