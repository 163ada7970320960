"""Rows load whose image is missing, of any storage of this package; a default costs no request."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from django.apps.registry import Apps
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.files.storage import InMemoryStorage, storages
from django.db import migrations, models
from django.db.migrations.state import ProjectState
from django.test import Client
from django.test.utils import isolate_apps

from cf_images import image_fields
from cf_images.exceptions import CloudflareUnavailableError
from cf_images.image_fields import _Dimensions
from cf_images.storage import select_storage
from tests.app.models import Photo
from tests.pictures import picture

DEFAULT = "defaults/anon.png"


@pytest.fixture(autouse=True)
def _nothing_is_reported() -> None:
    image_fields._report_once.cache_clear()


@pytest.fixture
def static(tmp_path: Path, settings: Any) -> Path:
    """A folder of static files, with the default in it."""
    path = tmp_path / DEFAULT
    path.parent.mkdir()
    path.write_bytes(picture("PNG", (30, 20)))
    settings.STATICFILES_DIRS = [tmp_path]
    return tmp_path


@pytest.fixture(params=["cloudflare_images", "default"])
def field(request: pytest.FixtureRequest, cloudflare: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """``Photo.file`` with a default, on either storage."""
    field: Any = Photo._meta.get_field("file")
    monkeypatch.setattr(field, "storage", storages[request.param])
    monkeypatch.setattr(field, "default", DEFAULT)
    monkeypatch.setitem(field.__dict__, "_get_default", lambda: DEFAULT)
    monkeypatch.setattr(field.update_dimension_fields, "_defaults", (DEFAULT,))
    return field


def size_of(photo: Any) -> tuple[Any, Any]:
    return photo.width, photo.height


def test_the_add_page_of_the_admin_opens_although_the_default_is_missing(
    field: Any, db: Any, caplog: Any
) -> None:
    browser = Client()
    browser.force_login(User.objects.create_superuser("admin"))
    response = browser.get("/admin/app/photo/add/")
    assert response.status_code == 200
    [record] = [record for record in caplog.records if record.name == "cf_images.image_fields"]
    assert record.levelno == logging.WARNING
    assert f"'{DEFAULT}' in app.Photo.file" in record.getMessage()


def test_a_new_row_has_a_missing_default_without_a_size(field: Any, db: Any) -> None:
    photo = Photo()
    assert (photo.file.name, size_of(photo)) == (DEFAULT, (None, None))
    photo.save()
    assert size_of(Photo.objects.get()) == (None, None)


def test_the_size_of_a_default_is_that_of_the_static_file_without_a_request(
    field: Any, db: Any, static: Path, cloudflare: Any
) -> None:
    assert size_of(Photo()) == (30, 20)
    Photo.objects.create()
    assert size_of(Photo.objects.get()) == (30, 20)
    assert not cloudflare.requests


def test_a_static_file_that_comes_later_is_found(field: Any, static: Path) -> None:
    (static / DEFAULT).rename(static / "later.png")
    assert size_of(Photo()) == (None, None)
    (static / DEFAULT).write_bytes(b"half of it")
    assert size_of(Photo()) == (None, None)
    (static / "later.png").rename(static / DEFAULT)
    assert size_of(Photo()) == (30, 20)


def test_a_default_that_replaces_another_image_has_its_own_size(field: Any, static: Path) -> None:
    photo = Photo(file="other.jpg", width=7, height=9)
    photo.file = DEFAULT
    assert size_of(photo) == (30, 20)


def test_a_row_keeps_the_size_that_it_has(field: Any, static: Path) -> None:
    assert size_of(Photo(file=DEFAULT, width=7, height=9)) == (7, 9)


def test_a_default_that_is_in_the_storage_only_is_read_there(field: Any, cloudflare: Any) -> None:
    storage = field.storage
    if storage is storages["default"]:
        Path(storage.path(DEFAULT)).parent.mkdir(parents=True, exist_ok=True)
        Path(storage.path(DEFAULT)).write_bytes(picture("PNG", (30, 20)))
    else:
        storage.client.upload(ContentFile(picture("PNG", (30, 20))), image_id=DEFAULT)
    try:
        assert size_of(Photo()) == (30, 20)
    finally:
        storage.delete(DEFAULT)


@pytest.mark.parametrize("content", [b"", b"no image", picture("PNG")[:20]])
def test_a_static_file_that_is_no_image_has_no_size(field: Any, static: Path, content: bytes) -> None:
    (static / DEFAULT).write_bytes(content)
    assert size_of(Photo()) == (None, None)


def test_a_row_loads_whose_image_was_deleted(field: Any, db: Any) -> None:
    Photo.objects.bulk_create([Photo(file="gone.jpg", width=1, height=1)])
    Photo.objects.update(width=None, height=None)
    photo = Photo.objects.get()
    assert (photo.file.name, size_of(photo)) == ("gone.jpg", (None, None))
    photo.refresh_from_db()
    photo.delete()


def test_a_missing_image_that_replaces_another_one_leaves_no_size(field: Any) -> None:
    photo = Photo(file="other.jpg", width=7, height=9)
    photo.file = "gone.jpg"
    assert size_of(photo) == (None, None)


def test_an_upload_is_measured_as_before(field: Any) -> None:
    photo = Photo(file="other.jpg", width=7, height=9)
    photo.file = ContentFile(picture("PNG", (64, 48)), name="new.png")
    assert size_of(photo) == (64, 48)
    photo.file = None
    assert size_of(photo) == (None, None)


class TestOutage:
    @pytest.fixture(autouse=True)
    def _outage(self, cloudflare: Any, settings: Any) -> None:
        settings.CF_IMAGES = {**settings.CF_IMAGES, "API_URL": "http://127.0.0.1:9/client/v4", "TIMEOUT": 1}

    def test_a_row_loads_without_its_size(self, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
        self.fail(monkeypatch)
        assert size_of(Photo(file="a.jpg")) == (None, None)
        assert "a.jpg" in caplog.text

    def test_a_name_that_replaces_another_one_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        photo = Photo(file="a.jpg", width=7, height=9)
        self.fail(monkeypatch)
        with pytest.raises(CloudflareUnavailableError):
            photo.file = "b.jpg"

    def fail(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As after the last retry."""

        def refuse(*_: Any) -> Any:
            raise CloudflareUnavailableError("Cloudflare does not respond.")

        monkeypatch.setattr(type(storages["cloudflare_images"]), "_open", refuse)


