"""What is tried again, and when; and how a lost response is confirmed."""

from __future__ import annotations

import io
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import respx
import stamina
import tenacity.nap

from cf_images.client import DEFAULT_API_URL, CloudflareImagesClient, retry
from cf_images.exceptions import (
    CloudflareImagesError,
    CloudflareUnavailableError,
    ImageExistsError,
    ImageNotFoundError,
    ImageRejectedError,
    RateLimitedError,
)

from .conftest import ACCOUNT, TOKEN
from .hosts import PNG, Host, dead_port, reset, responding, success
from .test_api import success as api_success

UNCLEAR = [
    httpx.Response(500),
    httpx.Response(503, html="<title>Busy</title>"),
    httpx.Response(408),
    httpx.Response(415, text="ERROR 5550: Internal"),
    httpx.Response(200, text="{cut"),
    httpx.ReadError("reset"),
    httpx.ReadTimeout("slow"),
    httpx.RemoteProtocolError("gone"),
]
NOT_DONE = [
    httpx.ConnectError("dead"),
    httpx.ConnectTimeout("far"),
    httpx.ProxyError("no"),
    httpx.Response(429, headers={"Retry-After": "1"}),
]
EXISTS = httpx.Response(409, json={"errors": [{"code": 5409, "message": "Resource already exists"}]})
MISSING = httpx.Response(404, json={"errors": [{"code": 5404, "message": "Image not found"}]})
ONE = {"id": "one", "meta": {"token": "t", "n": [1]}}

IMAGES = f"{DEFAULT_API_URL}/accounts/{ACCOUNT}/images"

Call = Callable[[CloudflareImagesClient], Any]


def upload(client: CloudflareImagesClient, **options: Any) -> Any:
    return client.upload(io.BytesIO(PNG), **options)


SAFE: dict[str, Call] = {
    "details": lambda client: client.details("one"),
    "delete": lambda client: client.delete("one"),
    "update": lambda client: client.update("one", creator="me"),
    "list": lambda client: list(client.list_images()),
    "stats": lambda client: client.stats(),
    "upload with an ID": lambda client: upload(client, image_id="one"),
    "upload by URL with an ID": lambda client: client.upload_url("https://x/y", image_id="one"),
    "direct upload": lambda client: client.create_direct_upload(),
}
ONCE: dict[str, Call] = {
    "upload": upload,
    "upload by URL": lambda client: client.upload_url("https://x/y"),
    "upload to an upload URL": lambda client: client.upload_direct(f"{IMAGES}/up", io.BytesIO(PNG)),
    "direct upload with an ID": lambda client: client.create_direct_upload(image_id="one"),
    "new variant": lambda client: client.create_variant("hero", options={}),
}
# Everything that any of these calls wants to read.
ANY_RESULT = {
    "id": "one",
    "images": [],
    "count": {"current": 1, "allowed": 2},
    "uploadURL": "https://up/x",
    "variant": {"id": "hero"},
}


def respond(cloudflare: respx.MockRouter, *sides: Any) -> None:
    """Respond to all requests in turn, whatever they are."""
    respx_route = cloudflare.route(url__regex=".*")
    respx_route.mock(side_effect=list(sides))


@pytest.mark.parametrize("failure", [*UNCLEAR, *NOT_DONE], ids=str)
@pytest.mark.parametrize("call", SAFE.values(), ids=SAFE)
def test_what_does_no_harm_twice_is_tried_again(
    client: CloudflareImagesClient, cloudflare: respx.MockRouter, call: Call, failure: Any
) -> None:
    respond(cloudflare, failure, failure, api_success(ANY_RESULT))
    call(client)
    assert len(cloudflare.calls) == 3


@pytest.mark.parametrize("failure", UNCLEAR, ids=str)
@pytest.mark.parametrize("call", ONCE.values(), ids=ONCE)
def test_what_may_have_been_done_is_not_done_twice(
    client: CloudflareImagesClient, cloudflare: respx.MockRouter, call: Call, failure: Any
) -> None:
    respond(cloudflare, failure, api_success(ANY_RESULT))
    with pytest.raises(CloudflareUnavailableError):
        call(client)
    assert len(cloudflare.calls) == 1


@pytest.mark.parametrize("failure", NOT_DONE, ids=str)
@pytest.mark.parametrize("call", ONCE.values(), ids=ONCE)
def test_what_was_surely_not_done_is_tried_again(
    client: CloudflareImagesClient, cloudflare: respx.MockRouter, call: Call, failure: Any
) -> None:
    respond(cloudflare, failure, api_success(ANY_RESULT))
    call(client)
    assert len(cloudflare.calls) == 2


