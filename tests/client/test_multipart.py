"""Files on their way to Cloudflare: streamed from the start, left as they were, and never guessed."""

from __future__ import annotations

import gzip
import io
import os
import tempfile
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest
import respx
from django.core.files.base import ContentFile, File
from django.core.files.uploadedfile import InMemoryUploadedFile

from cf_images.client import CloudflareImagesClient
from cf_images.client.multipart import FilePart, Form
from cf_images.exceptions import CloudflareImagesError, ImageRejectedError

from .hosts import PNG, Host, failure, responding, success
from .test_api import form, sent
from .test_api import success as api_success

MIB = 1024 * 1024


class Pipe(io.RawIOBase):
    """Bytes that can be read once, a few at a time."""

    def __init__(self, content: bytes) -> None:
        self._rest = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._rest.read(min(len(buffer), 1000))
        buffer[: len(data)] = data
        return len(data)


class Fickle(io.BytesIO):
    """A file whose size is not what it said."""

    def __init__(self, content: bytes, *, claims: int) -> None:
        super().__init__(content)
        self.claims = claims

    def seek(self, offset: int, whence: int = 0) -> int:
        return super().seek(self.claims if whence == io.SEEK_END else offset)


class Broken(io.BytesIO):
    """A file that fails in the middle."""

    error: Exception = OSError(5, "Input/output error")

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() > 0 and size:
            raise self.error
        return super().read(size)


@pytest.fixture
def accepting(cloudflare: respx.MockRouter) -> respx.MockRouter:
    cloudflare.post("/v1").mock(return_value=api_success({"id": "a/b.png"}))
    return cloudflare


def file_of(request: Any) -> tuple[str, bytes]:
    """Header and body of the part ``file``."""
    for head, body in form(request).items():
        if head.startswith('"file"'):
            return head, body.encode("latin-1")
    raise AssertionError("no part named file")


def test_a_file_is_one_part_of_a_form(client: CloudflareImagesClient, accepting: respx.MockRouter) -> None:
    client.upload(
        io.BytesIO(b"anything"),
        image_id="a/b.png",
        filename='Jane\'s "ü".jpg',
        content_type="image/heic",
        metadata={"size": 8},
        creator="me",
    )
    assert form(sent(accepting)) == {
        '"requireSignedURLs"': "false",
        '"id"': "a/b.png",
        '"metadata"': '{"size":8}',
        '"creator"': "me",
        '"file"; filename="Jane\'s %22Ã¼%22.jpg"\r\nContent-Type: image/heic': "anything",
    }


def test_private_uploads_say_so(client: CloudflareImagesClient, accepting: respx.MockRouter) -> None:
    client.upload(io.BytesIO(PNG), require_signed_urls=True)
    assert form(sent(accepting))['"requireSignedURLs"'] == "true"
    assert '"id"' not in form(sent(accepting))


@pytest.mark.parametrize(
    ("image_id", "filename"),
    [("a/b.png", "b.png"), (None, "image")],
)
def test_a_file_without_a_name_gets_that_of_its_id(
    client: CloudflareImagesClient, accepting: respx.MockRouter, image_id: str | None, filename: str
) -> None:
    client.upload(io.BytesIO(PNG), image_id=image_id)
    assert file_of(sent(accepting))[0].startswith(f'"file"; filename="{filename}"')


@pytest.mark.parametrize(
    ("filename", "shown"),
    [("x" * 300 + ".jpg", "x" * 251 + ".jpg"), ("\udcff.jpg", "?.jpg"), ("a\r\nb.jpg", "a%0D%0Ab.jpg")],
)
def test_strange_file_names_are_made_harmless(
    client: CloudflareImagesClient, accepting: respx.MockRouter, filename: str, shown: str
) -> None:
    client.upload(io.BytesIO(PNG), image_id="a/b.png", filename=filename)
    assert file_of(sent(accepting))[0].startswith(f'"file"; filename="{shown}"')


