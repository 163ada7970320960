"""A process is killed by ``SIGKILL`` at each point of the protocol, and another one continues."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pytest

from tests.background import databases
from tests.pictures import picture

pytestmark = pytest.mark.timeout(300)

ROOT = Path(__file__).parent.parent.parent


class Site:
    """Processes that share a database and an emulator."""

    def __init__(self, folder: Path, database: dict[str, Any], emulator: Any) -> None:
        self.log = folder / "log"
        options = ("account_id", "api_token", "account_hash", "api_url", "delivery_url")
        site = {
            "database": database,
            "huey": {"huey_class": "huey.MemoryHuey"},
            "haste": 1,
            "api_rate": None,
            "options": {name: getattr(emulator, name) for name in options},
        }
        settings = {"DJANGO_SETTINGS_MODULE": "tests.chaos.settings", "CF_IMAGES_SITE": json.dumps(site)}
        self._environment = {**os.environ, **settings}

    def start(self, *module: str) -> subprocess.Popen[str]:
        with self.log.open("a") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *module],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Migrate, and start the process that forks all others."""
        with self.start("django", "migrate", "--verbosity=0") as migrate:
            migrate.communicate()
        with self.start("tests.background.crashing") as self._server:
            yield self
            self._server.communicate()

    def run(self, *job: str) -> int:
        """Return the exit status of a new process, negative for a signal."""
        self._send(*job)
        return self._status()

    def _send(self, *job: str) -> None:
        assert self._server.stdin
        self._server.stdin.write(json.dumps(job) + "\n")
        self._server.stdin.flush()

    def _status(self) -> int:
        assert self._server.stdout
        status = int(self._server.stdout.readline() or 1)
        assert status in (0, -signal.SIGKILL), self.log.read_text()
        return status

    def remaining(self) -> tuple[Any, ...]:
        """Return the number of chunks and of rows, and the state and the remote ID of the one row."""
        assert self._server.stdout
        self._send("remaining")
        found = tuple(json.loads(self._server.stdout.readline()))
        self._status()
        return found


@pytest.fixture(scope="module", params=databases.EACH)
def running_site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, cf_images_emulator_server: Any
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    with (
        request.param(folder) as database,
        Site(folder, database, cf_images_emulator_server).running() as site,
    ):
        yield site


@pytest.fixture
def site(running_site: Site, cf_images_emulator: Any) -> Site:
    """A site without uploads, and an empty Cloudflare."""
    assert running_site.run("reset") == 0
    return running_site


def crash_and_process(site: Site, point: str, kind: str) -> None:
    assert site.run("crash", point, kind) == -signal.SIGKILL
    assert site.run("process") == 0


@pytest.mark.parametrize("kind", ["public", "private"])
@pytest.mark.parametrize("point", ["row inserted", "bytes written"])
def test_upload_that_was_not_committed_leaves_nothing(
    site: Site, cf_images_emulator: Any, point: str, kind: str
) -> None:
    crash_and_process(site, point, kind)
    assert site.remaining() == (0, 0, None, None)
    assert not cf_images_emulator.requests


@pytest.mark.parametrize(
    ("point", "kind"),
    [
        ("commit", "public"),
        ("claim", "public"),
        ("POST sent", "public"),
        ("response read", "public"),
        ("within the transaction of the outcome", "public"),
        ("outcome written", "public"),
        ("commit", "private"),
        ("claim", "private"),
        ("POST sent", "private"),
        ("reservation response read", "private"),
        ("reservation written", "private"),
        ("file sent", "private"),
        ("response to file read", "private"),
        ("within the transaction of the outcome", "private"),
        ("outcome written", "private"),
    ],
)
def test_committed_image_arrives_once(site: Site, cf_images_emulator: Any, point: str, kind: str) -> None:
    crash_and_process(site, point, kind)
    (image,) = cf_images_emulator.images.values()
    assert hashlib.sha256(image.body).digest() == hashlib.sha256(picture()).digest()
    assert image.require_signed_urls is (kind == "private")
    assert site.remaining() == (0, 1, "stored", image.image_id)


@pytest.mark.parametrize("point", ["DELETE sent", "response to DELETE read", "image deleted"])
def test_deleted_image_is_gone(site: Site, cf_images_emulator: Any, point: str) -> None:
    crash_and_process(site, point, "deleted")
    assert not cf_images_emulator.images
    assert site.remaining() == (0, 0, None, None)


def only_image_is_the_second(site: Site, emulator: Any) -> bool:
    (image,) = emulator.images.values()
    assert image.image_id == "100w.png"
    assert site.remaining() == (0, 1, "stored", "100w.png")
    return hashlib.sha256(image.body).digest() == hashlib.sha256(picture(seed=2)).digest()


@pytest.mark.parametrize("point", ["claim", "DELETE sent", "response to DELETE read", "image deleted"])
def test_image_saved_after_a_deletion_that_crashed_arrives(
    site: Site, cf_images_emulator: Any, point: str
) -> None:
    assert site.run("crash_replacing", point, "deletion") == -signal.SIGKILL
    assert site.run("save", "2") == 0
    assert site.run("process") == 0
    assert only_image_is_the_second(site, cf_images_emulator)


@pytest.mark.parametrize(
    "point",
    [
        "commit",
        "claim",
        "DELETE sent",
        "response to DELETE read",
        "superseded image deleted",
        "POST sent after DELETE",
        "response read",
        "within the transaction of the outcome",
        "outcome written",
    ],
)
def test_image_that_supersedes_a_deletion_replaces_the_old_one(
    site: Site, cf_images_emulator: Any, point: str
) -> None:
    assert site.run("crash_replacing", point, "upload") == -signal.SIGKILL
    assert site.run("process") == 0
    assert only_image_is_the_second(site, cf_images_emulator)


@pytest.mark.parametrize("point", ["deletion superseded", "row inserted", "bytes written"])
def test_deletion_stays_when_what_supersedes_it_is_not_committed(
    site: Site, cf_images_emulator: Any, point: str
) -> None:
    assert site.run("crash_replacing", point, "upload") == -signal.SIGKILL
    assert site.run("process") == 0
    assert not cf_images_emulator.images
    assert site.remaining() == (0, 0, None, None)
