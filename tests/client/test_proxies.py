"""The proxies of the environment: which is used for which host, and what happens if one cannot be."""

from __future__ import annotations

import base64
import io
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any

import pytest

from cf_images.client import pool, proxies
from cf_images.client.proxies import MisconfiguredError, Proxies
from cf_images.client.transport import Target
from cf_images.exceptions import CloudflareUnavailableError

from .conftest import ACCOUNT
from .hosts import PNG, Host, dead_port, header_lines, read_request, responding, silent, success
from .test_pool import echoing


def forwarding(server: Host, connection: socket.socket) -> None:
    """A proxy: CONNECT opens a tunnel, anything else is answered by the proxy itself."""
    while request := server.read(connection):
        if not request.startswith(b"CONNECT "):
            connection.sendall(success({"id": "one", "filename": "by the proxy"}))
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
    assert client_of(server).details("one").filename == "by the proxy"
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
    proxy = serve(responding(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n"))
    monkeypatch.setenv("https_proxy", f"http://user:hunter2@127.0.0.1:{proxy.port}")
    server = serve(echoing, server_tls)
    with pytest.raises(
        CloudflareUnavailableError, match="the proxy in https_proxy: 407 Who are you"
    ) as caught:
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


def test_tls_goes_through_a_proxy_with_tls(
    serve: Callable[..., Host], client_of: Any, monkeypatch: pytest.MonkeyPatch, server_tls: ssl.SSLContext
) -> None:
    server = serve(responding(success({"id": "one", "filename": "x" * 100_000})), server_tls)
    proxy = serve(tunneling, server_tls)
    monkeypatch.setenv("https_proxy", f"https://user:pass@localhost:{proxy.port}")
    client = client_of(server)
    for _ in range(2):
        assert len(client.details("one").filename) == 100_000
    assert client.upload(io.BytesIO(PNG * 1000), image_id="one").id == "one"
    assert len(proxy.requests) == server.connections == 1
    assert b"Bearer" not in b"".join(proxy.requests)


def tunneling(server: Host, connection: socket.socket) -> None:
    """A proxy over TLS: one thread for both directions, since two must not use one ``SSLSocket``."""
    request = server.read(connection)
    port = int(request.split(b" ")[1].rpartition(b":")[2])
    connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
    with socket.create_connection(("127.0.0.1", port)) as target:
        connection.settimeout(0.01)
        target.settimeout(0.01)
        while not server.closing.is_set():
            for source, sink in ((connection, target), (target, connection)):
                try:
                    data = source.recv(65536)
                except TimeoutError:
                    continue
                if not data:
                    return
                sink.settimeout(10)
                sink.sendall(data)
                sink.settimeout(0.01)


@pytest.mark.parametrize("greeted", [False, True], ids=["handshake", "response"])
def test_the_deadline_holds_for_parts_of_a_record_in_a_tunnel(
    serve: Callable[..., Host],
    client_of: Any,
    monkeypatch: pytest.MonkeyPatch,
    server_tls: ssl.SSLContext,
    greeted: bool,
) -> None:
    def trickle(server: Host, connection: socket.socket) -> None:
        server.read(connection)
        connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        if greeted:
            greet(connection, server_tls)
        connection.sendall(b"\x17\x03\x03\x40\x00" if greeted else b"\x16\x03\x03\x40\x00")
        while not server.closing.wait(0.05):
            connection.sendall(b"x")

    proxy = serve(trickle, server_tls)
    monkeypatch.setenv("https_proxy", f"https://localhost:{proxy.port}")
    client = client_of(serve(silent), timeout=1, retry=False)
    client._target = Target.parse("https://localhost:1/client/v4/accounts/a/")
    with pytest.raises(CloudflareUnavailableError, match="no complete response within 1 seconds"):
        client.details("one")


def greet(connection: socket.socket, context: ssl.SSLContext) -> None:
    """Do the inner TLS handshake, as the host behind the proxy."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    inner = context.wrap_bio(incoming, outgoing, server_side=True)
    while True:
        try:
            inner.do_handshake()
            connection.sendall(outgoing.read())
            return
        except ssl.SSLWantReadError:
            connection.sendall(outgoing.read())
            incoming.write(connection.recv(65536))


def found(host: str, *, scheme: str = "https", port: int = 443) -> str:
    """The host of the proxy for a host, or an empty string."""
    proxy = Proxies().find(scheme=scheme, host=host, port=port)
    return proxy.url.host.decode() if proxy else ""


def test_a_schemes_own_proxy_counts_before_the_one_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://all.example:1")
    assert found("cloudflare.example") == found("cloudflare.example", scheme="http", port=80) == "all.example"
    monkeypatch.setenv("HTTPS_PROXY", "https.example:2")  # without a scheme, as many write it
    assert found("cloudflare.example") == "https.example"
    assert found("cloudflare.example", scheme="http", port=80) == "all.example"


def test_lower_case_counts_before_upper_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://upper.example")
    monkeypatch.setenv("https_proxy", "http://lower.example")
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("no_proxy", "other.example")
    assert found("cloudflare.example") == "lower.example"


@pytest.mark.parametrize(
    ("entries", "direct"),
    [
        ("*", True),
        ("other.example, api.cloudflare.com", True),
        ("cloudflare.com", True),
        ("API.Cloudflare.Com", True),
        (".cloudflare.com", True),
        ("*.cloudflare.com", True),
        ("https://cloudflare.com", True),
        ("all://cloudflare.com", True),
        ("cloudflare.com:443", True),
        ("http://cloudflare.com", False),
        ("cloudflare.com:8443", False),
        (".api.cloudflare.com", False),
        ("flare.com", False),
        ("localhost", False),
        (",", False),
        ("", False),
        ("[::1]:80,192.168.0.0/16", False),
    ],
)
def test_no_proxy_lists_hosts_to_reach_directly(
    monkeypatch: pytest.MonkeyPatch, entries: str, direct: bool
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example")
    monkeypatch.setenv("NO_PROXY", entries)
    assert found("api.cloudflare.com") == ("" if direct else "proxy.example")


@pytest.mark.parametrize(
    ("entry", "host", "direct"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1:8787", "127.0.0.1", True),
        ("127.0.0.1:80", "127.0.0.1", False),
        ("127.0.0.1", "127.0.0.11", False),
        ("192.168.0.0/16", "192.168.7.8", True),
        ("192.168.0.0/16", "192.169.7.8", False),
        ("::1", "::1", True),
        ("[::1]", "::1", True),
        ("[::1]:8787", "::1", True),
        ("[::1]:80", "::1", False),
        ("fe80::/10", "fe80::7", True),
        ("192.168.0.0/16", "::1", False),
        ("localhost", "localhost", True),
        ("localhost", "x.localhost", False),
    ],
)
def test_no_proxy_knows_addresses_networks_and_ports(
    monkeypatch: pytest.MonkeyPatch, entry: str, host: str, direct: bool
) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://proxy.example")
    monkeypatch.setenv("NO_PROXY", entry)
    assert found(host, scheme="http", port=8787) == ("" if direct else "proxy.example")


@pytest.mark.parametrize(
    "value",
    [
        "http://user:hunter2@",
        "http://user:hunter2@proxy.example:port",
        "http://user:hunter2@proxy.example:99999",
        "ftp://user:hunter2@proxy.example",
        "socks4://user:hunter2@proxy.example",
        "http://user:hunter2\n@proxy.example",
        "http://user:hunter2@xn--zzzz--",
        "http://user:hunter2@ü..example",
        "socks5://",
        "//user:hunter2@proxy.example:1",
    ],
)
@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_a_proxy_that_cannot_be_is_named_and_not_shown(
    serve: Callable[..., Host], client_of: Any, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    server = serve(echoing)
    with pytest.raises(CloudflareUnavailableError, match=f"proxy in {name} cannot be used") as caught:
        client_of(server, retry=False).details("one")
    assert "hunter2" not in repr(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None
    assert not server.connections


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_a_proxy_that_is_not_there_is_named(
    serve: Callable[..., Host], client_of: Any, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    server = serve(echoing)
    for place in (f"127.0.0.1:{dead_port()}", "a..b", "["):
        monkeypatch.setenv("all_proxy", f"{scheme}://user:hunter2@{place}")
        pool.close()
        with pytest.raises(
            CloudflareUnavailableError, match=r"proxy in all_proxy( cannot be used)?: "
        ) as caught:
            client_of(server, retry=False).details("one")
        assert "hunter2" not in repr(caught.value)


def test_the_system_may_have_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxies, "getproxies", lambda: {"https": "ftp://x"})  # as on macOS and Windows
    with pytest.raises(MisconfiguredError, match="The proxy in the system's settings cannot be used"):
        found("api.cloudflare.com")


def test_a_proxys_password_is_not_in_its_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:hunter2@proxy.example")
    proxy = Proxies().find(scheme="https", host="a.example", port=443)
    assert proxy is not None
    assert proxy.auth == (b"user", b"hunter2")
    assert "hunter2" not in repr(proxy)


def test_a_socks_proxy_needs_a_package(
    serve: Callable[..., Host], client_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxies, "SOCKS_ERRORS", ())
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    with pytest.raises(
        CloudflareUnavailableError, match=r"ALL_PROXY .* socksio: pip install 'httpx\[socks\]'"
    ):
        client_of(serve(echoing), retry=False).details("one")


def socks(server: Host, connection: socket.socket) -> None:
    """A SOCKS5 proxy that lets ``user`` with ``pass`` through (RFC 1928, RFC 1929)."""
    assert connection.recv(100) == b"\x05\x01\x02"
    connection.sendall(b"\x05\x02")
    assert connection.recv(100) == b"\x01\x04user\x04pass"
    connection.sendall(b"\x01\x00")
    request = connection.recv(300)
    assert request[:5] == b"\x05\x01\x00\x03\x09"  # a name: the proxy resolves it
    connection.sendall(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00")
    server.requests.append(request)
    with socket.create_connection(("127.0.0.1", int.from_bytes(request[-2:], "big"))) as target:
        pump = threading.Thread(target=copy, args=(target, connection))
        pump.start()
        copy(connection, target)
        pump.join()


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_a_socks_proxy_is_used(
    serve: Callable[..., Host],
    client_of: Any,
    monkeypatch: pytest.MonkeyPatch,
    server_tls: ssl.SSLContext,
    scheme: str,
    tls: bool,
) -> None:
    pytest.importorskip("socksio")
    proxy = serve(socks)
    monkeypatch.setenv("all_proxy", f"{scheme}://user:pass@127.0.0.1:{proxy.port}")
    server = serve(echoing, server_tls if tls else None)
    for image_id in ("one", "two"):
        assert client_of(server).details(image_id).id == image_id
    assert len(proxy.requests) == proxy.connections == 1


@pytest.mark.parametrize(
    "reply", [b"\x05\xff", b"\x04\x00", b"HTTP/1.1 400 No\r\n\r\n", b"\x05", b""], ids=repr
)
def test_a_socks_proxy_that_refuses_is_unavailable(
    serve: Callable[..., Host], client_of: Any, monkeypatch: pytest.MonkeyPatch, reply: bytes
) -> None:
    pytest.importorskip("socksio")

    def refuse(server: Host, connection: socket.socket) -> None:
        connection.recv(100)
        connection.sendall(reply)

    monkeypatch.setenv("all_proxy", f"socks5://user:hunter2@127.0.0.1:{serve(refuse).port}")
    with pytest.raises(CloudflareUnavailableError, match="the proxy in all_proxy: ") as caught:
        client_of(serve(echoing), retry=False).details("one")
    assert "hunter2" not in str(caught.value)


def test_the_deadline_holds_for_the_socks_handshake(
    serve: Callable[..., Host], client_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("socksio")
    monkeypatch.setenv("all_proxy", f"socks5://127.0.0.1:{serve(silent).port}")
    with pytest.raises(CloudflareUnavailableError, match="no complete response"):
        client_of(serve(echoing), timeout=0.4, retry=False).details("one")