def test_after_an_unclear_attempt_even_a_rate_limit_ends_what_may_be_done_once(
    client: CloudflareImagesClient, cloudflare: respx.MockRouter
) -> None:
    respond(cloudflare, NOT_DONE[0], UNCLEAR[0], api_success(ANY_RESULT))
    with pytest.raises(CloudflareUnavailableError):
        upload(client)
    assert len(cloudflare.calls) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 415, 418, 422, 302])
def test_what_will_not_get_better_is_not_tried_again(
    client: CloudflareImagesClient, cloudflare: respx.MockRouter, status: int
) -> None:
    respond(cloudflare, httpx.Response(status), api_success(ANY_RESULT))
    with pytest.raises(CloudflareImagesError):
        client.details("one")
    assert len(cloudflare.calls) == 1


def test_a_few_attempts_are_enough(client: CloudflareImagesClient, cloudflare: respx.MockRouter) -> None:
    cloudflare.get("/v1/one").respond(502)
    with pytest.raises(CloudflareUnavailableError):
        client.details("one")
    assert len(cloudflare.calls) == 4


def test_without_retry_there_is_one_attempt(cloudflare: respx.MockRouter) -> None:
    cloudflare.get("/v1/one").respond(502)
    with pytest.raises(CloudflareUnavailableError):
        CloudflareImagesClient(ACCOUNT, TOKEN, retry=False).details("one")
    assert len(cloudflare.calls) == 1


