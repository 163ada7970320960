"""Fixtures: an emulator, an HTTP client with its token, and small images."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from PIL import Image

from cf_images.emulator import Emulator


def picture(
    kind: str = "PNG", size: tuple[int, int] = (64, 48), *, color: Any = "teal", **options: Any
) -> bytes:
    """Return an image of one color."""
    buffer = io.BytesIO()
    Image.new(options.pop("mode", "RGB"), size, color).save(buffer, kind, **options)
    return buffer.getvalue()


PNG = picture()


class Account:
    """A client for the API of one account; paths are relative to ``/accounts/<id>/images/``."""

    def __init__(self, emulator: Emulator, http: httpx.Client) -> None:
        self.emulator = emulator
        self.http = http

    def __call__(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.emulator.api_token}", **options.pop("headers", {})}
        url = f"{self.emulator.api_url}/accounts/{self.emulator.account_id}/images/{path}"
        return self.http.request(method, url, headers=headers, **options)

    def upload(
        self, body: bytes = PNG, *, name: str = "a.png", kind: str = "image/png", **fields: Any
    ) -> Any:
        """Upload and return the Image object."""
        response = self("POST", "v1", files={"file": (name, body, kind)}, data=fields)
        assert response.status_code == 200, response.text
        return response.json()["result"]

    def deliver(self, image: Any, variant: str = "public", **headers: str) -> httpx.Response:
        """Request a variant of an uploaded image."""
        return self.http.get(image["variants"][0].rpartition("/")[0] + "/" + variant, headers=headers)


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    """An HTTP client that reuses its connections."""
    with httpx.Client(timeout=20, verify=False) as client:
        yield client


@pytest.fixture(scope="session")
def running_emulator() -> Iterator[Emulator]:
    """An emulator for the session, without the variants of a project."""
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def emulator(running_emulator: Emulator) -> Emulator:
    """An empty emulator in memory."""
    running_emulator.reset()
    return running_emulator


@pytest.fixture
def account(emulator: Emulator, http: httpx.Client) -> Account:
    """The account of the emulator."""
    return Account(emulator, http)


@pytest.fixture
def account_of(http: httpx.Client) -> Iterator[Callable[..., Account]]:
    """Start emulators with other options and return their accounts."""
    started: list[Emulator] = []

    def start(**options: Any) -> Account:
        started.append(Emulator(**options).start())
        return Account(started[-1], http)

    yield start
    for emulator in started:
        emulator.close()


def api_error(response: httpx.Response) -> tuple[int, int]:
    """Return status and code of an error envelope; check its other fields."""
    body = response.json()
    assert body["success"] is False
    assert body["result"] is None
    return response.status_code, body["errors"][0]["code"]
