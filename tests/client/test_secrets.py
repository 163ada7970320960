"""Token, signatures and upload URLs: in no message, log, traceback, repr or pickle."""

from __future__ import annotations

import copy
import io
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import respx
import stamina

from cf_images import exceptions
from cf_images.client import BatchToken, CloudflareImagesClient, DirectUpload
from cf_images.client.transport import ApiToken
from cf_images.exceptions import CloudflareImagesError, CredentialsRefusedError

from .conftest import ACCOUNT, TOKEN
from .hosts import PNG, Host, dead_port, failure, responding, response, silent, success
from .test_api import success as api_success

UPLOAD_PATH = "/hash-of-account/secret-upload-id"
SIGNATURE = "d6d4187280710906516836d6cea0c82391974fb30dbf86cd359ea6a7d0e718b9"
SECRETS = (TOKEN, "secret-upload-id", SIGNATURE)
CHATTY = (
    f"Token {TOKEN} (Authorization: Bearer {TOKEN[:9]}Other) may not GET "
    f"https://imagedelivery.net/h/i/public?exp=1&sig={SIGNATURE}&x=1 "
    f"nor https://upload.imagedelivery.net{UPLOAD_PATH}"
)


def faults(server: Host | None) -> Iterator[tuple[str, Callable[[CloudflareImagesClient], Any]]]:
    """Yield requests that fail, each in its own way."""
    yield "details", lambda client: client.details("one")
    yield "download", lambda client: client.download("one").read()
    yield "upload", lambda client: client.upload(io.BytesIO(PNG * 200), image_id="one")
    if server is not None:
        url = f"{server.url}{UPLOAD_PATH}?sig={SIGNATURE}"
        yield "direct", lambda client: client.upload_direct(url, io.BytesIO(PNG))


def everything_in(error: BaseException) -> Iterator[str]:
    """Yield all that a log, a debug page or an error tracker shows of an error and of those before it."""
    seen: BaseException | None = error
    while seen is not None:
        yield from (str(seen), repr(seen), repr(seen.args), repr(vars(seen)))
        yield from traceback.format_exception(seen)
        for frame, _ in traceback.walk_tb(seen.__traceback__):
            module = frame.f_globals["__name__"]
            assert module.partition(".")[0] not in ("httpx", "httpcore", "h11"), "it holds the request"
            if module.partition(".")[0] != "tests":  # a caller's own variables are the caller's
                yield from map(repr, frame.f_locals.values())
        yield repr(pickle.dumps(seen)) if isinstance(seen, CloudflareImagesError) else ""
        assert seen.__cause__ is None
        seen = seen.__context__


