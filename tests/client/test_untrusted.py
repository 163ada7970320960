"""What the other side sends is checked: it is for this request, bounded, in time, and quoted with care."""

from __future__ import annotations

import gzip
import io
import json
import logging
import socket
import time
import tracemalloc
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import respx

from cf_images.client import CloudflareImagesClient, fetch_delivery_url
from cf_images.client.responses import Response, error_for
from cf_images.client.transport import MAX_IMAGE_BYTES
from cf_images.exceptions import (
    CloudflareImagesError,
    CloudflareUnavailableError,
    ImageNotFoundError,
    ImageRejectedError,
    RateLimitedError,
)

from .hosts import PNG, Host, failure, responding, response, success
from .test_secrets import everything_in

OTHER = success({"id": "other"})
UNREADABLE = r"Cloudflare's response cannot be read\."
REQUESTS: dict[str, Callable[[CloudflareImagesClient, Host], Any]] = {
    "details": lambda client, _: client.details("one"),
    "update": lambda client, _: client.update("one", creator="me"),
    "upload": lambda client, _: client.upload(io.BytesIO(PNG), image_id="one"),
    "upload_url": lambda client, _: client.upload_url("https://a.example/", image_id="one"),
    "upload_direct": lambda client, server: client.upload_direct(
        f"{server.url}/up", io.BytesIO(PNG), image_id="one"
    ),
}


# For the request that was sent


@pytest.mark.parametrize("name", REQUESTS)
def test_an_image_with_another_id_is_refused(serve: Callable[..., Host], client_of: Any, name: str) -> None:
    server = serve(responding(OTHER))
    with pytest.raises(CloudflareUnavailableError, match=UNREADABLE):
        REQUESTS[name](client_of(server, retry=False), server)


def test_a_reservation_of_another_id_is_refused(serve: Callable[..., Host], client_of: Any) -> None:
    client = client_of(serve(responding(success({"id": "other", "uploadURL": "https://up/"}))), retry=False)
    with pytest.raises(CloudflareUnavailableError, match=UNREADABLE):
        client.create_direct_upload(image_id="one")
    assert client.create_direct_upload().id == "other"


def test_another_variant_or_key_is_refused(serve: Callable[..., Host], client_of: Any) -> None:
    result = {"variant": {"id": "other", "options": {}}, "keys": [{"name": "other", "value": "x"}]}
    client = client_of(serve(responding(success(result))), retry=False)
    requests: list[Callable[[], Any]] = [
        lambda: client.variant("one"),
        lambda: client.create_variant("one", options={}),
        lambda: client.update_variant("one", options={}),
        lambda: client.put_signing_key("one"),
    ]
    for request in requests:
        with pytest.raises(CloudflareUnavailableError, match=UNREADABLE):
            request()


def test_a_changed_access_may_change_the_id(serve: Callable[..., Host], client_of: Any) -> None:
    client = client_of(serve(responding(OTHER)), retry=False)
    assert client.update("one", require_signed_urls=False).id == "other"


@pytest.mark.parametrize("image_id", ["x" * 256, "nul\0", "line\nbreak", "\ud800"])
def test_an_id_that_cloudflare_would_not_choose_is_refused(
    serve: Callable[..., Host], client_of: Any, image_id: str
) -> None:
    reply = success({"id": image_id, "uploadURL": "https://up/"})
    client = client_of(serve(responding(reply)), retry=False)
    if image_id == "\ud800":
        image = client.upload(io.BytesIO(PNG))
        assert image.id == "\N{REPLACEMENT CHARACTER}"  # a character that can be stored
        return
    for request in (lambda: client.upload(io.BytesIO(PNG)), client.create_direct_upload):
        with pytest.raises(CloudflareUnavailableError, match=UNREADABLE):
            request()


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"


def chunked(reply: bytes) -> bytes:
    body = reply.partition(b"\r\n\r\n")[2]
    return CHUNKED % (len(body), body)


