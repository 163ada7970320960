"""Answers as the service writes them: envelopes, images and variants in JSON, refusals in JSON or text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from werkzeug.wrappers import Request, Response

from cf_images.emulator.errors import ServiceError
from cf_images.emulator.images import StoredImage
from cf_images.emulator.state import State, Variant


def success(result: Any, *, result_info: Mapping[str, int] | None = None) -> Response:
    """The envelope around a result."""
    envelope = {"result": result, "success": True, "errors": [], "messages": [], "result_info": result_info}
    return Response(json.dumps(envelope), mimetype="application/json")


def refusal(error: ServiceError) -> Response:
    """The envelope around an error."""
    errors = [{"code": error.refusal.code, "message": error.message}]
    envelope = {"result": None, "success": False, "errors": errors, "messages": []}
    answer = Response(json.dumps(envelope), status=error.refusal.status, mimetype="application/json")
    if error.retry_after is not None:
        answer.headers["Retry-After"] = str(error.retry_after)
    return answer


def plain_refusal(error: ServiceError) -> Response:
    """``ERROR nnnn: text``, as delivery and a few calls of the API say it."""
    line = f"ERROR {error.refusal.code}: {error.message}"
    return Response(line, status=error.refusal.status, mimetype="text/plain")


def image(stored: StoredImage, request: Request, *, state: State, account_hash: str) -> dict[str, Any]:
    """The Image object; its ``variants`` lead to the host that was asked."""
    base = f"{request.host_url}{account_hash}/{quote(stored.image_id, safe='/')}"
    described = {
        "id": stored.image_id,
        "filename": stored.filename,
        "uploaded": moment(stored.uploaded),
        "requireSignedURLs": stored.require_signed_urls,
        "meta": stored.metadata,
        "creator": stored.creator,
        "variants": [f"{base}/{name}" for name in state.variants()],
    }
    return described | {"draft": True} if stored.draft else described


def variant(named: Variant) -> dict[str, Any]:
    """The Variant object."""
    return {
        "id": named.name,
        "options": named.options,
        "neverRequireSignedURLs": named.never_require_signed_urls,
    }


def keys(state: State) -> dict[str, Any]:
    """All signing keys with their values."""
    return {"keys": [{"name": name, "value": value} for name, value in state.signing_keys().items()]}


def moment(seconds: float) -> str:
    """ISO 8601 in UTC with milliseconds and a ``Z``."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def nanosecond_moment(seconds: float) -> str:
    """The same with nine digits after the second, as the batch token has it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "000Z")
