"""Fetch a file from a URL that a stranger may have given, over the same transport as all other requests.

The connection is made directly, without a proxy, which would choose the IP address itself: each address of
the host is checked, and the connection goes to one of those, whatever the name server says next. No
redirects; size and total time are limited.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from tempfile import SpooledTemporaryFile
from typing import IO
from urllib.parse import SplitResult, unquote, urlsplit

import httpcore

from cf_images.client import guard
from cf_images.client.pool import Connection, process_pool
from cf_images.client.sources import FetchError, ascii_url, is_public
from cf_images.client.streams import Deadline
from cf_images.client.transport import (
    FAILURES,
    Request,
    ResponseTooLargeError,
    Target,
    body_of,
    core_request,
    reason_for,
)
from cf_images.exceptions import ImageRejectedError

_MEMORY_BYTES = 1024 * 1024  # of the file; what is more goes to disk
_TRY_LATER = (408, 425, 429)
_DEFAULT_PORTS = {"http": 80, "https": 443}


class _RefusedAddressError(Exception):
    """One of the host's IP addresses is not public."""


@contextmanager
def fetch(
    url: str, *, timeout: float, max_bytes: int, local_hosts: Collection[str] = ()
) -> Iterator[IO[bytes]]:
    """Yield what is at ``url`` as a file at its start, received within ``timeout`` seconds.

    ``local_hosts`` may have any IP address. Raise ``FetchError`` for what may pass, ``ImageRejectedError``
    for what will not; neither shows more of the URL than its host.
    """
    request, problem = _request(url, timeout)
    del url  # it may hold a password: an error report would show it with this frame
    if request is None:
        raise ImageRejectedError(f"The URL cannot be used: {problem}.")
    with SpooledTemporaryFile(max_size=_MEMORY_BYTES) as file:
        failure = _receive(request, file, max_bytes, local_hosts)
        if failure is not None:  # here, far from the frames that hold the request
            raise failure
        file.seek(0)
        yield file


def _receive(
    request: Request, file: IO[bytes], max_bytes: int, local_hosts: Collection[str]
) -> FetchError | ImageRejectedError | None:
    """Write the file; return what went wrong."""
    host = request.target.origin.host.decode()
    deadline = Deadline(request.timeout)

    def check(address: str) -> None:
        if host not in local_hosts and not is_public(address):
            raise _RefusedAddressError

    try:
        with deadline.running():
            pool = process_pool()
            connection = pool.connect_directly(request.target.origin, check)
            try:
                return _copy(connection, request, file, max_bytes, deadline)
            finally:
                pool.discard(connection)
    except guard.HostRefusedError:
        guard.fail(host)
        return FetchError(f"Requests to {host} are refused.")
    except _RefusedAddressError:
        return ImageRejectedError(f"{host} is not a public host.")
    except ResponseTooLargeError:
        return ImageRejectedError(f"The image has more than {max_bytes // 1024**2} MB, which is the limit.")
    except FAILURES as error:
        return FetchError(f"{host} does not respond with an image: {reason_for(error, deadline)}.")


def _copy(
    connection: Connection, request: Request, file: IO[bytes], max_bytes: int, deadline: Deadline
) -> FetchError | ImageRejectedError | None:
    response = connection.send(core_request(request, deadline))
    if response.status >= 500 or response.status in _TRY_LATER:
        return FetchError(f"The URL responds with HTTP {response.status}.")
    if response.status != 200:
        return ImageRejectedError(f"The URL responds with HTTP {response.status}, not with an image.")
    for chunk in body_of(response, max_bytes=max_bytes, deadline=deadline):
        file.write(chunk)
    response.close()
    return None


def _request(url: str, timeout: float) -> tuple[Request | None, str]:
    """Return the request for a URL, or why there is none."""
    try:
        parts = urlsplit(ascii_url(url))
        target = _target(parts)
        basic_auth = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else ""
    except ValueError:  # its message shows the URL
        return None, "it is not a valid URL"
    if target is None:
        return None, "it must begin with https:// and name a host"
    request = Request(
        method="GET",
        target=target,
        line="GET source URL",
        timeout=timeout,
        accept="image/*",
        download=True,  # no compression
        basic_auth=basic_auth,
    )
    return request, ""


def _target(parts: SplitResult) -> Target | None:
    """Return where the request goes; path and query as they are, since a signature may cover them."""
    host = (parts.hostname or "").removesuffix(".")  # no certificate has the dot
    if parts.scheme not in _DEFAULT_PORTS or not host or parts.port == 0:
        return None
    path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    return Target(
        origin=httpcore.Origin(
            parts.scheme.encode(), host.encode(), parts.port or _DEFAULT_PORTS[parts.scheme]
        ),
        host_header=parts.netloc.rpartition("@")[2].encode(),
        path=path,
    )
