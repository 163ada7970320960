"""What came back: the ``result`` of Cloudflare's envelope, or one of our errors.

Cloudflare's code decides first, wherever it stands (in JSON, or in a text such as ``ERROR 5404: …``), then
the HTTP status; what nobody can read is ``CloudflareUnavailableError``. Nothing here touches the network.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
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

_MESSAGE_LENGTH = 300
_PAGE_TITLE = re.compile(r"<title>(.*?)</title>", re.DOTALL | re.IGNORECASE)
_TEXT_ERROR = re.compile(r"ERROR (\d{3,5}): *(.*)", re.DOTALL)
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
class Answer:
    """An HTTP answer, whole; the body stays out of ``repr``, it may hold an upload URL or a token."""

    status: int
    body: bytes = field(repr=False)
    retry_after: str = ""
    date: str = ""
    content_type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoAnswer:
    """Why none came; ``unclear`` when Cloudflare may have done what we asked all the same."""

    reason: str
    unclear: bool


def result_of(answer: Answer) -> Any:
    """The ``result`` of a successful answer; anything else is a ``ValueError``."""
    envelope = _json(answer.body)
    if answer.status // 100 != 2 or not isinstance(envelope, dict) or envelope.get("success") is not True:
        raise ValueError("not a success")
    return envelope.get("result")


def error_of(outcome: Answer | NoAnswer, *, request: str, secrets: Iterable[str]) -> CloudflareImagesError:
    """The error that a failure is to our callers; neither ``secrets`` nor signatures are in its message."""
    if isinstance(outcome, NoAnswer):
        message = f"Cloudflare cannot be reached: {outcome.reason}"
        return CloudflareUnavailableError(_shown(message, secrets), request=request)
    code, message = _complaint(outcome)
    kind = _kind(outcome.status, code)
    evidence: dict[str, Any] = {"status": outcome.status, "code": code, "request": request}
    if kind is RateLimitedError:
        evidence["retry_after"] = _seconds(outcome.retry_after)
    return kind(_shown(message, secrets), **evidence)


def complaint(answer: Answer, *, secrets: Iterable[str]) -> tuple[int | None, str]:
    """Cloudflare's code and words for a refusal, as they may be shown."""
    code, message = _complaint(answer)
    return code, _shown(message, secrets)


def _kind(status: int, code: int | None) -> type[CloudflareImagesError]:
    if status == 429:  # came with code 971, and with 10000, too
        return RateLimitedError
    if code in _BY_CODE:
        return _BY_CODE[code]
    if 300 <= status < 500:
        return _BY_STATUS.get(status, CloudflareImagesError)
    return CloudflareUnavailableError


def _complaint(answer: Answer) -> tuple[int | None, str]:
    """Cloudflare's code, one that we know if there are several, and what it says, or what we have to say."""
    envelope = _json(answer.body)
    said = _said(envelope) if isinstance(envelope, dict) else _coded(None, _text(answer.body))
    known = [complaint for complaint in said if complaint[0] in _BY_CODE]
    code, message = next(iter(known or said), (None, ""))
    if 300 <= answer.status < 400:
        return code, "Cloudflare answered with a redirect: is api_url right?"
    return code, message or "Cloudflare's answer cannot be read."


def _said(envelope: dict[str, Any]) -> list[tuple[int | None, str]]:
    errors = envelope.get("errors")
    return [
        complaint
        for error in (errors if isinstance(errors, list) else [])
        if isinstance(error, dict)
        for complaint in _coded(error.get("code"), str(error.get("message") or ""))
    ]


def _coded(code: object, message: str) -> list[tuple[int | None, str]]:
    """The code as given, then as the text has it: messages inside JSON have the prefix at times."""
    given = code if isinstance(code, int) else None
    match = _TEXT_ERROR.match(message)
    if match is None:
        return [(given, message)]
    return [(given, match[2]), (int(match[1]), match[2])] if given else [(int(match[1]), match[2])]


def _text(body: bytes) -> str:
    text = body[:4096].decode(errors="replace").strip()
    if not text.startswith("<"):
        return text or "Cloudflare's answer is empty."
    title = _PAGE_TITLE.search(text)
    return f"Cloudflare answered with a web page: {title[1].strip() if title else text}"


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _shown(message: str, secrets: Iterable[str]) -> str:
    for secret in filter(None, secrets):
        message = message.replace(secret, "[hidden]")
    message = " ".join(_SECRETS.sub("[hidden]", message).split())
    return message if len(message) <= _MESSAGE_LENGTH else message[: _MESSAGE_LENGTH - 1] + "…"


def _seconds(retry_after: str) -> float | None:
    """The header ``Retry-After``, seconds or a date (RFC 9110, section 10.2.3)."""
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after)
    moment = moment_of(retry_after)
    return None if moment is None else max(0.0, (moment - datetime.now(UTC)).total_seconds())


def moment_of(date: str) -> datetime | None:
    """An HTTP date (RFC 9110, section 5.6.7), aware; ``None`` for anything else."""
    try:
        moment = parsedate_to_datetime(date)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
