"""An emulator, an HTTP client that carries its token, and small images."""

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
    """The bytes of a plain image."""
    buffer = io.BytesIO()
    Image.new(options.pop("mode", "RGB"), size, color).save(buffer, kind, **options)
    return buffer.getvalue()


PNG = picture()


class Account:
    """The API of one account, relative to ``/accounts/<id>/images/``; the raw client is ``http``."""

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
        answer = self("POST", "v1", files={"file": (name, body, kind)}, data=fields)
        assert answer.status_code == 200, answer.text
        return answer.json()["result"]

    def deliver(self, image: Any, variant: str = "public", **headers: str) -> httpx.Response:
        """Ask for a variant of an image that was uploaded."""
        return self.http.get(image["variants"][0].rpartition("/")[0] + "/" + variant, headers=headers)


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    """A client that keeps its connections."""
    with httpx.Client(timeout=20, verify=False) as client:
        yield client


@pytest.fixture(scope="session")
def running_emulator() -> Iterator[Emulator]:
    """One for the session, without the variants that a project declares."""
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def emulator(running_emulator: Emulator) -> Emulator:
    """In memory, empty."""
    running_emulator.reset()
    return running_emulator


@pytest.fixture
def account(emulator: Emulator, http: httpx.Client) -> Account:
    """Its account."""
    return Account(emulator, http)


@pytest.fixture
def account_of(http: httpx.Client) -> Iterator[Callable[..., Account]]:
    """Accounts of emulators that are started with other options."""
    started: list[Emulator] = []

    def start(**options: Any) -> Account:
        started.append(Emulator(**options).start())
        return Account(started[-1], http)

    yield start
    for emulator in started:
        emulator.close()


def refused(answer: httpx.Response) -> tuple[int, int]:
    """Status and code of a refusal in an envelope, whose other fields are checked."""
    body = answer.json()
    assert body["success"] is False
    assert body["result"] is None
    return answer.status_code, body["errors"][0]["code"]
