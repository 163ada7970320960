"""One set of connections per process: shared by threads and clients, not by processes."""

from __future__ import annotations

import ast
import importlib
import io
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import certifi
import httpx
import pytest

from cf_images.client import CloudflareImagesClient, pool
from cf_images.exceptions import CloudflareUnavailableError

from .conftest import ACCOUNT
from .hosts import PNG, Host, responding, response, success

BLOB = bytes(4_000_000)


def echoing(server: Host, connection: socket.socket) -> None:
    """Answer each request with the last part of its path and the number of its connection."""
    number = server.connections
    while request := server.read(connection):
        image_id = request.split(b" ")[1].rpartition(b"/")[2].decode()
        result = success({"id": image_id, "meta": {"connection": number}})
        connection.sendall(response(200, BLOB, "image/png") if image_id == "blob" else result)


def test_making_a_client_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pool.close()
    CloudflareImagesClient(ACCOUNT, "token")
    assert pool._pool is None


def test_only_public_names_of_httpx_and_httpcore_are_used() -> None:
    for path in Path(pool.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert not (node.module or "").startswith(("httpx.", "httpcore.")), path
            elif isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("httpx", "httpcore"):
                module = ast.unparse(node.value)
                assert node.attr in importlib.import_module(module).__all__, (path, node.attr)


def test_all_clients_share_one_connection(serve: Callable[..., Host], client_of: Any) -> None:
    server = serve(responding(success({"id": "one"})))
    for _ in range(3):
        client_of(server).details("one")
        client_of(server).upload(io.BytesIO(PNG), image_id="one")
    assert len(server.requests) == 6
    assert server.connections == 1


@pytest.mark.parametrize("status", [b"404 Not Found", b"429 Wait", b"302 Found", b"200 OK"])
def test_a_failure_keeps_the_connection(serve: Callable[..., Host], client_of: Any, status: bytes) -> None:
    server = serve(responding(b"HTTP/1.1 " + status + b"\r\nContent-Length: 4\r\n\r\nsome"))
    for _ in range(3):
        with pytest.raises(Exception, match=r"some|redirect|cannot be read"):
            client_of(server, retry=False).details("one")
    assert server.connections == 1


def test_cookies_are_not_sent_back(serve: Callable[..., Host], client_of: Any) -> None:
    reply = response(200, '{"success": true, "result": {"id": "one"}}', Set_Cookie="__cf_bm=account; Path=/")
    server = serve(responding(reply))
    for _ in range(2):
        client_of(server).details("one")
    assert b"cookie" not in server.requests[1].lower()


def test_a_download_read_to_its_end_keeps_the_connection(serve: Callable[..., Host], client_of: Any) -> None:
    server = serve(responding(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsome"))
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


def test_the_first_request_of_many_threads_makes_one_pool(
    serve: Callable[..., Host], client_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[pool.Pool] = []
    real = pool.Pool
    barrier = threading.Barrier(8)

    def make() -> pool.Pool:
        made.append(real())
        return made[-1]

    def work() -> None:
        barrier.wait()
        pool.process_pool()

    monkeypatch.setattr(pool, "Pool", make)
    pool.close()
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
from cf_images.client import CloudflareImagesClient, pool

client = CloudflareImagesClient("account", "token", api_url=sys.argv[1])

def ask(image_id):
    image = client.details(image_id)
    assert image.id == image_id, image
    return image.metadata["connection"]

half_read = client.download("half-read")
some = next(half_read)
first = ask("before")
if sys.argv[2] == "locked":
    # As if another thread were making its first request, and one more were in the middle of a request.
    pool._lock.acquire()
    taken = pool._pool.take(client._target.origin)
    taken._pool._optional_thread_lock.__enter__()
inherited = list(pool._pool._connections)
child = os.fork()
if not child:
    sockets = [connection._backend._stream.get_extra_info("socket") for connection in inherited]
    assert [socket.fileno() for socket in sockets] == [-1, -1], "the child keeps its parent's sockets open"
    own = ask("child")
    assert own == ask("child-again") not in (0, first)
    half_read.close()
    assert ask("child-at-last") == own
    sys.exit(0)
if sys.argv[2] == "locked":
    pool._lock.release()
    taken._pool._optional_thread_lock.__exit__()
    pool._pool.give_back(taken)
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
    parent = pool._pool
    pool._after_fork_in_child()
    assert client.details("two").metadata == {"connection": 2}
    assert pool._pool is not parent
    pool._after_fork_in_child()
    pool._after_fork_in_child()  # a grandchild that never made a request


ENDING = """
import atexit, sys
atexit.register(lambda: pool._pool is None or print("left open", file=sys.stderr))  # runs last
from cf_images.client import CloudflareImagesClient, pool

client = CloudflareImagesClient("account", "token", api_url=sys.argv[1])
client.details("one")
half_read = client.download("two")
"""


def test_connections_are_closed_when_the_process_ends(serve: Callable[..., Host]) -> None:
    server = serve(echoing)
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", ENDING, server.url]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (0, "")


BUSY = """
import os, sys, threading
from cf_images.client import CloudflareImagesClient

client = CloudflareImagesClient("account", "token", api_url=sys.argv[1])
client.details("one")
thread = threading.Thread(target=client.details, args=("slow",))
thread.start()
sys.stdin.readline()  # the server has the request
child = os.fork()
if not child:
    assert client.details("two").id == "two"
    sys.exit(0)
_, status = os.waitpid(child, 0)
print(status, flush=True)
thread.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_fork_in_the_middle_of_another_threads_request_harms_neither(serve: Callable[..., Host]) -> None:
    asked, forked = threading.Event(), threading.Event()

    def slow(server: Host, connection: socket.socket) -> None:
        while request := server.read(connection):
            image_id = request.split(b" ")[1].rpartition(b"/")[2].decode()
            if image_id == "slow":
                asked.set()
                forked.wait(30)
            connection.sendall(success({"id": image_id}))

    command = [
        sys.executable,
        "-W",
        "error",
        "-W",
        "default::DeprecationWarning",
        "-c",
        BUSY,
        serve(slow).url,
    ]
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, text=True, **pipes) as process:
        assert asked.wait(30)
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "0\n"  # the child has ended before the thread's response came
        forked.set()
        assert "Error" not in process.stderr.read()
    assert process.returncode == 0


def test_a_connection_idle_for_too_long_is_closed(
    serve: Callable[..., Host], client_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(echoing)
    client = client_of(server)
    origin = client._target.origin
    client.details("one")
    first = pool.process_pool().take(origin)
    client.details("two")
    (second,) = pool.process_pool()._idle_of(origin)
    pool.process_pool().give_back(first)
    second.idle_since -= 60
    client.details("three")
    while server.open > 1:
        server.closing.wait(0.01)
    assert pool.process_pool()._connections == {first}


def test_a_connection_in_use_while_all_are_closed_is_not_kept(
    serve: Callable[..., Host], client_of: Any
) -> None:
    client = client_of(serve(echoing))
    client.details("one")
    closed = pool.process_pool()
    connection = closed.take(client._target.origin)
    pool.close()
    closed.give_back(connection)
    assert not closed._connections
    assert not closed._idle_of(connection.origin)


def test_after_closing_the_next_request_connects_anew(serve: Callable[..., Host], client_of: Any) -> None:
    server = serve(echoing)
    client = client_of(server)
    client.details("one")
    pool.close()
    pool.close()
    assert client.details("two").metadata == {"connection": 2}


def test_a_certificate_that_is_not_trusted_is_refused(
    serve: Callable[..., Host], client_of: Any, monkeypatch: pytest.MonkeyPatch, server_tls: ssl.SSLContext
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    pool.close()
    server = serve(echoing, server_tls)
    with pytest.raises(CloudflareUnavailableError, match="certificate"):
        client_of(server, retry=False).details("one")
    assert not server.requests


def test_certificates_that_cannot_be_read_are_named(
    serve: Callable[..., Host], client_of: Any, monkeypatch: pytest.MonkeyPatch, server_tls: ssl.SSLContext
) -> None:
    server = serve(echoing, server_tls)
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file")
    pool.close()
    with pytest.raises(CloudflareUnavailableError, match=r"SSL_CERT_FILE names no .* No such file"):
        client_of(server, retry=False).details("one")
    assert not server.connections


@pytest.mark.parametrize(
    ("variable", "content", "problem"),
    [
        ("SSL_CERT_FILE", "", "SSL_CERT_FILE names no usable certificates"),
        ("SSL_CERT_FILE", "no PEM", "SSL_CERT_FILE names no usable certificates"),
        ("SSL_CERT_DIR", None, "SSL_CERT_DIR names no usable certificates: No such folder"),
        ("SSL_CERT_DIR", "a file", "SSL_CERT_DIR names no usable certificates: No such folder"),
        ("SSLKEYLOGFILE", None, "file in SSLKEYLOGFILE cannot be written"),
    ],
)
def test_unusable_certificates_are_named(
    serve: Callable[..., Host],
    client_of: Any,
    monkeypatch: pytest.MonkeyPatch,
    server_tls: ssl.SSLContext,
    tmp_path: Path,
    variable: str,
    content: str | None,
    problem: str,
) -> None:
    server = serve(echoing, server_tls)
    path = tmp_path / "missing" / "file" if content is None else tmp_path / "file"
    if content is not None:
        path.write_text(content)
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.setenv(variable, str(path))
    monkeypatch.setattr(httpx, "create_ssl_context", httpx.create_ssl_context.__wrapped__)
    pool.close()
    with pytest.raises(CloudflareUnavailableError, match=problem):
        client_of(server, retry=False).details("one")
    assert not server.connections


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_certificates_that_do_not_fit_are_named(
    serve: Callable[..., Host],
    client_of: Any,
    monkeypatch: pytest.MonkeyPatch,
    server_tls: ssl.SSLContext,
    tmp_path: Path,
    variable: str,
) -> None:
    server = serve(echoing, server_tls)
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.setenv(variable, certifi.where() if variable == "SSL_CERT_FILE" else str(tmp_path))
    monkeypatch.setattr(httpx, "create_ssl_context", httpx.create_ssl_context.__wrapped__)
    pool.close()
    with pytest.raises(CloudflareUnavailableError, match=f"with the certificates of {variable}"):
        client_of(server, retry=False).details("one")


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_the_environments_certificates_are_trusted(
    serve: Callable[..., Host],
    client_of: Any,
    monkeypatch: pytest.MonkeyPatch,
    server_tls: ssl.SSLContext,
    certificate: Path,
    variable: str,
) -> None:
    folder = certificate.parent / "trusted"
    folder.mkdir(exist_ok=True)
    command = ["openssl", "x509", "-noout", "-hash", "-in", str(certificate)]
    digest = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    (folder / f"{digest}.0").write_bytes(certificate.with_suffix(".crt").read_bytes())
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.setenv(variable, str(certificate if variable == "SSL_CERT_FILE" else folder))
    monkeypatch.setattr(httpx, "create_ssl_context", httpx.create_ssl_context.__wrapped__)
    assert client_of(serve(echoing, server_tls)).details("one").id == "one"


def test_no_certificates_are_read_without_tls(
    serve: Callable[..., Host], client_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file")
    assert client_of(serve(echoing)).details("one").id == "one"
