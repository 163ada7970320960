"""W031, W032: renditions of other apps are served as they are, and Wagtail needs unique names."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps
from django.core.checks import CheckMessage

from cf_images.checks import renditions

CLOUDFLARE = "cf_images.storage.CloudflareImagesStorage"


def found(settings: Any, options: dict[str, Any], **given: Any) -> list[CheckMessage]:
    """Return what the checks say about an alias with these options, the only one at Cloudflare."""
    settings.STORAGES = {
        "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
        "renditions": {"BACKEND": CLOUDFLARE, "OPTIONS": options},
    }
    settings.CF_IMAGES = given
    return [message for check in renditions.CHECKS for message in check()]


def declared(**options: Any) -> dict[str, Any]:
    return {"VARIANTS": {"big": options}}


@pytest.mark.parametrize(
    ("variant", "given"),
    [
        ("public", {}),
        ("public", {"VARIANTS": {"public": {"width": 800, "height": 800}}}),
        ("big", declared(width=9999, height=768)),
        ("big", declared(width=9999, height=9999, fit="cover")),
        ("big", declared(width=9999, height=9999, fit="contain")),
        ("w=300", {}),
    ],
)
def test_a_variant_that_makes_renditions_smaller_is_told(
    settings: Any, variant: str, given: dict[str, Any]
) -> None:
    settings.THUMBNAIL_STORAGE = "renditions"  # of sorl-thumbnail
    [message] = found(settings, {"unique_names": False, "variant": variant}, **given)
    assert message.id == "cf_images.W031"
    assert 'STORAGES["renditions"]' in message.msg
    assert repr(variant) in message.msg
    assert '"original"' in str(message.hint)


def test_under_given_names_an_app_that_is_not_known_may_keep_its_renditions(settings: Any) -> None:
    [message] = found(settings, {"unique_names": False})
    assert message.id == "cf_images.W031"
    assert "keeps given names" in message.msg, "it is not known what the alias is for"
    assert found(settings, {"unique_names": False, "variant": "w=200"}) == [], "the project has chosen it"


@pytest.mark.parametrize(
    ("options", "given"),
    [
        ({"unique_names": True}, {}),
        ({"unique_names": False, "variant": "big"}, declared(width=9999, height=9999)),
        ({"unique_names": False, "variant": "big"}, declared(width=2560)),
        ({"unique_names": False, "variant": "big"}, declared()),
        ({"unique_names": False, "variant": "big"}, declared(width="wrong")),
        ({"unique_names": False, "variant": "unknown"}, {}),
        ({"unique_names": False, "variant": "w=9000"}, {}),
        ({"unique_names": False, "variant": "public"}, {"VARIANTS": {"public": {"width": 4000}}}),
        ({"unique_names": False, "require_signed_urls": True}, {}),
    ],
)
def test_one_that_leaves_them_alone_or_is_unknown_is_fine(
    settings: Any, options: dict[str, Any], given: dict[str, Any]
) -> None:
    assert found(settings, options, **given) == []


class TestWagtail:
    @pytest.fixture(autouse=True)
    def _installed(self, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """Wagtail itself is not in the tests: only its names of settings are."""
        is_installed = apps.is_installed
        monkeypatch.setattr(apps, "is_installed", lambda name: name == "wagtail.images" or is_installed(name))
        settings.WAGTAILIMAGES_RENDITION_STORAGE = "renditions"

    def test_given_names_are_told(self, settings: Any) -> None:
        [message] = found(settings, {"unique_names": False, "variant": "w=9000"})
        assert message.id == "cf_images.W032"
        assert "WAGTAILIMAGES_RENDITION_STORAGE" in str(message.hint)

    def test_the_variant_matters_under_unique_names_too(self, settings: Any) -> None:
        [message] = found(settings, {})
        assert message.id == "cf_images.W031"
        assert found(settings, {"variant": "big"}, **declared(width=9999, height=9999)) == []

    def test_another_storage_is_left_alone(self, settings: Any) -> None:
        for other in ("default", "path.to.Storage", None):
            settings.WAGTAILIMAGES_RENDITION_STORAGE = other
            assert found(settings, {}) == []
