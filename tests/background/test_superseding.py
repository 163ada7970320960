"""An image that was deleted is saved again under its name, before or while a worker deletes it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import Storage, storages
from django.db import connections, transaction

from cf_images.background import operations, rows, timing
from cf_images.background.worker import process_one
from cf_images.client import CloudflareImagesClient
from cf_images.exceptions import CloudflareUnavailableError, ImageExistsError
from cf_images.models import Chunk, State, Upload
from tests.background import databases
from tests.background.conftest import ALIAS, Clock, use_background_storage, work
from tests.pictures import picture

NAME = "photos/100w.png"
OLD, NEW = picture(seed=1), picture(seed=2)

Delete = Callable[..., None]


@pytest.fixture
def images(cloudflare: Any, settings: Any) -> Storage:
    """The storage that keeps names, at the emulator."""
    use_background_storage(settings, cloudflare, unique_names=False)
    return storages[ALIAS]


@pytest.fixture
def stored(images: Storage, db: None) -> None:
    """The old image is at Cloudflare."""
    images.save(NAME, ContentFile(OLD))
    assert work() == 1


def save(images: Storage, body: bytes = NEW) -> None:
    assert images.save(NAME, ContentFile(body)) == NAME


def content(images: Storage) -> bytes:
    with images.open(NAME) as file:
        return bytes(file.read())


def at_cloudflare(emulator: Any) -> dict[str, bytes]:
    return {name: image.body for name, image in emulator.images.items()}


@pytest.mark.usefixtures("stored")
class TestSave:
    """``save()`` after ``delete()``, before a worker has run."""

    def test_gives_the_name_and_shows_the_new_image_at_once(self, images: Storage) -> None:
        images.delete(NAME)
        assert not images.exists(NAME)
        save(images)
        assert images.exists(NAME)
        assert content(images) == NEW
        assert images.size(NAME) == len(NEW)
        assert NAME in images.url(NAME)

    def test_replaces_the_image_at_cloudflare_in_one_attempt(self, images: Storage, cloudflare: Any) -> None:
        images.delete(NAME)
        save(images)
        assert work() == 1
        assert at_cloudflare(cloudflare) == {NAME: NEW}
        assert Upload.objects.get().state == State.STORED
        assert content(images) == NEW

    def test_can_be_repeated(self, images: Storage, cloudflare: Any) -> None:
        for seed in (3, 4, 2):
            images.delete(NAME)
            save(images, picture(seed=seed))
        work()
        assert at_cloudflare(cloudflare) == {NAME: NEW}
        assert Chunk.objects.count() == 0

    def test_that_is_rolled_back_leaves_the_deletion(self, images: Storage, cloudflare: Any) -> None:
        images.delete(NAME)
        with transaction.atomic():
            save(images)
            transaction.set_rollback(True)
        assert not images.exists(NAME)
        work()
        assert not cloudflare.images

    def test_is_undone_by_another_deletion(self, images: Storage, cloudflare: Any) -> None:
        images.delete(NAME)
        save(images)
        images.delete(NAME)
        work()
        assert not cloudflare.images, "the old image is deleted, too, though the new one was never sent"
        assert not images.exists(NAME)

    def test_that_cloudflare_rejects_does_not_keep_the_old_image(
        self, images: Storage, cloudflare: Any
    ) -> None:
        images.delete(NAME)
        save(images)
        Chunk.objects.update(data=b"no image")
        work()
        assert Upload.objects.get().state == State.REJECTED
        assert not cloudflare.images

    def test_twice_is_an_error(self, images: Storage) -> None:
        images.delete(NAME)
        save(images)
        with pytest.raises(ImageExistsError):
            save(images)

    def test_in_another_account_does_not_lose_the_deletion(
        self, images: Storage, cloudflare: Any, settings: Any
    ) -> None:
        images.delete(NAME)
        use_background_storage(settings, cloudflare, "other", unique_names=False, account_id="another")
        with pytest.raises(ImageExistsError):
            save(storages["other"])
        work()
        assert not cloudflare.images


@pytest.mark.usefixtures("stored")
def test_what_deletes_without_asking_first_can_save(images: Storage, cloudflare: Any) -> None:
    images.delete("photos/200w.png")  # there is none
    assert images.save("photos/200w.png", ContentFile(NEW)) == "photos/200w.png"
    work()
    assert at_cloudflare(cloudflare) == {NAME: OLD, "photos/200w.png": NEW}


# A worker is deleting the image


@pytest.mark.django_db
def test_deletion_of_a_refused_image_leaves_the_other_one_that_has_its_id(
    images: Storage, cloudflare: Any, clock: Clock
) -> None:
    """The account is shared: another site has an image of this name."""
    images.client.upload(ContentFile(OLD, NAME), image_id=NAME)  # type: ignore[attr-defined]
    save(images)
    work()
    assert Upload.objects.get().state == State.REJECTED
    images.delete(NAME)
    for _ in range(3):
        work()
        clock.advance(minutes=6)
    assert not Upload.objects.exists()
    assert at_cloudflare(cloudflare) == {NAME: OLD}


@pytest.fixture
def while_deleting(monkeypatch: pytest.MonkeyPatch) -> Callable[[Delete], None]:
    """Return a function that replaces the next DELETE; what is passed gets the method of the client."""
    real = CloudflareImagesClient.delete

    def replace(instead: Delete) -> None:
        def delete(client: CloudflareImagesClient, image_id: str) -> None:
            monkeypatch.setattr(CloudflareImagesClient, "delete", real)
            instead(client, image_id)

        monkeypatch.setattr(CloudflareImagesClient, "delete", delete)

    return replace


@pytest.mark.usefixtures("stored")
def test_save_while_a_worker_deletes_waits_for_the_end_of_its_lease(
    images: Storage, cloudflare: Any, while_deleting: Any, clock: Clock
) -> None:
    def save_meanwhile(client: CloudflareImagesClient, image_id: str) -> None:
        save(images)
        client.delete(image_id)

    while_deleting(save_meanwhile)
    images.delete(NAME)
    assert work() == 1
    assert content(images) == NEW
    assert not cloudflare.images
    clock.advance(seconds=timing.LEASE.total_seconds() - 5)
    assert work() == 0
    clock.advance(seconds=5)
    assert work() == 1
    assert at_cloudflare(cloudflare) == {NAME: NEW}


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("saves", ["after the response is lost", "while it is under way"])
def test_deletion_that_arrives_late_does_not_delete_the_new_image(
    images: Storage, cloudflare: Any, while_deleting: Any, clock: Clock, saves: str
) -> None:
    late: list[Callable[[], object]] = []

    def lose(client: CloudflareImagesClient, image_id: str) -> None:
        late.append(lambda: client.delete(image_id))
        if saves == "while it is under way":
            save(images)
        raise CloudflareUnavailableError("no response")

    while_deleting(lose)
    images.delete(NAME)
    assert work() == 1
    if saves == "after the response is lost":
        save(images)
    clock.advance(seconds=60)
    assert work() == 1
    assert at_cloudflare(cloudflare) == {NAME: NEW}
    (row,) = Upload.objects.all()
    assert row.state == State.PENDING, "the bytes are kept while the deletion may arrive"
    late.pop()()
    assert not cloudflare.images
    assert content(images) == NEW
    clock.advance(seconds=timing.DELETE_ARRIVES.total_seconds())
    assert work() == 1
    assert at_cloudflare(cloudflare) == {NAME: NEW}
    assert Upload.objects.get().state == State.STORED


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("is_suspended", [False, True])
def test_deletion_that_arrives_after_another_one_does_not_delete_the_new_image(
    images: Storage, cloudflare: Any, while_deleting: Any, clock: Clock, is_suspended: bool
) -> None:
    """A worker that was suspended, or a lost response: another attempt has deleted the image by then."""
    late: list[Callable[[], object]] = []

    def replace() -> None:
        clock.advance(seconds=60)
        assert work() == 1
        save(images)
        assert work() == 1
        assert at_cloudflare(cloudflare) == {NAME: NEW}

    def delay(client: CloudflareImagesClient, image_id: str) -> None:
        late.append(lambda: client.delete(image_id))
        if not is_suspended:
            raise CloudflareUnavailableError("no response")
        replace()
        client.delete(image_id)

    while_deleting(delay)
    images.delete(NAME)
    process_one()
    if not is_suspended:
        replace()
        late.pop()()
    assert not cloudflare.images
    assert content(images) == NEW
    clock.advance(seconds=timing.DELETE_ARRIVES.total_seconds())
    assert work() == 1
    assert at_cloudflare(cloudflare) == {NAME: NEW}


@pytest.mark.usefixtures("stored")
def test_deletion_whose_first_response_was_lost_ends(
    images: Storage, cloudflare: Any, while_deleting: Any, clock: Clock
) -> None:
    def lose(*_: object) -> None:
        raise CloudflareUnavailableError("no response")

    while_deleting(lose)
    images.delete(NAME)
    assert work() == 1
    clock.advance(seconds=5)
    assert work() == 1
    assert not cloudflare.images
    assert Upload.objects.get().state == State.DELETING, "the first DELETE may still arrive"
    clock.advance(seconds=timing.DELETE_ARRIVES.total_seconds())
    assert work() == 1
    assert not Upload.objects.exists()


@pytest.mark.usefixtures("stored")
def test_second_look_sends_the_image_no_second_time(
    images: Storage, cloudflare: Any, while_deleting: Any, clock: Clock
) -> None:
    def lose(client: CloudflareImagesClient, image_id: str) -> None:
        client.delete(image_id)
        raise CloudflareUnavailableError("no response")

    while_deleting(lose)
    images.delete(NAME)
    work()
    save(images)
    work()
    cloudflare.requests.clear()
    clock.advance(seconds=timing.DELETE_ARRIVES.total_seconds() + 1)
    work()
    assert [request.method for request in cloudflare.requests] == ["GET"]
    assert Upload.objects.get().state == State.STORED


@pytest.mark.usefixtures("stored")
def test_name_that_cloudflare_frees_late_is_tried_again(
    images: Storage, cloudflare: Any, while_deleting: Any, clock: Clock
) -> None:
    """The ID of a deleted image may be in use for a moment longer."""
    while_deleting(lambda *_: None)
    images.delete(NAME)
    save(images)
    assert work() == 1
    (row,) = Upload.objects.all()
    assert (row.state, row.last_code) == (State.PENDING, 5409)
    clock.advance(seconds=10)
    assert work() == 1
    assert at_cloudflare(cloudflare) == {NAME: NEW}


@pytest.mark.usefixtures("stored")
def test_upload_of_the_old_image_that_arrives_late_does_not_win(
    images: Storage, cloudflare: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old image of another name, whose upload was without a response when it was deleted."""
    late: list[Callable[[], object]] = []
    real, other = CloudflareImagesClient.upload, "photos/200w.png"

    def lose(client: CloudflareImagesClient, file: Any, **fields: Any) -> None:
        late.append(lambda: real(client, ContentFile(OLD), **fields))
        monkeypatch.setattr(CloudflareImagesClient, "upload", real)
        raise CloudflareUnavailableError("no response")

    monkeypatch.setattr(CloudflareImagesClient, "upload", lose)
    images.save(other, ContentFile(OLD))
    work()
    images.delete(other)
    images.save(other, ContentFile(NEW))
    deleted = operations._delete_superseded

    def arrive(*arguments: Any) -> Any:
        found = deleted(*arguments)
        while late:
            late.pop()()
        return found

    monkeypatch.setattr(operations, "_delete_superseded", arrive)
    for _ in range(3):
        work()
        clock.advance(seconds=60)
    assert at_cloudflare(cloudflare) == {NAME: OLD, other: NEW}