@pytest.mark.parametrize("form", [bytes, chunked], ids=["length", "chunked"])
@pytest.mark.parametrize("part", [None, 1, -5], ids=["whole", "a byte", "cut"])
def test_bytes_behind_a_response_are_not_the_next_one(
    serve: Callable[..., Host], client_of: Any, form: Any, part: int | None
) -> None:
    def behave(server: Host, connection: socket.socket) -> None:
        image_id = server.read(connection).split(b" ")[1].rpartition(b"/")[2].decode()
        more = form(success({"id": "two", "creator": "attacker"}))[:part]
        connection.sendall(form(success({"id": image_id})) + more)
        server.closing.wait(5)

    server = serve(behave)
    client = client_of(server, retry=False)
    assert client.details("one").id == "one"
    image = client.details("two")
    assert (image.id, image.creator) == ("two", None)
    assert server.connections == 2


def test_bytes_behind_a_download_are_not_the_next_response(
    serve: Callable[..., Host], client_of: Any
) -> None:
    def behave(server: Host, connection: socket.socket) -> None:
        server.read(connection)
        connection.sendall(response(200, PNG, "image/png") + success({"id": "one", "creator": "attacker"}))
        server.read(connection)

    server = serve(behave)
    client = client_of(server, retry=False)
    assert client.download("one").read() == PNG
    assert client.download("one").read() == PNG
    assert server.connections == 2


# Bounded


