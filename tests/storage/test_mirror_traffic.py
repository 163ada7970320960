"""A site moves to Cloudflare and back while visitors upload, look, replace and delete."""

from __future__ import annotations

import io
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.management import call_command
from django.db import connections, transaction
from django.test import Client
from django.utils import timezone

from cf_images.background import mirrored_names, process
from cf_images.background.transfers import transfers
from tests.app.models import Profile
from tests.background import databases
from tests.background.conftest import forget, use_background_storage
from tests.chaos import servers
from tests.pictures import picture
from tests.storage.mirrors import CLOUDFLARE, LOCAL

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(240)]

BEFORE, AFTER = "before", "after"  # the settings of old processes, and of new ones
VISITORS, VIEWERS, WORKERS = 3, 2, 2
SECONDS = 2.0  # of each of the stages
OLD_FILES = 40


@pytest.fixture
def database(tmp_path: Path, django_db_blocker: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The connection to an empty database with the tables of this package: PostgreSQL, if it runs here."""
    kind = databases.sqlite if servers.refusal("PostgreSQL") else databases.postgresql
    with (
        django_db_blocker.unblock(),
        kind(tmp_path) as chosen,
        databases.use(chosen, monkeypatch) as connection,
    ):
        databases.add_models(connection, monkeypatch, Profile)  # as W104 asks for
        yield connection


class Site:
    """The rows of a model, and processes with old or new settings that serve it."""

    def __init__(self, folder: Path, browser: httpx.Client) -> None:
        self.folder = folder
        self.rows: dict[int, tuple[str, int]] = {}  # a name, and the seed of its picture
        self.broken: list[str] = []
        self.errors: list[BaseException] = []
        self.shown = self.changed = 0
        self.deployed = [BEFORE] * (VISITORS + VIEWERS)
        self.stop = threading.Event()
        self._lock = threading.Lock()
        self._http = browser

    def deploy(self, alias: str) -> None:
        """Restart one process after the other with other settings."""
        for index in range(len(self.deployed)):
            self.deployed[index] = alias
            time.sleep(SECONDS / len(self.deployed))

    # Visitors

    def upload(self, storage: Any) -> None:
        seed = random.randrange(50)
        with transaction.atomic(using=databases.ALIAS):
            # Few names, so that those of deleted images are wanted again.
            name = storage.save(f"cats/cat{seed % 10}.png", ContentFile(picture(seed=seed), "cat.png"))
            pk = Profile.objects.create(image=name).pk
        self.rows[pk] = (name, seed)

    def replace(self, storage: Any) -> None:
        if row := self._taken():
            pk, (old, _) = row
            seed = random.randrange(50)
            with transaction.atomic(using=databases.ALIAS):
                new = storage.replace(old, ContentFile(picture(seed=seed), "cat.png"), using=databases.ALIAS)
                Profile.objects.filter(pk=pk).update(image=new)
            self.rows[pk] = (new, seed)

    def delete(self, storage: Any) -> None:
        if len(self.rows) > OLD_FILES // 2 and (row := self._taken()):
            pk, (name, _) = row
            Profile.objects.filter(pk=pk).delete()
            storage.delete(name)

    def _taken(self) -> tuple[int, tuple[str, int]] | None:
        """Take a row away, as an uncommitted DELETE or UPDATE locks it."""
        with self._lock:
            if not self.rows:
                return None
            pk = random.choice(list(self.rows))
            return pk, self.rows.pop(pk)

    def visit(self, index: int) -> None:
        actions = [self.upload, self.upload, self.replace, self.delete]
        while not self.stop.is_set():
            random.choice(actions)(storages[self.deployed[index]])
            self.changed += 1
            time.sleep(0.1)

    # Viewers

    def view(self, index: int) -> None:
        client = Client()
        while not self.stop.is_set():
            with self._lock:
                if not self.rows:
                    continue
                pk = random.choice(list(self.rows))
                row = self.rows.get(pk)
            if row is not None:
                self.look(client, storages[self.deployed[index]], pk, row)
            time.sleep(0.01)

    def look(self, client: Client, storage: Any, pk: int, row: tuple[str, int]) -> None:
        name, _ = row
        url = storage.url(name)
        status = self.status(client, url)
        if status == 200:
            self.shown += 1
        elif self.rows.get(pk) == row:  # else it was replaced or deleted meanwhile
            found = transfers().filter(name=name).values_list("source", "state")
            self.broken.append(f"{url}: {status} {list(found)}")

    def status(self, client: Client, url: str) -> int:
        if url.startswith("/media/"):
            return 200 if (self.folder / url.removeprefix("/media/")).is_file() else 404
        if url.startswith("/"):
            response = client.get(url)
            return (
                self._http.get(response.url).status_code
                if response.status_code == 302
                else response.status_code
            )
        return self._http.get(url).status_code

    # Workers

    def work(self) -> None:
        while not self.stop.is_set():
            process()
            time.sleep(0.01)

    # Threads

    def start(self, run: Callable[..., None], *args: Any) -> threading.Thread:
        def guarded() -> None:
            try:
                run(*args)
            except BaseException as error:
                self.errors.append(error)
                raise
            finally:
                connections.close_all()

        thread = threading.Thread(target=guarded, daemon=True)
        thread.start()
        return thread


@pytest.fixture(params=[False, True], ids=["direct", "background"])
def site(
    request: pytest.FixtureRequest, database: Any, settings: Any, cf_images_emulator: Any, tmp_path: Path
) -> Iterator[Site]:
    """A site with pictures in a folder, and a mirror in the settings of old and of new processes."""
    folder = tmp_path / "photos"
    folder.mkdir()
    use_background_storage(settings, cf_images_emulator, background=request.param, unique_names=True)
    mirror = "cf_images.storage.MirroredStorage"
    settings.STORAGES = {
        **settings.STORAGES,
        LOCAL: {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": str(folder), "base_url": "/media/"},
        },
        BEFORE: {"BACKEND": mirror, "OPTIONS": {"primary": LOCAL, "secondary": CLOUDFLARE}},
        AFTER: {"BACKEND": mirror, "OPTIONS": {"primary": CLOUDFLARE, "secondary": LOCAL}},
    }
    settings.CF_IMAGES = {**settings.CF_IMAGES, "QUEUE": "none", "API_RATE": None}
    mirrored_names.clear_cache()
    forget()
    with httpx.Client(timeout=30) as browser:
        yield Site(folder, browser)
    mirrored_names.clear_cache()
    forget()


def drain() -> None:
    """Let a worker do what is left, but for deletions that it repeats later since the images were gone."""
    ends_at = time.monotonic() + 60
    while left := list(transfers().filter(next_attempt_at__isnull=False, missing_at=None)):
        assert time.monotonic() < ends_at, [(row.state, row.attempts, row.last_error) for row in left]
        transfers().filter(pk__in=[row.pk for row in left], lease="").update(next_attempt_at=timezone.now())
        process()


def run(*arguments: str) -> tuple[int, str]:
    """Run a subcommand on the field; return its exit status and what it has said."""
    out = io.StringIO()
    try:
        call_command("cf_images", *arguments, stdout=out, stderr=out)
    except SystemExit as error:
        return int(error.code or 0), out.getvalue()
    return 0, out.getvalue()


def import_all() -> None:
    """Run the import twice; what visitors upload meanwhile is left to the workers."""
    for _ in range(2):
        status, said = run("import", "app.Profile.image", "--threads", "2")
        assert status == 0, said


def test_no_image_is_lost_or_broken_while_the_site_moves(
    site: Site, cf_images_emulator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = storages[LOCAL]
    for seed in range(OLD_FILES):
        name = old.save(f"cats/old{seed}.png", ContentFile(picture(seed=seed), "cat.png"))
        site.rows[Profile.objects.create(image=name).pk] = (name, seed)
    field: Any = Profile._meta.get_field("image")
    monkeypatch.setattr(field, "storage", storages[BEFORE])

    threads = [site.start(site.visit, index) for index in range(VISITORS)]
    threads += [site.start(site.view, VISITORS + index) for index in range(VIEWERS)]
    threads += [site.start(site.work) for _ in range(WORKERS)]
    import_all()
    assert run("switch", "app.Profile.image", "--noinput")[0] == 0
    site.deploy(AFTER)
    time.sleep(SECONDS)
    site.deploy(BEFORE)
    assert run("revert", "app.Profile.image", "--noinput")[0] == 0
    time.sleep(SECONDS)
    site.stop.set()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    drain()
    process()

    assert not site.errors
    assert not site.broken, site.broken[:10]
    assert site.changed > 50
    assert site.shown > 100
    expected = {name: picture(seed=seed) for name, seed in site.rows.values()}
    assert len(expected) == len(site.rows), "two rows have one name"
    assert set(Profile.objects.values_list("image", flat=True)) == expected.keys()
    local = {
        path.relative_to(site.folder).as_posix(): path.read_bytes()
        for path in site.folder.rglob("*")
        if path.is_file()
    }
    there = {name: image.body for name, image in cf_images_emulator.images.items()}
    assert local.keys() == expected.keys()
    assert there.keys() == expected.keys()
    assert local == expected
    assert there == expected
