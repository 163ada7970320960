"""Whatever a server sends: a value or an error of this package, in time, in little memory, fit to store."""

from __future__ import annotations

import gzip
import io
import json
import socket
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cf_images.client import CloudflareImagesClient, pool
from cf_images.exceptions import CloudflareImagesError, RateLimitedError

from .conftest import ACCOUNT, TOKEN
from .hosts import PNG, Host, host, read_request

TIMEOUT = 0.2
LATEST = 5.0  # seconds of the stopwatch
MAX_MEMORY = 20_000_000
MAX_INTEGER = 2**31 - 1  # of a PositiveIntegerField

REQUESTS: tuple[Callable[[CloudflareImagesClient, str], Any], ...] = (
    lambda client, _: client.details("one"),
    lambda client, _: client.update("one", metadata={"a": 1}),
    lambda client, _: client.delete("one"),
    lambda client, _: client.upload(io.BytesIO(PNG), image_id="one"),
    lambda client, _: client.upload(io.BytesIO(PNG)),
    lambda client, url: client.upload_direct(f"{url}/up", io.BytesIO(PNG), image_id="one"),
    lambda client, _: client.upload_url("https://a.example/ü"),
    lambda client, _: client.create_direct_upload(),
    lambda client, _: list(client.list_images(per_page=10)),
    lambda client, _: client.stats(),
    lambda client, _: client.signing_keys(),
    lambda client, _: client.batch_token(),
    lambda client, _: client.list_variants(),
    lambda client, _: client.config(),
    lambda client, _: client.server_time(),
    lambda client, _: client.download("one").read(),
)

# JSON, as odd as it gets

odd_text = st.text(st.characters(codec=None), max_size=20) | st.sampled_from(
    ["", "one", "\0", "\ud800", "x" * 5000, "ERROR 5404: \0", "ERROR 99999: x", f"Bearer {TOKEN}"]
)
odd_number = st.sampled_from(
    [-1, 0, 1, 5404, 971, 10000, 2**31, 2**63, 10**40, 0.5, float("inf"), float("-inf"), float("nan")]
)
odd = st.recursive(
    st.none() | st.booleans() | odd_number | odd_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(odd_text, inner, max_size=3),
    max_leaves=6,
)
moments = st.sampled_from(["2026-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+14:00"])


