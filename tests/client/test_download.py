"""The original as a stream: complete, or an error; and its connection is never left behind."""

from __future__ import annotations

import gc
import gzip
import socket
from collections.abc import Callable
from typing import Any

import pytest
import respx

from cf_images.client import CloudflareImagesClient, Download, pool
from cf_images.exceptions import (
    CloudflareImagesError,
    CloudflareUnavailableError,
    CredentialsRefusedError,
    ImageNotFoundError,
)

from .hosts import Host, failure, reset, responding, response, success

BLOB = bytes(range(256)) * 4000


def serving(server: Host, connection: socket.socket) -> None:
    while server.read(connection):
        connection.sendall(response(200, BLOB, "image/jpeg"))


@pytest.fixture
def download(serve: Callable[..., Host], client_of: Any) -> Download:
    result = client_of(serve(serving)).download("one")
    assert isinstance(result, Download)
    return result


def test_type_and_size_are_known_at_once(download: Download) -> None:
    assert (download.content_type, download.size) == ("image/jpeg", len(BLOB))


def test_chunks_are_the_whole(download: Download) -> None:
    chunks = list(download)
    assert len(chunks) > 1
    assert b"".join(chunks) == BLOB
    assert download.read() == b""


def test_chunks_of_any_size_are_the_whole(download: Download) -> None:
    chunks = [download.read(size) for size in (0, 1, 100_000, 7, 65536)]
    assert [len(chunk) for chunk in chunks] == [0, 1, 100_000, 7, 65536]
    chunks += [next(download), download.read(3), *download]
    assert b"".join(chunks) == BLOB
    assert download.read(5) == b""


def test_what_is_left_is_read_at_once(download: Download) -> None:
    assert download.read(10) + download.read() == BLOB


def test_a_last_chunk_may_be_shorter(download: Download) -> None:
    assert len(download.read(len(BLOB) + 1)) == len(BLOB)


def test_a_closed_download_has_nothing_more(download: Download) -> None:
    with download:
        download.read(10)
    assert (download.read(), download.read(5), list(download)) == (b"", b"", [])
    download.close()


def test_a_missing_image_is_not_found_before_anything_is_read(
    serve: Callable[..., Host], client_of: Any
) -> None:
    with pytest.raises(ImageNotFoundError):
        client_of(serve(responding(failure(404, 5404)))).download("one")


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (failure(200, 5404), ImageNotFoundError),
        (failure(200, 10000), CredentialsRefusedError),
        (success({}), CloudflareUnavailableError),
        (response(200, "<title>Hello</title>", "text/html"), CloudflareUnavailableError),
        (response(200, "ERROR 5404: none", "text/plain; charset=utf-8"), ImageNotFoundError),
        (response(502, b"\x89PNG", "image/png"), CloudflareUnavailableError),
    ],
)
def test_a_success_that_is_no_image_is_an_error(
    serve: Callable[..., Host], client_of: Any, reply: bytes, expected: type[CloudflareImagesError]
) -> None:
    with pytest.raises(expected):
        client_of(serve(responding(reply)), retry=False).download("one")


def test_a_response_before_the_stream_is_tried_again(serve: Callable[..., Host], client_of: Any) -> None:
    server = serve(responding(response(502, ""), response(200, BLOB, "image/png")))
    assert client_of(server).download("one").read() == BLOB


@pytest.mark.parametrize("ending", [socket.socket.close, reset], ids=["end", "reset"])
def test_a_body_cut_short_is_an_error_each_time_it_is_read(
    serve: Callable[..., Host], client_of: Any, ending: Callable[[socket.socket], None]
) -> None:
    def behave(server: Host, connection: socket.socket) -> None:
        server.read(connection)
        connection.sendall(response(200, BLOB, "image/png")[:-5])
        ending(connection)

    download = client_of(serve(behave)).download("one")
    with pytest.raises(CloudflareUnavailableError, match=r"broke off.*GET /images/v1/one/blob") as first:
        download.read()
    with pytest.raises(CloudflareUnavailableError) as second:
        download.read()
    assert str(first.value) == str(second.value)


@pytest.mark.parametrize("length", ["5", "3"])
def test_a_mocked_body_of_another_length_is_an_error(
    client: CloudflareImagesClient, cloudflare: respx.MockRouter, length: str
) -> None:
    cloudflare.get("/v1/one/blob").respond(200, headers={"Content-Length": length}, content=b"1234")
    with pytest.raises(CloudflareUnavailableError, match="ended after 4 bytes"):
        client.download("one").read()


@pytest.mark.parametrize("head", ["Content-Length: 0", "Transfer-Encoding: chunked\r\n\r\n0"])
def test_an_empty_body_is_no_image_but_leaves_the_connection_whole(
    serve: Callable[..., Host], client_of: Any, head: str
) -> None:
    reply = f"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n{head}\r\n\r\n".encode()
    server = serve(responding(reply, reply, success({"id": "one"})))
    client = client_of(server)
    for _ in range(2):
        with client.download("one") as download, pytest.raises(CloudflareUnavailableError):
            download.read()
    assert client.details("one").id == "one"
    assert server.connections == 1


def test_a_body_of_unknown_length_is_read_to_its_end(serve: Callable[..., Host], client_of: Any) -> None:
    reply = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n2\r\n56\r\n0\r\n\r\n"
    download = client_of(serve(responding(reply))).download("one")
    assert (download.size, download.content_type, download.read()) == (None, "", b"123456")


def test_a_compressed_response_is_unpacked(serve: Callable[..., Host], client_of: Any) -> None:
    server = serve(responding(response(200, gzip.compress(BLOB), "image/svg+xml", Content_Encoding="gzip")))
    download = client_of(server).download("one")
    assert (download.size, download.read()) == (None, BLOB)
    assert b"Accept-Encoding: identity\r\n" in server.requests[0]


def test_a_download_closed_half_read_closes_its_connection(
    serve: Callable[..., Host], client_of: Any
) -> None:
    server = serve(serving)
    client = client_of(server)
    with client.download("one") as download:
        download.read(10)
    while server.open:  # at once, not with the next request
        server.closing.wait(0.01)
    client.download("two").read()
    assert server.connections == 2
    assert len(pool.process_pool()._connections) == 1


def test_a_mocked_download_may_be_dropped_half_read(
    client: CloudflareImagesClient, cloudflare: respx.MockRouter
) -> None:
    cloudflare.get("/v1/one/blob").respond(200, content=b"1234")
    for _ in range(2):
        client.download("one").close()
    assert client.download("one").read() == b"1234"


@pytest.mark.parametrize("in_a_cycle", [False, True])
def test_a_download_dropped_half_read_is_collected_without_a_lock(
    serve: Callable[..., Host], client_of: Any, in_a_cycle: bool
) -> None:
    server = serve(serving)
    client = client_of(server)
    holder: list[Any] = [client.download("one")]
    holder[0].read(10)
    if in_a_cycle:
        holder.append(holder)
    busy = pool.process_pool().take(client._target.origin)
    # As when garbage is collected in the middle of a request.
    with pool._lock, busy._pool._optional_thread_lock:
        del holder
        gc.collect()
    pool.process_pool().discard(busy)
    assert client.download("two").read() == BLOB
    assert len(pool.process_pool()._connections) == 1
