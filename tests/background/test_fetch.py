"""A worker that fetches an image for local files: it comes back in time, whatever the host does."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from cf_images.background import fetch, upload_from_url
from cf_images.exceptions import ImageRejectedError
from cf_images.models import State, Upload

from .conftest import picture, work
from .scripted_server import Response, serve_script

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def local(settings: Any, tmp_path: Any) -> None:
    settings.ENV_NAME = "dev"
    settings.MEDIA_ROOT = tmp_path
    settings.CF_IMAGES = {
        **settings.CF_IMAGES,
        "QUEUE": "none",
        "UPLOAD_URL_SCHEMES": ["https", "http"],
        "UPLOAD_URL_LOCAL_HOSTS": ["127.0.0.1"],
    }


@contextmanager
def host(respond: Callable[[socket.socket, threading.Event], None]) -> Iterator[str]:
    """A server that reads a request and lets ``respond`` behave badly."""
    closing = threading.Event()

    def serve() -> None:
        try:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                respond(connection, closing)
        except OSError:
            pass  # the worker hung up

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/jane.png"
        finally:
            closing.set()
            thread.join(10)


def trickle(head: bytes) -> Callable[[socket.socket, threading.Event], None]:
    def respond(connection: socket.socket, closing: threading.Event) -> None:
        connection.sendall(head)
        while not closing.wait(0.05):
            connection.sendall(b"x")

    return respond


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: "],
    ids=["Connection: close", "until the end", "head"],
)
def test_a_byte_now_and_then_keeps_no_worker(monkeypatch: pytest.MonkeyPatch, head: bytes) -> None:
    monkeypatch.setattr(fetch, "SECONDS", 0.4)
    with host(trickle(head)) as url:
        name = upload_from_url(url)
        assert work() == 1
    row = Upload.objects.get(name=name)
    assert (row.state, row.lease) == (State.PENDING, "")
    assert "no complete response within 0.4 seconds" in row.last_error


def test_a_url_that_is_not_ascii_is_fetched(tmp_path: Any) -> None:
    with serve_script() as server:
        server.respond("GET", Response(body=picture()))
        name = upload_from_url(f"{server.api_url}/jané.png?größe=1")
        assert work() == 1
    assert (tmp_path / name).read_bytes() == picture()


def test_a_url_that_can_never_be_fetched_is_rejected_at_once() -> None:
    name = upload_from_url("http://127.0.0.1:1/jane.png")
    Upload.objects.filter(name=name).update(source_url="http://ü..example/")  # an older version's row
    assert work() == 1
    assert Upload.objects.get(name=name).state == State.REJECTED


def test_only_hosts_of_the_settings_may_be_internal(settings: Any) -> None:
    with serve_script() as server:
        server.respond("GET", Response(body=picture()))
        with fetch.fetch(server.api_url) as file:
            assert file.read() == picture()
        settings.CF_IMAGES = {**settings.CF_IMAGES, "UPLOAD_URL_LOCAL_HOSTS": []}
        with pytest.raises(ImageRejectedError, match="not a public host"), fetch.fetch(server.api_url):
            pass


def test_more_than_ten_megabytes_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "MAX_BYTES", 100)
    with serve_script() as server:
        server.respond("GET", Response(body=picture()))
        name = upload_from_url(f"{server.api_url}/jane.png")
        assert work() == 1
    row = Upload.objects.get(name=name)
    assert (row.state, "limit" in row.last_error) == (State.REJECTED, True)
