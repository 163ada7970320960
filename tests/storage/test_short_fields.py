"""Fields with a short ``max_length``: saved while safety allows it, refused as Django refuses."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from django.core.exceptions import SuspiciousFileOperation, SuspiciousOperation
from django.core.files.base import ContentFile
from django.core.files.storage import storages

from cf_images import background
from cf_images.exceptions import InvalidNameError
from cf_images.images import names
from tests.conftest import point_at
from tests.pictures import picture

pytestmark = pytest.mark.django_db

PNG = picture()
LEAST = {"direct": 19, "background": 19, "private background": 20, "private direct": 43}


@pytest.fixture(params=list(LEAST))
def mode(request: pytest.FixtureRequest, settings: Any, cf_images_emulator: Any) -> str:
    mode: str = request.param
    is_background = mode.endswith("background")
    point_at(
        settings,
        cf_images_emulator,
        background=is_background,
        require_signed_urls=mode.startswith("private"),
        queue="none",
    )
    return mode


def test_the_least_is_enough_for_a_save_and_everything_after_it(mode: str, cf_images_emulator: Any) -> None:
    storage = storages["cloudflare_images"]
    name = storage.save("jane.jpg", ContentFile(PNG), max_length=LEAST[mode])
    assert len(name) <= LEAST[mode]
    assert name.endswith(".png")
    assert storage.exists(name)
    if mode.endswith("background"):
        assert time.time() - (names.created_at(name) or 0) < 60
        assert background.process() == 1
    assert len(cf_images_emulator.images) == 1
    with storage.open(name) as file:
        assert file.read() == PNG
    assert storage.url(name)
    storage.delete(name)
    background.process()
    assert not cf_images_emulator.images


def test_less_is_refused_as_django_does_and_says_the_least(mode: str, cf_images_emulator: Any) -> None:
    storage = storages["cloudflare_images"]
    with pytest.raises(SuspiciousFileOperation, match=f"max_length to {LEAST[mode]} or more") as caught:
        storage.save("jane.jpg", ContentFile(PNG), max_length=LEAST[mode] - 1)
    assert isinstance(caught.value, InvalidNameError)
    assert isinstance(caught.value, SuspiciousOperation), "Django answers with HTTP 400"
    assert not cf_images_emulator.requests


@pytest.mark.parametrize("name", ["083eb7b2-5392-4565-b69e-aff66acddd00", "variants", "a\nb.png", "x" * 1025])
def test_a_given_name_that_cannot_be_is_suspicious(settings: Any, cloudflare: Any, name: str) -> None:
    point_at(settings, cloudflare, unique_names=False)
    with pytest.raises(SuspiciousFileOperation):
        storages["cloudflare_images"].save(name, ContentFile(PNG))


def test_a_name_in_the_background_fits_into_its_column(settings: Any, cloudflare: Any) -> None:
    point_at(settings, cloudflare, background=True, queue="none")
    storage = storages["cloudflare_images"]
    name = storage.save(f"{'x' * 210}/{'y' * 40}.png", ContentFile(PNG), max_length=1000)
    assert re.fullmatch(rf"{'x' * 210}/y+-[0-9a-z]{{6}}-[0-9a-z]{{16}}\.png", name)
    assert len(name) <= 255
    point_at(settings, cloudflare, background=True, unique_names=False)
    with pytest.raises(SuspiciousFileOperation, match="the limit is 255"):
        storage.save("x" * 256, ContentFile(PNG))
