"""One set of connections per process: shared by threads and clients, not by processes; proxies."""

from __future__ import annotations

import base64
import io
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from cf_images.client import CloudflareImagesClient, connection
from cf_images.exceptions import CloudflareUnavailableError

from .conftest import ACCOUNT
from .hosts import PNG, Host, answer, answering, header_lines, read_request, success

BLOB = bytes(4_000_000)


def echoing(server: Host, connection: socket.socket) -> None:
    """Answer each request with the last part of its path and the number of its connection."""
    number = server.connections
    while request := server.read(connection):
        image_id = request.split(b" ")[1].rpartition(b"/")[2].decode()
        result = success({"id": image_id, "meta": {"connection": number}})
        connection.sendall(answer(200, BLOB, "image/png") if image_id == "blob" else result)


def test_making_a_client_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    connection.close()
    CloudflareImagesClient(ACCOUNT, "token")
    assert connection._client is None


def test_all_clients_share_one_connection(serve: Callable[..., Host], client_of: Any) -> None:
    server = serve(answering(success({"id": "one"})))
    for _ in range(3):
        client_of(server).details("one")
        client_of(server).upload(io.BytesIO(PNG), image_id="one")
    assert len(server.requests) == 6
    assert server.connections == 1


@pytest.mark.parametrize("status", [b"404 Not Found", b"429 Wait", b"302 Found", b"200 OK"])
def test_a_failure_keeps_the_connection(serve: Callable[..., Host], client_of: Any, status: bytes) -> None:
    server = serve(answering(b"HTTP/1.1 " + status + b"\r\nContent-Length: 4\r\n\r\nsome"))
    for _ in range(3):
        with pytest.raises(Exception, match=r"some|redirect"):
            client_of(server, retry=False).details("one")
    assert server.connections == 1


def test_cookies_are_not_sent_back(serve: Callable[..., Host], client_of: Any) -> None:
    reply = answer(200, '{"success": true, "result": {"id": "one"}}', Set_Cookie="__cf_bm=account; Path=/")
    server = serve(answering(reply))
    for _ in range(2):
        client_of(server).details("one")
    assert b"cookie" not in server.requests[1].lower()


