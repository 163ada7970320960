"""Responses as the service writes them: results and errors in JSON envelopes, errors in plain text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from werkzeug.wrappers import Request, Response

from cf_images.emulator.errors import ApiError, DeliveryError, ServiceError
from cf_images.emulator.images import StoredImage
from cf_images.emulator.state import State, Variant


def success(result: Any, *, result_info: Mapping[str, int] | None = None) -> Response:
    """Return a result in Cloudflare's JSON envelope."""
    envelope = {"result": result, "success": True, "errors": [], "messages": [], "result_info": result_info}
    return Response(json.dumps(envelope), mimetype="application/json")


def error(error: ServiceError) -> Response:
    """Return an error in the form of its host: a JSON envelope, or ``ERROR nnnn: text``.

    An error of the API has ``Retry-After`` in seconds if it is temporary; one of delivery has ``Cf-Images``.
    """
    if not isinstance(error, ApiError):
        text = f"ERROR {error.code}: {error.message}"
        headers = {"Cf-Images": f"err={error.code}", "Cache-Control": "no-store"}
        return Response(
            text,
            status=error.status,
            mimetype="text/plain",
            headers=headers if isinstance(error, DeliveryError) else None,
        )
    errors = [{"code": error.code, "message": error.message}]
    envelope = {"result": None, "success": False, "errors": errors, "messages": []}
    response = Response(json.dumps(envelope), status=error.status, mimetype="application/json")
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def image(stored: StoredImage, request: Request, *, state: State, account_hash: str) -> dict[str, Any]:
    """Return the API's Image object; the URLs in ``variants`` have the host of the request."""
    base = f"{request.host_url}{account_hash}/{quote(stored.image_id, safe='/')}"
    result = {
        "id": stored.image_id,
        "filename": stored.filename,
        "uploaded": timestamp(stored.uploaded),
        "requireSignedURLs": stored.require_signed_urls,
        "meta": stored.metadata,
        "creator": stored.creator,
        "variants": [f"{base}/{name}" for name in state.variants()],
    }
    return result | {"draft": True} if stored.draft else result


def variant(named: Variant) -> dict[str, Any]:
    """Return the API's Variant object."""
    return {
        "id": named.name,
        "options": named.options,
        "neverRequireSignedURLs": named.never_require_signed_urls,
    }


def keys(state: State) -> dict[str, Any]:
    """Return all signing keys with their values."""
    return {"keys": [{"name": name, "value": value} for name, value in state.signing_keys().items()]}


def timestamp(seconds: float) -> str:
    """Format seconds since 1970 as ISO 8601 in UTC, with milliseconds and a ``Z``."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def nanosecond_timestamp(seconds: float) -> str:
    """Format seconds since 1970 with nine decimal places, as in the response for a batch token."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "000Z")
