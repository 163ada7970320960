"""Sends requests: a ``Request`` goes out, a response, a download or the reason for neither comes back.

httpcore's exceptions and requests, which carry the token, end here: what leaves is plain data.

To mock requests in tests, use respx with its default mocker, which replaces httpcore's connection pool.
pytest-httpx, and respx with ``using="httpx"``, replace parts of httpx that these requests do not pass: they
intercept nothing here, and the guard of this package's pytest plugin stops such a request.
"""

from __future__ import annotations

import json
import logging
import zlib
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import version
from typing import Any, NoReturn, cast
from urllib.parse import urlencode

import httpcore
import httpx

from cf_images.client import guard
from cf_images.client.multipart import FilePart, Form, UnreadableFileError
from cf_images.client.pool import Connection, Pool, process_pool
from cf_images.client.proxies import MisconfiguredError
from cf_images.client.responses import Response, TransportFailure, read_rate_limit
from cf_images.client.streams import Deadline
from cf_images.exceptions import CloudflareUnavailableError

logger = logging.getLogger(__name__)

# Cloudflare has not seen a byte of these requests. The classes of httpx are what tests raise through respx.
_NEVER_SENT = (
    httpcore.ConnectError,
    httpcore.ConnectTimeout,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    MisconfiguredError,
)


class UnusableResponseError(Exception):
    """A response that is not read any further; the message repeats nothing of it."""


class ResponseTooLargeError(UnusableResponseError):
    """A response with more bytes than allowed."""


FAILURES = (
    *_NEVER_SENT,
    UnusableResponseError,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
    httpx.HTTPError,
    zlib.error,
    UnreadableFileError,
)
# Bytes after decompression. A JSON text of half a megabyte may take 12 MB as objects; Cloudflare's longest
# that is no list, 100 variants, has about 30 KB.
MAX_JSON_BYTES = 512 * 1024
# An original has 10 MB; a report mentions 20. Cloudflare may encode a very large one anew.
MAX_IMAGE_BYTES = 32 * 1024 * 1024
_PIECE_BYTES = 64 * 1024
_COMPRESSED = ("gzip", "x-gzip", "deflate")
_MAX_DIGITS = 19  # of a Content-Length
_TIMEOUTS = ("connect", "read", "write", "pool")
_NOT_AN_IMAGE = ("application/json", "text/")  # the content type of a download that failed despite HTTP 200
_WITHOUT_BODY = ("GET", "HEAD", "DELETE", "OPTIONS")


class ApiToken:
    """The only place of the API token: not in its ``repr``, never pickled."""

    def __init__(self, value: str) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "ApiToken(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("An API token is not pickled.")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Target:
    """A URL, parsed; ``repr`` hides its path, which may be a permission to upload or to see."""

    origin: httpcore.Origin
    host_header: bytes
    path: str

    @classmethod
    def parse(cls, url: str) -> Target | None:
        """Return where ``url`` points to, or ``None`` if no request can be sent there."""
        try:
            parsed = httpx.URL(url)
            parsed.host  # noqa: B018  # decodes IDNA, which fails for some hosts that begin with xn--
        except (httpx.InvalidURL, ValueError):
            return None
        if parsed.scheme not in ("http", "https") or not parsed.host or not 0 < (parsed.port or 1) < 65536:
            return None
        port = parsed.port or (443 if parsed.scheme == "https" else 80)
        return cls(
            origin=httpcore.Origin(parsed.raw_scheme, parsed.raw_host, port),
            host_header=parsed.netloc,
            path=parsed.raw_path.decode(),
        )

    def below(self, path: str, params: Mapping[str, str] | None = None) -> Target:
        """Return the target with ``path``, percent-encoded already, behind the own one."""
        query = f"?{urlencode(params)}" if params else ""
        return replace(self, path=f"{self.path}{path}{query}")

    def __repr__(self) -> str:
        return f"<Target {self.origin}/[hidden]>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What one attempt sends: ``fields`` and ``file`` as a multipart form, or ``json``, or no body.

    ``line`` is the request as errors and logs show it, ``timeout`` the seconds for all of it, ``max_bytes``
    what a response that is no download may have. Without ``token`` the target itself is the permission, and
    as secret; ``basic_auth`` (user and password, percent-decoded) is for hosts other than Cloudflare's.
    """

    method: str
    target: Target
    line: str
    timeout: float
    token: ApiToken | None = None
    fields: Mapping[str, str] | None = None
    file: FilePart | None = None
    json: Mapping[str, Any] | None = None
    download: bool = False
    accept: str = "*/*"
    max_bytes: int = MAX_JSON_BYTES
    basic_auth: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)  # others, such as those of a browser

    @property
    def secrets(self) -> list[str]:
        """Return what no message may repeat, even if Cloudflare's does."""
        return [self.token.value] if self.token else [self.target.path.rstrip("/")]


