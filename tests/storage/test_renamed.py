"""Local names are those of production; a name that a save has changed is logged when it is asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import ContentFile
from django.core.files.storage import Storage, storages
from django.db.migrations.writer import MigrationWriter

from cf_images.exceptions import ImageExistsError
from cf_images.storage import ImageStorage, LocalImagesStorage, renamed
from tests.conftest import point_at
from tests.pictures import picture

pytestmark = pytest.mark.django_db

PNG = picture()
CLOUDFLARE = "cf_images.storage.CloudflareImagesStorage"


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    renamed.clear()
    yield
    renamed.clear()


@pytest.fixture
def local(tmp_path: Path) -> LocalImagesStorage:
    return LocalImagesStorage(location=tmp_path, base_url="/media/")


@pytest.fixture(params=["local", "direct", "background"])
def storage(request: pytest.FixtureRequest, settings: Any) -> ImageStorage:
    """A storage with unique names."""
    if request.param == "local":
        chosen: Storage = request.getfixturevalue("local")
    else:
        emulator = request.getfixturevalue("cf_images_emulator")
        point_at(settings, emulator, background=request.param == "background", queue="none")
        chosen = storages["cloudflare_images"]
    assert isinstance(chosen, ImageStorage)
    return chosen


def save(storage: Storage, name: str = "p/100w.webp", **options: Any) -> str:
    return storage.save(name, ContentFile(PNG), **options)


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "cf_images.storage"]


def is_missing(method: Callable[[str], object], name: str) -> None:
    with pytest.raises(FileNotFoundError):
        method(name)


# Local names


def test_a_local_name_is_that_of_production(local: LocalImagesStorage, cloudflare: Any) -> None:
    shape = re.compile(r"Fotos/Strasse-1-[0-9a-z]{6}-[0-9a-z]{16}\.png")
    for storage in (local, storages["cloudflare_images"]):
        name = storage.generate_filename("Fotos/Straße #1.jpeg")
        assert shape.fullmatch(save(storage, name)), "with the extension of the detected format"


@pytest.mark.parametrize(
    ("cf_images", "options", "own", "unique"),
    [
        ({}, {}, None, True),
        ({}, {"unique_names": False}, None, False),
        ({"UNIQUE_NAMES": False}, {}, None, False),
        ({"UNIQUE_NAMES": False}, {"unique_names": True}, None, True),
        ({}, {"unique_names": False}, True, True),
        ({}, {}, False, False),
    ],
)
def test_names_are_unique_where_those_of_production_are(
    settings: Any, tmp_path: Path, cf_images: Any, options: Any, own: bool | None, unique: bool
) -> None:
    settings.STORAGES = {
        **settings.STORAGES,
        "cloudflare_images": {"BACKEND": CLOUDFLARE, "OPTIONS": options},
    }
    settings.CF_IMAGES = cf_images
    local = LocalImagesStorage(location=tmp_path, unique_names=own)
    assert local.has_unique_names is unique
    assert (save(local) != "p/100w.webp") is unique


def test_names_are_unique_where_no_storage_of_production_is_declared(
    settings: Any, local: LocalImagesStorage
) -> None:
    settings.STORAGES = {"default": settings.STORAGES["default"]}
    assert local.has_unique_names


def test_a_given_name_that_is_in_use_is_an_error_as_in_production(
    local: LocalImagesStorage, cloudflare: Any, settings: Any
) -> None:
    point_at(settings, cloudflare, unique_names=False)
    for storage in (local, storages["cloudflare_images"]):
        assert save(storage) == "p/100w.webp"
        with pytest.raises(ImageExistsError, match=r"p/100w\.webp"):
            save(storage)
        storage.delete("p/100w.webp")
        assert save(storage) == "p/100w.webp"


def test_a_local_storage_may_overwrite_given_names(tmp_path: Path) -> None:
    local = LocalImagesStorage(location=tmp_path, unique_names=False, allow_overwrite=True)
    assert save(local) == save(local) == "p/100w.webp"
    assert local.listdir("p") == ([], ["100w.webp"])


def test_a_local_name_is_refused_as_in_production(local: LocalImagesStorage, settings: Any) -> None:
    with pytest.raises(SuspiciousFileOperation, match="max_length to 21 or more"):
        save(local, max_length=20)
    settings.CF_IMAGES = {"UNIQUE_NAMES": False}
    with pytest.raises(SuspiciousFileOperation, match="reserved word"):
        save(local, "variants")


def test_what_is_no_image_keeps_its_extension(local: LocalImagesStorage, settings: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "VALIDATE_LOCAL_FILES": False}
    name = local.save("papers/report.pdf", ContentFile(b"%PDF-"))
    assert re.fullmatch(r"papers/report-[0-9a-z]{6}-[0-9a-z]{16}\.pdf", name)


def test_a_new_local_image_has_its_own_url_at_once(local: LocalImagesStorage) -> None:
    name = save(local)
    assert local.url(name) == f"/media/{name}"


def test_a_migration_holds_the_option() -> None:
    written, _ = MigrationWriter.serialize(LocalImagesStorage(unique_names=False))
    assert written == "cf_images.storage.LocalImagesStorage(unique_names=False)"


# The log


@pytest.mark.parametrize(
    "ask",
    [
        lambda storage, name: storage.exists(name),
        lambda storage, name: storage.url(name),
        lambda storage, name: storage.url(name, "avatar"),
        lambda storage, name: storage.delete(name),
        lambda storage, name: storage.exists(Path(name)),
        lambda storage, name: is_missing(storage.open, name),
        lambda storage, name: is_missing(storage.size, name),
        lambda storage, name: is_missing(storage.get_modified_time, name),
    ],
)
def test_a_changed_name_is_logged_once(
    storage: ImageStorage, caplog: pytest.LogCaptureFixture, ask: Callable[..., Any]
) -> None:
    given = save(storage)
    ask(storage, "p/100w.webp")
    (message,) = logged(caplog)
    assert f"'p/100w.webp' was saved as {given!r}" in message
    assert "unique_names" in message
    save(storage)
    ask(storage, "p/100w.webp")
    assert len(logged(caplog)) == 1


def test_names_that_save_returned_are_not_logged(
    storage: ImageStorage, caplog: pytest.LogCaptureFixture
) -> None:
    assert not storage.exists("p/100w.webp"), "apps ask before they save, too"
    for name in (save(storage), save(storage), storage.save(None, ContentFile(PNG, name="a.png"))):
        assert storage.exists(name)
        assert storage.url(name)
        with storage.open(name):
            pass
        storage.delete(name)
    assert logged(caplog) == []


def test_a_name_that_came_with_the_file_is_logged(
    storage: ImageStorage, caplog: pytest.LogCaptureFixture
) -> None:
    storage.save(None, ContentFile(PNG, name="a.png"))
    storage.exists("a.png")
    assert len(logged(caplog)) == 1


def test_given_names_are_not_logged(local: LocalImagesStorage, caplog: pytest.LogCaptureFixture) -> None:
    given = LocalImagesStorage(location=local.location, unique_names=False)
    assert save(given) == "p/100w.webp"
    assert given.exists("p/100w.webp")
    assert logged(caplog) == []


def test_a_given_name_may_be_one_that_another_storage_has_changed(
    storage: ImageStorage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = LocalImagesStorage(location=tmp_path / "given", base_url="/given/", unique_names=False)
    save(storage)
    assert save(given) == "p/100w.webp"
    assert given.exists("p/100w.webp")
    assert given.url("p/100w.webp")
    assert logged(caplog) == []
    assert not storage.exists("p/100w.webp")
    assert len(logged(caplog)) == 1


def test_memory_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    for number in range(renamed.MAX_NAMES + 10):
        renamed.remember(f"{number}.png", "other.png")
    assert len(renamed.changed) == renamed.MAX_NAMES
    renamed.asked_for("0.png")  # forgotten
    renamed.asked_for("1009.png")
    assert len(logged(caplog)) == 1
