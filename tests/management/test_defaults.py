"""``cf_images defaults`` uploads default images under exactly their names, once, and changes none."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.management import CommandError, call_command
from django.db import models
from django.test.utils import isolate_apps

from cf_images import image_fields
from cf_images.background import process
from cf_images.storage import select_storage
from tests.pictures import picture
from tests.storage.mirrors import use_mirror

NAME = "defaults/anon.png"
PNG = picture("PNG")


class Ran:
    """What the command has printed, and its exit status."""

    def __init__(self, *arguments: str) -> None:
        out, err = io.StringIO(), io.StringIO()
        self.status: Any = 0
        try:
            call_command("cf_images", "defaults", *arguments, stdout=out, stderr=err)
        except SystemExit as error:
            self.status = error.code
        self.out, self.err = out.getvalue(), err.getvalue()


@pytest.fixture(autouse=True)
def static(tmp_path: Path, settings: Any) -> Path:
    folder = tmp_path / "static"
    write(folder / NAME, PNG)
    settings.STATICFILES_DIRS = [folder]
    settings.MEDIA_ROOT = tmp_path / "media"
    return folder


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the project have image fields with these defaults."""

    def declare(*defaults: Any, storage: Any = select_storage) -> None:
        with isolate_apps("tests.app"):
            fields = {
                f"image_{number}": models.ImageField(storage=storage, default=default)
                for number, default in enumerate(defaults)
            }
            meta = type("Meta", (), {"app_label": "app"})
            person = type("Person", (models.Model,), {"__module__": __name__, "Meta": meta, **fields})
        monkeypatch.setattr(image_fields, "apps", person._meta.apps)  # type: ignore[attr-defined]

    return declare