@pytest.mark.parametrize(
    ("head", "content_type"),
    [
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\x00\n\x00\x00WEBPVP8 ", "image/webp"),
        (b"\x00\x00\x00 ftypavif", "image/avif"),
        (b"\x00\x00\x00\x18ftypheic", "image/heic"),
        (b'  \n<svg xmlns="http://www.w3.org/2000/svg"/>', "image/svg+xml"),
        (b'\xef\xbb\xbf<?xml version="1.0"?><svg/>', "image/svg+xml"),
    ],
)
def test_the_content_type_is_what_the_bytes_say(
    client: CloudflareImagesClient, accepting: respx.MockRouter, head: bytes, content_type: str
) -> None:
    client.upload(io.BytesIO(head + b"x" * 100))
    assert file_of(sent(accepting)) == (
        f'"file"; filename="image"\r\nContent-Type: {content_type}',
        head + b"x" * 100,
    )


@pytest.mark.parametrize("content", [b"", b"hello", b"BM" + b"x" * 60, b"%PDF-1.7"])
def test_bytes_of_no_known_image_need_a_content_type(
    client: CloudflareImagesClient, accepting: respx.MockRouter, content: bytes
) -> None:
    with pytest.raises(ImageRejectedError, match="content_type"):
        client.upload(io.BytesIO(content))
    assert not accepting.calls


@pytest.mark.parametrize(
    "content_type", ["image", "image/", "image/png\r\nX: y", "image/png; charset=x", "ü/x"]
)
def test_a_content_type_that_is_none_is_refused(client: CloudflareImagesClient, content_type: str) -> None:
    with pytest.raises(ImageRejectedError, match="content type"):
        client.upload(io.BytesIO(PNG), content_type=content_type)


def test_a_file_is_sent_from_its_start_and_left_where_it_was(
    client: CloudflareImagesClient, accepting: respx.MockRouter
) -> None:
    file = io.BytesIO(PNG)
    file.seek(5)
    client.upload(file)
    assert file_of(sent(accepting))[1] == PNG
    assert not file.closed
    assert file.tell() == 5


def test_a_file_is_left_where_it_was_after_a_failure(
    client: CloudflareImagesClient, cloudflare: respx.MockRouter
) -> None:
    cloudflare.post("/v1").respond(400)
    file = io.BytesIO(PNG)
    file.seek(5)
    with pytest.raises(ImageRejectedError):
        client.upload(file)
    assert file.tell() == 5


def test_each_attempt_sends_the_file_from_its_start(
    client: CloudflareImagesClient, cloudflare: respx.MockRouter
) -> None:
    cloudflare.post("/v1").mock(side_effect=[api_success(None), api_success({"id": "a/b.png"})])
    client.upload(io.BytesIO(PNG), image_id="a/b.png")
    assert [file_of(call.request)[1] for call in cloudflare.calls] == [PNG, PNG]


def opened_files(path: Path) -> list[IO[Any]]:
    path.write_bytes(PNG)
    django_file = File(path.open("rb"))
    upload = InMemoryUploadedFile(io.BytesIO(PNG), "f", "x.png", "image/png", len(PNG), None)
    spooled = tempfile.SpooledTemporaryFile()  # noqa: SIM115  # closed by the test
    spooled.write(PNG)
    return [path.open("rb"), path.open("rb", buffering=0), django_file, upload, ContentFile(PNG), spooled]


def test_every_usual_kind_of_file_is_taken(
    client: CloudflareImagesClient, accepting: respx.MockRouter, tmp_path: Path
) -> None:
    for file in opened_files(tmp_path / "x.png"):
        client.upload(file)
        assert file_of(sent(accepting))[1] == PNG, type(file)
        assert not file.closed
        file.close()


