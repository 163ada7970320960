"""Flexible variants work like named ones everywhere, and nowhere if the settings turn them off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, storages
from django.template import Context, Template

from cf_images.conf import clean_variant
from cf_images.exceptions import InvalidVariantError
from cf_images.markup.variant_urls import replace_variant, variant_url
from cf_images.variants import FlexibleVariant
from tests.app.models import Profile
from tests.pictures import picture

BASE = "https://imagedelivery.net/test-hash"
SMALL = FlexibleVariant(width=20, height=10, fit="cover", background="red")
URL = f"{BASE}/a.jpg/w=20,h=10,fit=cover,background=%23f00"


@pytest.fixture
def local(settings: Any, tmp_path: Any) -> Any:
    """The local storage, with its view on."""
    settings.DEBUG = True
    settings.MEDIA_ROOT = tmp_path
    return storages["default"]


def turn_off(settings: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "FLEXIBLE_VARIANTS": False}


def test_a_storage_accepts_one() -> None:
    assert storages["cloudflare_images"].url("a.jpg", variant=SMALL) == URL


def test_the_filter_accepts_one_for_a_field_file_and_for_a_url() -> None:
    assert variant_url(Profile(image="a.jpg").image, SMALL) == URL
    assert replace_variant(f"{BASE}/a.jpg/public", SMALL) == URL
    source = "{% load cf_images %}{{ profile.image|variant:small }}"
    assert Template(source).render(Context({"profile": Profile(image="a.jpg"), "small": SMALL})) == URL


@pytest.mark.django_db
def test_a_local_storage_accepts_one_and_renders_it(local: Any, client: Any) -> None:
    name = local.save("a.png", ContentFile(picture(size=(40, 40))))
    url = local.url(name, variant=SMALL)
    assert url.startswith("/cf-images/local/w=20,h=10,fit=cover,background=%23f")
    response = client.get(url)
    response.close()
    assert response.status_code == 200
    assert local.rendition(name, SMALL) == local.rendition(name, str(SMALL))


@pytest.mark.parametrize("declared", [None, True])
def test_they_are_allowed_unless_the_settings_turn_them_off(settings: Any, declared: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "FLEXIBLE_VARIANTS": declared}
    assert clean_variant("w%3D20") == "w=20"


@pytest.mark.parametrize(
    "read",
    [
        lambda: storages["cloudflare_images"].url("a.jpg", variant="w=20"),
        lambda: storages["cloudflare_images"].url("a.jpg", variant=SMALL),
        lambda: storages["cloudflare_images"].url_variant("a.jpg", "w%3D20"),
        lambda: variant_url(Profile(image="a.jpg").image, "w=20"),
        lambda: variant_url(f"{BASE}/a.jpg/public", "w=20"),
        lambda: variant_url("https://elsewhere.example/a.jpg", SMALL),
        lambda: replace_variant(f"{BASE}/a.jpg/public", "w=20"),
        lambda: storages["default"].url("a.jpg", variant="w=20"),
        lambda: storages["default"].rendition("a.jpg", "w=20"),
        lambda: storages["default"].rendition("a.jpg", SMALL),
    ],
)
def test_where_they_are_off_each_place_says_how_to_turn_them_on(
    settings: Any, read: Callable[[], object]
) -> None:
    turn_off(settings)
    with pytest.raises(
        InvalidVariantError, match=r'FLEXIBLE_VARIANTS"\] is False: use one of .*set it to True'
    ):
        read()


def test_named_variants_are_still_allowed(settings: Any) -> None:
    turn_off(settings)
    assert storages["cloudflare_images"].url("a.jpg", variant="avatar") == f"{BASE}/a.jpg/avatar"


def test_a_storage_without_variants_raises_it_too(settings: Any) -> None:
    turn_off(settings)
    image = Profile(image="a.jpg").image
    image.storage = FileSystemStorage(base_url="/media/")
    with pytest.raises(InvalidVariantError):
        variant_url(image, "w=20")


def test_the_local_view_responds_with_the_reason(local: Any, client: Any, settings: Any) -> None:
    name = local.save("a.png", ContentFile(picture()))
    turn_off(settings)
    response = client.get(f"/cf-images/local/w=20/{name}")
    assert response.status_code == 404
    assert "FLEXIBLE_VARIANTS" in response.content.decode()


@pytest.mark.django_db
def test_the_pending_view_does_not_redirect_to_one(client: Any, settings: Any) -> None:
    assert client.get("/cf-images/pending/w=20/a.jpg").status_code == 302
    turn_off(settings)
    assert client.get("/cf-images/pending/w=20/a.jpg").status_code == 404


@pytest.mark.parametrize("bad", ["", None, "a b", "../x", "https://evil.example/x", "a'b", 'w="5"', "w=5,"])
def test_what_cannot_be_a_variant_is_an_error(bad: Any) -> None:
    with pytest.raises(InvalidVariantError, match="is not a variant"):
        clean_variant(bad)


# Declarations, wherever they are read


def test_local_variants_are_rendered_from_the_declaration(local: Any, settings: Any) -> None:
    declared = {"w": 20, "h": 10, "fit": "cover", "metadata": "keep", "browser-ttl": 3600}
    settings.CF_IMAGES = {"VARIANTS": {"small": declared}}
    name = local.save("a.png", ContentFile(picture(size=(40, 40))))
    assert local.rendition(name, "small").path.exists()


def test_a_declaration_that_cloudflare_would_refuse_is_refused_here_as_well(
    local: Any, settings: Any
) -> None:
    settings.CF_IMAGES = {"VARIANTS": {"small": {"width": 20, "quality": 5}}}
    name = local.save("a.png", ContentFile(picture()))
    with pytest.raises(InvalidVariantError, match="quality exists only in flexible variants"):
        local.rendition(name, "small")
