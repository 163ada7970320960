"""A mirror: names, copies, deletions, and what is shown while its sides change roles."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.core.exceptions import ImproperlyConfigured, SuspiciousFileOperation
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.db import DatabaseError, connection, models, transaction
from django.db.migrations.writer import MigrationWriter
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from cf_images.background import mirrored_names, transfers
from cf_images.exceptions import ImageExistsError, ImageRejectedError
from cf_images.markup.variant_urls import variant_url
from cf_images.models import State, Transfer, Upload
from cf_images.storage import ImageStorage, MirroredStorage
from tests.app.models import Photo
from tests.background import conftest as background
from tests.background.conftest import work
from tests.pictures import picture
from tests.storage.mirrors import CLOUDFLARE, LOCAL, MIRROR, image, only_row, turn, use_mirror

pytestmark = pytest.mark.django_db

fresh_process = background.fresh_process

Use = Callable[..., Any]


@pytest.fixture
def use(settings: Any, cf_images_emulator: Any, tmp_path: Path) -> Use:
    """Return a function that makes a mirror of a folder and the emulator."""

    def make(**given: Any) -> Any:
        return use_mirror(settings, cf_images_emulator, tmp_path, **given)

    mirrored_names.clear_cache()
    return make


@pytest.fixture
def mirror(use: Use) -> Any:
    """A mirror whose primary is a folder."""
    return use()


@pytest.fixture
def turned(settings: Any) -> Use:
    """Return a function that makes the emulator the primary, and the folder the secondary."""
    return lambda: turn(settings, primary=CLOUDFLARE, secondary=LOCAL)


@contextmanager
def rolled_back() -> Iterator[None]:
    """A transaction of a visitor that fails."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


# Copies


def test_save_is_kept_by_the_primary_and_copied_under_the_same_name(
    mirror: Any, cf_images_emulator: Any, tmp_path: Path
) -> None:
    assert mirror.save("cats/cat.png", image()) == "cats/cat.png"
    assert (tmp_path / "cats/cat.png").read_bytes() == picture()
    row = only_row()
    assert (row.source, row.storage, row.source_name, row.name) == (
        LOCAL,
        CLOUDFLARE,
        "cats/cat.png",
        "cats/cat.png",
    )
    assert (row.state, row.is_enqueued, row.options["fit_limits"]) == (State.PENDING, True, False)
    assert not cf_images_emulator.images
    work()
    assert cf_images_emulator.images["cats/cat.png"].body == picture()


def test_copy_follows_the_options_of_the_secondary(use: Use) -> None:
    use(fit_limits=True).save("cat.png", image(), max_length=80)
    assert only_row().options == {"fit_limits": True, "max_length": 80}


def test_rollback_leaves_no_row(mirror: Any) -> None:
    with rolled_back():
        mirror.save("cat.png", image())
    assert not Transfer.objects.exists()


