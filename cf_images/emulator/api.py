"""The management API: every endpoint under ``/accounts/<account_id>/images/`` and the batch host's share.

Routes match the path as it was sent, segment by segment, so that ``a%2Fb`` is one ID and not two segments.
Fixed words come before IDs: an image whose ID is ``stats`` cannot be reached, as on the real service.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import islice
from typing import Any
from urllib.parse import quote, unquote

from werkzeug.wrappers import Request, Response
from werkzeug.wsgi import FileWrapper

from cf_images.emulator import answers, choices, filters, uploads
from cf_images.emulator.errors import (
    BAD_REQUEST,
    CUSTOM_ID_IS_PUBLIC,
    METHOD_NOT_AVAILABLE,
    NO_ROUTE,
    NOT_FOUND,
    QUOTA_USED,
    ApiError,
)
from cf_images.emulator.forms import json_body
from cf_images.emulator.images import StoredImage
from cf_images.emulator.limits import DEFAULT_PER_PAGE, PER_PAGE, Limits
from cf_images.emulator.renditions import Renditions
from cf_images.emulator.settings import Settings
from cf_images.emulator.state import State
from cf_images.emulator.uploads import Uploads

BODY_CHUNK = 64 * 1024
HIGHEST_NUMBER = 1e9
TOKEN = re.compile(r"([0-9]{1,15})-([0-9]{1,15})")
BATCH = ("images/v1", "images/v2", "images/v2/direct_upload", "images/v1/{}")
Handler = Callable[..., Response]


class Api:
    """The calls; who asks was found out before (:mod:`.app`)."""

    def __init__(
        self,
        state: State,
        *,
        uploads: Uploads,
        settings: Settings,
        renditions: Renditions,
        account_hash: str,
        limits: Limits,
    ) -> None:
        self._state = state
        self._uploads = uploads
        self._settings = settings
        self._renditions = renditions
        self._hash = account_hash
        self._limits = limits
        self._routes: dict[str, dict[str, Handler]] = {
            "images/v1": {"POST": self.upload, "GET": self.list_v1},
            "images/v2": {"GET": self.list_v2},
            "images/v2/direct_upload": {"POST": self.direct_upload},
            "images/v1/stats": {"GET": self.stats},
            "images/v1/batch_token": {"GET": self.batch_token, "POST": self.batch_token},
            "images/v1/config": {"GET": settings.config, "PATCH": settings.update_config},
            "images/v1/direct_upload": {},  # withdrawn long ago, and no image's ID
            "images/v1/variants": {"GET": settings.variants, "POST": settings.create_variant},
            "images/v1/variants/{}": {
                "GET": settings.variant,
                "PATCH": settings.update_variant,
                "DELETE": settings.delete_variant,
            },
            "images/v1/keys": {"GET": settings.keys},
            "images/v1/keys/{}": {"PUT": settings.put_key, "DELETE": settings.delete_key},
            "images/v1/{}": {"GET": self.details, "PATCH": self.update, "DELETE": self.delete},
            "images/v1/{}/blob": {"GET": self.blob},
        }

    def __call__(self, request: Request, path: str, *, batch: bool = False) -> Response:
        """Answer a request for ``path``, percent-encoded and relative to the account."""
        pattern, values = self._match(path)
        if batch and pattern not in BATCH:
            raise ApiError(NO_ROUTE)
        handler = self._routes[pattern].get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            raise ApiError(METHOD_NOT_AVAILABLE, request.method[:20])
        return handler(request, *values)

    def _match(self, path: str) -> tuple[str, list[str]]:
        segments = path.strip("/").split("/")
        for pattern in self._routes:
            values = _values(pattern.split("/"), segments)
            if values is not None:
                return pattern, values
        raise ApiError(NO_ROUTE)

    def upload(self, request: Request) -> Response:
        """``POST v1``: an image by file or by URL."""
        self._settings.require_subscription()
        if len(self._state.images) >= self._limits.images:
            raise ApiError(QUOTA_USED)
        return self._show(self._uploads.upload(request), request)

    def list_v1(self, request: Request) -> Response:
        """``GET v1``: by page number; deprecated by Cloudflare."""
        page = max(_number(request, "page", default=1), 1)
        per_page = _per_page(request)
        found = list(self._state.images.listed(creator=request.args.get("creator")))
        shown = found[(page - 1) * per_page : page * per_page]
        info = {"count": len(shown), "page": page, "per_page": per_page, "total_count": len(found)}
        return answers.success({"images": [self._json(image, request) for image in shown]}, result_info=info)

    def list_v2(self, request: Request) -> Response:
        """``GET v2``: by continuation token, filtered by creator and metadata."""
        conditions = filters.parse(request.args.items(multi=True))
        order = request.args.get("sort_order") or choices.LIST_ORDER
        if order not in ("asc", "desc"):
            raise ApiError(BAD_REQUEST, "sort_order must be asc or desc")
        images = self._state.images.listed(
            ascending=order == "asc", after=_position(request), creator=request.args.get("creator")
        )
        matching = (
            image for image in images if all(condition.holds(image.metadata) for condition in conditions)
        )
        per_page = _per_page(request)
        found = list(islice(matching, per_page + 1))
        shown = found[:per_page]
        return answers.success(
            {
                "images": [self._json(image, request) for image in shown],
                "continuation_token": _token(shown[-1]) if len(found) > per_page else None,
            }
        )

    def details(self, request: Request, image_id: str) -> Response:
        """``GET v1/<id>``: an image or a draft."""
        return self._show(self._state.images.find(image_id), request)

    def update(self, request: Request, image_id: str) -> Response:
        """``PATCH v1/<id>``: metadata (replaced), creator, access; the ID stays."""
        image = self._existing(image_id)
        changes = uploads.changes(json_body(request), limits=self._limits)
        if image.custom and changes["require_signed_urls"]:
            raise ApiError(CUSTOM_ID_IS_PUBLIC)
        return self._show(self._state.images.update(image_id, **changes), request)

    def delete(self, _request: Request, image_id: str) -> Response:
        """``DELETE v1/<id>``: an image or a draft."""
        image = self._state.images.delete(image_id)
        if image is None:
            raise ApiError(NOT_FOUND)
        if image.body_key:
            self._renditions.forget(image.body_key)
        return answers.success({})

    def blob(self, _request: Request, image_id: str) -> Response:
        """``GET v1/<id>/blob``: the bytes as they were uploaded."""
        image = self._existing(image_id)
        try:
            stream = image.open()
        except FileNotFoundError as error:
            raise ApiError(NOT_FOUND) from error
        answer = Response(
            FileWrapper(stream, BODY_CHUNK), mimetype=image.content_type, direct_passthrough=True
        )
        answer.content_length = image.size
        return answer

    def stats(self, _request: Request) -> Response:
        """``GET v1/stats``: how many images there are and may be."""
        return answers.success(
            {"count": {"current": len(self._state.images), "allowed": self._limits.images}}
        )

    def direct_upload(self, request: Request) -> Response:
        """``POST v2/direct_upload``: an ID and the URL that takes its bytes."""
        image_id = self._uploads.direct_upload(request)
        url = f"{request.host_url}upload/{self._hash}/{quote(image_id, safe='')}"
        return answers.success({"id": image_id, "uploadURL": url})

    def complete(self, request: Request, image_id: str) -> Response:
        """A POST to an upload URL; :mod:`.app` routes it here, its path is no part of the API."""
        self._settings.require_subscription()
        return self._show(self._uploads.complete(request, image_id), request)

    def batch_token(self, _request: Request) -> Response:
        """``GET v1/batch_token``: an hour's access to the batch host."""
        token, expires = self._state.new_batch_token()
        return answers.success({"token": token, "expiresAt": answers.nanosecond_moment(expires)})

    def _existing(self, image_id: str) -> StoredImage:
        image = self._state.images.find(image_id)
        if image is None:
            raise ApiError(NOT_FOUND)
        return image

    def _show(self, image: StoredImage | None, request: Request) -> Response:
        if image is None:
            raise ApiError(NOT_FOUND)
        return answers.success(self._json(image, request))

    def _json(self, image: StoredImage, request: Request) -> dict[str, Any]:
        return answers.image(image, request, state=self._state, account_hash=self._hash)