def test_the_size_is_what_is_read_and_not_what_the_disk_says(
    client: CloudflareImagesClient, accepting: respx.MockRouter, tmp_path: Path
) -> None:
    path = tmp_path / "x.gz"
    with gzip.open(path, "wb") as packed:
        packed.write(PNG * 100)
    with gzip.open(path, "rb") as unpacked:
        client.upload(unpacked)  # type: ignore[arg-type]
    assert file_of(sent(accepting))[1] == PNG * 100


def test_a_file_that_cannot_seek_is_copied(
    client: CloudflareImagesClient, accepting: respx.MockRouter
) -> None:
    pipe = io.BufferedReader(Pipe(PNG * 3000))
    client.upload(pipe)
    assert file_of(sent(accepting))[1] == PNG * 3000
    assert not pipe.closed


def test_a_real_pipe_is_copied(client: CloudflareImagesClient, accepting: respx.MockRouter) -> None:
    reading, writing = os.pipe()
    with open(writing, "wb") as end:
        end.write(PNG)
    with open(reading, "rb") as pipe:
        client.upload(pipe)
    assert file_of(sent(accepting))[1] == PNG


def test_a_closed_file_is_refused(client: CloudflareImagesClient, accepting: respx.MockRouter) -> None:
    file = io.BytesIO(PNG)
    file.close()
    with pytest.raises(ImageRejectedError, match="closed"):
        client.upload(file)
    assert not accepting.calls


def test_a_text_file_is_refused(client: CloudflareImagesClient, tmp_path: Path) -> None:
    path = tmp_path / "x.svg"
    path.write_text("<svg/>")
    with path.open() as file, pytest.raises(ImageRejectedError, match="binary"):
        client.upload(file)  # type: ignore[arg-type]


@pytest.mark.parametrize("claims", [10, len(PNG) - 1, len(PNG) + 1, 10 * MIB])
def test_a_file_that_changes_its_size_is_refused(
    serve: Callable[..., Host], client_of: Any, claims: int
) -> None:
    server = serve(responding(success({"id": "x"})))
    with pytest.raises(ImageRejectedError, match="changed"):
        client_of(server).upload(Fickle(PNG, claims=claims), image_id="x", content_type="image/png")
    assert not server.requests


def test_the_error_of_a_broken_file_reaches_the_caller_and_carries_no_request(
    serve: Callable[..., Host], client_of: Any
) -> None:
    server = serve(responding(success({"id": "x"})))
    with pytest.raises(OSError, match="Input/output error") as caught:
        client_of(server).upload(Broken(PNG * 100), image_id="x", content_type="image/png")
    modules = {frame.frame.f_globals["__name__"].partition(".")[0] for frame in caught.traceback}
    assert not modules & {"httpx", "httpcore"}
    assert caught.value.__context__ is None


def test_a_file_that_is_unavailable_itself_is_read_again(
    client: CloudflareImagesClient, accepting: respx.MockRouter
) -> None:
    from cf_images.exceptions import CloudflareUnavailableError

    class Recovering(io.BytesIO):
        failures = 1

        def read(self, size: int | None = -1) -> bytes:
            if self.failures and size:
                self.failures -= 1
                raise CloudflareUnavailableError("the other account's image broke off")
            return super().read(size)

    client.upload(Recovering(PNG), content_type="image/png")
    assert file_of(sent(accepting))[1] == PNG


@pytest.mark.parametrize(
    ("metadata", "problem"),
    [
        ({"a": "x" * 1017}, "1025 bytes"),
        ({"ä": "ü" * 600}, "1209 bytes"),
        ({"a": object()}, "JSON"),
        ({"a": float("nan")}, "JSON"),
        ({"a": "\ud800"}, "JSON"),
    ],
)
def test_metadata_that_cloudflare_would_refuse_is_not_sent(
    client: CloudflareImagesClient, accepting: respx.MockRouter, metadata: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ImageRejectedError, match=problem):
        client.upload(io.BytesIO(PNG), metadata=metadata)
    assert not accepting.calls