class Download:
    """The bytes of an original as they arrive: a context manager, and an iterator of chunks.

    ``content_type`` and ``size`` (bytes, ``None`` if Cloudflare did not say) are known at once. A broken
    connection, too few bytes, more than 32 MB, or more time than the timeout (the caller's pauses do not
    count) raise ``CloudflareUnavailableError``. Read to its end it returns its connection to the pool; closed
    or dropped before, it closes the connection.
    """

    def __init__(
        self,
        pool: Pool,
        connection: Connection,
        response: httpcore.Response,
        *,
        chunks: Iterator[bytes],
        line: str,
        deadline: Deadline,
    ) -> None:
        self._pool, self._connection = pool, connection
        self._response, self._chunks = response, chunks
        self._line, self._deadline = line, deadline
        headers = headers_of(response)
        self._buffer = bytearray()
        self._received = 0
        self._open = True
        self._broken = ""
        self.content_type: str = headers.get("content-type", "")
        self.size = None if "content-encoding" in headers else content_length(headers)

    def read(self, size: int = -1) -> bytes:
        """Return ``size`` bytes, fewer only at the end; without ``size`` all that is left."""
        if size < 0:
            return b"".join(self)
        while len(self._buffer) < size and (chunk := self._next_chunk()):
            self._buffer += chunk
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk = self.read(len(self._buffer)) or self._next_chunk()
        if not chunk:
            raise StopIteration
        return chunk

    def close(self) -> None:
        """Stop reading. Takes no lock, so that a finalizer may call it."""
        self._buffer.clear()
        if self._open:
            self._open = False
            self._pool.discard(self._connection)

    def __enter__(self) -> Download:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def _next_chunk(self) -> bytes:
        chunk = self._receive() if self._open else b""
        if self._broken:
            raise CloudflareUnavailableError(f"The download broke off: {self._broken}.", request=self._line)
        return chunk

    def _receive(self) -> bytes:
        try:
            with self._deadline.running():
                chunk = next(self._chunks, b"")
        except FAILURES as error:
            self._broken = reason_for(error, self._deadline)
            self.close()
            return b""
        self._received += len(chunk)
        if not chunk:
            self._finish()
        return chunk

    def _finish(self) -> None:
        self._open = False
        self._response.close()
        self._pool.give_back(self._connection)
        complete = self._received == self.size if self.size else self._received > 0
        if not complete:
            self._broken = f"it ended after {self._received} bytes"


def exchange(request: Request) -> Response | Download | TransportFailure:
    """Make one attempt; raise only what the caller's file or the guard raises."""
    outcome = _exchange(request)
    # Here, far from the frames of httpcore, whose local variables hold the token.
    if request.file is not None and request.file.failure is not None:
        raise request.file.failure
    if isinstance(outcome, guard.HostRefusedError):
        guard.fail(outcome.host)
        raise CloudflareUnavailableError(f"Requests to {outcome.host} are refused.", request=request.line)
    logger.debug("%s: %s", request.line, getattr(outcome, "status", type(outcome).__name__))
    return outcome


def response_to(request: Request) -> Response | TransportFailure:
    """Do the same for a request that is no download."""
    return cast("Response | TransportFailure", exchange(request))


def _exchange(request: Request) -> Response | Download | TransportFailure | guard.HostRefusedError:
    deadline = Deadline(request.timeout)
    try:
        with deadline.running():
            pool = process_pool()
            return _send(pool, pool.take(request.target.origin), request, deadline)
    except guard.HostRefusedError as error:
        return error.with_traceback(None)
    except FAILURES as error:
        unclear = not isinstance(error, _NEVER_SENT)
        return TransportFailure(reason=reason_for(error, deadline), unclear=unclear)


def _send(pool: Pool, connection: Connection, request: Request, deadline: Deadline) -> Response | Download:
    try:
        response = connection.send(core_request(request, deadline))
        headers = headers_of(response)
        if request.download and _is_image(response.status, headers):
            chunks = body_of(response, max_bytes=MAX_IMAGE_BYTES, deadline=deadline)
            return Download(pool, connection, response, chunks=chunks, line=request.line, deadline=deadline)
        body = b"".join(body_of(response, max_bytes=request.max_bytes, deadline=deadline))
        response.close()
    except BaseException:
        pool.discard(connection)
        raise
    pool.give_back(connection)
    return Response(
        status=response.status,
        body=body,
        retry_after=headers.get("retry-after", ""),
        date=headers.get("date", ""),
        content_type=headers.get("content-type", ""),
        rate_limit=read_rate_limit(headers),
        allowed_origin=headers.get("access-control-allow-origin", ""),
    )


