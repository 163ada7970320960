"""Fetch an image from an address that a stranger may have given us, without becoming their way inside.

Every address the host resolves to must be public, and the connection goes to one of those very addresses,
so that a second answer of the name server changes nothing. No redirects, 10 MB, 15 seconds.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import SpooledTemporaryFile
from typing import IO
from urllib.parse import SplitResult, unquote, urlsplit

from cf_images import conf
from cf_images.exceptions import ImageRejectedError
from cf_images.images import MAX_BYTES

SECONDS = 15.0
_CHUNK_BYTES = 64 * 1024
_MEMORY_BYTES = 1024 * 1024
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class FetchError(Exception):
    """The image cannot be fetched at the moment; another time, perhaps."""


@contextmanager
def fetch(url: str) -> Iterator[IO[bytes]]:
    """The image at ``url`` as a file at its start.

    Raises ``FetchError`` for what may pass, ``ImageRejectedError`` for what will not.
    """
    address = urlsplit(url)
    connection = _connection(address)
    # Timeouts of sockets are per read; this one ends everything.
    watchdog = threading.Timer(SECONDS, _hang_up, args=(connection,))
    watchdog.start()
    try:
        with SpooledTemporaryFile(max_size=_MEMORY_BYTES) as file:
            _receive(connection, address, file)
            watchdog.cancel()
            file.seek(0)
            yield file
    finally:
        watchdog.cancel()
        connection.close()


def _receive(connection: http.client.HTTPConnection, address: SplitResult, file: IO[bytes]) -> None:
    path = f"{address.path or '/'}?{address.query}" if address.query else address.path or "/"
    try:
        connection.request("GET", path, headers=_headers(address))
        response = connection.getresponse()
        _check(response)
        while chunk := response.read(_CHUNK_BYTES):
            file.write(chunk)
            if file.tell() > MAX_BYTES:
                raise ImageRejectedError(f"The image has more than {MAX_BYTES // 1024**2} MB.")
        if response.length:
            raise FetchError("The answer ended too early.")
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise FetchError(f"{address.hostname} does not answer: {type(error).__name__}.") from None


def _check(response: http.client.HTTPResponse) -> None:
    if response.status >= 500 or response.status in (408, 425, 429):
        raise FetchError(f"The address answers with HTTP {response.status}.")
    if response.status != 200:
        raise ImageRejectedError(f"The address answers with HTTP {response.status}, not with an image.")


def _connection(address: SplitResult) -> http.client.HTTPConnection:
    """A connection to an address that was looked at; TLS checks the certificate for the host's name."""
    host = address.hostname or ""
    port = address.port or (80 if address.scheme == "http" else 443)
    connection = http.client.HTTPConnection(host, port)
    found = _resolved(host, port)
    try:
        connection.sock = socket.create_connection((found, port), SECONDS)
        if address.scheme != "http":
            context = ssl.create_default_context()
            connection.sock = context.wrap_socket(connection.sock, server_hostname=host)
    except OSError as error:
        connection.close()
        raise FetchError(f"{host} does not answer: {type(error).__name__}.") from None
    return connection


def _resolved(host: str, port: int) -> str:
    """One address of the host; all of them must be public, unless the settings name the host."""
    try:
        found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError):
        raise FetchError(f"{host} is not known to the name server.") from None
    if host not in conf.package("UPLOAD_URL_LOCAL_HOSTS"):
        for address in found:
            if not _is_public(address):
                raise ImageRejectedError(f"{host} is not a public host.")
    return found[0]


def _is_public(address: str) -> bool:
    """Whether packets to it leave for the internet, also where IPv6 only wraps an IPv4 address."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour or _nat64(parsed)
        if inner:
            parsed = inner
    return parsed.is_global and not parsed.is_multicast


def _nat64(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address behind 64:ff9b::/96 (RFC 6052)."""
    return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None


def _headers(address: SplitResult) -> dict[str, str]:
    headers = {"Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": "django-cf-images"}
    if address.username:
        credentials = f"{unquote(address.username)}:{unquote(address.password or '')}"
        headers["Authorization"] = f"Basic {b64encode(credentials.encode()).decode()}"
    return headers


def _hang_up(connection: http.client.HTTPConnection) -> None:
    if connection.sock is not None:
        try:
            connection.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