CUT = responding(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 9\r\n\r\n{")
STALLING = (CUT, silent)  # only the deadline ends the wait for the rest


@pytest.mark.parametrize(
    "behavior",
    [
        responding(failure(403, 10000, CHATTY)),
        responding(response(502, CHATTY, "text/plain")),
        responding(response(200, f"<title>{CHATTY}</title>", "text/html")),
        responding(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"),
        CUT,
        responding(b"no HTTP\r\n\r\n"),
        silent,
    ],
    ids=["refused", "text", "page", "redirect", "cut", "no HTTP", "silent"],
)
@pytest.mark.parametrize("number", range(4), ids=["details", "download", "upload", "direct"])
def test_an_error_shows_no_secret(
    serve: Callable[..., Host],
    client_of: Any,
    caplog: pytest.LogCaptureFixture,
    behavior: Any,
    number: int,
) -> None:
    caplog.set_level(logging.DEBUG)
    server = serve(behavior)
    _, call = list(faults(server))[number]
    stalls = behavior in STALLING
    client = client_of(server, timeout=0.5 if stalls else 30, retry=not stalls)
    with pytest.raises(CloudflareImagesError) as caught:
        call(client)
    shown = [*everything_in(caught.value), *(record.getMessage() for record in caplog.records)]
    shown += [repr(vars(record)) for record in caplog.records]
    known = SECRETS[number == 3 :]  # an upload URL's host is not sent the token, and cannot repeat it
    assert not [text for text in shown for secret in known if secret in text]
    assert server.requests or stalls


def test_a_dead_port_shows_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client = CloudflareImagesClient(ACCOUNT, TOKEN, api_url=f"http://127.0.0.1:{dead_port()}")
    for _, call in faults(None):
        with pytest.raises(CloudflareImagesError) as caught:
            call(client)
        shown = [*everything_in(caught.value), caplog.text]
        assert not [text for text in shown for secret in SECRETS if secret in text]


def test_a_message_keeps_the_rest(client: CloudflareImagesClient, cloudflare: respx.MockRouter) -> None:
    cloudflare.get("/v1/one").respond(403, text=CHATTY)
    with pytest.raises(CredentialsRefusedError) as caught:
        client.details("one")
    assert caught.value.message == (
        "Token [hidden] (Authorization: Bearer [hidden] may not GET "
        "https://imagedelivery.net/h/i/public?exp=1&sig=[hidden]&x=1 nor [hidden]"
    )


def test_successes_log_no_secret(
    serve: Callable[..., Host], client_of: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    result = {"id": "one", "token": "batch-secret", "uploadURL": f"https://up{UPLOAD_PATH}"}
    server = serve(responding(success(result)))
    client = client_of(server)
    client.upload(io.BytesIO(PNG), image_id="one")
    client.upload_direct(f"{server.url}{UPLOAD_PATH}", io.BytesIO(PNG))
    client.create_direct_upload()
    client.batch_token()
    logged = caplog.text + "".join(repr(vars(record)) for record in caplog.records)
    assert "POST upload URL" in logged  # the requests have been logged: the test would see a secret
    assert "send_request_headers" in logged
    assert not [secret for secret in (*SECRETS, "batch-secret") if secret in logged]


def test_the_log_of_retries_shows_no_secret(
    client: CloudflareImagesClient, cloudflare: respx.MockRouter, caplog: pytest.LogCaptureFixture
) -> None:
    details: list[Any] = []
    cloudflare.get("/v1/one").mock(side_effect=[httpx.Response(502, text=CHATTY), api_success({"id": "one"})])
    hooks = stamina.instrumentation.get_on_retry_hooks()
    stamina.instrumentation.set_on_retry_hooks([*hooks, details.append])
    try:
        client.details("one")
    finally:
        stamina.instrumentation.set_on_retry_hooks(None)
    assert "stamina.retry_scheduled" in caplog.text
    shown = [repr(details), *everything_in(details[0].caused_by), *(repr(vars(r)) for r in caplog.records)]
    assert not [text for text in shown for secret in SECRETS if secret in text]


@pytest.mark.parametrize("refused", [f"{TOKEN}\n", f"{TOKEN}ü", f"{TOKEN} "])
def test_a_refused_token_is_not_shown(refused: str) -> None:
    with pytest.raises(CredentialsRefusedError) as caught:
        CloudflareImagesClient(ACCOUNT, refused)
    assert not [text for text in everything_in(caught.value) if TOKEN in text]


def test_a_refused_upload_url_is_not_shown(client: CloudflareImagesClient) -> None:
    with pytest.raises(CloudflareImagesError) as caught:
        client.upload_direct(f"upload.imagedelivery.net{UPLOAD_PATH}", io.BytesIO(PNG))
    assert not [text for text in everything_in(caught.value) if UPLOAD_PATH in text]


def test_no_repr_shows_a_secret(client: CloudflareImagesClient) -> None:
    values = [
        client,
        client._token,
        DirectUpload(id="one", upload_url=f"https://up{UPLOAD_PATH}"),
        BatchToken(token=TOKEN, expires_at=None),
    ]
    shown = "".join(map(repr, values)) + "".join(map(str, values))
    assert not [secret for secret in SECRETS if secret in shown]


@pytest.mark.parametrize("what", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_client_and_its_token_refuse_to_be_copied(client: CloudflareImagesClient, what: Any) -> None:
    for secret in (client, ApiToken(TOKEN)):
        with pytest.raises(TypeError, match="token"):
            what(secret)


def kinds(base: type[CloudflareImagesError]) -> Iterator[type[CloudflareImagesError]]:
    yield base
    for kind in base.__subclasses__():
        yield from kinds(kind)


@pytest.mark.parametrize("kind", sorted(set(kinds(CloudflareImagesError)), key=lambda kind: kind.__name__))
def test_errors_survive_pickling(kind: type[CloudflareImagesError]) -> None:
    error = kind("No luck", status=418, code=1234, request="GET /images/v1/one")
    copied = pickle.loads(pickle.dumps(error))
    assert (type(copied), str(copied), vars(copied)) == (kind, str(error), vars(error))


@pytest.mark.parametrize("kind", sorted(set(kinds(CloudflareImagesError)), key=lambda kind: kind.__name__))
def test_an_internal_error_is_one_that_callers_know(kind: type[CloudflareImagesError]) -> None:
    public = next(base for base in kind.__mro__ if base.__module__ == exceptions.__name__)
    assert public is kind or public is not CloudflareImagesError
