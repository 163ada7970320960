"""One attempt ends when its time is up, however a host spreads its bytes."""

from __future__ import annotations

import io
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any

import httpcore
import pytest

from cf_images.client import CloudflareImagesClient, streams
from cf_images.client.streams import Deadline
from cf_images.exceptions import CloudflareUnavailableError

from .conftest import ACCOUNT, TOKEN
from .hosts import PNG, Host, response, silent, success, trickling

TIMEOUT = 0.4
LONGER = 3.0  # where something has to happen first, also on a busy machine
# What follows would take minutes without a deadline; pytest's own limit ends it then.
HEADERS = b"HTTP/1.1 200 OK\r\nX-Padding: " + b"x" * 5000
BODY = response(200, b'{"success": true, "result": {"id": "' + b"x" * 5000)
BODY_BEGINS = BODY.index(b"\r\n\r\n") + 4


def deaf(server: Host, connection: socket.socket) -> None:
    """Take in a kilobyte every twentieth of a second."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    while not server.closing.wait(0.05):
        connection.recv(1024)


@pytest.mark.parametrize(
    "behavior",
    [silent, trickling(HEADERS), trickling(BODY, at_once=BODY_BEGINS)],
    ids=["silent", "headers", "body"],
)
def test_a_slow_response_is_cut_off(serve: Callable[..., Host], client_of: Any, behavior: Any) -> None:
    client = client_of(serve(behavior), timeout=TIMEOUT, retry=False)
    with pytest.raises(CloudflareUnavailableError, match=r"no complete response within 0\.4 seconds"):
        client.details("one")


@pytest.mark.parametrize("behavior", [silent, deaf], ids=["not at all", "slowly"])
def test_a_host_that_does_not_take_a_file_is_cut_off(
    serve: Callable[..., Host], client_of: Any, behavior: Any
) -> None:
    client = client_of(serve(behavior), timeout=TIMEOUT, retry=False)
    with pytest.raises(CloudflareUnavailableError, match="no complete response"):
        client.upload(io.BytesIO(PNG + bytes(20_000_000)), image_id="one")


def test_a_slow_download_is_cut_off(serve: Callable[..., Host], client_of: Any) -> None:
    image = response(200, PNG, "image/png")
    behavior = trickling(image, at_once=image.index(b"\r\n\r\n") + 10)
    with client_of(serve(behavior), timeout=LONGER).download("one") as download:
        assert next(download) == PNG[:6]
        with pytest.raises(CloudflareUnavailableError, match="no complete response"):
            download.read()


def test_a_slow_error_page_of_a_download_is_cut_off(serve: Callable[..., Host], client_of: Any) -> None:
    page = response(502, b"<html>" + b"x" * 5000, "text/html")
    client = client_of(serve(trickling(page, at_once=120)), timeout=TIMEOUT, retry=False)
    with pytest.raises(CloudflareUnavailableError, match="no complete response"):
        client.download("one")


def test_the_deadline_holds_inside_tls(
    serve: Callable[..., Host], client_of: Any, server_tls: ssl.SSLContext
) -> None:
    server = serve(trickling(BODY, at_once=BODY_BEGINS), server_tls)
    with pytest.raises(CloudflareUnavailableError, match="no complete response"):
        client_of(server, timeout=LONGER, retry=False).details("one")
    assert server.requests


def test_the_deadline_holds_for_the_tls_handshake(
    serve: Callable[..., Host], client_of: Any, server_tls: ssl.SSLContext
) -> None:
    server = serve(silent)
    server.url = server.url.replace("http:", "https:")
    with pytest.raises(CloudflareUnavailableError, match="no complete response"):
        client_of(server, timeout=TIMEOUT, retry=False).details("one")


def test_a_response_in_time_is_read_whole(serve: Callable[..., Host], client_of: Any) -> None:
    reply = success({"id": "one"})
    behavior = trickling(reply, at_once=len(reply) - 4)
    assert client_of(serve(behavior), timeout=30).details("one").id == "one"


def test_the_callers_pauses_do_not_count(
    serve: Callable[..., Host], client_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = response(200, PNG * 1000, "image/png")

    def behave(server: Host, connection: socket.socket) -> None:
        server.read(connection)
        connection.sendall(image)

    with client_of(serve(behave), timeout=20).download("one") as download:
        first = next(download)
        real = time.monotonic
        monkeypatch.setattr(time, "monotonic", lambda: real() + 1000)  # what a long pause looks like
        assert first + download.read() == PNG * 1000


def test_a_deadline_is_used_up_by_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    deadline = Deadline(10)

    def wait(left: float) -> float:
        now[0] += 3
        return left

    for left in (10, 7, 4, 1):
        assert deadline.run(wait) == left
        now[0] += 50
    with pytest.raises(httpcore.TimeoutException):
        deadline.run(wait)
    assert deadline == 10.0  # an ordinary timeout to whoever knows no better


@pytest.mark.parametrize("timeout", [None, 5.0])
def test_an_ordinary_timeout_is_passed_on(timeout: float | None) -> None:
    given: list[float | None] = []

    class Stream(httpcore.NetworkStream):
        def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
            given.append(timeout)
            return b""

    streams.Stream(Stream()).read(1, timeout)
    assert given == [timeout]


def addresses(monkeypatch: pytest.MonkeyPatch, *found: str) -> None:
    """What the name service responses, whatever the name."""
    monkeypatch.setattr(streams, "_addresses", lambda host, port: list(found))


def test_an_address_that_refuses_gives_way_to_the_next(
    serve: Callable[..., Host], client_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(trickling(success({"id": "one"}), at_once=10_000))
    addresses(monkeypatch, "127.0.0.9", "127.0.0.1")
    assert client_of(server, retry=False).details("one").id == "one"


def test_an_address_that_swallows_packets_gets_its_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[str, float]] = []

    def connect(self: Any, host: str, port: int, timeout: float, *options: Any) -> Any:
        given.append((host, round(timeout)))
        raise httpcore.ConnectTimeout("no response")

    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", connect)
    addresses(monkeypatch, "a", "b", "c")
    with pytest.raises(httpcore.ConnectTimeout):
        streams.Backend("host").connect_tcp("host", 443, timeout=Deadline(60))
    assert given == [("a", 20), ("b", 30), ("c", 60)]


@pytest.mark.parametrize("name", ["a..b", "x" * 64 + ".example"])
def test_a_name_that_no_host_can_have_is_unavailable(name: str) -> None:
    client = CloudflareImagesClient(ACCOUNT, TOKEN, api_url=f"https://{name}/v4", retry=False)
    with pytest.raises(CloudflareUnavailableError, match="label"):
        client.details("one")


def test_a_name_without_an_address_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    client = CloudflareImagesClient(ACCOUNT, TOKEN, api_url="https://nowhere.example/v4")

    def look_up(host: str, *args: Any, **options: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(CloudflareUnavailableError, match="Name or service not known"):
        client.details("one")
