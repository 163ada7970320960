"""A file from a stranger's URL: in time, within the limit, and only from where it may come."""

from __future__ import annotations

import base64
import logging
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any

import pytest

from cf_images.client import fetch, guard, pool, streams
from cf_images.client.sources import FetchError
from cf_images.exceptions import ImageRejectedError

from .hosts import PNG, Host, header_lines, responding, response, silent, trickling
from .test_secrets import everything_in

LOCAL = ("localhost",)
IMAGE = response(200, PNG, "image/png")


def get(url: str, *, timeout: float = 30, max_bytes: int = 100_000, local_hosts: Any = LOCAL) -> bytes:
    with fetch(url, timeout=timeout, max_bytes=max_bytes, local_hosts=local_hosts) as file:
        return file.read()


def test_the_file_is_what_the_host_sends(serve: Callable[..., Host]) -> None:
    server = serve(responding(IMAGE))
    assert get(f"{server.url}/a%20b/ü.png?x='1'&y=ä") == PNG
    line, headers = server.requests[0].split(b"\r\n")[0], dict(header_lines(server.requests[0]))
    assert line == b"GET /a%20b/%C3%BC.png?x='1'&y=%C3%A4 HTTP/1.1"
    assert headers[b"host"] == f"localhost:{server.port}".encode()
    assert headers[b"accept"] == b"image/*"
    assert headers[b"accept-encoding"] == b"identity"
    assert b"authorization" not in headers


def test_a_file_of_unknown_length_ends_with_the_connection(serve: Callable[..., Host]) -> None:
    def behave(server: Host, connection: socket.socket) -> None:
        server.read(connection)
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + PNG)

    assert get(serve(behave).url) == PNG


def test_user_and_password_of_the_url_are_sent_and_never_shown(
    serve: Callable[..., Host], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server = serve(responding(IMAGE, response(404, "")))
    url = server.url.replace("//", "//jane:p%40ss-word@")
    assert get(url) == PNG
    credentials = base64.b64encode(b"jane:p@ss-word")
    assert dict(header_lines(server.requests[0]))[b"authorization"] == b"Basic " + credentials
    for place in (url, url.replace("localhost", "127.0.0.1"), url.replace("http:", "ftp:"), f"{url}\ud800"):
        with pytest.raises(ImageRejectedError) as caught:
            get(place)
        shown = [*everything_in(caught.value), caplog.text]
        assert not [text for text in shown for secret in ("p%40ss", "p@ss") if secret in text]


@pytest.mark.parametrize(
    "behavior",
    [
        silent,
        trickling(IMAGE),
        trickling(IMAGE, at_once=80),
        trickling(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + PNG, at_once=45),
        trickling(b"HTTP/1.0 200 OK\r\n\r\n" + PNG, at_once=25),
        trickling(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 999, at_once=50),
    ],
    ids=["silent", "head", "length", "Connection: close", "HTTP/1.0", "chunked"],
)
def test_a_host_that_takes_its_time_is_cut_off(serve: Callable[..., Host], behavior: Any) -> None:
    server = serve(behavior)
    with pytest.raises(FetchError, match=r"localhost .* no complete response within 0\.4 seconds"):
        get(server.url, timeout=0.4)
    while server.open and behavior is not silent:  # the connection has been closed, too
        server.closing.wait(0.01)
    assert not pool.process_pool()._connections


def test_a_flood_of_interim_responses_is_cut_off(serve: Callable[..., Host]) -> None:
    def flood(server: Host, connection: socket.socket) -> None:
        server.read(connection)
        while not server.closing.is_set():
            connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 100)

    with pytest.raises(FetchError, match="no complete response"):
        get(serve(flood).url, timeout=0.4)


@pytest.mark.parametrize(
    "head", ["Content-Length: 20000000", "Connection: close", "Transfer-Encoding: chunked"]
)
def test_more_than_the_limit_is_refused_and_not_read(serve: Callable[..., Host], head: str) -> None:
    sent: list[int] = []

    def endless(server: Host, connection: socket.socket) -> None:
        server.read(connection)
        connection.sendall(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode())
        chunk = bytes(65536)
        while not server.closing.is_set():
            connection.sendall(b"10000\r\n" + chunk + b"\r\n" if "chunked" in head else chunk)
            sent.append(len(chunk))

    with pytest.raises(ImageRejectedError, match="more than 2 MB, which is the limit"):
        get(serve(endless).url, max_bytes=2_100_000)
    assert sum(sent) < 20_000_000


def test_exactly_the_limit_is_accepted(serve: Callable[..., Host]) -> None:
    server = serve(responding(IMAGE))
    assert get(server.url, max_bytes=len(PNG)) == PNG
    with pytest.raises(ImageRejectedError, match="limit"):
        get(server.url, max_bytes=len(PNG) - 1)


@pytest.mark.parametrize("status", [500, 503, 599, 408, 425, 429])
def test_a_status_that_may_pass_is_tried_again(serve: Callable[..., Host], status: int) -> None:
    with pytest.raises(FetchError, match=f"HTTP {status}"):
        get(serve(responding(response(status, PNG, "image/png"))).url)


