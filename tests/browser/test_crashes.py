"""A process is killed by ``SIGKILL`` at each step of an upload: nothing is lost, doubled or left behind.

The visitor does what a browser does when an answer is missing: ask again, and send the form again.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import httpx
import pytest

from tests.background import databases
from tests.background.test_crashes import Site as BackgroundSite
from tests.pictures import picture

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(120)]


class Site(BackgroundSite):
    """Processes that share a database and an emulator, and a visitor of them."""

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Migrate, and start the process that forks all others."""
        with self.start("django", "migrate", "--run-syncdb", "--verbosity=0") as migrate:
            migrate.communicate()
        with self.start("tests.browser.crashing") as self._server:
            yield self
            self._server.communicate()

    def job(self, name: str, *arguments: str, point: str = "") -> Any:
        """Return what a new process has found; ``None`` for one that was killed at ``point``."""
        self._send(name, point, *arguments)
        assert self._server.stdout
        found = None
        while True:
            line = json.loads(self._server.stdout.readline() or '{"exit": 1}')
            if not isinstance(line, dict):
                found = line
                continue
            assert line["exit"] == (-signal.SIGKILL if point else 0), self.log.read_text()
            return None if point else found

    def until_done(self, name: str, *arguments: str, at: str) -> Any:
        """Do a job; if ``at`` is a step of it, a first process is killed there, and another does it again."""
        step, _, point = at.partition(": ")
        if step == name:
            self.job(name, *arguments, point=point)
        return self.job(name, *arguments)

    def upload(self, at: str) -> str:
        """Return the value of an upload that has arrived."""
        value, upload_url = self.until_done("reserve", at=at)
        assert httpx.post(upload_url, files={"file": ("cat.png", picture(), "image/png")}).status_code == 200
        if at == "submit: asked":  # a form asks about what the page has not asked
            return str(value)
        is_known = self.until_done("status", value, at=at)
        assert is_known or at.startswith("status"), "Cloudflare is asked at most once a second"
        return str(value)


@pytest.fixture(scope="module", params=[databases.sqlite, databases.POSTGRESQL])
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
    running_site.job("reset")
    return running_site


def stored(emulator: Any) -> set[str]:
    """Return the images at Cloudflare, without drafts: those end by themselves."""
    return {image_id for image_id, image in emulator.images.items() if image.body}


SUBMIT = [f"submit: {point}" for point in ("asked", "verified", "named", "row written", "committed")]


@pytest.mark.parametrize(
    ("at", "how"),
    [
        *(
            ("reserve: request sent", "form"),
            ("reserve: URL received", "form"),
            ("reserve: row written", "form"),
        ),
        *(("status: asked", "form"), ("status: answered", "form")),
        *((at, how) for at in SUBMIT for how in ("form", "transaction")),
    ],
)
def test_an_upload_is_saved_once_whatever_dies(
    at: str, how: str, site: Site, cf_images_emulator: Any
) -> None:
    value = site.upload(at)
    assert site.until_done("submit", value, how, at=at) is True
    photos, states = site.job("sweep")
    assert [image_id for _, image_id in photos] == list(stored(cf_images_emulator)), "one, and no other"
    assert len(photos) == 1
    assert states == ["stored"]


@pytest.mark.parametrize(
    "at",
    [
        *("discard: written", "discard: committed", "sweep: claimed", "sweep: closed", "sweep: asked"),
        *("sweep: DELETE sent", "sweep: deleted", "sweep: row deleted"),
    ],
)
def test_an_upload_that_is_not_saved_is_deleted_whatever_dies(
    at: str, site: Site, cf_images_emulator: Any
) -> None:
    value = site.upload("")
    if at.startswith("discard"):
        site.job("discard", value, point=at.partition(": ")[2])
    assert site.until_done("sweep", at=at) == [[], []]
    assert stored(cf_images_emulator) == set()


def test_what_a_script_leaves_that_dies_outside_of_a_transaction_is_found_as_an_orphan(
    site: Site, cf_images_emulator: Any
) -> None:
    value = site.upload("")
    assert site.job("search") == [], "a form may still save it"
    site.job("submit", value, "script", point="named")
    assert site.job("sweep") == [[], ["stored"]]
    assert site.job("search") == list(stored(cf_images_emulator))
