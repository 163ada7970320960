"""A client that waits for nothing between attempts, and Cloudflare's side of the conversation."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import respx
import stamina

from cf_images.client import DEFAULT_API_URL, CloudflareImagesClient, connection

from .hosts import Host, host

ACCOUNT = "0123456789abcdef0123456789abcdef"
TOKEN = "tok-en_Very.Secret123"  # opens nothing


@pytest.fixture(autouse=True)
def _no_pauses() -> Iterator[None]:
    with stamina.set_testing(True, attempts=100, cap=True):
        yield


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def client() -> CloudflareImagesClient:
    return CloudflareImagesClient(ACCOUNT, TOKEN)


@pytest.fixture
def cloudflare() -> Iterator[respx.MockRouter]:
    """Cloudflare's API, mocked below httpx; routes are paths of the account."""
    with respx.mock(
        base_url=f"{DEFAULT_API_URL}/accounts/{ACCOUNT}/images", assert_all_called=False
    ) as router:
        yield router


@pytest.fixture
def serve() -> Iterator[Callable[..., Host]]:
    """Start a server that behaves as told; all are closed after the test."""
    connection.close()
    with ExitStack() as stack:
        yield lambda behavior, context=None: stack.enter_context(host(behavior, context))
        connection.close()  # before the servers: their threads wait for the end of their connections


@pytest.fixture
def server_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """What a server for ``https://localhost`` needs; the client trusts it through ``SSL_CERT_FILE``."""
    if not (openssl := shutil.which("openssl")):
        pytest.skip("openssl is not installed")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *(
                openssl,
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=localhost",
            ),
            *("-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


@pytest.fixture
def client_of() -> Callable[..., CloudflareImagesClient]:
    """A client of a server of ``serve``."""

    def make(server: Host, **options: Any) -> CloudflareImagesClient:
        return CloudflareImagesClient(ACCOUNT, TOKEN, api_url=f"{server.url}/client/v4", **options)

    return make
