"""A visitor whose browser uploads to the emulator, or to local files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.db import SessionStore
from django.core.files.storage import storages
from django.test import Client, RequestFactory

from cf_images.background import heartbeat
from cf_images.browser import targets
from cf_images.browser.owners import acting_for, owner_of
from cf_images.browser.targets import Target
from cf_images.models import Reservation
from tests.app.models import Photo
from tests.background.conftest import Clock
from tests.pictures import picture

URL = "/cf-images/reservations/"


class Visitor:
    """A user with a browser: what its pages may do."""

    def __init__(self, user: User | None) -> None:
        self.user = user
        self.client = Client(enforce_csrf_checks=False)
        if user is not None:
            self.client.force_login(user)
        self.request: Any = RequestFactory().get("/")
        self.request.user = user or AnonymousUser()
        self.request.session = SessionStore(self.client.session.session_key)

    @property
    def owner(self) -> str:
        owner = str(owner_of(self.request, create=True))
        if self.request.session.modified:
            self.request.session.save()
        return owner

    def target(self, model_field: Any = None) -> Target:
        target = targets.of_model_field(model_field or Photo._meta.get_field("file"))
        assert target
        return target

    def post(self, path: str, **data: Any) -> Any:
        return self.client.post(f"{URL}{path}", json.dumps(data), content_type="application/json")

    def reserve(self, target: Target | None = None, **data: Any) -> Any:
        field = (target or self.target()).sign(self.owner)
        given = {"field": field, "filename": "cat.png", "size": 1000, "type": "image/png", **data}
        return self.post("", **given)

    def upload(self, body: bytes = picture(), *, target: Target | None = None, **data: Any) -> str:
        """Return the value of an upload that has arrived."""
        reserved = self.reserve(target, **data).json()
        assert self.send(reserved["upload_url"], body).status_code == 200
        return str(reserved["value"])

    def send(self, upload_url: str, body: bytes, name: str = "cat.png") -> Any:
        if upload_url.startswith("/"):
            from django.core.files.uploadedfile import SimpleUploadedFile

            return Client().post(upload_url, {"file": SimpleUploadedFile(name, body)})
        return httpx.post(upload_url, files={"file": (name, body, "image/png")})

    def status(self, value: str) -> dict[str, Any]:
        found: dict[str, Any] = self.post("status/", value=value).json()
        return found

    @contextmanager
    def page(self) -> Iterator[None]:
        """Within a request of this visitor."""
        with acting_for(self.request):
            yield
        if self.request.session.modified:
            self.request.session.save()


@pytest.fixture
def visitor(db: None, cloudflare: Any) -> Visitor:
    return Visitor(User.objects.create_user("jane"))


@pytest.fixture
def other(visitor: Visitor) -> Visitor:
    return Visitor(User.objects.create_user("joe"))


@pytest.fixture
def anonymous(db: None, cloudflare: Any) -> Visitor:
    return Visitor(None)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def row_of() -> Callable[[str], Reservation]:
    from cf_images.browser import signed_values

    def find(value: str) -> Reservation:
        signed = signed_values.read(value)
        assert signed
        return Reservation.objects.get(key=signed.key)

    return find


@pytest.fixture
def commits(django_capture_on_commit_callbacks: Any) -> Callable[[], Any]:
    """A context at whose end happens what waits for the end of a transaction."""
    return partial(django_capture_on_commit_callbacks, execute=True)


@pytest.fixture(autouse=True)
def _no_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of workers are not what these tests are about."""
    monkeypatch.setattr(heartbeat, "worked", lambda: None)


def photo_storage() -> Any:
    return storages["cloudflare_images"]