def object_of(**values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An object with these keys, all of them or some, each perhaps with any other value."""
    return st.fixed_dictionaries({}, optional={key: value | odd for key, value in values.items()})


image = object_of(
    id=st.sampled_from(["one", "other"]),
    filename=odd_text,
    uploaded=moments,
    meta=st.dictionaries(odd_text, odd, max_size=2),
    creator=odd_text,
    variants=st.lists(odd_text, max_size=2),
    draft=st.booleans(),
    requireSignedURLs=st.booleans(),
)
variant = object_of(id=odd_text, options=st.dictionaries(odd_text, odd, max_size=2))
result = odd | st.builds(
    lambda *parts: {key: value for part in parts for key, value in part.items()},
    image,
    object_of(
        uploadURL=st.sampled_from(["https://up.example/", "ftp://x", "\0"]),
        token=odd_text,
        expiresAt=moments,
        count=object_of(current=odd_number, allowed=odd_number),
        keys=st.lists(object_of(name=odd_text, value=odd_text), max_size=2),
        images=st.lists(image, max_size=3),
        continuation_token=odd_text,
        variants=st.dictionaries(odd_text, variant, max_size=2),
        browser_ttl=odd_number,
        flexible_variants=st.booleans(),
    ),
)
envelope = object_of(
    success=st.booleans(),
    errors=st.lists(object_of(code=odd_number, message=odd_text), max_size=3),
    result=result,
)
json_body = st.builds(
    lambda value, cut: json.dumps(value).encode()[: cut or None],
    envelope | odd,
    st.sampled_from([0, 0, 0, -1, -5]),
)
body = (
    json_body
    | st.binary(max_size=200)
    | st.sampled_from(
        [
            b"",
            b"[" * 100_000,
            b"{}," * 300_000,
            b"[" + b"[]," * 150_000 + b"[]]",
            b"x" * 3_000_000,
            b"<title>" * 1000,
            b"\xef\xbb\xbf{}",
            gzip.compress(bytes(20_000_000)),
            PNG,
        ]
    )
)

# HTTP, as odd as it gets

names = ("Retry-After", "Date", "Content-Type", "Content-Encoding", "Content-Length", "Transfer-Encoding")
numbers = (
    "9" * 30,
    "-1",
    "nan",
    "0",
    "Fri, 31 Dec 9999 23:59:59 -2359",
    "Fri, 1 Jan 99999999999999999 0:0:0 GMT",
)
kinds = ("image/png", "application/json", "text/html; charset=x", "gzip", "deflate", "br", "gzip, gzip")
others = ("chunked", "gzip, chunked", "close", "keep-alive", "upgrade", "\xff", "", "x" * 70_000)
header = st.tuples(
    st.sampled_from([*names, "Connection", "Location", "Set-Cookie", "X"]),
    st.sampled_from([*numbers, *kinds, *others]),
)
status = st.sampled_from(
    [200, 200, 200, 201, 204, 206, 301, 304, 400, 401, 404, 409, 415, 429, 500, 502, 599]
)


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    """One response, mostly well-formed."""
    number = draw(status | st.sampled_from([0, 1, 99, 100, 101, 199, 600, 999]))
    content = draw(body)
    form = draw(st.sampled_from(["length", "length", "chunked", "tiny", "close", "none", "wrong"]))
    headers = draw(st.lists(header, max_size=3))
    if form in ("length", "wrong"):
        length = len(content) + (draw(st.sampled_from([-1, 1, 10**15])) if form == "wrong" else 0)
        headers.append(("Content-Length", str(max(length, 0))))
    if form in ("chunked", "tiny"):
        headers.append(("Transfer-Encoding", "chunked"))
        size = 1 if form == "tiny" and len(content) < 1000 else 50_000
        pieces = [content[start : start + size] for start in range(0, len(content), size)]
        content = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    if form == "close":
        headers.append(("Connection", "close"))
    head = f"HTTP/1.{draw(st.sampled_from('1110'))} {number:03} Because\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers)
    return head.encode("latin-1") + b"\r\n" + content


class Sent(bytes):
    """What the server sends; a report of a failure need not show megabytes."""

    def __repr__(self) -> str:
        return bytes.__repr__(self if len(self) < 5000 else self[:5000] + b" (cut)")


interim = st.sampled_from(
    [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\n" * 50]
)
parts = st.lists(responses() | interim | st.binary(max_size=20), min_size=1, max_size=3)
sent = parts.map(lambda found: Sent(b"".join(found)))
manner = st.sampled_from(["at once", "at once", "cut", "then close", "slow end", "again and again"])


class Script:
    """What the server does with the next request."""

    data = b""
    manner = "at once"

    def __init__(self) -> None:
        self.threads = threading.active_count()  # of this process, which other tests have used

    def behave(self, server: Host, connection: socket.socket) -> None:
        data, manner = self.data, self.manner
        while read_request(connection):
            if manner == "cut":
                connection.sendall(data[: len(data) * 2 // 3])
                return
            if manner == "slow end":
                connection.sendall(data[:-3])
                for byte in data[-3:]:
                    server.closing.wait(0.15)
                    connection.sendall(bytes([byte]))
                return
            connection.sendall(data)
            while manner == "again and again" and not server.closing.is_set():
                connection.sendall(data)
            if manner == "then close":
                return


class Stopwatch:
    """Seconds that a thread of this process has slept: where the whole machine stands still, none pass."""

    STEP = 0.02

    def __init__(self) -> None:
        self._steps = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._over.wait(self.STEP):
            self._steps += 1

    @property
    def seconds(self) -> float:
        return self._steps * self.STEP

    def __enter__(self) -> Stopwatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


@pytest.fixture(scope="module")
def stopwatch() -> Iterator[Stopwatch]:
    with Stopwatch() as running:
        yield running


@pytest.fixture(scope="module")
def script(stopwatch: Stopwatch) -> Iterator[tuple[Script, Host]]:
    script = Script()
    pool.close()
    with host(script.behave) as server:
        yield script, server
        pool.close()


def check_columns(error: CloudflareImagesError) -> None:
    """Fail unless every column takes what the error carries."""
    assert error.code is None or (type(error.code) is int and 0 < error.code <= MAX_INTEGER)
    assert error.status is None or 0 < error.status <= MAX_INTEGER
    assert error.message
    assert error.message.isprintable()
    assert len(error.message) <= 300
    error.message.encode()
    if isinstance(error, RateLimitedError) and error.retry_after is not None:
        assert 0 <= error.retry_after <= 86_400


def check_texts(value: Any) -> None:
    """Fail unless an ID that Cloudflare chose, and all texts, can be stored."""
    repr(value).encode()
    if hasattr(value, "id"):
        assert 0 < len(value.id) <= 255
        assert "\0" not in f"{value.id}{getattr(value, 'filename', '')}{getattr(value, 'creator', '')}"


@settings(
    max_examples=250,
    deadline=None,
    derandomize=True,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.function_scoped_fixture,
    ],
)
@given(data=sent, manner=manner, request=st.sampled_from(REQUESTS))
def test_any_response_is_a_value_or_an_error_of_this_package(
    script: tuple[Script, Host], stopwatch: Stopwatch, data: bytes, manner: str, request: Any
) -> None:
    behavior, server = script
    behavior.data, behavior.manner = data, manner
    client = CloudflareImagesClient(ACCOUNT, TOKEN, api_url=server.url, timeout=TIMEOUT, retry=False)
    tracemalloc.start()
    started = stopwatch.seconds
    try:
        outcome = request(client, server.url)
    except CloudflareImagesError as error:
        outcome = error
    finally:
        elapsed, (_, peak) = stopwatch.seconds - started, tracemalloc.get_traced_memory()
        tracemalloc.stop()
        pool.close()
    if isinstance(outcome, CloudflareImagesError):
        check_columns(outcome)
        assert TOKEN not in f"{outcome!r} {outcome} {vars(outcome)}"
    else:
        check_texts(outcome)

    assert elapsed < LATEST
    assert peak < MAX_MEMORY + 2 * len(data)
    assert threading.active_count() < behavior.threads + 50
