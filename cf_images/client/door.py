"""The door to the network: one request goes out, an answer, a download or the reason for neither comes in.

httpx's exceptions and requests, which carry the token, end here: what leaves is plain data.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any, cast

import httpx

from cf_images.client.answers import Answer, NoAnswer
from cf_images.client.connection import Deadline, ProcessClient, process_client
from cf_images.client.forms import FilePart, UnreadableFileError
from cf_images.exceptions import CloudflareUnavailableError

_FAILURES = (httpx.HTTPError, httpx.InvalidURL, UnreadableFileError)
# Cloudflare has not seen a byte of these requests.
_NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.InvalidURL,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)
_PIECE_BYTES = 64 * 1024
_TIMEOUTS = ("connect", "read", "write", "pool")
_NO_IMAGE = ("application/json", "text/")  # of a download that is an error in spite of HTTP 200


class BearerAuth(httpx.Auth):
    """The API token's only place; shown as dots, never pickled."""

    def __init__(self, token: str) -> None:
        self.token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = f"Bearer {self.token}"
        yield request

    def __repr__(self) -> str:
        return "BearerAuth(…)"

    def __reduce__(self) -> str:
        raise TypeError("An API token is not pickled.")


class HiddenURL(httpx.URL):
    """An address whose possession is a permission, to upload or to see: httpx logs it without its path."""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}/[hidden]"

    __repr__ = __str__


def is_address(url: str) -> bool:
    """Whether a request can be sent there."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    return parsed.scheme in ("http", "https") and bool(parsed.host)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What one attempt sends: ``fields`` and ``file`` as a multipart form, or ``json``, or no body.

    ``line`` is the request as errors show it, ``timeout`` the seconds of network time for all of it.
    """

    method: str
    url: str | HiddenURL
    line: str
    timeout: float
    auth: BearerAuth | None = None
    params: Mapping[str, str] | None = None
    fields: Mapping[str, str] | None = None
    file: FilePart | None = None
    json: Mapping[str, Any] | None = None
    download: bool = False
    accept: str = "*/*"

    @property
    def secrets(self) -> list[str]:
        """What no message may repeat, even if Cloudflare's does."""
        if isinstance(self.url, HiddenURL):
            return [self.url.raw_path.decode().rstrip("/")]
        return [self.auth.token] if self.auth else []


class Download:
    """The bytes of an original as they arrive: a context manager, and an iterator of chunks.

    ``content_type`` and ``size`` (bytes, ``None`` when Cloudflare did not say) are known at once. A broken
    connection, too few bytes, or more waiting on the network than the timeout raise
    ``CloudflareUnavailableError``. Read to its end it gives its connection back; closed or dropped before,
    the connection is closed.
    """

    def __init__(self, client: ProcessClient, response: httpx.Response, request: Request) -> None:
        self._client = client
        self._response = response
        self._line, self._timeout = request.line, request.timeout
        self._chunks = client.chunks(response)
        self._buffer = bytearray()
        self._received = 0
        self._open = True
        self._broken = ""
        self.content_type: str = response.headers.get("content-type", "")
        length = "" if "content-encoding" in response.headers else response.headers.get("content-length", "")
        self.size = int(length) if length.isascii() and length.isdigit() else None

    def read(self, size: int = -1) -> bytes:
        """``size`` bytes, fewer only at the end; all that is left without ``size``."""
        if size < 0:
            return b"".join(self)
        while len(self._buffer) < size and (chunk := self._next_chunk()):
            self._buffer += chunk
        piece = bytes(self._buffer[:size])
        del self._buffer[:size]
        return piece

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk = self.read(len(self._buffer)) or self._next_chunk()
        if not chunk:
            raise StopIteration
        return chunk

    def close(self) -> None:
        """Stop here: there is nothing more to read. Takes no lock, so that a finalizer may call it."""
        self._buffer.clear()
        if self._open:
            self._open = False
            self._client.drop(self._response)

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
            chunk = next(self._chunks, b"")
        except httpx.HTTPError as error:
            self._broken = _reason(error, self._timeout)
            self.close()
            return b""
        self._received += len(chunk)
        if not chunk:
            self._finish()
        return chunk

    def _finish(self) -> None:
        """The connection is in the pool again, perhaps already another thread's: hands off."""
        self._open = False
        self._client.release(self._response)
        complete = self._received == self.size if self.size else self._received > 0
        if not complete:
            self._broken = f"it ended after {self._received} bytes"


def exchange(request: Request) -> Answer | Download | NoAnswer:
    """One attempt; it raises only what the caller's file raised."""
    outcome = _exchange(request)
    # Here, far from the frames of httpx, whose local variables hold the token.
    if request.file is not None and request.file.failure is not None:
        raise request.file.failure
    return outcome


def answer_to(request: Request) -> Answer | NoAnswer:
    """``exchange`` of a request that is no download."""
    return cast("Answer | NoAnswer", exchange(request))


def _exchange(request: Request) -> Answer | Download | NoAnswer:
    client = process_client()
    client.tidy()
    try:
        response = client.send(_httpx_request(request), auth=request.auth, stream=True)
        if request.download and _is_image(response):
            return Download(client, response, request)
        with closing(response):
            body = response.read()
    except _FAILURES as error:
        return NoAnswer(reason=_reason(error, request.timeout), unclear=not isinstance(error, _NEVER_SENT))
    headers = response.headers
    return Answer(
        status=response.status_code,
        body=body,
        retry_after=headers.get("retry-after", ""),
        date=headers.get("date", ""),
        content_type=headers.get("content-type", ""),
    )


def _httpx_request(request: Request) -> httpx.Request:
    files: list[tuple[str, Any]] = [(name, (None, text)) for name, text in (request.fields or {}).items()]
    if request.file is not None:
        files.append(("file", (request.file.filename, request.file, request.file.content_type)))
    built = httpx.Request(
        request.method,
        request.url,
        params=request.params,
        headers={
            "User-Agent": _user_agent(),
            "Accept": request.accept,
            "Accept-Encoding": "identity" if request.download else "gzip",
        },
        files=files or None,
        json=request.json,
        extensions={"timeout": dict.fromkeys(_TIMEOUTS, Deadline(request.timeout))},
    )
    if files:
        built.stream = _Pieces(built.stream)
    if isinstance(request.url, HiddenURL):
        built.url = request.url  # httpx made a plain copy
    return built


class _Pieces(httpx.SyncByteStream):
    """A form in pieces worth a system call: httpx sends each boundary, header and value by itself."""

    def __init__(self, form: Any) -> None:
        self._form = form

    def __iter__(self) -> Iterator[bytes]:
        pending: list[bytes] = []
        waiting = 0
        for part in self._form:
            pending.append(part)
            waiting += len(part)
            if waiting >= _PIECE_BYTES:
                yield b"".join(pending)
                pending, waiting = [], 0
        yield b"".join(pending)


def _is_image(response: httpx.Response) -> bool:
    return response.is_success and not response.headers.get("content-type", "").startswith(_NO_IMAGE)


def _reason(error: Exception, timeout: float) -> str:
    if isinstance(error, httpx.TimeoutException):
        return f"no complete answer within {timeout:g} seconds"
    return str(error) or type(error).__name__


@cache
def _user_agent() -> str:
    return f"django-cf-images/{version('django-cf-images')}"