@pytest.mark.parametrize("status", [201, 204, 206, 301, 302, 307, 400, 401, 403, 404, 410])
def test_any_other_status_is_final_and_no_redirect_is_followed(
    serve: Callable[..., Host], status: int
) -> None:
    body = b"" if status == 204 else PNG
    server = serve(responding(response(status, body, "image/png", Location="/elsewhere")))
    with pytest.raises(ImageRejectedError, match=f"HTTP {status}, not with an image"):
        get(server.url)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"nonsense",
        IMAGE[:-1],
        IMAGE[:30],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nab",
    ],
    ids=["nothing", "no HTTP", "cut", "cut head", "cut chunk"],
)
def test_a_response_that_breaks_off_is_tried_again(serve: Callable[..., Host], reply: bytes) -> None:
    def behave(server: Host, connection: socket.socket) -> None:
        server.read(connection)
        connection.sendall(reply)

    with pytest.raises(FetchError):
        get(serve(behave).url)


@pytest.mark.parametrize("url", ["", "ftp://localhost/", "https://", "https://a b/", "http://localhost:0/"])
def test_a_url_that_no_request_can_go_to_is_refused_at_once(url: str) -> None:
    with pytest.raises(ImageRejectedError, match="The URL cannot be used: it"):
        get(url)


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """What the name server says about every host but the literal addresses that are connected to."""
    real = socket.getaddrinfo

    def look_up(host: str, port: int, *args: Any, **options: Any) -> Any:
        if host in addresses:
            return real(host, port, *args, **options)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


@pytest.mark.parametrize("local_hosts", [(), ("other.example",)])
def test_a_host_that_is_not_public_is_never_connected_to(
    serve: Callable[..., Host], monkeypatch: pytest.MonkeyPatch, local_hosts: Any
) -> None:
    server = serve(responding(IMAGE))
    for addresses in (["127.0.0.1"], ["::1"], ["8.8.8.8", "127.0.0.1"], ["127.0.0.1", "8.8.8.8"]):
        resolving(monkeypatch, *addresses)
        with pytest.raises(ImageRejectedError, match=r"photos\.example is not a public host"):
            get(f"http://photos.example:{server.port}/", local_hosts=local_hosts)
    with pytest.raises(ImageRejectedError, match="is not a public host"):
        get(f"http://127.0.0.1:{server.port}/", local_hosts=local_hosts)
    assert not server.connections


def test_the_connection_goes_to_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    connected: list[Any] = []

    def look_up(host: str, *args: Any, **options: Any) -> Any:
        asked.append(host)
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443)) for address in ("8.8.8.8", "1.1.1.1")
        ]

    def connect(address: Any, *args: Any, **options: Any) -> None:
        connected.append(address)
        raise ConnectionRefusedError(111, "refused")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(FetchError, match=r"example\.com does not respond with an image: .*refused"):
        get("https://example.com/")
    assert asked == ["example.com"]  # once: a second response might be another
    assert connected == [("8.8.8.8", 443), ("1.1.1.1", 443)]


def test_no_proxy_chooses_the_address(serve: Callable[..., Host], monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = serve(responding(IMAGE))
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("all_proxy", f"http://127.0.0.1:{proxy.port}")
    server = serve(responding(IMAGE))
    assert get(server.url) == PNG
    assert not proxy.connections


def test_a_name_server_that_does_not_respond_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def look_up(*args: Any, **options: Any) -> Any:
        released.wait()
        raise socket.gaierror(-2, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    try:
        with pytest.raises(FetchError, match="no complete response within"):
            get("https://example.com/", timeout=0.2)
    finally:
        released.set()


def test_lookups_that_hang_take_a_bounded_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def look_up(*args: Any, **options: Any) -> Any:
        released.wait()
        raise socket.gaierror(-2, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(streams, "_lookups", threading.BoundedSemaphore(2))
    before = threading.active_count()
    try:
        for _ in range(5):
            with pytest.raises(FetchError):
                get("https://example.com/", timeout=0.05)
        assert threading.active_count() - before <= 2
    finally:
        released.set()


def test_an_unknown_host_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(*args: Any, **options: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(FetchError, match=r"example\.com .*Name or service not known"):
        get("https://example.com./")


def test_the_certificate_is_checked_for_the_host(
    serve: Callable[..., Host], server_tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(responding(IMAGE), server_tls)
    assert get(server.url) == PNG
    assert get(server.url.replace("localhost", "localhost.")) == PNG
    url = server.url.replace("localhost", "127.0.0.1")
    with pytest.raises(FetchError, match="with the certificates of SSL_CERT_FILE"):
        get(url, local_hosts=("127.0.0.1",))
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file")
    pool.close()
    with pytest.raises(FetchError, match="SSL_CERT_FILE names no usable certificates"):
        get(server.url)


def test_a_refused_host_is_reported_to_the_guard(serve: Callable[..., Host]) -> None:
    server = serve(responding(IMAGE))
    failed: list[str] = []
    with guard.refuse_hosts(["localhost"], failed.append), pytest.raises(FetchError, match="are refused"):
        get(server.url)
    assert failed == ["localhost"]
    assert not server.connections


def test_a_large_file_goes_to_disk(serve: Callable[..., Host]) -> None:
    body = bytes(3_000_000)
    server = serve(responding(response(200, body, "image/png")))
    with fetch(server.url, timeout=30, max_bytes=4_000_000, local_hosts=LOCAL) as file:
        assert file.tell() == 0
        assert isinstance(file.fileno(), int)  # a file, not memory
        assert len(file.read()) == len(body)
