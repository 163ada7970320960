"""The HTTP server: persistent connections, unusual requests, bugs, data folders."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from werkzeug.test import Client

from cf_images.emulator import Emulator
from cf_images.emulator.server import Server
from tests.emulator.conftest import PNG, Account


@pytest.fixture
def talk(emulator: Emulator) -> Iterator[Callable[[bytes], bytes]]:
    """Send bytes to the emulator and return all that it sends until it closes the connection."""
    address = ("127.0.0.1", int(emulator.url.rpartition(":")[2]))
    with socket.create_connection(address, timeout=10) as client, client.makefile("rb") as responses:

        def send(data: bytes) -> bytes:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            return responses.read()

        yield send


def test_pipelined_requests_both_get_a_response(talk: Callable[[bytes], bytes]) -> None:
    one = b"POST /client/v4/none HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"
    responses = talk(one + one)
    assert responses.count(b"HTTP/1.1 404 ") == 2
    assert responses.count(b"Date: ") == 2


def test_the_date_header_follows_the_clock() -> None:
    with Emulator(clock=lambda: 784_111_777.9) as emulator, urlopen(emulator.url) as response:  # RFC 9110
        assert response.headers["Date"] == "Sun, 06 Nov 1994 08:49:37 GMT"


def test_an_unread_chunked_body_is_not_parsed_as_the_next_request(talk: Callable[[bytes], bytes]) -> None:
    head = b"POST /client/v4/none HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    responses = talk(
        head + b"5\r\nhello\r\n0\r\n\r\n" + b"GET /client/v4/none HTTP/1.1\r\nHost: localhost\r\n\r\n"
    )
    assert responses.count(b"HTTP/1.1 404 ") == 2


@pytest.mark.parametrize("body", [b"x\r\n", b"5\r\nhel", b"5\r\nhello"])
def test_a_broken_chunked_body_closes_the_connection(talk: Callable[[bytes], bytes], body: bytes) -> None:
    head = b"POST /client/v4/none HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert b"Connection: close" in talk(head + body)


def test_an_upload_may_be_chunked(account: Account) -> None:
    form = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n'
        b"Content-Type: image/png\r\n\r\n" + PNG + b"\r\n--b--\r\n"
    )
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    assert account("POST", "v1", content=iter([form[:50], form[50:]]), headers=headers).status_code == 200


def test_expect_100_continue_is_supported(talk: Callable[[bytes], bytes]) -> None:
    head = b"POST /client/v4/none HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
    head += b"Expect: 100-continue\r\n\r\n"
    assert talk(head + b"hello").startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 ")


@pytest.mark.parametrize("length", [b"many", b"-1", b"\xb2"])
def test_an_invalid_content_length_ends_the_connection(talk: Callable[[bytes], bytes], length: bytes) -> None:
    response = talk(
        b"POST /client/v4/none HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + length + b"\r\n\r\n"
    )
    assert response.startswith(b"HTTP/1.1 404 ")
    assert b"Connection: close" in response


@pytest.mark.parametrize(
    "request_line", [b"GET http://localhost/client/v4/none HTTP/1.1", b"GET /client/v4/none?a=/b HTTP/1.0"]
)
def test_other_forms_of_a_request_line_are_supported(
    talk: Callable[[bytes], bytes], request_line: bytes
) -> None:
    assert b"404" in talk(request_line + b"\r\nHost: localhost\r\n\r\n").partition(b"\r\n")[0]


def test_bytes_that_are_not_http_are_a_bad_request(talk: Callable[[bytes], bytes]) -> None:
    assert b"400" in talk(b"nonsense from somewhere\r\n\r\n").partition(b"\r\n")[0]


def test_a_body_too_long_to_be_drained_ends_the_connection(
    talk: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cf_images.emulator.server.DRAIN_BYTES", 10)
    head = b"POST /client/v4/none HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\n\r\n"
    assert b"Connection: close" in talk(head + b"x" * 20)


def test_a_bug_is_logged_and_the_response_has_no_traceback(
    account: Account, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(account.emulator.app.api, "_limits", None)
    with caplog.at_level(logging.ERROR):
        response = account("GET", "v1/stats")
    assert (response.status_code, response.text) == (500, "Internal error of the emulator; see its log.\n")
    assert "AttributeError" in caplog.text


def test_the_application_runs_without_the_server(emulator: Emulator) -> None:
    client = Client(emulator.app)
    headers = {"Authorization": f"Bearer {emulator.api_token}"}
    path = f"/client/v4/accounts/{emulator.account_id}/images/v1/a%2Fb"
    assert client.get(path, headers=headers).status_code == 404
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/client/v4/\xc3\xbc", "wsgi.url_scheme": "http"}
    responses: list[str] = []
    emulator.app(environ, lambda status, _: responses.append(status))  # type: ignore[arg-type, return-value]
    assert responses == ["404 NOT FOUND"]
    assert emulator.requests[-1].path == "/client/v4/%C3%BC"


def test_an_emulator_that_is_not_started_has_no_url() -> None:
    emulator = Emulator()
    assert repr(emulator) == "<Emulator (not started)>"
    with pytest.raises(RuntimeError, match="with statement"):
        _ = emulator.url
    emulator.close()


def test_no_secret_is_in_a_repr(emulator: Emulator) -> None:
    text = repr(emulator) + repr(emulator.app.account)
    assert emulator.url in text
    assert emulator.api_token not in text


def test_a_url_of_ipv6_has_brackets(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(emulator._server, Server)
    monkeypatch.setattr(emulator._server, "server_address", ("::1", 8787, 0, 0))
    assert emulator.url == "http://[::1]:8787"


def test_a_reset_forgets_everything(account: Account) -> None:
    account.upload(id="a")
    account("POST", "v1/variants", json={"id": "thumb", "options": {"width": 1}})
    account("PATCH", "v1/config", json={"flexible_variants": False})
    account.emulator.reset()
    assert not account.emulator.images
    assert account.emulator.requests == []
    assert account.emulator.connections == 0
    assert list(account.emulator.app.state.variants()) == ["public"]
    assert account.emulator.app.state.settings()["flexible_variants"] is True
    with pytest.raises(KeyError):
        account.emulator.images["a"]


def test_only_one_emulator_can_use_a_data_folder(tmp_path: Path) -> None:
    with Emulator(data=tmp_path), pytest.raises(BlockingIOError, match="in use by another emulator"):
        Emulator(data=tmp_path)
    Emulator(data=str(tmp_path)).close()


def test_files_left_by_a_killed_process_are_deleted_at_the_start(tmp_path: Path) -> None:
    incoming = tmp_path / "images" / "incoming"
    incoming.mkdir(parents=True)
    for path in (incoming / "half", incoming.parent / "0123"):
        path.write_bytes(b"half an image")
    with Emulator(data=tmp_path):
        assert list(incoming.parent.rglob("*")) == [incoming]


def test_a_json_body_can_arrive_in_two_packets(account: Account) -> None:
    emulator = account.emulator
    body = b'{"browser_ttl": 7200}'
    head = (
        f"PATCH /client/v4/accounts/{emulator.account_id}/images/v1/config HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {emulator.api_token}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    address = ("127.0.0.1", int(emulator.url.rpartition(":")[2]))
    with socket.create_connection(address, timeout=10) as client, client.makefile("rb") as response:
        client.sendall(head.encode() + body[:10])
        assert account("GET", "v1/stats").status_code == 200  # meanwhile the server reads the first packet
        client.sendall(body[10:])
        client.shutdown(socket.SHUT_WR)
        assert response.read().startswith(b"HTTP/1.1 200 ")