# Each database


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", databases.EACH)
def test_save_and_a_worker_at_the_same_moment(
    kind: databases.Database,
    images: Storage,
    cloudflare: Any,
    tmp_path: Path,
    django_db_blocker: Any,
    monkeypatch: pytest.MonkeyPatch,
    clock: Clock,
) -> None:
    """Threads delete, save and work; each image that was saved last wins, and none is an error."""
    with (
        django_db_blocker.unblock(),
        kind(tmp_path) as chosen,
        databases.use(chosen, monkeypatch) as connection,
    ):
        errors: list[BaseException] = []
        ended = threading.Event()

        def run(function: Callable[[], object]) -> None:
            try:
                function()
            except BaseException as error:  # noqa: BLE001  # shown by the test
                errors.append(error)
            finally:
                connections.close_all()

        def save_again() -> None:
            for seed in range(15):
                with transaction.atomic(using=databases.ALIAS):
                    images.delete(NAME)
                    save(images, picture(seed=seed))
            ended.set()

        def process() -> None:
            while not ended.is_set():
                work()

        threads = [threading.Thread(target=run, args=(function,)) for function in (save_again, process)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors
        for _ in range(4):
            clock.advance(minutes=10)
            work()
        assert at_cloudflare(cloudflare) == {NAME: picture(seed=14)}
        assert rows.uploads().get().state == State.STORED
        connection.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", databases.EACH)
def test_of_two_saves_at_once_one_supersedes(
    kind: databases.Database,
    images: Storage,
    cloudflare: Any,
    tmp_path: Path,
    django_db_blocker: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with (
        django_db_blocker.unblock(),
        kind(tmp_path) as chosen,
        databases.use(chosen, monkeypatch) as connection,
    ):
        found: list[object] = []

        def save_one(barrier: threading.Barrier, seed: int) -> None:
            barrier.wait(60)
            try:
                found.append(images.save(NAME, ContentFile(picture(seed=seed))))
            except BaseException as error:  # noqa: BLE001  # shown by the test
                found.append(type(error))
            finally:
                connections.close_all()

        for _ in range(5):
            images.delete(NAME)
            found.clear()
            barrier = threading.Barrier(2)
            threads = [threading.Thread(target=save_one, args=(barrier, seed)) for seed in (1, 2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert sorted(map(str, found)) == sorted([NAME, str(ImageExistsError)])
        connection.close()
