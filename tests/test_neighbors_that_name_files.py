"""Real apps that save a file and look for it under the name that they gave it.

In a storage with unique names they find nothing: locally as at Cloudflare, and the log says so. Under given
names they work everywhere, also before a worker has run, and again over their own files.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.db import models
from django.test.utils import isolate_apps
from easy_thumbnails.files import Thumbnailer
from imagefield.fields import ImageField
from PIL import Image

from cf_images import background
from cf_images.storage import ImageStorage, renamed
from tests.conftest import point_at
from tests.pictures import picture

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.filterwarnings("ignore:The django-stdimage is deprecated:DeprecationWarning"),
    # Some of these apps leave files open.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

JPEG = picture("JPEG", (200, 100))


@pytest.fixture(autouse=True)
def _fresh(settings: Any, tmp_path: Path) -> Iterator[None]:
    settings.MEDIA_ROOT = tmp_path
    # Without a queue, and in a format that Cloudflare takes.
    settings.PICTURES = {
        "PROCESSOR": "pictures.tasks._process_picture",
        "FILE_TYPES": ["WEBP"],
        "GRID_COLUMNS": 1,
        "PIXEL_DENSITIES": [1],
    }
    cache.clear()
    renamed.clear()
    yield
    renamed.clear()


def storage_of(mode: str, request: pytest.FixtureRequest, settings: Any, *, unique: bool) -> ImageStorage:
    """Return the storage of a mode, with unique or with given names."""
    if mode == "local":
        settings.CF_IMAGES = {**settings.CF_IMAGES, "UNIQUE_NAMES": unique}
        chosen = storages["default"]
    else:
        emulator = request.getfixturevalue("cf_images_emulator")
        point_at(settings, emulator, unique_names=unique, background=mode != "direct", queue="none")
        chosen = storages["cloudflare_images"]
    assert isinstance(chosen, ImageStorage)
    return chosen


# Each app saves an image and its renditions, and returns the names under which it looks for them.


def with_field(field: models.FileField, storage: ImageStorage) -> Any:
    """Return a new image in a field of another app."""
    with isolate_apps("tests.app"):

        class Owner(models.Model):
            image = field

            class Meta:
                app_label = "app"

        owner = Owner()
        if not storage.has_unique_names:  # those of the last time
            storage.delete("p/photo.jpg")
            storage.delete("p/photo.jpeg")
        owner.image.save("photo.jpg", ContentFile(JPEG), save=False)
        return owner.image


def pictures(storage: ImageStorage) -> list[str]:
    from pictures.models import PictureField

    image = with_field(PictureField(upload_to="p/", storage=storage, container_width=100), storage)
    return sorted(found.name for found in image.get_picture_files_list())


def versatileimagefield(storage: ImageStorage) -> list[str]:
    from versatileimagefield.fields import VersatileImageField
    from versatileimagefield.versatileimagefield import ThumbnailImage  # registers itself

    assert ThumbnailImage
    image = with_field(VersatileImageField(upload_to="p/", storage=storage), storage)
    image.create_on_demand = True
    return [image.thumbnail["40x40"].name]


def stdimage(storage: ImageStorage) -> list[str]:
    from stdimage.models import StdImageField

    field = StdImageField(upload_to="p/", storage=storage, variations={"small": (40, 40)})
    image = with_field(field, storage)
    return [image.get_variation_name(image.name, "small")]


def imagefield(storage: ImageStorage) -> list[str]:
    formats = {"small": ["default", ("thumbnail", (40, 40))]}
    field = ImageField(upload_to="p/", storage=storage, formats=formats, auto_add_fields=False)
    image = with_field(field, storage)
    return [image.process("small", force=True)]


def easy_thumbnails(storage: ImageStorage) -> list[str]:
    if not storage.has_unique_names:
        storage.delete("p/photo.jpg")
    name = storage.save("p/photo.jpg", ContentFile(JPEG))
    with storage.open(name) as file:
        thumbnailer = Thumbnailer(file, name, source_storage=storage, thumbnail_storage=storage)
        thumbnail = thumbnailer.generate_thumbnail({"size": (40, 40)})
        thumbnailer.save_thumbnail(thumbnail)
    return [thumbnailer.get_thumbnail_name({"size": (40, 40)})]


def dbbackup(storage: ImageStorage) -> list[str]:
    """The restore of media files from a backup."""
    from dbbackup.management.commands.mediarestore import Command

    command = Command()
    command.media_storage, command.replace = storage, True
    command._upload_file("p/photo.jpg", ContentFile(JPEG))
    return ["p/photo.jpg"]


APPS = [pictures, versatileimagefield, stdimage, imagefield, easy_thumbnails, dbbackup]
App = Callable[[ImageStorage], list[str]]


@pytest.mark.parametrize("app", APPS)
@pytest.mark.parametrize("mode", ["local", "direct", "background"])
def test_unique_names_fail_everywhere_and_are_logged_once(
    app: App,
    mode: str,
    request: pytest.FixtureRequest,
    settings: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    storage = storage_of(mode, request, settings, unique=True)
    names = app(storage)
    for name in names:
        assert storage.url(name)
        assert not storage.exists(name)
        with pytest.raises(FileNotFoundError):
            storage.open(name)
    logged = [record.getMessage() for record in caplog.records if record.name == "cf_images.storage"]
    assert len(logged) == len(names)
    for name in names:
        (message,) = (message for message in logged if f"{name!r} was saved as" in message)
        assert "unique_names" in message


@pytest.mark.parametrize("app", APPS)
@pytest.mark.parametrize("mode", ["local", "direct", "background"])
def test_given_names_work_and_can_be_saved_again(
    app: App,
    mode: str,
    request: pytest.FixtureRequest,
    settings: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    storage = storage_of(mode, request, settings, unique=False)
    for _ in range(2):
        for name in app(storage):
            assert storage.exists(name)
            with storage.open(name) as file:
                assert Image.open(io.BytesIO(file.read())).size[0] <= 200
    if mode == "background":
        names = app(storage)
        background.process()
        for name in names:
            assert name in request.getfixturevalue("cf_images_emulator").images
        for name in app(storage):  # over what Cloudflare has by now
            assert storage.exists(name)
        background.process()
        assert not background.status().pending + background.status().deleting + background.status().rejected
    assert not [record for record in caplog.records if record.name == "cf_images.storage"]


# django-filer needs tables of its own, and builds its storages without options.

FILER = """
import django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "polymorphic", "easy_thumbnails",
                    "filer", "cf_images"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField", USE_TZ=True, SECRET_KEY="s", MEDIA_ROOT="media",
    MEDIA_URL="/media/", CF_IMAGES=CF_IMAGES_HERE,
    STORAGES={"default": {"BACKEND": "cf_images.storage.LocalImagesStorage"},
              "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}},
    THUMBNAIL_PROCESSORS=("easy_thumbnails.processors.colorspace",
                          "filer.thumbnail_processors.scale_and_crop_with_subject_location"),
)
django.setup()
from django.core.files.base import ContentFile
from django.core.management import call_command
from filer.models import Image
from tests.pictures import picture
call_command("migrate", verbosity=0)
image = Image.objects.create(file=ContentFile(picture("JPEG", (200, 100)), name="photo.jpg"))
thumbnail = image.file.get_thumbnail({"size": (40, 40)})
storage = thumbnail.storage
print(storage.url(thumbnail.name) and storage.exists(thumbnail.name))
"""


@pytest.mark.parametrize(("unique", "finds"), [(True, "False"), (False, "True")])
def test_filer_fails_locally_as_in_production(tmp_path: Path, unique: bool, finds: str) -> None:
    code = FILER.replace("CF_IMAGES_HERE", repr({"UNIQUE_NAMES": unique}))
    root = Path(__file__).parent.parent
    environment = {**os.environ, "PYTHONPATH": str(root)}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == finds, done.stderr
    assert ("was saved as" in done.stderr) is unique
