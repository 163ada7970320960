"""What a response means: the ``result`` of Cloudflare's envelope, or an error of this package.

Cloudflare's code decides first, wherever it is (in JSON, or in text such as ``ERROR 5404: …``), then the
HTTP status. A response that cannot be read is ``CloudflareUnavailableError``. Nothing here uses the network.

The body of a success (2xx) may hold signing keys, tokens and upload URLs, so no message quotes any of it.
What errors carry fits into every database: codes are positive and have 31 bits, messages are printable.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from cf_images.exceptions import (
    CloudflareImagesError,
    CloudflareUnavailableError,
    CredentialsRefusedError,
    ImageExistsError,
    ImageNotFoundError,
    ImageRejectedError,
    RateLimitedError,
)

_MAX_MESSAGE_LENGTH = 300
_MAX_TEXT_BYTES = 4096  # of a page or text that is quoted
_MAX_CODE = 2**31 - 1
_MAX_RETRY_SECONDS = 86_400.0  # a longer pause is no answer to a rate limit
_UNREADABLE = "Cloudflare's response cannot be read."
# In JSON text: a half of a surrogate pair, which no encoding of text can hold.
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_COUNT = re.compile(r"[0-9]{1,9}")
_PAGE_TITLE = re.compile(r"<title>(.*?)</title>", re.DOTALL | re.IGNORECASE)
_TEXT_ERROR = re.compile(r"ERROR ([0-9]{3,5}): *(.*)", re.DOTALL)
_SECRETS = re.compile(
    r"(?<=sig=)[^&\s\"'<]+|(?<=Bearer )\S+|https?://upload\.imagedelivery\.net/[^\s\"'<]*", re.IGNORECASE
)

_BY_CODE: dict[int | None, type[CloudflareImagesError]] = {
    **dict.fromkeys((5401, 5404), ImageNotFoundError),  # 5401: a variant
    5409: ImageExistsError,
    **dict.fromkeys((5403, 5453, 6003, 6111, 7003, 9109, 10000), CredentialsRefusedError),
    971: RateLimitedError,
    **dict.fromkeys((5408, 5550), CloudflareUnavailableError),  # 5550 was seen with HTTP 415
    **dict.fromkeys((5400, 5410, 5413, 5415, 5443, 5454, 5455), ImageRejectedError),
}
_BY_STATUS: dict[int, type[CloudflareImagesError]] = {
    **dict.fromkeys((401, 403), CredentialsRefusedError),
    404: ImageNotFoundError,
    408: CloudflareUnavailableError,
    409: ImageExistsError,
    **dict.fromkeys((400, 413, 415, 422), ImageRejectedError),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """What the headers ``x-ratelimit-*`` say: ``limit`` requests, of which ``remaining`` may be sent in the
    next ``reset`` seconds.
    """

    limit: int
    remaining: int
    reset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A complete HTTP response; ``repr`` omits the body, which may hold an upload URL or a token."""

    status: int
    body: bytes = field(repr=False)
    retry_after: str = ""
    date: str = ""
    content_type: str = ""
    rate_limit: RateLimit | None = None
    allowed_origin: str = ""  # whose scripts may read it: Access-Control-Allow-Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportFailure:
    """Why there is no response; ``unclear`` if Cloudflare may have carried out the request all the same."""

    reason: str
    unclear: bool


def read_result(response: Response) -> Any:
    """Return the ``result`` of a successful response; raise ``ValueError`` for any other."""
    envelope = _json(response.body)
    if response.status // 100 != 2 or not isinstance(envelope, dict) or envelope.get("success") is not True:
        raise ValueError("not a success")
    return envelope.get("result")


def read_rate_limit(headers: Mapping[str, str]) -> RateLimit | None:
    """Return what the headers say of the rate limit; ``None`` where they say nothing usable."""
    values = [headers.get(f"x-ratelimit-{name}", "") for name in ("limit", "remaining", "reset")]
    if not all(_COUNT.fullmatch(value) for value in values):
        return None
    limit, remaining, reset = map(int, values)
    return RateLimit(limit=limit, remaining=remaining, reset=reset) if limit and reset else None


def error_for(
    outcome: Response | TransportFailure, *, request: str, secrets: Iterable[str]
) -> CloudflareImagesError:
    """Return the error for a failed request; its message has neither ``secrets`` nor signatures."""
    if isinstance(outcome, TransportFailure):
        what = "No usable response from Cloudflare" if outcome.unclear else "Cloudflare cannot be reached"
        message = f"{what}: {outcome.reason}"
        return CloudflareUnavailableError(_redacted(message, secrets), request=request)
    code, message = _problem(outcome)
    kind = _kind(outcome.status, code)
    evidence: dict[str, Any] = {"status": outcome.status, "code": code, "request": request}
    if kind is RateLimitedError:
        evidence["retry_after"] = _seconds(outcome.retry_after)
    return kind(_redacted(message, secrets), **evidence)


