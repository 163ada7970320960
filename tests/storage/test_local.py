"""LocalImagesStorage: Django's files, with Cloudflare's variants for development."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import ContentFile
from django.db.migrations.writer import MigrationWriter
from PIL import Image

from cf_images import rendering
from cf_images.exceptions import ImageNotFoundError, InvalidVariantError, RenderingError
from cf_images.storage import LocalImagesStorage
from tests.pictures import picture

pytestmark = pytest.mark.django_db

CHROME = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"


@pytest.fixture
def local(tmp_path: Path, settings: Any) -> LocalImagesStorage:
    """A local storage in a project under development."""
    settings.DEBUG = True
    return LocalImagesStorage(location=tmp_path, base_url="/media/")


@pytest.fixture
def name(local: LocalImagesStorage) -> str:
    return local.save("folder/photo.jpg", ContentFile(picture("JPEG", (600, 400))))


def size_of(rendition: Any) -> tuple[int, int]:
    return Image.open(io.BytesIO(rendition.path.read_bytes())).size


@pytest.mark.parametrize(
    ("variant", "size"),
    [
        ("avatar", (240, 240)),
        ("public", (600, 400)),
        ("w=300", (300, 200)),
        ("h=100,fit=pad,w=100", (100, 100)),
    ],
)
def test_named_and_flexible_variants_are_rendered(
    local: LocalImagesStorage, name: str, variant: str, size: tuple[int, int]
) -> None:
    assert size_of(local.rendition(name, variant)) == size


def test_the_browser_gets_the_best_format_that_it_supports(local: LocalImagesStorage, name: str) -> None:
    assert local.rendition(name, "avatar", accept=CHROME).content_type == "image/avif"
    assert local.rendition(name, "avatar", accept="image/webp").content_type == "image/webp"
    assert local.rendition(name, "avatar").content_type == "image/jpeg"


def test_a_rendition_is_made_once(local: LocalImagesStorage, name: str, monkeypatch: Any) -> None:
    first = local.rendition(name, "avatar", accept=CHROME)
    monkeypatch.setattr(rendering, "render", None)
    assert local.rendition(name, "avatar", accept=CHROME) == first


def test_a_changed_file_or_declaration_is_rendered_anew(
    local: LocalImagesStorage, name: str, settings: Any
) -> None:
    local.rendition(name, "avatar")
    Path(local.path(name)).write_bytes(picture("JPEG", (100, 300)))
    os.utime(local.path(name), (1, 1))
    assert size_of(local.rendition(name, "w=50")) == (50, 150)
    settings.CF_IMAGES = {"VARIANTS": {"avatar": {"width": 20, "height": 20, "fit": "cover"}}}
    assert size_of(local.rendition(name, "avatar")) == (20, 20)


def test_a_rendition_is_deleted_with_the_image_and_never_listed(local: LocalImagesStorage, name: str) -> None:
    kept = local.rendition(name, "avatar").path
    assert local.listdir("") == (["folder"], [])
    local.delete(name)
    assert not kept.exists()


def test_an_image_deleted_while_it_is_read_is_not_found(
    local: LocalImagesStorage, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = LocalImagesStorage.open

    def delete_first(storage: Any, *arguments: Any) -> Any:
        storage.delete(name)
        return opened(storage, *arguments)

    monkeypatch.setattr(LocalImagesStorage, "open", delete_first)
    with pytest.raises(ImageNotFoundError):
        local.rendition(name, "avatar")


def test_no_rendition_outlives_an_image_deleted_while_it_is_rendered(
    local: LocalImagesStorage, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    render = rendering.render

    def delete_first(*arguments: Any, **options: Any) -> Any:
        rendered = render(*arguments, **options)
        local.delete(name)
        return rendered

    monkeypatch.setattr(rendering, "render", delete_first)
    with pytest.raises(ImageNotFoundError):
        local.rendition(name, "avatar")
    assert not [path for path in Path(local.location).rglob("*") if path.is_file()]


def test_a_limit_gives_renditions_of_their_own(local: LocalImagesStorage, name: str) -> None:
    limited = local.rendition(name, "avatar", max_seconds=5, max_pixels=10**6)
    assert local.find_rendition(name, "avatar") is None
    assert local.find_rendition(name, "avatar", max_seconds=5) == limited
    with pytest.raises(RenderingError, match="too large"):
        local.rendition(name, "public", max_seconds=5, max_pixels=1000)


def test_an_undeclared_variant_names_the_declared_ones(local: LocalImagesStorage, name: str) -> None:
    with pytest.raises(InvalidVariantError, match="there are public, avatar"):
        local.rendition(name, "nope")


@pytest.mark.parametrize("missing", ["nope.jpg", "folder", "x" * 2000, "a\0b"])
def test_what_is_no_file_is_not_found(local: LocalImagesStorage, name: str, missing: str) -> None:
    with pytest.raises(ImageNotFoundError):
        local.rendition(missing, "avatar")


def test_what_is_no_image_cannot_be_rendered(local: LocalImagesStorage, settings: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "VALIDATE_LOCAL_FILES": False}
    name = local.save("note.txt", ContentFile(b"just a text"))
    with pytest.raises(RenderingError):
        local.rendition(name, "avatar")


@pytest.mark.parametrize("name", ["../secret.jpg", "/etc/passwd"])
def test_nothing_outside_of_the_folder_is_rendered(local: LocalImagesStorage, name: str) -> None:
    with pytest.raises(SuspiciousFileOperation):
        local.rendition(name, "avatar")


def test_a_migration_holds_its_path_and_what_it_was_given() -> None:
    written, _ = MigrationWriter.serialize(LocalImagesStorage(base_url="/pictures/"))
    assert written == "cf_images.storage.LocalImagesStorage(base_url='/pictures/')"


def test_url_accepts_a_lifetime_as_at_cloudflare_and_ignores_it(local: LocalImagesStorage) -> None:
    assert local.url("a.png", expire=60) == local.url("a.png")