def core_request(request: Request, deadline: Deadline) -> httpcore.Request:
    """Return the request in httpcore's words."""
    target = request.target
    headers = [
        (b"Host", target.host_header),
        (b"User-Agent", _user_agent()),
        (b"Accept", request.accept.encode()),
        (b"Accept-Encoding", b"identity" if request.download else b"gzip"),
    ]
    content: _Content | bytes = b""
    if request.fields or request.file:
        form = Form(request.fields or {}, request.file)
        content = _Content(form, deadline)
        headers.append((b"Content-Type", form.content_type.encode()))
        headers.append((b"Content-Length", b"%d" % form.size))
    elif request.json is not None:
        content = json.dumps(request.json, ensure_ascii=False, allow_nan=False).encode()
        headers.append((b"Content-Type", b"application/json"))
        headers.append((b"Content-Length", b"%d" % len(content)))
    elif request.method not in _WITHOUT_BODY:
        headers.append((b"Content-Length", b"0"))
    if request.token is not None:
        headers.append((b"Authorization", b"Bearer " + request.token.value.encode()))
    if request.basic_auth:
        headers.append((b"Authorization", b"Basic " + b64encode(request.basic_auth.encode())))
    headers += [(name.encode(), value.encode()) for name, value in request.headers.items()]
    origin = target.origin
    return httpcore.Request(
        request.method,
        httpcore.URL(scheme=origin.scheme, host=origin.host, port=origin.port, target=target.path),
        headers=headers,
        content=content,
        extensions={"timeout": dict.fromkeys(_TIMEOUTS, deadline)},
    )


class _Content:
    """A form on its way; the time that the caller's file takes to be read does not count."""

    def __init__(self, form: Form, deadline: Deadline) -> None:
        self._form, self._deadline = form, deadline

    def __iter__(self) -> Iterator[bytes]:
        chunks = iter(self._form)
        while True:
            with self._deadline.paused():
                chunk = next(chunks, None)
            if chunk is None:
                return
            yield chunk


def headers_of(response: httpcore.Response) -> dict[str, str]:
    """Return the headers by name in lower case; values of the same name are joined by commas (RFC 9110)."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in response.headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def body_of(response: httpcore.Response, *, max_bytes: int, deadline: Deadline) -> Iterator[bytes]:
    """Return the body in chunks, none of them empty, as it was before the server compressed it.

    ``ResponseTooLargeError`` for more than ``max_bytes``: here where the server announces it.
    """
    headers = headers_of(response)
    encoding = headers.get("content-encoding", "").strip().lower()
    if encoding not in ("", "identity", *_COMPRESSED):
        raise UnusableResponseError("the response has an unknown Content-Encoding")
    if (content_length(headers) or 0) > max_bytes:
        raise _too_large(max_bytes)
    chunks: Iterator[bytes] = response.iter_stream()
    return _limited(_decompressed(chunks) if encoding in _COMPRESSED else chunks, max_bytes, deadline)


def _limited(chunks: Iterator[bytes], max_bytes: int, deadline: Deadline) -> Iterator[bytes]:
    received = 0
    for chunk in chunks:
        received += len(chunk)
        if received > max_bytes:
            raise _too_large(max_bytes)
        deadline.left()  # a million chunks of a byte take long without any waiting
        if chunk:
            yield chunk


def content_length(headers: Mapping[str, str]) -> int | None:
    """Return the number of bytes that the server has announced, if it has."""
    length = headers.get("content-length", "")
    return int(length) if len(length) <= _MAX_DIGITS and length.isascii() and length.isdigit() else None


def _too_large(max_bytes: int) -> ResponseTooLargeError:
    limit = f"{max_bytes // 1024**2} MB" if max_bytes >= 1024**2 else f"{max_bytes // 1024} KB"
    return ResponseTooLargeError(f"the response has more than {limit}")


def _decompressed(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield at most 64 KiB at a time: a kilobyte may hold a megabyte."""
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)  # 32: gzip or zlib, as its header says
    started = False
    for chunk in chunks:
        started = started or bool(chunk)
        while chunk and not decoder.eof:
            yield decoder.decompress(chunk, _PIECE_BYTES)
            chunk = decoder.unconsumed_tail
    while started and not decoder.eof:
        piece = decoder.decompress(decoder.unconsumed_tail, _PIECE_BYTES)
        if not piece:
            raise zlib.error("the compressed data are incomplete")
        yield piece


def _is_image(status: int, headers: Mapping[str, str]) -> bool:
    return status // 100 == 2 and not headers.get("content-type", "").startswith(_NOT_AN_IMAGE)


def reason_for(error: Exception, deadline: Deadline) -> str:
    """Return why there is no response; nothing that the other side sent, which may be part of a secret."""
    if isinstance(error, (httpcore.TimeoutException, httpx.TimeoutException)):
        return f"no complete response within {deadline:g} seconds"
    if isinstance(error, httpcore.RemoteProtocolError):
        ended = "disconnected" in str(error) or "closed connection" in str(error)
        return "the connection ended before the response" if ended else "the response is not valid HTTP"
    if isinstance(error, httpcore.LocalProtocolError):
        return "the request cannot be sent as HTTP"
    if isinstance(error, zlib.error):
        return "the response cannot be decompressed"
    return str(error) or type(error).__name__


@cache
def _user_agent() -> bytes:
    return f"django-cf-images/{version('django-cf-images')}".encode()