def test_a_row_loads_in_async_code(settings: Any, cloudflare: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "BACKGROUND": True}

    async def new() -> Photo:
        return Photo(file="a-t9f2k0-5p2kd0qj3m8v7x1c.jpg")

    assert size_of(asyncio.run(new())) == (None, None)


def test_models_in_migrations_load_too(cloudflare: Any) -> None:
    class Migration(migrations.Migration):
        operations = [
            migrations.CreateModel(
                "Scan",
                [
                    ("id", models.AutoField(primary_key=True)),
                    (
                        "file",
                        models.ImageField(
                            storage=select_storage,
                            width_field="width",
                            height_field="height",
                            default=DEFAULT,
                        ),
                    ),
                    ("width", models.IntegerField(null=True)),
                    ("height", models.IntegerField(null=True)),
                ],
            )
        ]

    state = Migration("0001_initial", "app").mutate_state(ProjectState())
    assert isinstance(state.apps, Apps)
    assert size_of(state.apps.get_model("app", "Scan")()) == (None, None)


@isolate_apps("tests.app")
def test_what_another_package_does_with_the_size_still_happens(cloudflare: Any) -> None:
    calls = []

    class OtherField(models.ImageField):
        def update_dimension_fields(self, instance: Any, force: bool = False, *args: Any, **kw: Any) -> None:
            calls.append(force)
            super().update_dimension_fields(instance, force, *args, **kw)

    class Base(models.Model):
        file = OtherField(storage=select_storage, height_field="height")
        height = models.IntegerField(null=True)

        class Meta:
            abstract = True

    class Scan(Base):
        class Meta:
            app_label = "app"

    class Elsewhere(models.Model):
        file = models.ImageField(height_field="height", storage=InMemoryStorage())
        height = models.IntegerField(null=True)

        class Meta:
            app_label = "app"

    scan = Scan(file="gone.jpg")
    assert calls == [False], "once: Django's own signal is disconnected"
    scan.file = "gone-too.jpg"
    assert calls == [False, True]
    assert isinstance(Scan._meta.get_field("file").update_dimension_fields, _Dimensions)
    with pytest.raises(FileNotFoundError):
        Elsewhere(file="gone.jpg")


def test_loading_rows_costs_no_query(db: Any, cloudflare: Any, django_assert_num_queries: Any) -> None:
    Photo.objects.bulk_create([Photo(file="a.jpg", width=1, height=1) for _ in range(3)])
    with django_assert_num_queries(1):
        assert len(Photo.objects.all()) == 3
    assert not cloudflare.requests
