"""A field on a mirror moves with the same commands, whichever side is the primary."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command

from cf_images.background.places import place_of_field, storage_of
from cf_images.background.rows import transfers
from cf_images.models import State
from cf_images.transfer import fields
from tests.app.models import Page, Profile
from tests.background import conftest as background
from tests.background import databases
from tests.background.conftest import work
from tests.pictures import picture
from tests.storage.mirrors import CLOUDFLARE, LOCAL, MIRROR, image, turn, use_mirror

fresh_process = background.fresh_process

FIELD: Any = Profile._meta.get_field("image")


@pytest.fixture
def use(
    settings: Any,
    cf_images_emulator: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    django_db_blocker: Any,
) -> Iterator[Callable[..., Any]]:
    """Give a function that gives ``Profile.image`` a mirror; the ledger is in a file, for threads."""
    folder = tmp_path / "photos"
    folder.mkdir()

    def make(**given: Any) -> Any:
        mirror = use_mirror(settings, cf_images_emulator, folder, **given)
        monkeypatch.setattr(FIELD, "storage", mirror)
        return mirror

    with (
        django_db_blocker.unblock(),
        databases.sqlite(tmp_path) as chosen,
        databases.use(chosen, monkeypatch) as connection,
    ):
        databases.add_models(connection, monkeypatch, Profile)
        yield make


def run(*arguments: str) -> tuple[int, str]:
    """Run a subcommand on the field; return its exit status and what it has said."""
    out, status = io.StringIO(), 0
    try:
        call_command("cf_images", *arguments, stdout=out, stderr=out)
    except SystemExit as error:
        status = int(error.code or 0)
    return status, out.getvalue()


def test_files_go_from_one_side_to_the_other_whatever_their_roles(use: Any, settings: Any) -> None:
    for primary, secondary in ((LOCAL, CLOUDFLARE), (CLOUDFLARE, LOCAL)):
        use(primary=primary, secondary=secondary)
        route = fields.to_cloudflare(FIELD)
        assert (route.source, route.target) == (LOCAL, CLOUDFLARE)
        assert place_of_field(FIELD) == primary
        back = fields.to_place(FIELD, LOCAL)
        assert (back.source, back.target) == (CLOUDFLARE, LOCAL)


def test_field_of_a_mirror_is_chosen_by_itself(
    use: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = use()
    back: Any = Page._meta.get_field("back")
    assert back not in fields.on_cloudflare()
    monkeypatch.setattr(back, "storage", mirror)
    assert back in fields.on_cloudflare()


def test_selected_mirror_is_known_while_the_field_is_local(use: Any, settings: Any) -> None:
    use()
    settings.CF_IMAGES = {**settings.CF_IMAGES, "CLOUDFLARE_ALIAS": MIRROR}
    route = fields.to_cloudflare(Page._meta.get_field("back"), source="default")  # type: ignore[arg-type]
    assert (route.source, route.target) == ("default", CLOUDFLARE)
    cover: Any = fields.named(["app.Album.cover"])[0]
    assert (fields.to_cloudflare(cover).source, fields.to_cloudflare(cover).target) == (LOCAL, CLOUDFLARE)


def test_mirror_is_no_place(use: Any) -> None:
    use()
    with pytest.raises(
        ImproperlyConfigured, match=r"'photos' is a mirror, .* name 'local' or 'cloudflare_images'"
    ):
        storage_of(MIRROR)
    for given in ({"source": MIRROR}, {"target": MIRROR}):
        with pytest.raises(ImproperlyConfigured, match="is a mirror"):
            fields.to_cloudflare(FIELD, **given)


def test_import_leaves_what_the_mirror_copies(use: Any, cf_images_emulator: Any, tmp_path: Path) -> None:
    mirror = use()
    (tmp_path / "photos/old.png").write_bytes(picture())
    for name in ("old.png", mirror.save("new.png", image(seed=2)), mirror.save("gone.png", image(seed=3))):
        Profile.objects.create(image=name)
    mirror.delete("gone.png")
    Profile.objects.filter(image="gone.png").delete()
    status, said = run("import", "app.Profile.image")
    assert status == 0, said
    work()
    assert {name: found.body for name, found in cf_images_emulator.images.items()} == {
        "old.png": picture(),
        "new.png": picture(seed=2),
    }
    status, said = run("verify", "app.Profile.image", "--bytes")
    assert status == 0, said
    status, said = run("switch", "app.Profile.image", "--noinput")
    assert (status, "Nothing is to be done" in said) == (0, True)


def test_site_with_private_images_moves_there_and_back(
    use: Any, settings: Any, cf_images_emulator: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = use(require_signed_urls=True)
    first = mirror.save("first.png", image())
    Profile.objects.create(image=first)
    assert run("import", "app.Profile.image")[0] == 0
    work()
    assert run("switch", "app.Profile.image", "--noinput")[0] == 0
    switched = Profile.objects.get().image.name
    assert switched.startswith("first~")
    assert mirror.url(switched) == "/media/first.png"

    mirror = turn(settings, primary=CLOUDFLARE, secondary=LOCAL)
    monkeypatch.setattr(FIELD, "storage", mirror)
    second = mirror.save("second.png", image(seed=2))
    Profile.objects.create(image=second)
    assert "sig=" in mirror.url(switched)
    status, said = run("verify", "app.Profile.image", "--bytes")
    assert (status, "Its copy is pending" in said) == (1, True)
    work()
    assert (tmp_path / "photos" / second).read_bytes() == picture(seed=2)
    status, said = run("verify", "app.Profile.image", "--bytes")
    assert status == 0, said
    mirror = turn(settings, primary=LOCAL, secondary=CLOUDFLARE)
    monkeypatch.setattr(FIELD, "storage", mirror)
    status, said = run("revert", "app.Profile.image", "--noinput")
    assert status == 0, said
    assert list(Profile.objects.order_by("pk").values_list("image", flat=True)) == ["first.png", second]
    for name in ("first.png", second):
        assert mirror.url(name) == f"/media/{name}"
        mirror.delete(name)
    work()
    assert not cf_images_emulator.images
    assert not [path for path in (tmp_path / "photos").rglob("*") if path.is_file()]
    assert not transfers().filter(state=State.STORED).exists()
