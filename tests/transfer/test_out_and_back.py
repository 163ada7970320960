"""A site moves to Cloudflare and back: its folder and its database are what they were."""

from __future__ import annotations

import filecmp
import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from cf_images.background import pace
from cf_images.background.transfers import transfers
from cf_images.test import fields_stored_in
from tests.app.models import Album, Profile
from tests.background import databases
from tests.conftest import point_at
from tests.pictures import picture
from tests.transfer.site import ALIAS, LOCAL

pytestmark = pytest.mark.django_db(transaction=True)

NAMES = [
    *("a.png", "photos/2019/b.png", "with space.png", "100%.png", "ü/naïve.png", "u\u0308/nai\u0308ve.png"),
    *("JANE.png", "jane.png", "holiday~2019.png", "x~083eb7b2-5392-4565-b69e-aff66acddd00.png"),
    *("083eb7b2-5392-4565-b69e-aff66acddd00", "stats", "a/keys", "plus+and&.png", "#frag?query.png"),
    *("trailing.", ".hidden.png", "~", "a~b~c.png", "'quote\".png", "back\\slash.png", "semi;colon.png"),
]


@pytest.fixture(autouse=True)
def site(
    cf_images_emulator: Any,
    settings: Any,
    tmp_path: Path,
    tmp_path_factory: Any,
    monkeypatch: pytest.MonkeyPatch,
    django_db_blocker: Any,
) -> Iterator[Path]:
    """A folder of pictures with rows that refer to them, and a ledger in a file."""
    point_at(settings, cf_images_emulator)
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_RATE": None, "QUEUE": "none"}
    settings.MEDIA_ROOT = media = tmp_path / "media"
    pace.clear_cache()
    for number, name in enumerate(NAMES):
        path = media / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(seed=number))
        Profile.objects.create(image=name)
    Album.objects.create(cover="a.png")
    with (
        django_db_blocker.unblock(),
        databases.sqlite(tmp_path_factory.mktemp("ledger")) as chosen,
        databases.use(chosen, monkeypatch),
        fields_stored_in(LOCAL),
    ):
        yield media


@pytest.fixture
def run(capsys: Any) -> Callable[..., tuple[int, str]]:
    """Run a subcommand; return its exit status and what it printed."""

    def run_command(*arguments: Any) -> tuple[int, str]:
        capsys.readouterr()
        try:
            call_command("cf_images", *map(str, arguments))
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        except CommandError as error:
            return error.returncode, f"{capsys.readouterr().out}{error}"
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    return run_command


def dump() -> str:
    file = io.StringIO()
    call_command("dumpdata", "app", stdout=file)
    return file.getvalue()


def assert_same(one: Path, other: Path) -> None:
    """As ``diff -r`` compares."""
    compared = filecmp.dircmp(one, other, ignore=[".cf_images"])

    def check(found: Any) -> None:
        assert (found.left_only, found.right_only) == ([], [])
        assert filecmp.cmpfiles(found.left, found.right, found.common_files, shallow=False)[1:] == ([], [])
        for part in found.subdirs.values():
            check(part)

    check(compared)


@pytest.mark.parametrize("is_private", [False, True], ids=["public", "private"])
def test_out_and_back(run: Any, site: Path, tmp_path: Path, settings: Any, is_private: bool) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "REQUIRE_SIGNED_URLS": is_private}
    before, original = dump(), tmp_path / "original"
    shutil.copytree(site, original)

    status, text = run("import")
    assert status == 0, text
    assert dump() == before
    assert run("verify", "--bytes") == (0, f"{len(NAMES)} files equal, byte for byte.\n")

    status, text = run("switch", "--noinput")
    assert status == 0, text
    assert dump() != before
    with fields_stored_in(ALIAS):
        for profile in Profile.objects.all():
            with profile.image.open() as file:
                assert file.read() == picture(seed=profile.pk - Profile.objects.order_by("pk")[0].pk)
        assert run("verify", "--bytes")[0] == 0
        status, text = run("export", "--directory", tmp_path / "out")
        assert status == 0, text
    assert_same(original, tmp_path / "out")
    assert run("verify", "--bytes")[1] == f"{2 * len(NAMES)} files equal, byte for byte.\n"

    assert run("revert", "--noinput")[0] == 0
    assert dump() == before
    status, text = run("export", "--to", LOCAL)
    assert status == 0, text
    assert_same(original, site)
    for profile in Profile.objects.all():
        with profile.image.open() as file:
            assert file.read()


def test_what_differs_in_the_source_folder_is_left_and_said(run: Any, site: Path) -> None:
    assert run("import")[0] == 0
    (site / "a.png").write_bytes(picture(seed=99))
    status, text = run("export", "--to", LOCAL)
    assert status == 1
    assert "'a.png'" in text
    assert (site / "a.png").read_bytes() == picture(seed=99)
    assert transfers().filter(state="rejected").count() == 1
