"""Uploads by file and by URL, and their errors."""

from __future__ import annotations

import io
import socket
import struct
import threading
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from PIL import Image

from cf_images.emulator.limits import Limits
from tests.emulator.conftest import PNG, Account, api_error, picture

UPLOAD = {"file": ("a.png", PNG, "image/png")}


def png_header(width: int, height: int) -> bytes:
    """Return a PNG with a size in its header and without pixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"")
    chunks = [
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in (head, data)
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def animation(kind: str, frames: int, size: tuple[int, int]) -> bytes:
    """Return an animation whose frames differ in color."""
    pictures = [Image.new("RGB", size, (index * 40 % 255, 0, 0)) for index in range(frames)]
    buffer = io.BytesIO()
    pictures[0].save(buffer, kind, save_all=True, append_images=pictures[1:], duration=50)
    return buffer.getvalue()


SVG = b'<?xml version="1.0"?><!-- a --><svg xmlns="http://www.w3.org/2000/svg"/>'
HEIC = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (picture("JPEG"), "image/jpeg"),
        (picture("PNG"), "image/png"),
        (picture("WEBP"), "image/webp"),
        (picture("GIF"), "image/gif"),
        (animation("GIF", 3, (8, 8)), "image/gif"),
        (animation("WEBP", 3, (8, 8)), "image/webp"),
        (SVG, "image/svg+xml"),
        (HEIC, "image/heic"),
        (picture("WEBP", (12_001, 1)), "image/webp"),
    ],
    ids=["jpeg", "png", "webp", "gif", "animated-gif", "animated-webp", "svg", "heic", "long-webp"],
)
def test_every_format_of_cloudflare_is_accepted(account: Account, body: bytes, kind: str) -> None:
    image = account.upload(body, kind=kind)
    response = account("GET", f"v1/{image['id']}/blob")
    assert (response.headers["content-type"].partition(";")[0], response.content) == (kind, body)


def test_the_content_type_follows_the_bytes(account: Account) -> None:
    image = account.upload(PNG, name="photo.jpg", kind="image/jpeg")
    assert account.emulator.images[image["id"]].content_type == "image/png"


def test_a_truncated_jpeg_is_accepted_as_only_the_header_is_read(account: Account) -> None:
    body = picture("JPEG", (400, 400))
    assert account.upload(body[: len(body) // 2], kind="image/jpeg")["filename"] == "a.png"


@pytest.mark.parametrize(
    ("body", "expected", "reason"),
    [
        (b"", (415, 5455), "image/jpeg"),
        (b"just text", (415, 5455), "image/jpeg"),
        (picture("BMP"), (415, 5455), "image/jpeg"),
        (picture("TIFF"), (415, 5455), "image/jpeg"),
        (picture("AVIF"), (415, 5455), "image/jpeg"),
        (PNG[:20], (400, 5400), "bad image format"),
        (b"\xff\xd8\xff\xe0garbage", (400, 5400), "bad image format"),
        (b"GIF89a", (400, 5400), "bad image format"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", (400, 5400), "bad image format"),
        (png_header(12_001, 10), (400, 5400), "the maximum side is 12,000"),
        (png_header(11_000, 11_000), (400, 5400), "the maximum area is 100 MP"),
        (png_header(60_000, 60_000), (400, 5400), "the maximum side is"),
        (b"\x89PNG\r\n\x1a\n" + b"x" * 11 * 1024 * 1024, (413, 5413), "more than 10,485,760 bytes"),
    ],
    ids=[
        *("empty", "text", "bmp", "tiff", "avif", "cut-png", "bad-jpeg", "bad-gif", "bad-webp"),
        *("long-side", "large-area", "bomb", "11-MB"),
    ],
)
def test_other_bytes_are_an_error(
    account: Account, body: bytes, expected: tuple[int, int], reason: str
) -> None:
    response = account("POST", "v1", files={"file": ("a.png", body, "image/png")})
    assert api_error(response) == expected
    assert reason in response.json()["errors"][0]["message"]
    assert not account.emulator.images


def test_the_largest_allowed_image_is_accepted(account: Account) -> None:
    assert account.upload(png_header(12_000, 8_333))


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_an_animation_is_limited_by_the_sum_of_its_frames(
    account_of: Callable[..., Account], kind: str
) -> None:
    account = account_of(limits=Limits(animation_area=1_999))
    response = account(
        "POST", "v1", files={"file": ("a", animation(kind, 5, (20, 20)), f"image/{kind.lower()}")}
    )
    assert api_error(response) == (413, 5443)
    assert account.upload(animation(kind, 4, (20, 20)), kind=f"image/{kind.lower()}")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"json": {"url": "http://127.0.0.1/a.png"}}, (415, 5415)),
        ({"content": PNG, "headers": {"Content-Type": "image/png"}}, (415, 5415)),
        ({"data": {"url": "http://127.0.0.1/a.png"}}, (415, 5415)),
        ({}, (415, 5415)),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, (400, 5400)),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data; boundary=b"}}, (400, 5400)),
        ({"files": {"creator": (None, "jane")}}, (400, 5400)),
        ({"files": {"image": ("a.png", PNG, "image/png")}}, (400, 5400)),
        ({"files": UPLOAD, "data": {"url": "http://127.0.0.1/a.png"}}, (400, 5400)),
        ({"files": {"file": (None, PNG, "image/png")}}, (415, 5455)),
        ({"files": {"file": ("a.png", PNG, "application/octet-stream")}}, (415, 5455)),
        ({"files": {"file": ("a.png", PNG, "")}}, (415, 5455)),
        ({"files": UPLOAD, "data": {"id": "/a"}}, (400, 5400)),
        ({"files": UPLOAD, "data": {"id": "a/"}}, (400, 5400)),
        ({"files": UPLOAD, "data": {"id": "a" * 1025}}, (400, 5400)),
        ({"files": UPLOAD, "data": {"id": "a\0b"}}, (400, 5400)),
        ({"files": UPLOAD, "data": {"id": "083EB7B2-5392-4565-b69e-aff66acddd00"}}, (400, 5400)),
        ({"files": UPLOAD, "data": {"metadata": "not JSON"}}, (400, 5400)),
        ({"files": UPLOAD, "data": {"metadata": "[1]"}}, (400, 5400)),
        ({"files": UPLOAD, "data": {"metadata": '{"a": NaN}'}}, (400, 5400)),
        ({"files": UPLOAD, "data": {"metadata": '{"a": 1e999}'}}, (400, 5400)),
        ({"files": UPLOAD, "data": {"metadata": "[" * 100_000}}, (400, 5400)),
        ({"files": UPLOAD, "data": {"metadata": '{"a": "%s"}' % ("x" * 1017)}}, (400, 5400)),
        ({"files": UPLOAD, "data": {"requireSignedURLs": "perhaps"}}, (400, 5400)),
        ({"files": UPLOAD, "data": {"creator": "x" * 1025}}, (400, 5400)),
        ({"files": UPLOAD, "data": {"metadata": "x" * 2_000_000}}, (413, 5413)),
        ({"files": [("file", UPLOAD["file"])] * 101}, (413, 5413)),
    ],
)
def test_an_invalid_form_is_an_error(
    account: Account, options: dict[str, Any], expected: tuple[int, int]
) -> None:
    assert api_error(account("POST", "v1", **options)) == expected
    assert not account.emulator.images


def test_metadata_can_have_1024_bytes(account: Account) -> None:
    assert account.upload(metadata='{"a": "%s"}' % ("x" * 1016))["meta"] == {"a": "x" * 1016}


@pytest.fixture
def cut_short() -> Iterator[Callable[..., bytes]]:
    """Send an upload with fewer bytes than its Content-Length and return the response."""
    with ExitStack() as stack:

        def send(account: Account, *, stop: bool, request: str = "POST {}/v1") -> bytes:
            emulator = account.emulator
            line = request.format(f"/client/v4/accounts/{emulator.account_id}/images")
            head = (
                f"{line} HTTP/1.1\r\nHost: localhost\r\n"
                f"Authorization: Bearer {emulator.api_token}\r\nContent-Length: 1000\r\n"
                "Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
            )
            port = int(emulator.url.rpartition(":")[2])
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            client.sendall(head.encode())
            if stop:
                client.shutdown(socket.SHUT_WR)
            return stack.enter_context(client.makefile("rb")).read()

        yield send


def test_a_body_shorter_than_its_length_is_an_error(
    account: Account, cut_short: Callable[..., bytes]
) -> None:
    assert b'"code": 5400' in cut_short(account, stop=True)
    assert b"shorter than its Content-Length" in cut_short(account, stop=True, request="PATCH {}/v1/config")


def test_an_upload_that_takes_too_long_is_an_error(
    account_of: Callable[..., Account], cut_short: Callable[..., bytes]
) -> None:
    account = account_of(limits=Limits(upload_seconds=0.05))
    assert b'"code": 5408' in cut_short(account, stop=False)


def test_an_upload_above_the_image_quota_is_an_error(account_of: Callable[..., Account]) -> None:
    account = account_of(limits=Limits(images=1))
    account.upload()
    assert api_error(account("POST", "v1", files=UPLOAD)) == (403, 5453)


def test_a_failed_upload_leaves_no_file(account_of: Callable[..., Account], tmp_path: Any) -> None:
    account = account_of(data=tmp_path)
    account.upload(id="a")
    assert api_error(account("POST", "v1", files=UPLOAD, data={"id": "a"})) == (409, 5409)
    assert api_error(account("POST", "v1", files={"file": ("a.png", b"text", "image/png")})) == (415, 5455)
    assert api_error(account("POST", "v1", files={"other": ("a.png", PNG, "image/png")})) == (400, 5400)
    images = tmp_path / "images"
    assert len([path for path in images.rglob("*") if path.is_file()]) == 1


class Origin(BaseHTTPRequestHandler):
    """A web server to fetch from."""

    def do_GET(self) -> None:
        pages = {
            "/photo%20of%20jane.png": (200, {}, PNG),
            "/text": (200, {}, b"not an image"),
            "/large": (200, {}, b"\x89PNG" + b"x" * 11 * 1024 * 1024),
            "/moved": (302, {"Location": "/photo%20of%20jane.png"}, b""),
            "/away": (302, {"Location": "http://example.com/a.png"}, b""),
            "/loop": (302, {"Location": "/loop"}, b""),
            "/odd": (302, {"Location": "ftp://127.0.0.1/a.png"}, b""),
        }
        status, headers, body = pages.get(self.path, (404, {}, b""))
        if self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            with suppress(ConnectionError):
                while True:
                    self.wfile.write(b"x")
        if (
            self.path == "/private"
            and self.headers["Authorization"] == "Basic " + b64encode(b"j:p@ss").decode()
        ):
            status, headers, body = 200, {}, PNG
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(ConnectionError):
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Do nothing."""


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    """The URL of a web server with a few files."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Origin)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def by_url(account: Account, url: str, **fields: str) -> httpx.Response:
    return account("POST", "v1", files={"url": (None, url)}, data=fields)


@pytest.mark.parametrize("path", ["/photo%20of%20jane.png", "/moved"])
def test_an_image_is_fetched_by_url(account: Account, origin: str, path: str) -> None:
    image = by_url(account, origin + path, id="jane").json()["result"]
    assert account.emulator.images["jane"].body == PNG
    assert image["filename"] == path.lstrip("/").replace("%20", " ")


def test_user_and_password_in_a_url_are_sent(account: Account, origin: str) -> None:
    url = origin.replace("http://", "http://j:p%40ss@") + "/private"
    assert by_url(account, url).status_code == 200
    assert api_error(by_url(account, origin + "/private")) == (400, 5400)


@pytest.mark.parametrize(
    ("path", "expected", "reason"),
    [
        ("/missing", (400, 5400), "the origin responded with 404"),
        ("/text", (415, 5455), "image/jpeg"),
        ("/large", (413, 5413), "bytes"),
        ("/away", (400, 5400), "may not fetch from example.com"),
        ("/loop", (400, 5400), "the origin responded with 302"),
        ("/odd", (400, 5400), "http"),
    ],
)
def test_the_error_message_names_the_problem_of_the_origin(
    account: Account, origin: str, path: str, expected: tuple[int, int], reason: str
) -> None:
    response = by_url(account, origin + path)
    assert api_error(response) == expected
    assert reason in response.json()["errors"][0]["message"]


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://example.com/a.png", 5400),
        ("http://169.254.169.254/latest/meta-data", 5400),
        ("http://localhost.example.com/a.png", 5400),
        ("http://127.0.0.1@example.com/a.png", 5400),
        ("https://imagedelivery.net/hash/id/public", 5454),
        ("file:///etc/passwd", 5400),
        ("http://", 5400),
        ("http://[::1/a.png", 5400),
        ("http://127.0.0.1:99999/a.png", 5400),
        ("http://127.0.0.1:1/a.png", 5400),
        ("http://127.0.0.1:1/\r\nX: y", 5400),
        ("no url at all", 5400),
    ],
)
def test_a_url_that_is_not_allowed_is_an_error(account: Account, url: str, code: int) -> None:
    assert api_error(by_url(account, url)) == (400, code)


def test_the_emulator_does_not_fetch_from_itself(account: Account) -> None:
    image = account.upload()
    assert api_error(by_url(account, image["variants"][0])) == (400, 5454)


def test_fetching_from_an_endless_origin_times_out(account_of: Callable[..., Account], origin: str) -> None:
    response = by_url(account_of(limits=Limits(upload_seconds=0.05)), origin + "/endless")
    assert api_error(response) == (400, 5400)
    assert "took more than 0.05 seconds" in response.json()["errors"][0]["message"]


def test_other_hosts_can_be_allowed(account_of: Callable[..., Account]) -> None:
    response = by_url(account_of(fetch_from=["No-Such-Host.invalid"]), "http://no-such-host.invalid/a.png")
    assert "the origin failed: URLError" in response.json()["errors"][0]["message"]