class TestAtCloudflare:
    @pytest.mark.django_db
    def test_a_default_is_uploaded_under_its_name_whatever_the_options(
        self, declare: Any, cloudflare: Any, settings: Any
    ) -> None:
        settings.CF_IMAGES = {**settings.CF_IMAGES, "BACKGROUND": True}
        declare(NAME, NAME)
        ran = Ran()
        assert (ran.status, ran.err) == (0, "")
        assert f"{NAME} (app.Person.image_0): uploaded" in ran.out
        assert {name: image.body for name, image in cloudflare.images.items()} == {NAME: PNG}

    def test_a_second_run_changes_nothing(self, declare: Any, cloudflare: Any) -> None:
        declare(NAME)
        Ran()
        ran = Ran()
        assert (ran.status, "there already" in ran.out) == (0, True)
        assert sum(request.method == "POST" for request in cloudflare.requests) == 1

    @pytest.mark.django_db
    def test_one_whose_deletion_is_under_way_is_not_there(
        self, declare: Any, cloudflare: Any, images: Any, settings: Any
    ) -> None:
        settings.CF_IMAGES = {**settings.CF_IMAGES, "BACKGROUND": True, "QUEUE": "none"}
        declare(NAME)
        Ran()
        images.delete(NAME)
        ran = Ran()
        assert (ran.status, "run this again after a worker" in ran.err) == (1, True)
        process()
        assert Ran().status == 0
        assert list(cloudflare.images) == [NAME]

    def test_another_image_of_this_name_is_told_and_stays(
        self, declare: Any, cloudflare: Any, images: Any
    ) -> None:
        other = picture("PNG", seed=2)
        images.client.upload(ContentFile(other), image_id=NAME)
        declare(NAME)
        ran = Ran()
        assert (ran.status, "another image has this name" in ran.err) == (1, True)
        assert cloudflare.images[NAME].body == other

    def test_an_upload_by_another_process_in_this_moment_is_found(
        self, declare: Any, images: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        images.client.upload(ContentFile(PNG), image_id=NAME)
        monkeypatch.setattr(type(images), "exists", lambda *_: False)
        declare(NAME)
        assert "there already" in Ran().out

    def test_a_dry_run_says_what_is_missing(self, declare: Any, cloudflare: Any) -> None:
        declare(NAME)
        ran = Ran("--dry-run")
        assert (ran.status, "missing" in ran.err) == (1, True)
        assert not cloudflare.images
        Ran()
        assert Ran("--dry-run").status == 0

    @pytest.mark.parametrize("bad", [b"", b"text", picture("TIFF")])
    def test_what_cloudflare_refuses_is_told_and_the_others_are_uploaded(
        self, declare: Any, cloudflare: Any, static: Path, bad: bytes
    ) -> None:
        write(static / "bad.png", bad)
        declare("bad.png", NAME)
        ran = Ran()
        assert ran.status == 1
        assert ran.err.startswith("bad.png (app.Person.image_0): ")
        assert list(cloudflare.images) == [NAME]

    def test_private_images_have_no_default(self, declare: Any, cloudflare: Any, settings: Any) -> None:
        settings.CF_IMAGES = {**settings.CF_IMAGES, "REQUIRE_SIGNED_URLS": True}
        declare(NAME)
        ran = Ran()
        assert (ran.status, "require_signed_urls" in ran.err) == (1, True)
        assert not cloudflare.images

    def test_an_outage_is_told(self, declare: Any, cloudflare: Any, settings: Any) -> None:
        settings.CF_IMAGES = {**settings.CF_IMAGES, "API_TOKEN": "wrong"}
        declare(NAME)
        ran = Ran()
        assert (ran.status, "Authentication error" in ran.err) == (1, True)


class TestLocal:
    @pytest.fixture(autouse=True)
    def _dev(self, settings: Any) -> None:
        settings.ENV_NAME = "dev"

    def test_a_default_is_copied_under_its_name_once(self, declare: Any, tmp_path: Path) -> None:
        declare(NAME)
        assert "uploaded" in Ran().out
        assert "there already" in Ran().out
        assert [path.name for path in (tmp_path / "media/defaults").iterdir()] == ["anon.png"]
        assert (tmp_path / "media" / NAME).read_bytes() == PNG

    def test_another_file_of_this_name_is_told_and_stays(self, declare: Any, tmp_path: Path) -> None:
        write(tmp_path / "media" / NAME, b"other")
        declare(NAME)
        assert Ran().status == 1
        assert (tmp_path / "media" / NAME).read_bytes() == b"other"

    def test_a_default_that_is_there_without_a_static_file_is_fine(
        self, declare: Any, tmp_path: Path
    ) -> None:
        write(tmp_path / "media/own.png", PNG)
        declare("own.png")
        assert Ran().status == 0

    @pytest.mark.parametrize("name", ["none.png", "../static/defaults/anon.png", "/etc/hostname"])
    def test_what_is_not_found_is_told(self, declare: Any, name: str) -> None:
        declare(name)
        ran = Ran()
        assert ran.status == 1
        assert ran.err.startswith(f"{name} (app.Person.image_0): ")

    def test_a_folder_may_be_given(self, declare: Any, tmp_path: Path) -> None:
        write(tmp_path / "pictures/mine.png", PNG)
        declare("mine.png", "../pictures/mine.png")
        ran = Ran("--path", str(tmp_path / "pictures"))
        assert (ran.status, ran.out.count("uploaded"), ran.err.count("\n")) == (1, 1, 1)

    def test_a_missing_folder_is_an_error(self, declare: Any) -> None:
        with pytest.raises(CommandError, match="There is no folder nowhere"):
            Ran("--path", "nowhere")

    def test_what_a_callable_gives_is_copied_too(self, declare: Any, tmp_path: Path) -> None:
        declare(lambda: NAME)
        assert Ran().status == 0
        assert (tmp_path / "media" / NAME).exists()


def test_a_project_without_defaults_is_told(declare: Any) -> None:
    declare()
    ran = Ran()
    assert (ran.status, ran.out) == (0, "No field on a storage of this package has a default image.\n")


def test_fields_of_other_storages_are_left_alone(declare: Any) -> None:
    declare(NAME, storage=storages["renditions_elsewhere"])
    assert "No field" in Ran().out


@pytest.mark.django_db
@pytest.mark.parametrize("primary", ["local", "cloudflare_images"])
def test_default_of_a_mirror_goes_to_both_sides(
    primary: str, cf_images_emulator: Any, settings: Any, tmp_path: Path, declare: Callable[..., None]
) -> None:
    secondary = ({"local", "cloudflare_images"} - {primary}).pop()
    folder = tmp_path / "photos"
    mirror = use_mirror(settings, cf_images_emulator, folder, primary=primary, secondary=secondary)
    declare(NAME, storage=mirror)
    assert Ran().status == 0
    assert (folder / NAME).read_bytes() == cf_images_emulator.images[NAME].body == PNG
    assert "there already" in Ran().out
