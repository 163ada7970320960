"""The guides that move a site: their commands run in the order of the pages, their settings work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.management import call_command
from django.test.utils import isolate_apps

from cf_images.background import process
from cf_images.images.metadata import site_of
from cf_images.storage import MirroredStorage, select_storage
from tests.app.models import Profile
from tests.docs import how_to
from tests.docs.how_to import commands, run_command
from tests.docs.pages import block
from tests.pictures import picture

pytestmark = pytest.mark.django_db(transaction=True)

shop = how_to.shop
NAMES = ["products/one.png", "products/two.png"]


@pytest.fixture
def media(tmp_path: Path, settings: Any) -> Path:
    """Two local files, each of which a row names."""
    folder = tmp_path / "media"
    settings.MEDIA_ROOT = folder
    for number, name in enumerate(NAMES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(picture(seed=number))
        Profile.objects.create(image=name)
    return folder


def named(page: str, name: str) -> list[list[str]]:
    """Return a page's uses of one subcommand."""
    return [arguments for arguments in commands(page) if arguments[0] == name]


def test_the_commands_of_the_guides_move_a_site_there_and_back(
    media: Path, tmp_path: Path, cloudflare: Any, settings: Any
) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_RATE": None}
    replaced = {
        "shop.Product.photo": "app.Profile.image",
        "different.csv": str(tmp_path / "different.csv"),
        "/backup/media": str(tmp_path / "backup"),
    }
    check = "how-to/verify-and-switch.md"
    dry, *copy = named("how-to/move-in.md", "import")
    assert run_command(dry)[0] == 0
    assert not cloudflare.images
    for arguments in copy:
        assert run_command(arguments)[0] == 0
    assert sorted(cloudflare.images) == NAMES
    for arguments in [*named("how-to/move-in.md", "verify"), *named(check, "verify")[:3]]:
        status, output = run_command(arguments, **replaced)
        assert status == 0, output
    before = list(Profile.objects.values_list("image", flat=True))
    for arguments in [*named(check, "switch"), *named(check, "revert")]:
        assert run_command([*arguments, "--noinput"])[0] == 0
    assert list(Profile.objects.values_list("image", flat=True)) == before
    for arguments in [*named(check, "export"), *named(check, "verify")[3:]]:
        status, output = run_command(arguments, **replaced)
        assert status == 0, output
    exported = tmp_path / "backup"
    assert [(exported / name).read_bytes() for name in NAMES] == [
        (media / name).read_bytes() for name in NAMES
    ]
    for arguments in commands("how-to/leave.md"):
        status, output = run_command([*arguments, *(["--noinput"] if arguments[0] == "switch" else [])])
        assert status == 0, output
    for arguments in commands("how-to/orphans.md"):
        status, output = run_command(arguments)
        assert status == 0, output
    assert sorted(cloudflare.images) == NAMES


def test_orphans_reports_a_missing_image_as_the_guide_shows_it(
    media: Path, cloudflare: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cf_images.transfer.orphans.SECOND_LOOK_SECONDS", 0)
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_RATE": None}
    assert run_command(["import"])[0] == 0
    storages["cloudflare_images"].client.delete(NAMES[0])
    status, output = run_command(["orphans"])
    assert status == 1
    assert f"missing: {NAMES[0]} (app.Profile.image, row" in output


@isolate_apps("tests.app")
def test_the_model_of_the_guide_chooses_its_storage(shop: Any) -> None:
    block("how-to/move-in.md", "# shop/models.py").run(shop)
    field = shop["Product"]._meta.get_field("photo")
    assert field.deconstruct()[3]["storage"] is select_storage


def test_the_site_of_the_guide_is_in_each_images_metadata(shop: Any, settings: Any, cloudflare: Any) -> None:
    shop["STORAGES"] = dict(settings.STORAGES)
    block("how-to/move-in.md", "# settings.py").run(shop)
    settings.STORAGES = shop["STORAGES"]
    name = storages["cloudflare_images"].save("a.png", ContentFile(picture()))
    assert site_of(cloudflare.images[name].metadata) == "shop"


def test_the_mirror_of_the_guide_copies_after_the_commit(
    shop: Any, settings: Any, cloudflare: Any, tmp_path: Path
) -> None:
    block("how-to/mirror.md", "# settings.py").run(shop)
    settings.MEDIA_ROOT = tmp_path
    settings.STORAGES = shop["STORAGES"]
    settings.CF_IMAGES = {**settings.CF_IMAGES, "QUEUE": "none"}
    call_command("check", fail_level="ERROR")
    assert isinstance(storages["default"], MirroredStorage)
    name = storages["default"].save("a.png", ContentFile(picture()))
    assert (tmp_path / name).read_bytes() == picture()
    assert not cloudflare.images
    while process():
        pass
    assert list(cloudflare.images) == [name]
    storages["default"].delete(name)
    while process():
        pass
    assert not cloudflare.images


def test_the_steps_of_the_mirror_name_commands_in_order() -> None:
    names = [arguments[0] for arguments in commands("how-to/mirror.md")]
    assert names == ["import", "verify", "variants", "switch"]