def _values(pattern: list[str], segments: list[str]) -> list[str] | None:
    """What stands where the pattern has ``{}``, decoded once; ``None`` when the pattern does not match."""
    if len(pattern) != len(segments):
        return None
    pairs = list(zip(pattern, segments, strict=True))
    if not all(segment and expected in ("{}", segment) for expected, segment in pairs):
        return None
    return [unquote(segment) for expected, segment in pairs if expected == "{}"]


def _number(request: Request, name: str, *, default: int) -> int:
    text = request.args.get(name, "")
    if not text:
        return default
    try:
        return int(max(min(float(text), HIGHEST_NUMBER), 0))
    except ValueError as error:  # also for "nan", which is smaller than nothing
        raise ApiError(BAD_REQUEST, f"{name} must be a number") from error


def _per_page(request: Request) -> int:
    wanted = _number(request, "per_page", default=DEFAULT_PER_PAGE)
    return min(max(wanted, choices.SMALLEST_PAGE), PER_PAGE.stop - 1)


def _token(image: StoredImage) -> str:
    """The position after an image; at most 32 characters."""
    return f"{round(image.uploaded * 1_000)}-{image.serial}"


def _position(request: Request) -> tuple[float, int] | None:
    token = request.args.get("continuation_token")
    if not token:
        return None
    match = TOKEN.fullmatch(token)
    if match is None:
        raise ApiError(BAD_REQUEST, "unknown continuation_token")
    return int(match[1]) / 1_000, int(match[2])