def test_a_download_read_to_its_end_keeps_the_connection(serve: Callable[..., Host], client_of: Any) -> None:
    server = serve(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsome"))
    for _ in range(3):
        with client_of(server).download("one") as download:
            assert download.read() == b"some"
    assert server.connections == 1


def test_threads_never_have_more_connections_than_they_are(
    serve: Callable[..., Host], client_of: Any
) -> None:
    server = serve(echoing)
    client = client_of(server)
    wrong: list[str] = []

    def work(thread: int) -> None:
        for number in range(20):
            image_id = f"{thread}-{number}"
            if client.details(image_id).id != image_id:
                wrong.append(image_id)

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(server.requests) == 320
    assert server.connections <= 16


def test_the_first_request_of_many_threads_makes_one_client(
    serve: Callable[..., Host], client_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[connection.ProcessClient] = []
    real = connection.ProcessClient
    barrier = threading.Barrier(8)

    def make() -> connection.ProcessClient:
        made.append(real())
        return made[-1]

    def work() -> None:
        barrier.wait()
        connection.process_client()

    monkeypatch.setattr(connection, "ProcessClient", make)
    connection.close()
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


def test_a_connection_that_the_server_closed_is_replaced(serve: Callable[..., Host], client_of: Any) -> None:
    def once(server: Host, connection: socket.socket) -> None:
        server.read(connection)
        connection.sendall(success({"id": "one"}))

    server = serve(once)
    client = client_of(server, retry=False)
    for _ in range(3):
        client.details("one")
        while server.open:
            server.closing.wait(0.01)  # until the server has hung up
    assert server.connections == 3


FORK = """
import os, sys
from cf_images.client import CloudflareImagesClient, connection

client = CloudflareImagesClient("account", "token", api_url=sys.argv[1])

def ask(image_id):
    image = client.details(image_id)
    assert image.id == image_id, image
    return image.metadata["connection"]

half_read = client.download("half-read")
some = next(half_read)
first = ask("before")
if sys.argv[2] == "locked":
    connection._lock.acquire()  # as if another thread were at it
    for transport in connection._client._transports:
        transport._pool._optional_thread_lock.__enter__()
child = os.fork()
if not child:
    own = ask("child")
    assert own == ask("child-again") not in (0, first)
    half_read.close()
    assert ask("child-at-last") == own
    sys.exit(0)
if sys.argv[2] == "locked":
    connection._lock.release()
    for transport in connection._client._transports:
        transport._pool._optional_thread_lock.__exit__()
_, status = os.waitpid(child, 0)
assert status == 0, status
assert ask("parent") == first, "the child has shut down the parent's connection"
assert len(some + half_read.read()) == 4_000_000, "the child has shut down the parent's download"
"""


@pytest.mark.parametrize("state", ["free", "locked"])
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_process_has_connections_of_its_own(serve: Callable[..., Host], state: str) -> None:
    server = serve(echoing)
    command = [sys.executable, "-W", "error", "-c", FORK, f"{server.url}/client/v4", state]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert server.connections == 3


def test_a_child_forgets_its_parents_connections(serve: Callable[..., Host], client_of: Any) -> None:
    server = serve(echoing)
    client = client_of(server)
    client.details("one")
    parent = connection._client
    connection._after_fork_in_child()
    assert client.details("two").metadata == {"connection": 2}
    assert connection._client is not parent
    connection._after_fork_in_child()
    connection._after_fork_in_child()  # a grandchild that never made a request


ENDING = """
import atexit, sys
atexit.register(lambda: connection._client is None or print("left open", file=sys.stderr))  # runs last
from cf_images.client import CloudflareImagesClient, connection

client = CloudflareImagesClient("account", "token", api_url=sys.argv[1])
client.details("one")
half_read = client.download("two")
"""


def test_connections_are_closed_when_the_process_ends(serve: Callable[..., Host]) -> None:
    server = serve(echoing)
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", ENDING, server.url]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_after_closing_the_next_request_connects_anew(serve: Callable[..., Host], client_of: Any) -> None:
    server = serve(echoing)
    client = client_of(server)
    client.details("one")
    connection.close()
    connection.close()
    assert client.details("two").metadata == {"connection": 2}


def forwarding(server: Host, connection: socket.socket) -> None:
    """A proxy: CONNECT opens a tunnel, anything else is answered by the proxy itself."""
    while request := server.read(connection):
        if not request.startswith(b"CONNECT "):
            connection.sendall(success({"id": "by the proxy"}))
            continue
        port = int(request.split(b" ")[1].rpartition(b":")[2])
        connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        with socket.create_connection(("127.0.0.1", port)) as target:
            pump = threading.Thread(target=copy, args=(target, connection))
            pump.start()
            copy(connection, target)
            pump.join()
        return


def copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "all_proxy"])
def test_the_environments_proxy_is_used(
    serve: Callable[..., Host], client_of: Any, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    proxy = serve(forwarding)
    monkeypatch.setenv(variable.lower(), f"http://user:pass@127.0.0.1:{proxy.port}")
    server = serve(echoing)
    assert client_of(server).details("one").id == "by the proxy"
    assert not server.connections
    line, headers = proxy.requests[0].split(b"\r\n")[0], dict(header_lines(proxy.requests[0]))
    assert line == f"GET {server.url}/client/v4/accounts/{ACCOUNT}/images/v1/one HTTP/1.1".encode()
    assert headers[b"proxy-authorization"] == b"Basic " + base64.b64encode(b"user:pass")


@pytest.mark.parametrize("hosts", ["localhost", "*", "example.com,localhost"])
def test_hosts_that_need_no_proxy_are_asked_directly(
    serve: Callable[..., Host], client_of: Any, monkeypatch: pytest.MonkeyPatch, hosts: str
) -> None:
    proxy = serve(forwarding)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("no_proxy", hosts)
    assert client_of(serve(echoing)).details("one").id == "one"
    assert not proxy.connections


def test_a_proxy_sees_nothing_of_what_tls_hides(
    serve: Callable[..., Host], client_of: Any, monkeypatch: pytest.MonkeyPatch, server_tls: ssl.SSLContext
) -> None:
    proxy = serve(forwarding)
    monkeypatch.setenv("https_proxy", f"http://user:pass@127.0.0.1:{proxy.port}")
    server = serve(echoing, server_tls)
    client = client_of(server)
    assert client.details("one").id == "one"
    assert client.details("two").id == "two"
    assert len(proxy.requests) == server.connections == 1
    assert proxy.requests[0].startswith(f"CONNECT localhost:{server.port} HTTP/1.1\r\n".encode())
    assert b"Bearer" not in proxy.requests[0]
    assert b"Basic" not in b"".join(server.requests)


def test_a_proxy_that_refuses_is_unavailable(
    serve: Callable[..., Host], client_of: Any, monkeypatch: pytest.MonkeyPatch, server_tls: ssl.SSLContext
) -> None:
    proxy = serve(answering(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n"))
    monkeypatch.setenv("https_proxy", f"http://user:hunter2@127.0.0.1:{proxy.port}")
    server = serve(echoing, server_tls)
    with pytest.raises(CloudflareUnavailableError, match="407 Who are you") as caught:
        client_of(server, retry=False).upload(io.BytesIO(PNG))
    assert "hunter2" not in str(caught.value)


def test_the_deadline_holds_through_a_proxy(
    serve: Callable[..., Host], client_of: Any, monkeypatch: pytest.MonkeyPatch, server_tls: ssl.SSLContext
) -> None:
    def stuck(server: Host, connection: socket.socket) -> None:
        read_request(connection)
        while not server.closing.wait(0.05):
            connection.sendall(b"x")

    proxy = serve(stuck)
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
    with pytest.raises(CloudflareUnavailableError):
        client_of(serve(echoing, server_tls), timeout=0.4, retry=False).details("one")


def test_a_certificate_nobody_vouches_for_is_refused(
    serve: Callable[..., Host], client_of: Any, monkeypatch: pytest.MonkeyPatch, server_tls: ssl.SSLContext
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    connection.close()
    server = serve(echoing, server_tls)
    with pytest.raises(CloudflareUnavailableError, match="certificate"):
        client_of(server, retry=False).details("one")
    assert not server.requests