@pytest.mark.parametrize("header", [{}, {"Retry-After": "11"}, {"Retry-After": "soon"}])
def test_a_rate_limit_that_does_not_end_soon_is_raised_at_once(
    client: CloudflareImagesClient, cloudflare: respx.MockRouter, header: dict[str, str]
) -> None:
    respond(cloudflare, httpx.Response(429, headers=header), api_success(ANY_RESULT))
    with pytest.raises(RateLimitedError):
        client.details("one")
    assert len(cloudflare.calls) == 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Time that passes only in pauses, and where a test says so; the pauses are noted."""
    state = SimpleNamespace(now=1000.0, pauses=[])

    def sleep(seconds: float) -> None:
        state.pauses.append(seconds)
        state.now += seconds

    monkeypatch.setattr(retry, "time", SimpleNamespace(monotonic=lambda: state.now))
    monkeypatch.setattr(tenacity.nap, "time", SimpleNamespace(sleep=sleep))
    with stamina.set_testing(False):
        yield state


def test_a_retry_begins_after_what_cloudflare_asks_for(
    client: CloudflareImagesClient, cloudflare: respx.MockRouter, clock: SimpleNamespace
) -> None:
    limited = [httpx.Response(429, headers={"Retry-After": str(seconds)}) for seconds in (7, 3, 1)]
    respond(cloudflare, *limited)
    with pytest.raises(RateLimitedError):
        client.details("one")
    assert clock.pauses == [7.0, 3.0]


def test_no_retry_begins_later_than_ten_seconds_after_the_call(
    client: CloudflareImagesClient, cloudflare: respx.MockRouter, clock: SimpleNamespace
) -> None:
    began: list[float] = []
    start = clock.now

    def fail(request: httpx.Request) -> httpx.Response:
        began.append(clock.now - start)
        clock.now += 3.5
        return httpx.Response(502)

    cloudflare.get("/v1/one").mock(side_effect=fail)
    with pytest.raises(CloudflareUnavailableError):
        client.details("one")
    assert len(began) == 3
    assert began[-1] <= 10


def test_confirming_a_lost_response_begins_no_later(
    client: CloudflareImagesClient, cloudflare: respx.MockRouter, clock: SimpleNamespace
) -> None:
    replies = [httpx.Response(502), EXISTS, httpx.Response(502)]

    def reply(request: httpx.Request) -> httpx.Response:
        clock.now += 4
        return replies.pop(0)

    cloudflare.route(url__regex=".*").mock(side_effect=reply)
    with pytest.raises(CloudflareUnavailableError):
        upload(client, image_id="one")
    assert not replies
    assert len(cloudflare.calls) == 3


def test_our_own_pauses_are_short_and_grow(
    client: CloudflareImagesClient, cloudflare: respx.MockRouter, clock: SimpleNamespace
) -> None:
    cloudflare.get("/v1/one").respond(502)
    with pytest.raises(CloudflareUnavailableError):
        client.details("one")
    first, second, third = clock.pauses
    assert 0.2 <= first <= 0.5
    assert 0.4 <= second <= 0.7
    assert 0.8 <= third <= 1.1


@pytest.mark.parametrize("failure", UNCLEAR, ids=str)
def test_a_lost_response_is_confirmed_by_asking(
    client: CloudflareImagesClient, cloudflare: respx.MockRouter, failure: Any
) -> None:
    respond(cloudflare, failure, EXISTS, api_success(ONE))
    image = upload(client, image_id="one", metadata={"token": "t", "n": (1,)})
    assert image.metadata == ONE["meta"]
    assert [call.request.method for call in cloudflare.calls] == ["POST", "POST", "GET"]


@pytest.mark.parametrize(
    "found",
    [ONE | {"meta": {"token": "other"}}, ONE | {"meta": {}}, ONE | {"draft": True}],
    ids=["another token", "none", "a draft"],
)
def test_another_image_under_the_id_is_not_this_upload(
    client: CloudflareImagesClient, cloudflare: respx.MockRouter, found: Any
) -> None:
    respond(cloudflare, UNCLEAR[0], EXISTS, api_success(found))
    with pytest.raises(ImageExistsError):
        upload(client, image_id="one", metadata={"token": "t", "n": [1]})


@pytest.mark.parametrize("failure", [None, *NOT_DONE], ids=str)
def test_an_id_taken_before_us_is_taken(
    client: CloudflareImagesClient, cloudflare: respx.MockRouter, failure: Any
) -> None:
    respond(cloudflare, *filter(None, [failure]), EXISTS)
    with pytest.raises(ImageExistsError):
        upload(client, image_id="one")


def test_without_retry_a_taken_id_is_left_to_the_caller(cloudflare: respx.MockRouter) -> None:
    respond(cloudflare, EXISTS)
    with pytest.raises(ImageExistsError):
        upload(CloudflareImagesClient(ACCOUNT, TOKEN, retry=False), image_id="one")


@pytest.mark.parametrize("asked", [[MISSING], [httpx.Response(502)] * 4], ids=["404", "502"])
def test_what_cannot_be_confirmed_is_unclear_and_not_a_failure(
    client: CloudflareImagesClient, cloudflare: respx.MockRouter, asked: list[httpx.Response]
) -> None:
    respond(cloudflare, UNCLEAR[0], EXISTS, *asked)
    with pytest.raises(CloudflareUnavailableError):
        upload(client, image_id="one")


def test_a_deletion_that_an_earlier_attempt_did_is_done(
    client: CloudflareImagesClient, cloudflare: respx.MockRouter
) -> None:
    respond(cloudflare, UNCLEAR[0], MISSING)
    client.delete("one")
    assert len(cloudflare.calls) == 2


@pytest.mark.parametrize("failure", [None, *NOT_DONE], ids=str)
def test_a_deletion_of_what_was_never_there_is_not_found(
    client: CloudflareImagesClient, cloudflare: respx.MockRouter, failure: Any
) -> None:
    respond(cloudflare, *filter(None, [failure]), MISSING)
    with pytest.raises(ImageNotFoundError):
        client.delete("one")


def test_a_dead_port_is_tried_again_even_without_an_id() -> None:
    scheduled: list[Any] = []
    stamina.instrumentation.set_on_retry_hooks([scheduled.append])
    try:
        client = CloudflareImagesClient(ACCOUNT, TOKEN, api_url=f"http://127.0.0.1:{dead_port()}")
        with pytest.raises(CloudflareUnavailableError, match="refused"):
            upload(client)
    finally:
        stamina.instrumentation.set_on_retry_hooks(None)
    assert len(scheduled) == 3


@pytest.mark.parametrize("after", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"])
def test_a_connection_reset_is_tried_again(serve: Callable[..., Host], client_of: Any, after: bytes) -> None:
    def behave(server: Host, connection: Any) -> None:
        server.read(connection)
        if len(server.requests) == 1:
            connection.sendall(after)
            reset(connection)
        else:
            connection.sendall(success({"id": "one"}))

    server = serve(behave)
    assert upload(client_of(server), image_id="one").id == "one"
    assert len(server.requests) == 2


def test_a_reset_upload_without_an_id_is_not_sent_twice(serve: Callable[..., Host], client_of: Any) -> None:
    def behave(server: Host, connection: Any) -> None:
        server.read(connection)
        reset(connection)

    server = serve(behave)
    with pytest.raises(CloudflareUnavailableError):
        upload(client_of(server))
    assert len(server.requests) == 1


def test_an_html_page_from_the_edge_is_tried_again(serve: Callable[..., Host], client_of: Any) -> None:
    page = b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\n\r\n<title>502</title>"

    def behave(server: Host, connection: Any) -> None:
        server.read(connection)
        connection.sendall(page if len(server.requests) == 1 else success({"id": "one"}))

    assert client_of(serve(behave)).details("one").id == "one"


def test_a_rejection_is_final(serve: Callable[..., Host], client_of: Any) -> None:
    server = serve(responding(b"HTTP/1.1 400 Bad\r\nContent-Length: 20\r\n\r\nERROR 5400: bad file"))
    with pytest.raises(ImageRejectedError, match="bad file"):
        upload(client_of(server), image_id="one")
    assert len(server.requests) == 1
