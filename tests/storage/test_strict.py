"""Local files are refused where Cloudflare's would be, with the same error: no surprise in production."""

from __future__ import annotations

import io
import os
import traceback
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile, File
from django.core.files.storage import storages
from django.core.files.uploadedfile import TemporaryUploadedFile
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from cf_images.background import upload_from_file
from cf_images.exceptions import ImageRejectedError
from cf_images.images import limits
from cf_images.storage import CloudflareImagesStorage, LocalImagesStorage
from tests.app.models import Profile
from tests.images.builders import HEIC, SMALL_FILES, png_header
from tests.pictures import encoded, picture

MB = 1024 * 1024
JPEG = picture("JPEG", (90, 60))
FILES = {
    **SMALL_FILES,
    "tiff": picture("TIFF"),
    "bmp": picture("BMP"),
    "ico": picture("ICO"),
    "jpeg 2000": picture("JPEG2000"),
    "pdf": b"%PDF-1.7\n",
    "html": b"<!doctype html><title>404</title>",
    "text": b"just a text",
    "zip": b"PK\x03\x04" + b"\0" * 60,
    "empty": b"",
    "one byte": b"\xff",
    "only a signature": b"\x89PNG\r\n\x1a\n",
    "half a header": JPEG[:20],
    "11 MB": JPEG + b"\0" * (11 * MB),
    "10 MB": JPEG.ljust(10 * MB, b"\0"),
    "wide": png_header(12_001, 10),
    "large": png_header(11_000, 10_000),
    "animation": encoded(
        Image.new("P", (9, 9)), "GIF", save_all=True, append_images=[Image.new("P", (9, 9), 1)] * 3
    ),
}


@pytest.fixture
def local(tmp_path: Path) -> LocalImagesStorage:
    """Local files as development has them."""
    return LocalImagesStorage(location=tmp_path, base_url="/media/")


def outcome(storage: Any, body: bytes) -> str:
    """Return why the storage refuses a file; empty if it takes it."""
    try:
        storage.save("a.png", ContentFile(body))
    except ImageRejectedError as error:
        return error.message
    return ""


@pytest.mark.parametrize("fit_limits", [False, True], ids=["", "fit_limits"])
@pytest.mark.parametrize("kind", FILES)
def test_both_storages_refuse_the_same_files_for_the_same_reason(
    kind: str, fit_limits: bool, local: Any, images: Any, settings: Any
) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "FIT_LIMITS": fit_limits}
    assert outcome(local, FILES[kind]) == outcome(images, FILES[kind])


@pytest.mark.parametrize("kind", ["avif", "tiff", "text", "11 MB", "empty"])
def test_these_are_refused_at_all(kind: str, local: Any) -> None:
    assert outcome(local, FILES[kind])
    assert not list(Path(local.location).iterdir())


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    kind=st.sampled_from(sorted(SMALL_FILES)),
    cut=st.integers(0, 400),
    position=st.integers(0, 60),
    byte=st.integers(0, 255),
)
def test_both_agree_about_damaged_files(
    kind: str, cut: int, position: int, byte: int, local: Any, settings: Any
) -> None:
    """Beside a storage that sends later, so that the service, which decodes, has no say."""
    body = bytearray(SMALL_FILES[kind][: len(SMALL_FILES[kind]) - cut])
    body[position : position + 1] = bytes([byte])
    assert outcome(local, bytes(body)) == outcome(_Unsent(), bytes(body))


class _Unsent(CloudflareImagesStorage):
    """Everything of the storage but the request."""

    def _store_public(self, name: str, *_: Any) -> str:
        return name


def test_what_is_over_the_limits_is_reduced_where_production_would(
    local: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_SIDE", 30)
    alias = {"BACKEND": "cf_images.storage.CloudflareImagesStorage", "OPTIONS": {"fit_limits": True}}
    settings.STORAGES = {**settings.STORAGES, "cloudflare_images": alias}
    with local.open(local.save("a.jpg", ContentFile(JPEG))) as file:
        assert Image.open(file).size == (30, 20)


def test_an_option_turns_it_off(local: Any, settings: Any) -> None:
    settings.CF_IMAGES = {"VALIDATE_LOCAL_FILES": False}
    with local.open(local.save("a.txt", ContentFile(b"just a text"))) as file:
        assert file.read() == b"just a text"


def test_a_developer_is_told_which_option(local: Any) -> None:
    with pytest.raises(ImageRejectedError) as refused:
        local.save("a.txt", ContentFile(b"just a text"))
    assert "VALIDATE_LOCAL_FILES" in "".join(traceback.format_exception(refused.value))
    assert "VALIDATE_LOCAL_FILES" not in str(refused.value)


@pytest.mark.parametrize("position", [0, 7])
def test_the_bytes_are_stored_from_the_first_one(local: Any, position: int) -> None:
    content = File(io.BytesIO(JPEG), name="a.jpg")
    content.seek(position)
    with local.open(local.save("a.jpg", content)) as file:
        assert file.read() == JPEG
    assert not content.closed


def test_a_stream_is_stored_whole(local: Any) -> None:
    class Stream(io.BytesIO):
        def seekable(self) -> bool:
            return False

    with local.open(local.save("a.jpg", File(Stream(JPEG)))) as file:
        assert file.read() == JPEG


def test_a_large_upload_is_moved_and_not_copied(local: Any) -> None:
    with TemporaryUploadedFile("a.jpg", "image/jpeg", len(JPEG), None) as upload:
        upload.write(JPEG)
        upload.seek(0)
        inode = os.stat(upload.temporary_file_path()).st_ino
        name = local.save("a.jpg", upload)
        moved = os.stat(local.path(name))
        assert (moved.st_ino == inode) or moved.st_size == len(JPEG)  # moved within one file system


def test_the_file_of_another_field_is_read_from_its_storage(local: Any, images: Any) -> None:
    row = Profile(image=images.save("a.jpg", ContentFile(JPEG)))
    row.image.storage = images
    with local.open(local.save("b.jpg", row.image)) as file:
        assert file.read() == JPEG


@pytest.mark.parametrize("body", [FILES["avif"], FILES["text"], FILES["empty"]])
def test_upload_from_file_refuses_the_same_for_local_files(body: bytes) -> None:
    with pytest.raises(ImageRejectedError):
        upload_from_file(ContentFile(body, name="a.jpg"), storage="default")
    with pytest.raises(ImageRejectedError):
        upload_from_file(ContentFile(body, name="a.jpg"), storage="renditions_elsewhere")


def test_upload_from_file_stores_an_image_in_any_storage() -> None:
    name = upload_from_file(ContentFile(HEIC, name="a.heic"), storage="renditions_elsewhere")
    assert storages["renditions_elsewhere"].size(name) == len(HEIC)


class Once(io.RawIOBase):
    """A stream that can be read only once, such as a response."""

    def __init__(self, body: bytes) -> None:
        self._stream = io.BytesIO(body)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._stream.readinto(buffer)


@pytest.mark.parametrize("is_validated", [True, False])
def test_a_stream_that_is_read_once_is_saved_whole(settings: Any, tmp_path: Path, is_validated: bool) -> None:
    settings.CF_IMAGES = {"VALIDATE_LOCAL_FILES": is_validated}
    storage, body = LocalImagesStorage(location=tmp_path), picture()
    name = storage.save("a.png", File(Once(body), name="a.png"))
    with storage.open(name) as file:
        assert file.read() == body
