"""What every Django storage does: Django's own two pass, and this package's in each of its states.

All of it twice: called directly, and from async code, with ``url()`` on the event loop, as a template has it,
and everything else through ``sync_to_async``.
"""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import ContentFile, File
from django.core.files.images import get_image_dimensions
from django.core.files.storage import FileSystemStorage, InMemoryStorage, Storage, storages
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from cf_images import background
from tests.app.models import Profile
from tests.conftest import point_at
from tests.pictures import picture
from tests.storage.mirrors import CLOUDFLARE, LOCAL, use_mirror

pytestmark = pytest.mark.django_db

PNG = picture()
DEAD_URL = "http://127.0.0.1:9"  # the port "discard", where nothing listens


PHASES = ["direct", "pending", "stored", "down"]


class UnderAsyncio:
    """A storage as async code calls it."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._storage, name)

        async def call(*arguments: Any, **options: Any) -> Any:
            called = found if name == "url" else sync_to_async(found)
            result = called(*arguments, **options)
            return result if name == "url" else await result

        return async_to_sync(call) if callable(found) else found


@pytest.fixture(params=["called directly", "under asyncio"])
def storage(request: pytest.FixtureRequest, each_storage: Storage) -> Any:
    """Each storage, called in both ways."""
    return UnderAsyncio(each_storage) if request.param == "under asyncio" else each_storage


MIRRORS = ["mirror of files", "mirror at Cloudflare"]


@pytest.fixture(params=["filesystem", "memory", *MIRRORS, *PHASES, *(f"private {phase}" for phase in PHASES)])
def each_storage(request: pytest.FixtureRequest, tmp_path: Any, settings: Any, monkeypatch: Any) -> Storage:
    """The storage under test: Django's, and this package's with direct and with background uploads.

    In the background an image is pending, stored, or pending while Cloudflare does not respond. All of these
    for public and for private images. A mirror has local files and Cloudflare, or the other way around.
    """
    if request.param == "filesystem":
        return FileSystemStorage(location=tmp_path, base_url="/media/")
    if request.param == "memory":
        return InMemoryStorage(base_url="/media/")
    emulator = request.getfixturevalue("cf_images_emulator")
    if request.param in MIRRORS:
        primary, secondary = (LOCAL, CLOUDFLARE) if request.param == MIRRORS[0] else (CLOUDFLARE, LOCAL)
        mirror: Storage = use_mirror(settings, emulator, tmp_path, primary=primary, secondary=secondary)
        return mirror
    *private, phase = request.param.split()
    point_at(settings, emulator, require_signed_urls=bool(private))
    if phase == "direct":
        return storages["cloudflare_images"]
    point_at(settings, emulator, background=True, queue="none")
    storage = storages["cloudflare_images"]
    if phase == "stored":
        monkeypatch.setattr(storage, "save", partial(save_and_process, storage))
    elif phase == "down":
        if "missing" in request.node.name or "listdir" in request.node.name:
            pytest.skip("only Cloudflare knows whether an image without a row exists")
        settings.CF_IMAGES = {**settings.CF_IMAGES, "API_URL": DEAD_URL}
    return storage


def save_and_process(storage: Storage, name: str | None, content: Any, max_length: int | None = None) -> str:
    """Save an image and process its upload."""
    name = type(storage).save(storage, name, content, max_length)
    assert background.process() == 1
    return name


@pytest.fixture
def name(storage: Storage) -> str:
    """The name of an image that was saved."""
    return storage.save("folder/photo.png", ContentFile(PNG))


def content_of(storage: Storage, name: str) -> bytes:
    """Return all bytes of an image."""
    with storage.open(name) as file:
        return file.read()


def test_save_returns_a_name_that_exists(storage: Storage) -> None:
    name = storage.save("folder/photo.png", ContentFile(PNG))
    assert storage.exists(name)
    assert name.startswith("folder/photo")
    assert name.endswith(".png")


def test_open_gives_the_original_bytes(storage: Storage, name: str) -> None:
    assert content_of(storage, name) == PNG


def test_size_is_that_of_the_original(storage: Storage, name: str) -> None:
    assert storage.size(name) == len(PNG)


def test_the_name_can_come_with_the_content(storage: Storage) -> None:
    name = storage.save(None, ContentFile(PNG, name="photo.png"))
    assert storage.exists(name)


def test_saving_the_same_name_twice_keeps_both_images(storage: Storage, name: str) -> None:
    other = picture(seed=2)
    second = storage.save("folder/photo.png", ContentFile(other))
    assert second != name
    assert content_of(storage, name) == PNG
    assert content_of(storage, second) == other


def test_save_begins_at_the_first_byte_and_leaves_the_file_open(storage: Storage) -> None:
    content = ContentFile(PNG, name="photo.png")
    content.seek(20)
    name = storage.save("photo.png", content)
    assert content_of(storage, name) == PNG
    assert not content.closed
    assert content.name == "photo.png"
    content.seek(0)
    assert content.read() == PNG


@pytest.mark.parametrize(
    "content",
    [
        lambda: io.BytesIO(PNG),
        lambda: File(io.BytesIO(PNG), name="other.png"),
        lambda: SimpleUploadedFile("other.png", PNG, content_type="text/html"),
    ],
    ids=["BytesIO", "File", "UploadedFile"],
)
def test_save_takes_any_file(storage: Storage, content: Any) -> None:
    name = storage.save("photo.png", content())
    assert content_of(storage, name) == PNG


def test_a_file_of_several_chunks_survives(storage: Storage) -> None:
    large = picture("PNG", (700, 500), seed=3)
    assert len(large) > 2 * File.DEFAULT_CHUNK_SIZE
    name = storage.save("large.png", ContentFile(large))
    with storage.open(name) as file:
        assert b"".join(file.chunks()) == large


class Decrypting(ContentFile):  # type: ignore[type-arg]
    """A file whose bytes are not what its ``chunks()`` give."""

    def chunks(self, chunk_size: int | None = None) -> Any:
        for chunk in super().chunks(chunk_size):
            yield bytes(byte ^ 0xFF for byte in chunk)


def test_chunks_of_a_subclass_are_what_is_saved(storage: Storage) -> None:
    content = Decrypting(bytes(byte ^ 0xFF for byte in PNG), name="photo.png")
    content.seek(20)
    name = storage.save("photo.png", content)
    assert content_of(storage, name) == PNG
    assert not content.closed


def test_chunks_of_a_single_file_are_what_is_saved(storage: Storage) -> None:
    def failing(chunk_size: int | None = None) -> Any:
        raise OSError("The source has gone.")

    content = ContentFile(PNG)
    content.chunks = failing  # type: ignore[method-assign]
    with pytest.raises(OSError, match="The source has gone"):
        storage.save("photo.png", content)


def test_open_of_a_missing_image_is_file_not_found(storage: Storage) -> None:
    with pytest.raises(FileNotFoundError):
        storage.open("missing.png")


@pytest.mark.parametrize("method", ["size", "get_modified_time", "get_created_time"])
def test_size_and_times_of_a_missing_image_are_file_not_found(storage: Storage, method: str) -> None:
    with pytest.raises(FileNotFoundError):
        getattr(storage, method)("missing.png")


def test_a_missing_image_does_not_exist(storage: Storage) -> None:
    assert not storage.exists("missing.png")


def test_delete_is_final_and_can_be_repeated(storage: Storage, name: str) -> None:
    storage.delete(name)
    assert not storage.exists(name)
    storage.delete(name)
    with pytest.raises(FileNotFoundError):
        storage.open(name)


def test_the_file_seeks_and_tells(storage: Storage, name: str) -> None:
    with storage.open(name) as file:
        assert file.tell() == 0
        file.seek(10)
        assert file.read(5) == PNG[10:15]
        assert file.tell() == 15
        file.seek(-4, io.SEEK_END)
        assert file.read() == PNG[-4:]
        file.seek(0)
        assert file.read(4) == PNG[:4]
        file.seek(2, io.SEEK_CUR)
        assert file.read(2) == PNG[6:8]


def test_the_file_iterates_in_chunks(storage: Storage, name: str) -> None:
    with storage.open(name) as file:
        assert b"".join(file.chunks(chunk_size=7)) == PNG
        assert file.multiple_chunks(chunk_size=7)
        assert b"".join(file) == PNG


def test_dimensions_can_be_read_from_the_file(storage: Storage, name: str) -> None:
    with storage.open(name) as file:
        assert get_image_dimensions(file) == (64, 48)


def test_an_image_can_be_copied_to_another_storage(storage: Storage, name: str) -> None:
    elsewhere = InMemoryStorage()
    with storage.open(name) as file:
        copied = elsewhere.save("copy.png", file)
    assert content_of(elsewhere, copied) == PNG


def test_an_image_can_be_saved_again_from_its_own_file(storage: Storage, name: str) -> None:
    with storage.open(name) as file:
        second = storage.save(name, file)
    assert second != name
    assert content_of(storage, second) == PNG


def test_an_image_can_be_copied_from_a_field_that_is_not_open(storage: Storage, name: str) -> None:
    image = Profile(image=name).image
    image.storage = storage
    second = storage.save("copy.png", image)
    image.close()
    assert content_of(storage, second) == PNG


@pytest.mark.parametrize("name", ["../photo.png", "folder/../../photo.png", "/etc/photo.png"])
def test_a_name_outside_of_the_storage_is_suspicious(storage: Storage, name: str) -> None:
    with pytest.raises(SuspiciousFileOperation):
        storage.save(name, ContentFile(PNG))


def test_an_empty_name_is_suspicious(storage: Storage) -> None:
    with pytest.raises(SuspiciousFileOperation):
        storage.save("", ContentFile(PNG))


def test_max_length_shortens_the_name(storage: Storage) -> None:
    name = storage.save("folder/" + "x" * 200 + ".png", ContentFile(PNG), max_length=60)
    assert len(name) <= 60
    assert storage.exists(name)


def test_a_max_length_without_room_is_refused(storage: Storage) -> None:
    storage.save("folder/photo.png", ContentFile(PNG))
    with pytest.raises(SuspiciousFileOperation):
        storage.save("folder/photo.png", ContentFile(PNG), max_length=8)


def test_url_contains_the_image(storage: Storage, name: str) -> None:
    image_id = getattr(storage, "image_id", str)(name)  # of a private image it is not the name
    url = storage.url(name)
    assert image_id in url or name in url


def test_url_is_the_same_for_everyone(storage: Storage, each_storage: Storage, name: str) -> None:
    assert storage.url(name) == each_storage.url(name)


def test_listdir_tells_folders_from_files(storage: Storage, name: str) -> None:
    deeper = storage.save("folder/deeper/photo.png", ContentFile(PNG))
    top = storage.save("photo.png", ContentFile(PNG))
    assert storage.listdir("") == (["folder"], [top])
    assert storage.listdir("folder") == (["deeper"], [name.removeprefix("folder/")])
    assert storage.listdir("folder/deeper") == ([], [deeper.removeprefix("folder/deeper/")])


@pytest.mark.parametrize("use_tz", [True, False])
def test_times_are_recent_and_aware_as_the_settings_say(
    storage: Storage, settings: Any, use_tz: bool
) -> None:
    settings.USE_TZ = use_tz
    settings.TIME_ZONE = "Asia/Kathmandu"
    name = storage.save("photo.png", ContentFile(PNG))
    for moment in (storage.get_modified_time(name), storage.get_created_time(name)):
        assert timezone.is_aware(moment) == use_tz
        aware = moment if use_tz else timezone.make_aware(moment)
        assert abs(datetime.now(UTC) - aware) < timedelta(minutes=1)


def test_generate_filename_keeps_the_folder(storage: Storage) -> None:
    assert storage.generate_filename("folder/my photo.png").startswith("folder/my")
