"""A client that waits for nothing between attempts, and Cloudflare's side of the conversation."""

from __future__ import annotations

import functools
import os
import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx
import stamina

from cf_images.client import DEFAULT_API_URL, CloudflareImagesClient, pool

from .hosts import Host, host

ACCOUNT = "0123456789abcdef0123456789abcdef"
TOKEN = "tok-en_Very.Secret123"  # opens nothing


@pytest.fixture(autouse=True)
def _no_pauses() -> Iterator[None]:
    with stamina.set_testing(True, attempts=100, cap=True):
        yield


@functools.cache
def _trust(certificates: str | None, make: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    return make()


@pytest.fixture(autouse=True)
def _certificates_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading them takes longer than most of these tests."""
    make = httpx.create_ssl_context

    @functools.wraps(make)
    def make_once() -> ssl.SSLContext:
        return _trust(os.environ.get("SSL_CERT_FILE"), make)

    monkeypatch.setattr(httpx, "create_ssl_context", make_once)


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
    """Cloudflare's API, mocked in place of httpcore's pool; routes are paths of the account."""
    with respx.mock(
        base_url=f"{DEFAULT_API_URL}/accounts/{ACCOUNT}/images", assert_all_called=False
    ) as router:
        yield router


@pytest.fixture
def serve() -> Iterator[Callable[..., Host]]:
    """Start a server that behaves as told; all are closed after the test."""
    pool.close()
    with ExitStack() as stack:
        yield lambda behavior, context=None: stack.enter_context(host(behavior, context))
        pool.close()  # before the servers: their threads wait for the end of their connections


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for ``localhost`` that no authority has signed, with its key."""
    if not (openssl := shutil.which("openssl")):
        pytest.skip("openssl is not installed")
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    options = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = "-addext subjectAltName=DNS:localhost"
    command = [openssl, *options.split(), *names.split(), "-keyout", path, "-out", path.with_suffix(".crt")]
    subprocess.run(command, check=True, capture_output=True)
    path.write_text(path.read_text() + path.with_suffix(".crt").read_text())
    return path


@pytest.fixture
def server_tls(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """What a server for ``https://localhost`` needs; the client trusts it through ``SSL_CERT_FILE``."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def client_of() -> Callable[..., CloudflareImagesClient]:
    """A client of a server of ``serve``."""

    def make(server: Host, **options: Any) -> CloudflareImagesClient:
        return CloudflareImagesClient(ACCOUNT, TOKEN, api_url=f"{server.url}/client/v4", **options)

    return make