def test_file_of_a_save_that_cannot_be_written_down_is_deleted(
    mirror: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise DatabaseError("disk full")

    monkeypatch.setattr(transfers, "enqueue_copy", fail)
    with pytest.raises(DatabaseError, match="disk full"):
        mirror.save("cat.png", image())
    assert not list(tmp_path.iterdir())


def test_pending_image_of_a_background_primary_is_copied_before_it_is_stored(
    use: Use, tmp_path: Path, cf_images_emulator: Any
) -> None:
    mirror = use(primary=CLOUDFLARE, secondary=LOCAL, background=True)
    name = mirror.save("cat.png", image())
    Upload.objects.update(next_attempt_at=timezone.now() + timedelta(minutes=1))
    work()
    assert not cf_images_emulator.images
    assert (tmp_path / name).read_bytes() == picture()
    assert only_row().account == Upload.objects.get().account


def test_private_copy_gets_its_name_when_it_is_stored(use: Use) -> None:
    mirror = use(require_signed_urls=True)
    assert mirror.save("cat.png", image()) == "cat.png"
    row = only_row()
    assert (row.name, row.remote_id, row.require_signed_urls) == (None, "", True)
    work()
    assert (only_row().name or "").startswith("cat~")


# Names


def test_name_is_never_used_again(mirror: Any, tmp_path: Path) -> None:
    assert mirror.save("cat.png", image()) == "cat.png"
    work()
    mirror.delete("cat.png")
    work()
    assert not list(tmp_path.iterdir())
    again = mirror.save("cat.png", image())
    assert again != "cat.png"
    assert again.startswith("cat_")


def test_name_of_a_file_that_was_deleted_before_it_was_copied_is_not_used_again(mirror: Any) -> None:
    mirror.save("cat.png", image())
    mirror.delete("cat.png")
    assert mirror.save("cat.png", image()) != "cat.png"


def test_name_is_not_used_again_after_the_sides_have_changed_roles(
    mirror: Any, use: Use, settings: Any
) -> None:
    mirror.save("cat.png", image())
    work()
    mirror = use(primary=CLOUDFLARE, secondary=LOCAL, unique_names=False)
    mirror.delete("cat.png")
    work()
    assert mirror.save("cat.png", image()) != "cat.png"
    mirror = turn(settings, primary=LOCAL, secondary=CLOUDFLARE)
    assert mirror.save("cat.png", image()) != "cat.png"


def test_primary_that_overwrites_does_not(use: Use, settings: Any) -> None:
    use()
    settings.STORAGES[LOCAL]["OPTIONS"]["allow_overwrite"] = True
    mirror = turn(settings, primary=LOCAL, secondary=CLOUDFLARE)
    assert mirror.save("cat.png", image()) == "cat.png"
    assert mirror.save("cat.png", image(seed=2)) != "cat.png"


@pytest.mark.parametrize(
    "name", ["083eb7b2-5392-4565-b69e-aff66acddd00", "stats", "cat~083eb7b2-5392-4565-b69e-aff66acddd00.png"]
)
def test_name_that_cloudflare_cannot_keep_becomes_another(mirror: Any, name: str) -> None:
    given = mirror.save(name, image())
    assert given != name
    assert only_row().name == given


def test_name_that_another_process_has_just_used_becomes_another(
    mirror: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transfers.enqueue_delete("cat.png", LOCAL, CLOUDFLARE)
    monkeypatch.setattr(transfers, "was_used", lambda *_: False)  # it had not committed yet
    given = mirror.save("cat.png", image())
    assert given != "cat.png"
    assert [path.name for path in tmp_path.iterdir()] == [given]
    assert (tmp_path / given).read_bytes() == picture()
    assert Transfer.objects.get(state=State.PENDING).name == given


def test_long_name_fits_into_the_ledger(mirror: Any) -> None:
    folders = "/".join(["f" * 60] * 3)
    given = mirror.save(f"{folders}/{'c' * 100}.png", image())
    assert len(given) <= 255
    assert only_row().name == given


def test_unique_names_of_the_primary_cost_no_query(use: Use) -> None:
    mirror = use(primary=CLOUDFLARE, secondary=LOCAL)
    with CaptureQueriesContext(connection) as captured:
        mirror.get_available_name("cat.png")
    assert not captured.captured_queries


@pytest.mark.parametrize("name", ["../cat.png", "/etc/passwd"])
def test_name_outside_is_refused(mirror: Any, name: str) -> None:
    with pytest.raises(SuspiciousFileOperation):
        mirror.save(name, image())
    with pytest.raises(SuspiciousFileOperation):
        mirror.delete(name)
    assert not Transfer.objects.exists()


# Deletions


def test_delete_follows_in_the_secondary(mirror: Any, cf_images_emulator: Any, tmp_path: Path) -> None:
    mirror.save("cat.png", image())
    work()
    mirror.delete("cat.png")
    assert not list(tmp_path.iterdir())
    assert only_row().state == State.DELETING
    assert cf_images_emulator.images
    work()
    assert only_row().state == State.DELETED
    assert not cf_images_emulator.images


def test_delete_before_the_copy_sends_nothing(mirror: Any, cf_images_emulator: Any) -> None:
    with transaction.atomic():
        mirror.save("cat.png", image())
        mirror.delete("cat.png")
    row = only_row()
    assert (row.state, row.next_attempt_at) == (State.DELETED, None)


@pytest.mark.parametrize("lease", ["", "of-a-worker"])
def test_delete_while_a_worker_copies_keeps_the_lease(mirror: Any, lease: str) -> None:
    mirror.save("cat.png", image())
    ends_at = timezone.now() + timedelta(seconds=40)
    Transfer.objects.update(lease=lease, attempts=1, next_attempt_at=ends_at)
    mirror.delete("cat.png")
    row = only_row()
    assert (row.state, row.lease) == (State.DELETING, lease)
    assert row.next_attempt_at is not None
    assert (row.next_attempt_at == ends_at) is bool(lease)


def test_delete_of_an_image_without_a_row_is_remembered_and_follows(
    mirror: Any, cf_images_emulator: Any, tmp_path: Path
) -> None:
    (tmp_path / "old.png").write_bytes(picture())
    storages[CLOUDFLARE].client.upload(image(), image_id="old.png", filename="old.png")
    mirror.delete("old.png")
    work()
    assert not cf_images_emulator.images
    assert only_row().state == State.DELETED
    assert mirror.save("old.png", image()) != "old.png"


def test_delete_twice_is_harmless(mirror: Any) -> None:
    mirror.save("cat.png", image())
    work()
    for _ in range(2):
        mirror.delete("cat.png")
    assert only_row().state == State.DELETING
    work()
    mirror.delete("./cat.png")
    assert only_row().state == State.DELETED


def test_delete_of_a_missing_file_is_silent_and_of_no_name_an_error(mirror: Any) -> None:
    mirror.delete("never.png")
    for name in ("", None):
        with pytest.raises(ValueError, match="must be given"):
            mirror.delete(name)


def test_delete_that_is_rolled_back_leaves_the_row(mirror: Any) -> None:
    mirror.save("cat.png", image())
    work()
    with rolled_back():
        mirror.delete("cat.png")
    assert only_row().state == State.STORED


def test_rejected_copy_that_was_never_named_is_deleted_at_once(use: Use) -> None:
    mirror = use(require_signed_urls=True)
    mirror.save("cat.png", image())
    Transfer.objects.update(state=State.REJECTED, attempts=3, next_attempt_at=None)
    mirror.delete("cat.png")
    assert only_row().state == State.DELETED


@pytest.mark.parametrize("is_tried_again", [False, True])
def test_delete_of_a_copy_that_was_refused_leaves_the_other_image_that_has_its_id(
    mirror: Any, cf_images_emulator: Any, is_tried_again: bool
) -> None:
    """The account is shared: another site has an image of this name."""
    storages[CLOUDFLARE].client.upload(image(seed=2), image_id="cat.png")
    mirror.save("cat.png", image())
    work()
    assert only_row().state == State.REJECTED
    if is_tried_again:
        Transfer.objects.update(state=State.PENDING, next_attempt_at=timezone.now(), attempts=1)
    mirror.delete("cat.png")
    for _ in range(3):
        work()
        Transfer.objects.filter(state=State.DELETING).update(next_attempt_at=timezone.now())
    assert only_row().state == State.DELETED
    assert cf_images_emulator.images["cat.png"].body == picture(seed=2)


def test_delete_of_a_copy_that_was_refused_leaves_the_other_file_that_has_its_name(
    use: Use, tmp_path: Path
) -> None:
    mirror = use(primary=CLOUDFLARE, secondary=LOCAL, unique_names=False)
    saved = mirror.save("cat.png", image())
    (tmp_path / saved).write_bytes(b"another")
    work()
    assert only_row().state == State.REJECTED
    mirror.delete(saved)
    work()
    assert only_row().state == State.DELETED
    assert (tmp_path / saved).read_bytes() == b"another"


def test_image_of_an_import_from_another_place_is_deleted(mirror: Any, tmp_path: Path) -> None:
    """The import has read the same folder by its path; no second row can have the name."""
    row = transfers.new_row(source=str(tmp_path), target=CLOUDFLARE, source_name="cat.png", name="cat.png")
    row.state, row.next_attempt_at = State.STORED, None
    row.save()
    mirror.delete("cat.png")
    assert only_row().state == State.DELETING


@pytest.mark.django_db(transaction=True)
def test_replace_gives_another_name_and_deletes_both_old_images(
    mirror: Any, cf_images_emulator: Any, tmp_path: Path
) -> None:
    old = mirror.save("cat.png", image())
    work()
    new = mirror.replace(old, image(seed=2))
    work()
    assert [path.name for path in tmp_path.iterdir()] == list(cf_images_emulator.images) == [new]
    assert cf_images_emulator.images[new].body == picture(seed=2)


def test_replace_in_a_background_primary_is_undone_with_its_transaction(use: Use, tmp_path: Path) -> None:
    mirror = use(primary=CLOUDFLARE, secondary=LOCAL, background=True)
    old = mirror.save("cat.png", image())
    work()
    with rolled_back():
        mirror.replace(old, image(seed=2))
        assert only_states() == {State.PENDING, State.DELETING}
    assert only_states() == {State.STORED}
    assert [path.name for path in tmp_path.iterdir()] == [old]


def only_states() -> set[str]:
    return set(Transfer.objects.values_list("state", flat=True))


# Reading


def test_primary_shows_and_opens(mirror: Any, tmp_path: Path) -> None:
    mirror.save("cats/cat.png", image())
    assert mirror.url("cats/cat.png") == mirror.url("cats/cat.png", "w=80") == "/media/cats/cat.png"
    assert mirror.url("cats/cat.png", variant="avatar", final=True) == "/media/cats/cat.png"
    assert mirror.url_variant("cats/cat.png", "w=80") == "/media/cats/cat.png"
    assert mirror.url("") == "/media/"
    assert mirror.path("cats/cat.png") == str(tmp_path / "cats/cat.png")
    assert mirror.exists("cats/cat.png")
    assert not mirror.exists("cats/dog.png")
    assert mirror.size("cats/cat.png") == len(picture())
    assert mirror.listdir("cats") == ([], ["cat.png"])
    assert mirror.default_variant == "public"
    for moment in (mirror.get_accessed_time, mirror.get_created_time, mirror.get_modified_time):
        assert moment("cats/cat.png") > timezone.now() - timedelta(minutes=1)
    with mirror.open("cats/cat.png") as file:
        assert file.read() == picture()
    with pytest.raises(ValueError, match="never changed"):
        mirror.open("cats/cat.png", "wb")


def test_variants_are_those_of_a_primary_that_has_them(use: Use) -> None:
    mirror = use(primary=CLOUDFLARE, secondary=LOCAL, variant="avatar")
    name = mirror.save("cat.png", image())
    own = storages[CLOUDFLARE]
    assert mirror.url(name) == own.url(name, "avatar")
    assert mirror.url(name, "w=80") == own.url(name, "w=80")
    assert mirror.final_url(name, "w=80") == own.url(name, "w=80")
    assert mirror.default_variant == "avatar"
    assert mirror.has_unique_names
    with pytest.raises(NotImplementedError):
        mirror.path(name)


def test_private_primary_signs_its_urls(use: Use, cf_images_emulator: Any) -> None:
    mirror = use(primary=CLOUDFLARE, secondary=LOCAL, require_signed_urls=True)
    name = mirror.save("cat.png", image())
    assert "sig=" in mirror.url(name, expire=600)
    assert httpx.get(mirror.url(name)).status_code == 200
    work()
    assert (only_row().source_name, only_row().name) == (name, name)


def test_field_of_a_mirror_has_variants_in_templates(use: Use) -> None:
    mirror = use(primary=CLOUDFLARE, secondary=LOCAL)
    name = mirror.save("cat.png", image())

    class FieldFile:
        storage = mirror

        def __init__(self, name: str) -> None:
            self.name = name

    assert variant_url(FieldFile(name), "w=80") == storages[CLOUDFLARE].url(name, "w=80")


def test_local_images_are_a_side_as_any_other(use: Use, settings: Any, cf_images_emulator: Any) -> None:
    use()
    settings.STORAGES[LOCAL]["BACKEND"] = "cf_images.storage.LocalImagesStorage"
    settings.CF_IMAGES = {**settings.CF_IMAGES, "LOCAL_ALIAS": MIRROR, "SERVE_LOCAL_VARIANTS": True}
    mirror = turn(settings, primary=LOCAL, secondary=CLOUDFLARE)
    name = mirror.save("cat.jpg", image())
    assert name.endswith(".png"), "the extension of the detected format"
    work()
    assert cf_images_emulator.images[name].body == picture()
    response = Client().get(mirror.url(name, "avatar"))
    response.close()
    assert (response.status_code, response["Content-Type"]) == (200, "image/png")
    assert variant_url(mirror.url(name), "avatar") == mirror.url(name, "avatar")
    mirror = turn(settings, primary=CLOUDFLARE, secondary=LOCAL)
    assert mirror.url(name) == storages[CLOUDFLARE].url(name)
    with pytest.raises(ImageRejectedError):
        turn(settings, primary=LOCAL, secondary=CLOUDFLARE).save("text.png", ContentFile(b"text"))
    assert only_row().name == name


def test_field_saves_shows_and_deletes(mirror: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Photo._meta.get_field("file"), "storage", mirror)
    photo = Photo.objects.create(file=image())
    assert (photo.width, photo.height) == (64, 48)
    assert photo.file.path == str(tmp_path / photo.file.name)
    assert photo.file.url == f"/media/{photo.file.name}"
    assert photo.file.size == len(picture())
    assert only_row().options["max_length"] == 100
    photo.file.delete()
    assert only_row().state == State.DELETED
    photo.file.save("cat.png", image())
    work()
    assert Transfer.objects.get(state=State.STORED).name == photo.file.name


# After the sides have changed roles


def test_image_that_the_new_primary_does_not_have_yet_comes_from_the_other(
    mirror: Any, turned: Use, tmp_path: Path, cf_images_emulator: Any
) -> None:
    mirror.save("cat.png", image())
    mirror = turned()
    assert mirror.url("cat.png", "w=80") == mirror.final_url("cat.png", "w=80") == "/media/cat.png"
    assert mirror.exists("cat.png")
    assert mirror.size("cat.png") == len(picture())
    with mirror.open("cat.png") as file:
        assert file.read() == picture()
    work()
    assert mirror.url("cat.png") == storages[CLOUDFLARE].url("cat.png")
    assert httpx.get(mirror.url("cat.png")).status_code == 200


def test_rejected_image_comes_from_the_other_for_ever(mirror: Any, turned: Use) -> None:
    mirror.save("cat.png", image())
    Transfer.objects.update(state=State.REJECTED, next_attempt_at=None)
    assert turned().url("cat.png") == "/media/cat.png"


def test_delete_after_the_change_deletes_both(
    mirror: Any, turned: Use, tmp_path: Path, cf_images_emulator: Any
) -> None:
    mirror.save("cat.png", image())
    work()
    turned().delete("cat.png")
    work()
    assert not list(tmp_path.iterdir())
    assert not cf_images_emulator.images
    assert Transfer.objects.get(storage=LOCAL).state == State.DELETED


def test_delete_after_the_change_ends_a_copy_that_is_under_way(
    mirror: Any, turned: Use, tmp_path: Path, cf_images_emulator: Any
) -> None:
    mirror.save("cat.png", image())
    Transfer.objects.update(lease="of-a-worker", attempts=1)
    mirror = turned()
    mirror.delete("cat.png")
    backward = Transfer.objects.get(storage=CLOUDFLARE)
    assert (backward.state, backward.lease) == (State.DELETING, "of-a-worker")
    its_own = {"cf_images": {"token": backward.token}}
    storages[CLOUDFLARE].client.upload(image(), image_id="cat.png", filename="cat.png", metadata=its_own)
    work()
    assert not list(tmp_path.iterdir())
    assert not cf_images_emulator.images


def test_delete_after_the_change_ends_an_upload_of_the_other_side(
    use: Use, settings: Any, cf_images_emulator: Any, tmp_path: Path
) -> None:
    mirror = use(primary=CLOUDFLARE, secondary=LOCAL, background=True)
    name = mirror.save("cat.png", image())
    mirror = turn(settings, primary=LOCAL, secondary=CLOUDFLARE)
    mirror.delete(name)
    work()
    assert not Upload.objects.exists()
    assert not cf_images_emulator.images
    assert not list(tmp_path.iterdir())


def test_rows_with_old_and_with_switched_names_show_private_images(
    use: Use, turned: Use, settings: Any, tmp_path: Path, cf_images_emulator: Any
) -> None:
    mirror = use(require_signed_urls=True)
    mirror.save("cat.png", image())
    work()
    new = str(only_row().name)
    assert mirror.url(new) == "/media/cat.png"  # switched already, in another process
    mirror = turned()
    for name in ("cat.png", new):
        assert httpx.get(mirror.url(name)).status_code == 200
    mirror.delete(new)
    work()
    assert not list(tmp_path.iterdir())
    assert not cf_images_emulator.images


def test_where_an_image_is_costs_one_query_for_each_name(mirror: Any) -> None:
    mirror.save("cat.png", image())
    with CaptureQueriesContext(connection) as captured:
        for _ in range(3):
            mirror.url("cat.png")
    assert [query["sql"][:6] for query in captured].count("SELECT") == 1


def test_url_survives_a_database_that_fails(mirror: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise DatabaseError("gone")

    monkeypatch.setattr(mirrored_names, "_read", fail)
    assert mirror.url("cat.png") == "/media/cat.png"


def test_url_in_async_code_is_that_of_the_primary(mirror: Any, turned: Use) -> None:
    mirror.save("cat.png", image())
    mirror = turned()

    async def page() -> str:
        return str(mirror.url("cat.png"))

    assert asyncio.run(page()) == storages[CLOUDFLARE].url("cat.png")
    assert mirror.url("cat.png") == "/media/cat.png", "nothing was remembered"


def test_strange_text_has_a_url(mirror: Any) -> None:
    assert mirror.url("a\0b").startswith("/media/")


def test_few_names_are_remembered(mirror: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirrored_names, "_MAX_NAMES", 2)
    for number in range(4):
        mirror.url(f"{number}.png")
    assert [name for _, _, name in mirrored_names._in_primary] == ["2.png", "3.png"]


# Settings, migrations, pickles


def test_migrations_and_pickles_hold_the_alias(mirror: Any) -> None:
    assert mirror.deconstruct() == ("cf_images.storage.named", [MIRROR], {})
    assert pickle.loads(pickle.dumps(mirror)) is mirror
    written, _ = MigrationWriter.serialize(models.ImageField(storage=mirror))
    assert "cf_images.storage.named('photos')" in written
    assert repr(mirror) == "<MirroredStorage photos>"
    assert isinstance(mirror, ImageStorage)


def test_mirror_without_an_alias_holds_its_sides(mirror: Any) -> None:
    own = MirroredStorage(CLOUDFLARE, secondary=LOCAL)
    assert own.deconstruct() == (
        "cf_images.storage.MirroredStorage",
        [],
        {"primary": CLOUDFLARE, "secondary": LOCAL},
    )
    assert pickle.loads(pickle.dumps(own)).primary is storages[CLOUDFLARE]


@pytest.mark.parametrize(
    ("primary", "message"),
    [(None, "has no primary"), ("nowhere", "nowhere"), (MIRROR, "is a mirror itself")],
)
def test_wrong_side_is_said_at_its_first_use(mirror: Any, primary: str | None, message: str) -> None:
    wrong = MirroredStorage(primary=primary, secondary=CLOUDFLARE)
    with pytest.raises(ImproperlyConfigured, match=message):
        wrong.url("cat.png")


def test_unknown_option_is_an_error_that_names_those_there_are() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"location\. The options are primary, secondary"):
        MirroredStorage(primary=LOCAL, location="/srv")


def test_worker_that_saves_a_fetched_image_twice_copies_it_once(mirror: Any, tmp_path: Path) -> None:
    """As for ``upload_from_url``, after a worker was killed."""
    for _ in range(2):
        mirror.delete_files("cat.png")
        mirror.save_exactly("cat.png", image())
    assert (tmp_path / "cat.png").read_bytes() == picture()
    assert only_row().state == State.PENDING


def test_copy_of_a_used_name_is_an_error(mirror: Any) -> None:
    transfers.enqueue_copy("cat.png", LOCAL, CLOUDFLARE)
    with pytest.raises(ImageExistsError, match="copied"):
        transfers.enqueue_copy("cat.png", LOCAL, CLOUDFLARE)
    assert transfers.was_used("cat.png", CLOUDFLARE, LOCAL)
    assert not transfers.was_used("dog.png", LOCAL, CLOUDFLARE)
