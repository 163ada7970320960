"""What each response means: code first, then status; JSON, text and HTML alike."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
import respx

from cf_images.client import CloudflareImagesClient
from cf_images.exceptions import (
    CloudflareImagesError,
    CloudflareUnavailableError,
    CredentialsRefusedError,
    ImageExistsError,
    ImageNotFoundError,
    ImageRejectedError,
    RateLimitedError,
)

CODES: list[tuple[int, int, type[CloudflareImagesError]]] = [
    (404, 5404, ImageNotFoundError),
    (404, 5401, ImageNotFoundError),
    (409, 5409, ImageExistsError),
    (401, 10000, CredentialsRefusedError),
    (403, 10000, CredentialsRefusedError),
    (403, 5403, CredentialsRefusedError),
    (403, 5453, CredentialsRefusedError),
    (400, 7003, CredentialsRefusedError),
    (404, 7003, CredentialsRefusedError),
    (400, 6003, CredentialsRefusedError),
    (400, 6111, CredentialsRefusedError),
    (403, 9109, CredentialsRefusedError),
    (429, 971, RateLimitedError),
    (429, 10000, RateLimitedError),
    (400, 971, RateLimitedError),
    (415, 5550, CloudflareUnavailableError),
    (400, 5550, CloudflareUnavailableError),
    (500, 5550, CloudflareUnavailableError),
    (408, 5408, CloudflareUnavailableError),
    (400, 5408, CloudflareUnavailableError),
    (400, 5400, ImageRejectedError),
    (400, 5410, ImageRejectedError),
    (413, 5413, ImageRejectedError),
    (415, 5415, ImageRejectedError),
    (418, 5443, ImageRejectedError),
    (400, 5454, ImageRejectedError),
    (415, 5455, ImageRejectedError),
    (200, 5404, ImageNotFoundError),
    (200, 5400, ImageRejectedError),
    (500, 5404, ImageNotFoundError),
]
STATUSES: list[tuple[int, type[CloudflareImagesError]]] = [
    (400, ImageRejectedError),
    (401, CredentialsRefusedError),
    (403, CredentialsRefusedError),
    (404, ImageNotFoundError),
    (408, CloudflareUnavailableError),
    (409, ImageExistsError),
    (413, ImageRejectedError),
    (415, ImageRejectedError),
    (422, ImageRejectedError),
    (429, RateLimitedError),
    (500, CloudflareUnavailableError),
    (502, CloudflareUnavailableError),
    (520, CloudflareUnavailableError),
    (301, CloudflareImagesError),
    (405, CloudflareImagesError),
    (418, CloudflareImagesError),
    (200, CloudflareUnavailableError),
    (204, CloudflareUnavailableError),
]


def envelope(*errors: dict[str, Any], **others: Any) -> dict[str, Any]:
    return {"success": False, "errors": list(errors), "messages": [], "result": None, **others}


def error_from(cloudflare: respx.MockRouter, status: int, **response: Any) -> CloudflareImagesError:
    cloudflare.get("/v1/one").mock(return_value=httpx.Response(status, **response))
    with pytest.raises(CloudflareImagesError) as caught:
        CloudflareImagesClient("0123456789abcdef0123456789abcdef", "token", retry=False).details("one")
    return caught.value


@pytest.mark.parametrize(("status", "code", "expected"), CODES)
@pytest.mark.parametrize("form", ["json", "prefixed json", "unknown code in json", "second error", "text"])
def test_the_code_decides_wherever_it_stands(
    cloudflare: respx.MockRouter, status: int, code: int, expected: type[CloudflareImagesError], form: str
) -> None:
    prefixed = f"ERROR {code}: No luck"
    responses: dict[str, dict[str, Any]] = {
        "json": {"json": envelope({"code": code, "message": "No luck"})},
        "prefixed json": {"json": envelope({"code": code, "message": prefixed})},
        "unknown code in json": {"json": envelope({"code": 1000, "message": prefixed})},
        "second error": {
            "json": envelope({"code": 1000, "message": "?"}, {"code": code, "message": "No luck"})
        },
        "text": {"text": f"{prefixed}\n"},
    }
    error = error_from(cloudflare, status, **responses[form])
    assert type(error) is expected
    message = "No luck" if status != 200 else f"Cloudflare responded with error code {code}."
    assert (error.code, error.status, error.message) == (code, status, message)


@pytest.mark.parametrize(("status", "expected"), STATUSES)
@pytest.mark.parametrize(
    "form", ["unknown code", "no errors", "odd errors", "text", "html", "empty", "cut", "list"]
)
def test_the_status_decides_without_a_code_we_know(
    cloudflare: respx.MockRouter, status: int, expected: type[CloudflareImagesError], form: str
) -> None:
    responses: dict[str, dict[str, Any]] = {
        "unknown code": {"json": envelope({"code": 1234, "message": "New"})},
        "no errors": {"json": {"success": False}},
        "odd errors": {"json": {"success": False, "errors": [None, "5404", {"code": "x"}]}},
        "text": {"text": "Something is wrong"},
        "html": {"html": "<html><title>502 Bad\nGateway</title></html>"},
        "empty": {"content": b""},
        "cut": {"content": json.dumps({"success": True, "result": {"id": "one"}})[:-5]},
        "list": {"json": [1, 2]},
    }
    error = error_from(cloudflare, status, **responses[form])
    assert type(error) is expected
    assert error.status == status
    assert error.message


@pytest.mark.parametrize(
    "body",
    [
        {"success": True, "result": None},
        {"success": True, "result": {}},
        {"success": True, "result": {"id": ""}},
        {"success": True, "result": {"id": 7}},
        {"success": True, "result": "one"},
        {"success": True, "result": {"id": "one", "meta": 5}},
        {"success": "true", "result": {"id": "one"}},
        {"result": {"id": "one"}},
        {"success": False, "result": {"id": "one"}},
    ],
)
def test_a_success_that_cannot_be_read_is_cloudflares_fault(cloudflare: respx.MockRouter, body: Any) -> None:
    assert type(error_from(cloudflare, 200, json=body)) is CloudflareUnavailableError


def test_json_nested_too_deeply_is_unreadable(cloudflare: respx.MockRouter) -> None:
    assert type(error_from(cloudflare, 200, content=b"[" * 200_000)) is CloudflareUnavailableError


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (
            "<html><head><title> 502 Bad\n Gateway </title>",
            "Cloudflare answered with a web page: 502 Bad Gateway",
        ),
        ("<p>Hello</p>", "Cloudflare answered with a web page: <p>Hello</p>"),
        ("", "Cloudflare's response is empty."),
        ("  so\n\tso ", "so so"),
        ("x" * 1000, "x" * 299 + "…"),
        ('{"a": 1}', "Cloudflare's response cannot be read."),
    ],
)
def test_the_message_shows_what_came(cloudflare: respx.MockRouter, body: str, shown: str) -> None:
    assert error_from(cloudflare, 502, text=body).message == shown


def test_an_error_shows_the_evidence(cloudflare: respx.MockRouter) -> None:
    error = error_from(cloudflare, 404, json=envelope({"code": 5404, "message": "Image not found"}))
    assert error.summary == "Image not found (code 5404, HTTP 404, GET /images/v1/one)"


def test_a_redirect_is_an_error_and_not_followed(cloudflare: respx.MockRouter) -> None:
    error = error_from(cloudflare, 302, headers={"Location": "https://elsewhere.example/"}, html="<p>Moved")
    assert error.message == "Cloudflare answered with a redirect. Check api_url."


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ({"Retry-After": "120"}, 120.0),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 -0000"}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({}, None),
    ],
)
def test_rate_limits_say_how_long(
    cloudflare: respx.MockRouter, header: dict[str, str], seconds: float | None
) -> None:
    error = error_from(cloudflare, 429, headers=header)
    assert isinstance(error, RateLimitedError)
    assert error.retry_after == seconds


def test_rate_limits_may_end_at_a_date(cloudflare: respx.MockRouter) -> None:
    moment = datetime.now(UTC) + timedelta(hours=1)
    error = error_from(cloudflare, 429, headers={"Retry-After": format_datetime(moment, usegmt=True)})
    assert isinstance(error, RateLimitedError)
    assert error.retry_after == pytest.approx(3600, abs=60)