def read_problem(response: Response, *, secrets: Iterable[str]) -> tuple[int | None, str]:
    """Return the code and the message of an unsuccessful response, without secrets."""
    code, message = _problem(response)
    return code, _redacted(message, secrets)


def _kind(status: int, code: int | None) -> type[CloudflareImagesError]:
    if status == 429:  # came with code 971, and with 10000, too
        return RateLimitedError
    if code in _BY_CODE:
        return _BY_CODE[code]
    if 300 <= status < 500:
        return _BY_STATUS.get(status, CloudflareImagesError)
    return CloudflareUnavailableError


def _problem(response: Response) -> tuple[int | None, str]:
    """Return Cloudflare's code (a known one if there are several) and its message, or one in its place."""
    envelope = _json(response.body)
    problems = _problems(envelope) if isinstance(envelope, dict) else _parse(None, _text(response.body))
    known = [problem for problem in problems if problem[0] in _BY_CODE]
    code, message = next(iter(known or problems), (None, ""))
    if 200 <= response.status < 300:
        return code, f"Cloudflare responded with error code {code}." if code else _UNREADABLE
    if 300 <= response.status < 400:
        return code, "Cloudflare answered with a redirect. Check api_url."
    return code, message or _UNREADABLE


def _problems(envelope: dict[str, Any]) -> list[tuple[int | None, str]]:
    errors = envelope.get("errors")
    return [
        problem
        for error in (errors if isinstance(errors, list) else [])
        if isinstance(error, dict)
        for problem in _parse(error.get("code"), error.get("message"))
    ]


def _parse(code: object, message: object) -> list[tuple[int | None, str]]:
    """Return the code as given, then the one in the text: messages inside JSON sometimes have the prefix."""
    given = code if type(code) is int and 0 < code <= _MAX_CODE else None  # True is no code
    text = message if isinstance(message, str) else ""
    match = _TEXT_ERROR.match(text)
    if match is None:
        return [(given, text)]
    in_text = int(match[1]) or None
    return [(given, match[2]), (in_text, match[2])] if given else [(in_text, match[2])]


def _text(body: bytes) -> str:
    text = body[:_MAX_TEXT_BYTES].decode(errors="replace")
    if len(body) > _MAX_TEXT_BYTES and not text[-1].isspace():
        text = text.rsplit(maxsplit=1)[0]  # the last word may be a part of a secret
    text = text.strip()
    if text.startswith(("{", "[")):
        return ""  # JSON that was cut off, perhaps a result
    if not text.startswith("<"):
        return text or "Cloudflare's response is empty."
    title = _PAGE_TITLE.search(text)
    return f"Cloudflare answered with a web page: {title[1].strip() if title else text}"


def _json(body: bytes) -> Any:
    """Return the JSON value, ``None`` for anything else; only values that can be written as JSON again."""
    try:
        text = body.decode("utf-8-sig")
        value = json.loads(text, parse_constant=_not_json, parse_float=_finite)
        return _without_surrogates(value) if _SURROGATE.search(text) else value
    except (ValueError, RecursionError):
        return None


def _not_json(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number that is too large")
    return number


def _without_surrogates(value: Any) -> Any:
    """Replace single surrogates in all texts; pairs have become characters before."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    return value


def _redacted(message: str, secrets: Iterable[str]) -> str:
    """Return the message as one printable line without secrets, of 300 characters at most."""
    for secret in filter(None, secrets):
        message = message.replace(secret, "[hidden]")
    message = _SECRETS.sub("[hidden]", message)
    if not message.isprintable():  # NUL, surrogates, line breaks, characters that reverse the line
        message = "".join(character if character.isprintable() else " " for character in message)
    message = " ".join(message.split()) or _UNREADABLE
    return message if len(message) <= _MAX_MESSAGE_LENGTH else message[: _MAX_MESSAGE_LENGTH - 1] + "…"


def _seconds(retry_after: str) -> float | None:
    """Parse the header ``Retry-After``: seconds or a date (RFC 9110, section 10.2.3); a day at most."""
    if retry_after.isascii() and retry_after.isdigit():
        return min(float(retry_after), _MAX_RETRY_SECONDS)
    moment = parse_http_date(retry_after)
    if moment is None:
        return None
    return min(max(0.0, (moment - datetime.now(UTC)).total_seconds()), _MAX_RETRY_SECONDS)


def parse_http_date(date: str) -> datetime | None:
    """Return an HTTP date (RFC 9110, section 5.6.7) in UTC, ``None`` for anything else."""
    try:
        moment = parsedate_to_datetime(date)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, TypeError, OverflowError, IndexError):  # the parser raises all of them
        return None