def test_metadata_of_1024_bytes_is_sent(client: CloudflareImagesClient, accepting: respx.MockRouter) -> None:
    client.upload(io.BytesIO(PNG), metadata={"a": "x" * 1016})
    assert len(form(sent(accepting))['"metadata"']) == 1024


def test_an_upload_stored_under_another_id_is_no_success(
    client: CloudflareImagesClient, accepting: respx.MockRouter
) -> None:
    with pytest.raises(CloudflareImagesError):
        client.upload(io.BytesIO(PNG), image_id="mine")


def test_an_upload_url_needs_no_token(client: CloudflareImagesClient, cloudflare: respx.MockRouter) -> None:
    url = "https://upload.imagedelivery.net/hash/a%2Fb?x=1"
    route = cloudflare.post(url).mock(return_value=api_success({"id": "a/b"}))
    assert client.upload_direct(url, io.BytesIO(PNG), filename="x.png").id == "a/b"
    assert "Authorization" not in sent(cloudflare).headers
    assert form(sent(cloudflare)) == {
        '"file"; filename="x.png"\r\nContent-Type: image/png': PNG.decode("latin-1")
    }
    assert route.call_count == 1


def test_an_upload_url_is_on_the_wire_as_given(serve: Callable[..., Host], client_of: Any) -> None:
    server = serve(responding(success({"id": "a/b"})))
    client_of(server).upload_direct(f"{server.url}/hash/a%2Fb%25?x=%2F", io.BytesIO(PNG))
    assert server.requests[0].startswith(b"POST /hash/a%2Fb%25?x=%2F HTTP/1.1\r\nHost: localhost:")


@pytest.mark.parametrize("url", ["", "hash/id", "ftp://x/y", "https://", "https://a\nb/"])
def test_an_upload_url_that_is_none_is_refused(client: CloudflareImagesClient, url: str) -> None:
    with pytest.raises(CloudflareImagesError, match="upload URL"):
        client.upload_direct(url, io.BytesIO(PNG))


def test_an_upload_of_ten_megabytes_needs_little_memory(
    serve: Callable[..., Host], client_of: Any, tmp_path: Path
) -> None:
    path = tmp_path / "big.png"
    path.write_bytes(PNG + bytes(10 * MIB))
    received = threading.Event()

    def devour(server: Host, connection: Any) -> None:
        buffer = bytearray(65536)  # so that the server's memory does not count
        left = None
        while left is None or left > 0:
            count = connection.recv_into(buffer)
            if left is None:
                head = bytes(buffer[:count])
                length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
                left = length + head.index(b"\r\n\r\n") + 4
            left -= count
        received.set()
        connection.sendall(success({"id": "x"}))

    client = client_of(serve(devour))
    with path.open("rb") as file:
        tracemalloc.start()
        client.upload(file, image_id="x")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert received.is_set()
    assert peak < 2 * MIB


@pytest.mark.parametrize(("size", "chunks"), [(0, 1), (50_000, 1), (65_536, 2), (131_072, 3), (150_000, 3)])
def test_a_form_is_sent_in_few_chunks_of_known_size(size: int, chunks: int) -> None:
    file = FilePart(io.BytesIO(bytes(size)), filename="x.png", content_type="image/png")
    form = Form({"id": "one", "creator": "me"}, file)
    sent = list(form)
    assert len(sent) == chunks
    assert sum(map(len, sent)) == form.size


def test_a_refusal_in_the_middle_of_an_upload_is_read(serve: Callable[..., Host], client_of: Any) -> None:
    def refuse(server: Host, connection: Any) -> None:
        connection.recv(1000)
        connection.sendall(failure(413, 5413, "Too large"))
        while connection.recv(65536):
            pass

    with pytest.raises(ImageRejectedError, match="Too large"):
        client_of(serve(refuse)).upload(io.BytesIO(PNG * 10_000), image_id="x")
