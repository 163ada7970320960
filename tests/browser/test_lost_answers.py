"""Many visitors upload at once while answers are lost and processes die: nothing is lost, doubled or left."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from django.db import connections, transaction
from django.test import RequestFactory

from cf_images.background import leases
from cf_images.background.worker import Batch, process_some
from cf_images.browser import views
from cf_images.browser.owners import acting_for
from cf_images.models import Reservation, State
from tests.app.models import Photo
from tests.background import databases
from tests.background.conftest import Clock
from tests.browser.conftest import Visitor
from tests.chaos import servers
from tests.forms.test_direct import PhotoForm
from tests.pictures import picture

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(240)]

VISITORS, UPLOADS = 8, 12  # of each; 200 are uploaded by browsers in page/test_many_sessions.py
LOST = 0.3


@pytest.fixture
def database(tmp_path: Path, django_db_blocker: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An empty database with the tables of this package and photos: PostgreSQL, if it runs here."""
    kind = databases.sqlite if servers.refusal("PostgreSQL") else databases.postgresql
    with (
        django_db_blocker.unblock(),
        kind(tmp_path) as chosen,
        databases.use(chosen, monkeypatch) as connection,
    ):
        databases.add_models(connection, monkeypatch, Photo)
        yield connection


class Died(Exception):  # noqa: N818  # the end of a process, as far as its transaction can tell
    """A process has died."""


class Page:
    """A visitor's page that loses three of ten answers, and does what the element does."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.random = random.Random(number)
        meta = SimpleNamespace(label="auth.User")
        self.user: Any = SimpleNamespace(pk=number, is_authenticated=True, _meta=meta)
        self.target = Visitor.target(self)  # type: ignore[arg-type]  # it needs no visitor

    def run(self) -> None:
        for upload in range(UPLOADS):
            self.save(self.upload(f"{self.number}-{upload}.png"))

    def is_lost(self) -> bool:
        return self.random.random() < LOST

    def request(self, data: dict[str, Any]) -> Any:
        request: Any = RequestFactory().post("/", json.dumps(data), content_type="application/json")
        request.user = self.user
        request._dont_enforce_csrf_checks = True
        return request

    def ask(self, view: Any, **data: Any) -> Any:
        """Return the answer; ``None`` for one that is lost."""
        response = view(self.request(data))
        return None if self.is_lost() or response.status_code >= 400 else json.loads(response.content)

    def upload(self, filename: str) -> str:
        """Upload a file and return its value."""
        body = picture(seed=_seed(filename))
        with acting_for(self.request({})):
            from cf_images.browser.owners import owner_of

            field = self.target.sign(str(owner_of(self.request({}))))
        while True:
            given = {"field": field, "filename": filename, "size": len(body), "type": "image/png"}
            reserved = self.ask(views.reserve, **given)
            if reserved is None:
                continue  # a reservation that no page knows of
            while True:
                self.send(reserved["upload_url"], body)
                found = self.ask(views.status, value=reserved["value"])
                if found and found["state"] == "uploaded":
                    return str(reserved["value"])
                if found and found["state"] == "gone":
                    break

    def send(self, url: str, body: bytes) -> None:
        try:
            httpx.post(url, files={"file": ("x.png", body, "image/png")})
        except httpx.TransportError:
            pass  # the page asks

    def save(self, value: str) -> None:
        """Send the form until an answer says that it was saved."""
        while True:
            request = self.request({})
            try:
                with acting_for(request), transaction.atomic(using=databases.ALIAS):
                    form = PhotoForm({"file-upload": value})
                    is_saved = form.is_valid() and bool(form.save())
                    if self.random.random() < LOST / 2:
                        raise Died
            except Died:
                continue
            if self.is_lost():
                continue  # the visitor sends it again
            if is_saved or "saved already" in str(form.errors):
                return


def _seed(filename: str) -> int:
    page, _, upload = filename.removesuffix(".png").partition("-")
    return int(page) * UPLOADS + int(upload)


def test_nothing_is_lost_doubled_or_left(
    database: Any, cloudflare: Any, monkeypatch: pytest.MonkeyPatch, settings: Any, record_property: Any
) -> None:
    settings.CF_IMAGES = {
        **settings.CF_IMAGES,
        "DIRECT_UPLOADS_RATE": (10_000, 1),
        "DIRECT_UPLOADS_OPEN": 10_000,
        "DIRECT_UPLOADS_ALLOWED": lambda request, label: True,
    }
    cloudflare.faults.set(rates={"reset_before": 0.1, "reset_after": 0.1, "stale": 0.1}, seed=1)
    errors: list[BaseException] = []

    def visit(number: int) -> None:
        try:
            with closing(connections[databases.ALIAS]):
                Page(number).run()
        except BaseException as error:  # noqa: BLE001  # the test reports it
            errors.append(error)

    threads = [threading.Thread(target=visit, args=(number,)) for number in range(VISITORS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors

    saved = {photo.file.name: photo for photo in Photo.objects.all()}
    assert len(saved) == Photo.objects.count() == VISITORS * UPLOADS, "none is lost or doubled"
    left = Reservation.objects.exclude(state=State.STORED).count()
    record_property("figures", f"{len(saved)} saved, {left} reservations left for the sweeper")
    assert left, "answers were lost"

    cloudflare.faults.reset()
    Clock(monkeypatch).advance(hours=7)
    leases._backlogs().clear()
    while process_some(Batch()).rows:
        pass
    Clock(monkeypatch).advance(minutes=10)
    while process_some(Batch()).rows:
        pass
    assert not Reservation.objects.exclude(state=State.STORED).exists()
    ids = {photo.file.storage.image_id(name): name for name, photo in saved.items()}
    assert set(cloudflare.images) == set(ids), "no orphans"
    for image_id, name in ids.items():
        filename = name.rpartition("/")[2].partition("~~")[0] + ".png"
        assert cloudflare.images[image_id].body == picture(seed=_seed(filename))