@pytest.fixture
def peak() -> Any:
    """The highest number of bytes since the test began."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


BOMB = gzip.compress(bytes(200_000_000), 9)


@pytest.mark.parametrize(
    "reply",
    [
        response(200, BOMB, Content_Encoding="gzip"),
        response(200, zlib.compress(bytes(200_000_000), 9), Content_Encoding="deflate"),
        response(200, BOMB, "text/html", Content_Encoding="x-gzip"),
        response(502, BOMB, "text/html", Content_Encoding="gzip"),
        response(200, b"[" + b"{}," * 10_000_000 + b"{}]"),
        response(200, b'{"success": true, "result": {"id": "' + b"x" * 30_000_000 + b'"}}'),
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 30_000_000,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5_000_000,
    ],
    ids=["gzip", "zlib", "page", "error", "objects", "text", "announced", "header", "headers"],
)
@pytest.mark.parametrize("name", ["details", "upload_direct", "download", "stats"])
def test_no_response_takes_much_memory(
    serve: Callable[..., Host], client_of: Any, peak: Callable[[], int], reply: bytes, name: str
) -> None:
    requests = REQUESTS | {"download": lambda client, _: client.download("one").read()}
    requests |= {"stats": lambda client, _: client.stats()}
    server = serve(responding(reply))
    began = peak()
    with pytest.raises(CloudflareUnavailableError, match=r"more than|not valid HTTP"):
        requests[name](client_of(server, retry=False, timeout=20), server)
    limit = 20_000_000 if name != "download" else MAX_IMAGE_BYTES + 30_000_000
    assert peak() - began < limit


@pytest.mark.parametrize("content_type", ["application/json", "image/png"])
@pytest.mark.parametrize("head", ["Connection: close", "Transfer-Encoding: chunked"])
def test_an_endless_body_is_cut_off(
    serve: Callable[..., Host], client_of: Any, head: str, content_type: str
) -> None:
    def endless(server: Host, connection: socket.socket) -> None:
        server.read(connection)
        connection.sendall(f"HTTP/1.1 200 OK\r\n{head}\r\nContent-Type: {content_type}\r\n\r\n".encode())
        chunk = bytes(1_000_000)
        while not server.closing.is_set():
            connection.sendall(b"%x\r\n%b\r\n" % (len(chunk), chunk) if "chunked" in head else chunk)

    client = client_of(serve(endless), retry=False)
    with pytest.raises(CloudflareUnavailableError, match="has more than 512 KB"):
        client.stats()
    with pytest.raises(CloudflareUnavailableError, match=r"has more than (32 MB|512 KB)"):
        client.download("one").read()


def test_an_announced_download_that_is_too_large_is_not_opened(
    serve: Callable[..., Host], client_of: Any
) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: {MAX_IMAGE_BYTES + 1}\r\n\r\n"
    with pytest.raises(CloudflareUnavailableError, match="has more than 32 MB"):
        client_of(serve(responding(head.encode())), retry=False).download("one")


def test_a_list_may_be_as_long_as_cloudflares_longest(serve: Callable[..., Host], client_of: Any) -> None:
    variants = [
        f"https://imagedelivery.net/{'h' * 22}/{'i' * 36}/{'v' * 90}{number}" for number in range(100)
    ]
    images = [{"id": str(number), "variants": variants, "meta": {"a": "x" * 1000}} for number in range(300)]
    reply = success({"images": images})
    assert len(reply) > 4_000_000
    compressed = response(200, gzip.compress(reply.partition(b"\r\n\r\n")[2]), Content_Encoding="gzip")
    for sent in (reply, compressed):
        assert len(list(client_of(serve(responding(sent)), retry=False).list_images(per_page=300))) == 300


def test_a_short_list_may_not_be_long(serve: Callable[..., Host], client_of: Any) -> None:
    reply = success({"images": [{"id": "x" * 1000} for _ in range(2000)]})
    with pytest.raises(CloudflareUnavailableError, match="has more than 512 KB"):
        list(client_of(serve(responding(reply)), retry=False).list_images(per_page=10))


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (gzip.compress(b'{"success": true, "result": {"id": "one"}}')[:-9], "gzip"),
        (gzip.compress(b"x" * 100_000)[:-1], "gzip"),
        (b"no gzip at all", "gzip"),
        (b'{"success": true, "result": {"id": "one"}}', "br"),
        (gzip.compress(gzip.compress(b'{"success": true, "result": {"id": "one"}}')), "gzip, gzip"),
    ],
    ids=["cut", "cut at the end", "other", "unknown", "twice"],
)
def test_a_body_that_cannot_be_decompressed_is_no_response(
    serve: Callable[..., Host], client_of: Any, body: bytes, encoding: str
) -> None:
    for content_type in ("application/json", "image/png"):
        reply = response(200, body, content_type, Content_Encoding=encoding)
        client = client_of(serve(responding(reply)), retry=False)
        with pytest.raises(CloudflareUnavailableError, match=r"decompressed|unknown Content-Encoding"):
            client.details("one")
        with pytest.raises(CloudflareUnavailableError, match=r"decompressed|unknown Content-Encoding"):
            client.download("one").read()


def test_an_empty_compressed_body_is_empty(serve: Callable[..., Host], client_of: Any) -> None:
    client = client_of(serve(responding(response(404, b"", Content_Encoding="gzip"))), retry=False)
    with pytest.raises(ImageNotFoundError, match="empty"):
        client.details("one")


def test_a_delivered_image_is_bounded(serve: Callable[..., Host]) -> None:
    server = serve(responding(response(200, BOMB, "image/svg+xml", Content_Encoding="gzip")))
    with pytest.raises(CloudflareUnavailableError, match="has more than 32 MB"):
        fetch_delivery_url(f"{server.url}/hash/id/public")


# In time


def flooding(data: bytes) -> Any:
    """Send the data over and over, as fast as the client reads."""

    def behave(server: Host, connection: socket.socket) -> None:
        server.read(connection)
        while not server.closing.is_set():
            connection.sendall(data)

    return behave


@pytest.mark.parametrize(
    "behavior",
    [
        flooding(b"HTTP/1.1 102 Processing\r\n\r\n" * 1000),
        flooding(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 1000),
        flooding(b"HTTP/1.1 100 \r\n" + b"a: b\r\n" * 5000 + b"\r\n"),
    ],
    ids=["102", "103", "large"],
)
@pytest.mark.parametrize("name", ["details", "upload_direct"])
def test_a_flood_of_interim_responses_ends_in_time(
    serve: Callable[..., Host], client_of: Any, behavior: Any, name: str
) -> None:
    server = serve(behavior)
    started = time.monotonic()
    with pytest.raises(CloudflareUnavailableError, match=r"no complete response within 0\.5 seconds"):
        REQUESTS[name](client_of(server, retry=False, timeout=0.5), server)
    assert time.monotonic() - started < 10  # without the limit: as long as the host sends


def test_a_body_of_tiny_chunks_ends_in_time(serve: Callable[..., Host], client_of: Any) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: image/png\r\n\r\n"

    def behave(server: Host, connection: socket.socket) -> None:
        server.read(connection)
        connection.sendall(head)
        while not server.closing.is_set():
            connection.sendall(b"1\r\nx\r\n" * 10_000)

    started = time.monotonic()
    with pytest.raises(CloudflareUnavailableError, match="no complete response"):
        client_of(serve(behave), retry=False, timeout=0.5).download("one").read()
    assert time.monotonic() - started < 10


def test_the_time_that_the_callers_file_takes_does_not_count(
    serve: Callable[..., Host], client_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    offset = [0.0]
    real = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: real() + offset[0])

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            offset[0] += 100
            return super().read(size)

    server = serve(responding(success({"id": "one"})))
    assert client_of(server, timeout=30).upload(Slow(PNG * 300), image_id="one").id == "one"


# Quoted with care

KEYS = {"keys": [{"name": "default", "value": "s1gning-k3y"}], "token": "b4tch-tok3n"}
KEYS |= {"id": "one", "uploadURL": "https://up.example/h/s3cret-id"}
BODY = json.dumps({"success": True, "errors": [{"code": 5404, "message": "s1gning-k3y"}], "result": KEYS})
SECRETS = ("s1gning-k3y", "b4tch-tok3n", "s3cret-id")
UNREADABLE_BODIES = {
    "comment": f"{BODY} // served by a proxy",
    "prefix": f"ok: {BODY}",
    "cut": BODY[:-5],
    "single quotes": str(KEYS),
    "no success": BODY.replace("true", "false"),
    "wrong types": json.dumps({"success": True, "result": [KEYS]}),
    "page": f"<html><title>{BODY}</title>",
    "code": f"ERROR 5404: {BODY}",
    "surrogate": BODY.encode().replace(b'"default"', b'"\xed\xa0\x80"').decode(errors="surrogateescape"),
}


@pytest.mark.parametrize("kind", UNREADABLE_BODIES)
@pytest.mark.parametrize("status", [200, 201, 206, 299])
@pytest.mark.parametrize("form", ["length", "chunked", "broken chunk"])
def test_a_success_that_cannot_be_read_is_never_quoted(
    serve: Callable[..., Host],
    client_of: Any,
    caplog: pytest.LogCaptureFixture,
    kind: str,
    status: int,
    form: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    body = UNREADABLE_BODIES[kind].encode(errors="surrogateescape")
    reply = response(status, body)
    if form != "length":
        reply = (CHUNKED % (len(body), body)).replace(b"200", b"%d" % status)
    if form == "broken chunk":
        reply = reply.replace(b"%x\r\n" % len(body), b"")
    client = client_of(serve(responding(reply)), retry=False)
    requests: list[Callable[[], Any]] = [
        client.signing_keys,
        lambda: client.put_signing_key("default"),
        client.batch_token,
        client.create_direct_upload,
        lambda: client.download("one").read() if form == "length" else client.stats(),
        client.stats,
    ]
    for request in requests:
        with pytest.raises(CloudflareImagesError) as caught:
            request()
        shown = [*everything_in(caught.value), *(repr(vars(record)) for record in caplog.records)]
        assert not [text for text in shown for secret in SECRETS if secret in text]


def test_an_error_that_looks_like_a_result_cut_off_is_not_quoted(
    serve: Callable[..., Host], client_of: Any
) -> None:
    client = client_of(serve(responding(response(502, BODY[:-5]))), retry=False)
    with pytest.raises(CloudflareUnavailableError, match=UNREADABLE):
        client.signing_keys()


def test_a_secret_at_the_end_of_what_is_quoted_is_not_halved(client: CloudflareImagesClient) -> None:
    secret = "s" * 100
    for spaces in range(3900, 4100, 7):
        reply = Response(status=502, body=b"It is:" + b" " * spaces + secret.encode() + b" " * 9000)
        message = error_for(reply, request="GET /", secrets=[secret]).message
        assert "sss" not in message
        assert message.startswith("It is:")


# Absurd numbers and texts


@pytest.mark.parametrize(
    "code",
    [
        *(10**40, -1, 0, 2**31, True, False, 1.5, 5404.0, "5404", "x", None, [], {}, [5404], {"code": 5404}),
        *(-(10**40), 1e300),
    ],
    ids=repr,
)
def test_a_code_that_is_none_is_ignored(serve: Callable[..., Host], client_of: Any, code: Any) -> None:
    body = json.dumps({"success": False, "errors": [{"code": code, "message": "No"}]})
    with pytest.raises(ImageRejectedError) as caught:
        client_of(serve(responding(response(400, body))), retry=False).details("one")
    assert (caught.value.code, caught.value.message) == (None, "No")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 5000])
def test_a_number_that_json_does_not_have_makes_the_response_unreadable(
    serve: Callable[..., Host], client_of: Any, number: str
) -> None:
    body = '{"success": true, "result": {"id": "one", "meta": {"n": %s}, "count": {"current": %s}}}'
    client = client_of(serve(responding(response(200, body % (number, number)))), retry=False)
    for request in (lambda: client.details("one"), client.stats):
        with pytest.raises(CloudflareUnavailableError, match=UNREADABLE):
            request()


@pytest.mark.parametrize("count", [-1, 2**63, 10**400, 1.5, "3", True, None, [], {}])
def test_a_count_that_is_none_makes_the_response_unreadable(
    serve: Callable[..., Host], client_of: Any, count: Any
) -> None:
    reply = success({"count": {"current": count, "allowed": 1}, "browser_ttl": count or ""})
    client = client_of(serve(responding(reply)), retry=False)
    for request in (client.stats, client.config):
        with pytest.raises(CloudflareUnavailableError, match=UNREADABLE):
            request()


@pytest.mark.parametrize(
    "change",
    [
        {"filename": 7},
        {"creator": ["me"]},
        {"meta": [["a", "b"]]},
        {"meta": "text"},
        {"draft": "false"},
        {"requireSignedURLs": 1},
        {"variants": "https://a.example/"},
        {"variants": [7]},
        {"variants": {"a": "b"}},
    ],
    ids=repr,
)
def test_a_value_of_another_type_makes_the_response_unreadable(
    serve: Callable[..., Host], client_of: Any, change: dict[str, Any]
) -> None:
    client = client_of(serve(responding(success({"id": "one"} | change))), retry=False)
    with pytest.raises(CloudflareUnavailableError, match=UNREADABLE):
        client.details("one")


@pytest.mark.parametrize(
    "url",
    ["", "/up", "ftp://up/", "javascript:alert(1)", "https://up/ x", "https://ü/", "https://" + "x" * 5000],
)
def test_an_upload_url_that_is_none_makes_the_response_unreadable(
    serve: Callable[..., Host], client_of: Any, url: str
) -> None:
    client = client_of(serve(responding(success({"id": "one", "uploadURL": url}))), retry=False)
    with pytest.raises(CloudflareUnavailableError, match=UNREADABLE):
        client.create_direct_upload()


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("a\0b", "a b"),
        ("a\ud800b", "a\N{REPLACEMENT CHARACTER}b"),
        ("\ud83d\ude00", "\N{GRINNING FACE}"),
        ("\N{RIGHT-TO-LEFT OVERRIDE}gnp\x1b[31m\x07", "gnp [31m"),
        ("a\u2028b\N{NO-BREAK SPACE}c", "a b c"),
        ("x" * 100_000, "x" * 299 + "…"),
        ("", "Cloudflare's response cannot be read."),
        ("\x19 \0", "Cloudflare's response cannot be read."),
        (7, "Cloudflare's response cannot be read."),
        ({"a": "b"}, "Cloudflare's response cannot be read."),
        (None, "Cloudflare's response cannot be read."),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_message_is_one_printable_line(
    serve: Callable[..., Host], client_of: Any, message: Any, shown: str
) -> None:
    body = json.dumps({"success": False, "errors": [{"code": 5404, "message": message}]})
    with pytest.raises(ImageNotFoundError) as caught:
        client_of(serve(responding(response(404, body))), retry=False).details("one")
    assert caught.value.message == shown


@pytest.mark.parametrize("header", ["9" * 30, "9" * 400, "9" * 9000, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_no_pause_is_longer_than_a_day(serve: Callable[..., Host], client_of: Any, header: str) -> None:
    with pytest.raises(RateLimitedError) as caught:
        client_of(serve(responding(response(429, "", Retry_After=header))), retry=False).details("one")
    assert caught.value.retry_after == 86_400


@pytest.mark.parametrize(
    "header",
    [
        *("-1", "nan", "inf", "1e3", "0x10", "1.5", "٣", "1, 2", "Fri", "Mon, 99 Foo 0000 00:00:00 GMT"),
        *("Fri, 1 Jan 99999999999999999999 00:00:00 GMT", "Fri, 1 Jan 2027 99:99:99 GMT"),
        *(
            "Fri, 1 Jan 0001 00:00:00 +2359",
            "Fri, 31 Dec 9999 23:59:59 -2359",
            "Fri, 1 Jan 2027 00:00:00 +9999999",
        ),
        *(",", "\xff", "1" + " " * 500 + "2"),
    ],
)
def test_a_pause_or_a_date_that_is_none_is_ignored(header: str) -> None:
    error = error_for(Response(status=429, body=b"", retry_after=header), request="GET /", secrets=())
    assert isinstance(error, RateLimitedError)
    assert error.retry_after in (None, 0.0)


@pytest.mark.parametrize("date", ["Fri, 31 Dec 9999 23:59:59 -2359", "Fri, 1 Jan 99999 00:00:00 GMT", "x"])
def test_a_clock_out_of_range_is_none(serve: Callable[..., Host], client_of: Any, date: str) -> None:
    client = client_of(serve(responding(response(200, "{}", Date=date))))
    assert client.server_time() is None


@pytest.mark.parametrize(
    "moment",
    ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "10000-01-01", 7, [], "", "x" * 10_000],
    ids=lambda value: repr(value)[:30],
)
def test_a_moment_out_of_range_is_none(client: CloudflareImagesClient, moment: Any) -> None:
    with respx.mock:
        respx.get(url__regex=".*").respond(
            json={"success": True, "result": {"id": "one", "uploaded": moment}}
        )
        assert client.details("one").uploaded_at is None


def test_texts_of_whoever_uploaded_can_be_stored_and_printed(
    serve: Callable[..., Host], client_of: Any
) -> None:
    result = {"id": "one", "filename": "a\0\ud800.png", "creator": "\udfff", "meta": {"\ud800": ["\ud800"]}}
    image = client_of(serve(responding(success(result)))).details("one")
    text = repr([image.filename, image.creator, image.metadata])
    assert text.encode().decode() == text
    assert "\0" not in f"{image.filename}{image.creator}"
    assert json.dumps(image.metadata, ensure_ascii=False).encode()


def test_codes_and_statuses_fit_into_every_database(serve: Callable[..., Host], client_of: Any) -> None:
    for status in (200, 299, 399, 400, 451, 599, 600, 999):
        with pytest.raises(CloudflareImagesError) as caught:
            client_of(serve(responding(failure(status, 2**31 - 1, "No"))), retry=False).details("one")
        assert caught.value.code == 2**31 - 1
        assert caught.value.status == status


def test_a_moment_is_read_in_utc(serve: Callable[..., Host], client_of: Any) -> None:
    client = client_of(serve(responding(response(200, "{}", Date="Fri, 27 Nov 2026 10:00:00 +0100"))))
    assert client.server_time() == datetime(2026, 11, 27, 9, tzinfo=UTC)
