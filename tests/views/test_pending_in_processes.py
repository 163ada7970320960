"""Several processes of a site serve one pending image: it is rendered once, and nothing fails."""

from __future__ import annotations

import json
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.background import databases
from tests.chaos.processes import Site

pytestmark = pytest.mark.timeout(400)

PROCESSES, EACH = 3, 4  # requests at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a visitor got; only a redirect has a location."""

    status: int
    etag: str
    location: str
    retry_after: str
    body: bytes


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """Show redirects instead of following them."""

    def redirect_request(self, *_: Any) -> None:
        return None


def get(url: str) -> Answer:
    try:
        response: Any = urllib.request.build_opener(NoRedirects).open(url, timeout=60)
    except urllib.error.HTTPError as error:
        response = error
    with response:
        names = ("ETag", "Location", "Retry-After")
        etag, location, retry_after = (response.headers.get(name, "") for name in names)
        body = response.read()
    return Answer(status=response.status, etag=etag, location=location, retry_after=retry_after, body=body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """The processes, and the URLs of one image in each."""

    site: Site
    urls: list[str]
    folder: Path

    def let_render(self) -> None:
        (self.folder / "signal").touch()

    def renderings(self) -> int:
        return len((self.folder / "renderings").read_text().splitlines())


@pytest.fixture(params=databases.ONE_OF_EACH)
def servers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Servers]:
    """Processes of a site with one pending image; renderings wait for a signal."""
    huey = {"huey_class": "huey.MemoryHuey"}
    with request.param(tmp_path) as chosen, Site(tmp_path, database=chosen, huey=huey) as site:
        name = json.loads(site.run("visitors", "1", "1"))["name"]
        files = [str(tmp_path / "renderings"), str(tmp_path / "signal")]
        started = [site.start("serve", *files, output=subprocess.PIPE).stdout for _ in range(PROCESSES)]
        ports = [int(output.readline()) for output in started if output]
        urls = [f"http://127.0.0.1:{port}/cf-images/pending/avatar/{name}" for port in ports]
        yield Servers(site=site, urls=urls, folder=tmp_path)


def test_rendition_is_computed_once_over_all_processes(servers: Servers) -> None:
    with ThreadPoolExecutor(PROCESSES * EACH) as pool:
        visits = [pool.submit(get, url) for url in servers.urls * EACH]

        def others_are_answered() -> bool:
            return sum(visit.done() for visit in visits) == len(visits) - 1

        servers.site.wait_for("Answering", others_are_answered, seconds=60)
        servers.let_render()
        found = [visit.result() for visit in visits]
    assert {answer.status for answer in found} == {200}
    (rendered,) = (answer for answer in found if answer.etag)
    assert {answer.retry_after for answer in found if answer != rendered} == {"1"}, "gray pixels"
    again = [get(url) for url in servers.urls]
    assert {(answer.etag, answer.body) for answer in again} == {(rendered.etag, rendered.body)}
    assert servers.renderings() == 1


def test_nothing_fails_while_the_image_is_stored_and_its_bytes_are_deleted(servers: Servers) -> None:
    servers.let_render()
    is_stored, has_begun = threading.Event(), threading.Barrier(PROCESSES * EACH + 1)
    originals = [url.replace("/avatar/", "/w=20/") for url in servers.urls]

    def visit(url: str) -> list[Answer]:
        answers = [get(url)]
        has_begun.wait(60)
        while not is_stored.is_set():
            answers.append(get(url))
        return [*answers, get(url)]

    with ThreadPoolExecutor(PROCESSES * EACH) as pool:
        visits = [pool.submit(visit, url) for url in (servers.urls + originals) * (EACH // 2)]
        try:
            has_begun.wait(60)
            servers.site.run("cf_images", "process")
        finally:
            is_stored.set()
        found = [answers.result() for answers in visits]
    for answers in found:
        assert {answer.status for answer in answers} <= {200, 302}
        assert answers[-1].status == 302
    locations = {answer.location for answers in found for answer in answers if answer.status == 302}
    assert {location.rpartition("/")[2] for location in locations} == {"avatar", "w=20"}
    assert len({answer.etag for answers in found for answer in answers if answer.etag}) == 1
    assert servers.renderings() == 1
