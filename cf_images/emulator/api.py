"""The management API: the endpoints under ``/accounts/<account_id>/images/``, some of them on the batch host.

Routes match the encoded path segment by segment, so that ``a%2Fb`` is one ID and not two segments. Fixed
words come before IDs: as on the real service, an image with the ID ``stats`` cannot be requested.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any
from urllib.parse import quote, unquote

from werkzeug.wrappers import Request, Response
from werkzeug.wsgi import FileWrapper

from cf_images.emulator import assumptions, filters, responses, uploads
from cf_images.emulator.errors import (
    BAD_REQUEST,
    CUSTOM_ID_IS_PUBLIC,
    METHOD_NOT_AVAILABLE,
    NO_ROUTE,
    NOT_FOUND,
    QUOTA_EXCEEDED,
    ApiError,
)
from cf_images.emulator.faults import Faults
from cf_images.emulator.filters import Condition
from cf_images.emulator.forms import json_body
from cf_images.emulator.images import StoredImage
from cf_images.emulator.limits import DEFAULT_PER_PAGE, PER_PAGE, Limits
from cf_images.emulator.renditions import Renditions
from cf_images.emulator.settings import Settings
from cf_images.emulator.state import State
from cf_images.emulator.uploads import Uploads

BODY_CHUNK = 64 * 1024
MAX_NUMBER = 1e9
TOKEN = re.compile(r"([0-9]{1,15})-([0-9]{1,15})")
BATCH = ("images/v1", "images/v2", "images/v2/direct_upload", "images/v1/{}")
Handler = Callable[..., Response]


class Api:
    """The endpoints of the API; :mod:`.app` authenticates requests before they arrive here."""

    def __init__(
        self,
        state: State,
        *,
        uploads: Uploads,
        settings: Settings,
        renditions: Renditions,
        account_hash: str,
        limits: Limits,
        faults: Faults,
    ) -> None:
        self._state = state
        self._uploads = uploads
        self._settings = settings
        self._renditions = renditions
        self._hash = account_hash
        self._limits = limits
        self._faults = faults
        self._routes: dict[str, dict[str, Handler]] = {
            "images/v1": {"POST": self.upload, "GET": self.list_v1},
            "images/v2": {"GET": self.list_v2},
            "images/v2/direct_upload": {"POST": self.direct_upload},
            "images/v1/stats": {"GET": self.stats},
            "images/v1/batch_token": {"GET": self.batch_token, "POST": self.batch_token},
            "images/v1/config": {"GET": settings.config, "PATCH": settings.update_config},
            "images/v1/direct_upload": {},  # withdrawn by Cloudflare; not the ID of an image
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
        """Respond to a request for ``path``, which is percent-encoded and relative to the account."""
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
        """``POST v1``: upload an image by file or by URL."""
        self._settings.require_subscription()
        if len(self._state.images) >= self._limits.images:
            raise ApiError(QUOTA_EXCEEDED)
        return self._image(self._uploads.upload(request), request)

    def list_v1(self, request: Request) -> Response:
        """``GET v1``: list images by page number; deprecated by Cloudflare."""
        page = max(_number(request, "page", default=1), 1)
        per_page = _per_page(request)
        images = list(self._state.images.listed(creator=request.args.get("creator")))
        listed = images[(page - 1) * per_page : page * per_page]
        info = {"count": len(listed), "page": page, "per_page": per_page, "total_count": len(images)}
        return responses.success(
            {"images": [self._json(image, request) for image in listed]}, result_info=info
        )

    def list_v2(self, request: Request) -> Response:
        """``GET v2``: list images by continuation token, filtered by creator and metadata."""
        conditions = filters.parse(request.args.items(multi=True))
        order = request.args.get("sort_order") or assumptions.LIST_ORDER
        if order not in ("asc", "desc"):
            raise ApiError(BAD_REQUEST, "sort_order must be asc or desc")
        listing = partial(
            self._matching, conditions, ascending=order == "asc", creator=request.args.get("creator")
        )
        per_page = _per_page(request)
        # One more shows whether another page follows.
        found = list(islice(listing(after=_position(request)), per_page + 1))
        listed = found[:per_page]
        limit = int(self._faults.unstable_lists)
        if limit and len(list(islice(listing(), limit + 1))) > limit:
            listed = [listed[max(0, number - (number % 7 == 1))] for number in range(len(listed))]
        return responses.success(
            {
                "images": [self._json(image, request) for image in listed],
                "continuation_token": _token(found[per_page - 1]) if len(found) > per_page else None,
            }
        )

    def _matching(
        self, conditions: list[Condition], *, after: tuple[float, int] | None = None, **options: Any
    ) -> Iterator[StoredImage]:
        narrowed = filters.narrow(conditions)
        for image in self._state.images.listed(after=after, narrowed=narrowed, **options):
            if all(condition.matches(image.metadata) for condition in conditions):
                yield image

    def details(self, request: Request, image_id: str) -> Response:
        """``GET v1/<id>``: return an image or a draft."""
        return self._image(self._state.images.find(image_id), request)

    def update(self, request: Request, image_id: str) -> Response:
        """``PATCH v1/<id>``: replace metadata, creator or ``requireSignedURLs``; the ID stays."""
        image = self._existing(image_id)
        changes = uploads.changes(json_body(request), limits=self._limits)
        if image.custom and changes["require_signed_urls"]:
            raise ApiError(CUSTOM_ID_IS_PUBLIC)
        return self._image(self._state.images.update(image_id, **changes), request)

    def delete(self, _request: Request, image_id: str) -> Response:
        """``DELETE v1/<id>``: delete an image or a draft."""
        image = self._state.images.delete(image_id)
        if image is None:
            raise ApiError(NOT_FOUND)
        if image.body_key:
            self._renditions.clear(image.body_key)
        return responses.success({})

    def blob(self, _request: Request, image_id: str) -> Response:
        """``GET v1/<id>/blob``: return the bytes as they were uploaded."""
        image = self._existing(image_id)
        try:
            stream = image.open()
        except FileNotFoundError as error:
            raise ApiError(NOT_FOUND) from error
        response = Response(
            FileWrapper(stream, BODY_CHUNK), mimetype=image.content_type, direct_passthrough=True
        )
        response.content_length = image.size
        return response

    def stats(self, _request: Request) -> Response:
        """``GET v1/stats``: return the number of images and the image quota."""
        return responses.success(
            {"count": {"current": len(self._state.images), "allowed": self._limits.images}}
        )

    def direct_upload(self, request: Request) -> Response:
        """``POST v2/direct_upload``: reserve an ID and return its upload URL."""
        image_id = self._uploads.direct_upload(request)
        url = f"{request.host_url}upload/{self._hash}/{quote(image_id, safe='')}"
        return responses.success({"id": image_id, "uploadURL": url})

    def complete(self, request: Request, image_id: str) -> Response:
        """Store the bytes of a draft; :mod:`.app` calls this for an upload URL, which is not an API path."""
        self._settings.require_subscription()
        return self._image(self._uploads.complete(request, image_id), request)

    def batch_token(self, _request: Request) -> Response:
        """``GET v1/batch_token``: create a token that is valid for one hour at the batch host."""
        token, expires = self._state.create_batch_token()
        return responses.success({"token": token, "expiresAt": responses.nanosecond_timestamp(expires)})

    def _existing(self, image_id: str) -> StoredImage:
        image = self._state.images.find(image_id)
        if image is None:
            raise ApiError(NOT_FOUND)
        return image

    def _image(self, image: StoredImage | None, request: Request) -> Response:
        if image is None:
            raise ApiError(NOT_FOUND)
        return responses.success(self._json(image, request))

    def _json(self, image: StoredImage, request: Request) -> dict[str, Any]:
        return responses.image(image, request, state=self._state, account_hash=self._hash)


def _values(pattern: list[str], segments: list[str]) -> list[str] | None:
    """Return the decoded segments at ``{}``, or ``None`` if the pattern does not match."""
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
        return int(max(min(float(text), MAX_NUMBER), 0))
    except ValueError as error:  # int() raises it for "nan"
        raise ApiError(BAD_REQUEST, f"{name} must be a number") from error


def _per_page(request: Request) -> int:
    per_page = _number(request, "per_page", default=DEFAULT_PER_PAGE)
    return min(max(per_page, assumptions.MIN_PER_PAGE), PER_PAGE.stop - 1)


def _token(image: StoredImage) -> str:
    """Return the position after an image, at most 32 characters long."""
    return f"{round(image.uploaded * 1_000)}-{image.serial}"


def _position(request: Request) -> tuple[float, int] | None:
    token = request.args.get("continuation_token")
    if not token:
        return None
    match = TOKEN.fullmatch(token)
    if match is None:
        raise ApiError(BAD_REQUEST, "unknown continuation_token")
    return int(match[1]) / 1_000, int(match[2])
