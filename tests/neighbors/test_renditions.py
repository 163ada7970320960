"""Renditions of other apps arrive as they were made, if their alias serves a variant for them."""

from __future__ import annotations

import io
from typing import Any

import httpx
import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.management import call_command
from PIL import Image

from tests.pictures import picture


@pytest.mark.parametrize(("variant", "expected"), [("public", (512, 768)), ("original", (800, 1200))])
def test_a_rendition_is_delivered_in_its_own_size_by_a_variant_for_it(
    cloudflare: Any, settings: Any, variant: str, expected: tuple[int, int]
) -> None:
    given = {"VARIANTS": {"original": {"width": 9999, "height": 9999}}, "VARIANT": variant}
    settings.CF_IMAGES = {**settings.CF_IMAGES, **given}
    call_command("cf_images", "variants", "--apply", "--storage", "renditions", stdout=io.StringIO())
    storage = storages["renditions"]
    name = storage.save("p/800w.webp", ContentFile(picture("WEBP", (800, 1200))))
    assert name == "p/800w.webp"
    image = Image.open(io.BytesIO(httpx.get(storage.url(name), verify=False).content))
    assert image.size == expected
