"""The management API: every endpoint under ``/accounts/<account_id>/images/`` and the batch host's share.

Routes match the path as it was sent, segment by segment, so that ``a%2Fb`` is one ID and not two segments.
Fixed words come before IDs: an image whose ID is ``stats`` cannot be reached, as on the real service.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import islice
from typing import Any
from urllib.parse import quote, unquote

from werkzeug.exceptions import ClientDisconnected
from werkzeug.wrappers import Request, Response
from werkzeug.wsgi import FileWrapper

from cf_images.emulator import answers, choices, filters, uploads
from cf_images.emulator.errors import (
    BAD_REQUEST,
    CUSTOM_ID_IS_PUBLIC,
    EXISTS,
    KEY_NOT_FOUND,
    METHOD_NOT_AVAILABLE,
    NO_ROUTE,
    NOT_ENABLED,
    NOT_FOUND,
    VARIANT_NOT_FOUND,
    ApiError,
    PlainError,
)
from cf_images.emulator.limits import (
    BROWSER_TTL,
    DEFAULT_PER_PAGE,
    FITS,
    KEY_NAME_LENGTH,
    PER_PAGE,
    VARIANT_METADATA,
    VARIANT_NAME_LENGTH,
    Limits,
)
from cf_images.emulator.renditions import Renditions
from cf_images.emulator.state import State, StoredImage, TakenError, Variant
from cf_images.emulator.uploads import Uploads

BODY_CHUNK = 64 * 1024
JSON_BYTES = 256 * 1024
TOKEN = re.compile(r"([0-9]{1,14})-([0-9]{1,15})")
VARIANT_NAME = re.compile(rf"[A-Za-z0-9]{{1,{VARIANT_NAME_LENGTH}}}")
KEY_NAME = re.compile(rf"[A-Za-z0-9]{{1,{KEY_NAME_LENGTH}}}")
DEFAULT_OPTIONS = {"fit": "scale-down", "metadata": "none"}
SETTINGS: dict[str, Callable[[Any], bool]] = {
    "flexible_variants": lambda value: isinstance(value, bool),
    "preserve_content_credentials": lambda value: isinstance(value, bool),
    "browser_ttl": lambda value: type(value) is int and value in BROWSER_TTL,
}
Handler = Callable[..., Response]


class Api:
    """The calls; who asks was found out before (:mod:`.app`)."""

    def __init__(
        self,
        state: State,
        *,
        uploads: Uploads,
        renditions: Renditions,
        account_hash: str,
        limits: Limits,
        subscribed: bool,
    ) -> None:
        self._state = state
        self._renditions = renditions
        self._uploads = uploads
        self._hash = account_hash
        self._limits = limits
        self._subscribed = subscribed
        self._routes: dict[str, dict[str, Handler]] = {
            "images/v1": {"POST": self.upload, "GET": self.list_v1},
            "images/v2": {"GET": self.list_v2},
            "images/v2/direct_upload": {"POST": self.direct_upload},
            "images/v1/stats": {"GET": self.stats},
            "images/v1/batch_token": {"GET": self.batch_token, "POST": self.batch_token},
            "images/v1/config": {"GET": self.settings, "PATCH": self.update_settings},
            "images/v1/direct_upload": {},
            "images/v1/variants": {"GET": self.variants, "POST": self.create_variant},
            "images/v1/variants/{}": {
                "GET": self.variant,
                "PATCH": self.update_variant,
                "DELETE": self.delete_variant,
            },
            "images/v1/keys": {"GET": self.keys},
            "images/v1/keys/{}": {"PUT": self.put_key, "DELETE": self.delete_key},
            "images/v1/{}": {"GET": self.details, "PATCH": self.update, "DELETE": self.delete},
            "images/v1/{}/blob": {"GET": self.blob},
        }
        self._batch_routes = {
            path: self._routes[path]
            for path in ("images/v1", "images/v2", "images/v2/direct_upload", "images/v1/{}")
        }

    def __call__(self, request: Request, path: str, *, batch: bool = False) -> Response:
        """Answer a request for ``path``, percent-encoded and relative to the account."""
        handlers, values = self._match(path, batch=batch)
        handler = handlers.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            raise ApiError(METHOD_NOT_AVAILABLE, request.method[:20])
        return handler(request, *values)

    def _match(self, path: str, *, batch: bool) -> tuple[dict[str, Handler], list[str]]:
        segments = path.strip("/").split("/")
        for pattern, handlers in self._routes.items():
            values = _values(pattern.split("/"), segments)
            if values is not None:
                if batch and pattern not in self._batch_routes:
                    break
                return handlers, values
        raise ApiError(NO_ROUTE)

    # Images

    def upload(self, request: Request) -> Response:
        self._require_subscription()
        if self._state.count() >= self._limits.images:
            raise ApiError(NOT_ENABLED, f"the quota of {self._limits.images:,} images is used up")
        return self._show(self._uploads.upload(request), request)

    def list_v1(self, request: Request) -> Response:
        page = max(_number(request, "page", default=1), 1)
        per_page = _per_page(request)
        found = list(self._state.images(creator=request.args.get("creator")))
        shown = found[(page - 1) * per_page : page * per_page]
        info = {"count": len(shown), "page": page, "per_page": per_page, "total_count": len(found)}
        return answers.success({"images": [self._json(image, request) for image in shown]}, result_info=info)

    def list_v2(self, request: Request) -> Response:
        conditions = filters.parse(request.args.items(multi=True))
        order = request.args.get("sort_order") or choices.NEWEST_FIRST
        if order not in ("asc", "desc"):
            raise ApiError(BAD_REQUEST, "sort_order must be asc or desc")
        images = self._state.images(
            ascending=order == "asc", after=_position(request), creator=request.args.get("creator")
        )
        matching = (
            image for image in images if all(condition.holds(image.metadata) for condition in conditions)
        )
        per_page = _per_page(request)
        found = list(islice(matching, per_page + 1))
        shown = found[:per_page]
        token = _token(shown[-1]) if len(found) > per_page else None
        return answers.success(
            {"images": [self._json(image, request) for image in shown], "continuation_token": token}
        )

    def details(self, request: Request, image_id: str) -> Response:
        return self._show(self._existing(image_id), request)

    def update(self, request: Request, image_id: str) -> Response:
        image = self._existing(image_id)
        changes = uploads.changes(_body(request), limits=self._limits)
        if image.custom and changes["require_signed_urls"]:
            raise ApiError(CUSTOM_ID_IS_PUBLIC)
        self._state.update_image(image_id, **changes)
        return self._show(self._existing(image_id), request)

    def delete(self, _request: Request, image_id: str) -> Response:
        image = self._state.delete_image(image_id)
        if image is None:
            raise ApiError(NOT_FOUND)
        if image.body_key:
            self._renditions.forget(image.body_key)
        return answers.success({})

    def blob(self, _request: Request, image_id: str) -> Response:
        image = self._existing(image_id)
        try:
            stream = image.open()
        except FileNotFoundError as error:
            raise ApiError(NOT_FOUND) from error
        answer = Response(
            FileWrapper(stream, BODY_CHUNK), mimetype=image.content_type, direct_passthrough=True
        )
        answer.content_length = image.size or 0
        return answer

    def stats(self, _request: Request) -> Response:
        allowed = self._limits.images if self._subscribed else 0
        return answers.success({"count": {"current": self._state.count(), "allowed": allowed}})

    def direct_upload(self, request: Request) -> Response:
        image_id = self._uploads.direct_upload(request)
        url = f"{request.host_url}upload/{self._hash}/{quote(image_id, safe='')}"
        return answers.success({"id": image_id, "uploadURL": url})

    def complete(self, request: Request, image_id: str) -> Response:
        """A POST to an upload URL; :mod:`.app` routes it here, its path is no part of the API."""
        self._require_subscription()
        return self._show(self._uploads.complete(request, image_id), request)

    def batch_token(self, _request: Request) -> Response:
        token, expires = self._state.new_batch_token()
        return answers.success({"token": token, "expiresAt": answers.nanosecond_moment(expires)})

    def _existing(self, image_id: str) -> StoredImage:
        image = self._state.image(image_id)
        if image is None:
            raise ApiError(NOT_FOUND)
        return image

    def _show(self, image: StoredImage, request: Request) -> Response:
        return answers.success(self._json(image, request))

    def _json(self, image: StoredImage, request: Request) -> dict[str, Any]:
        return answers.image(image, request, state=self._state, account_hash=self._hash)

    def _require_subscription(self) -> None:
        if not self._subscribed:
            raise ApiError(NOT_ENABLED)

    # Settings

    def settings(self, _request: Request) -> Response:
        return answers.success(self._state.settings())

    def update_settings(self, request: Request) -> Response:
        changes = _body(request)
        for name, value in changes.items():
            if name not in SETTINGS or not SETTINGS[name](value):
                raise ApiError(BAD_REQUEST, f"config cannot have {name[:50]!r}: {str(value)[:50]!r}")
        self._require_subscription()
        self._state.update_settings(changes)
        return self.settings(request)

    # Variants

    def variants(self, _request: Request) -> Response:
        named = self._state.variants()
        return answers.success({"variants": {name: answers.variant(named[name]) for name in named}})

    def variant(self, _request: Request, name: str) -> Response:
        named = self._state.variant(name)
        if named is None:
            raise PlainError(VARIANT_NOT_FOUND)
        return answers.success({"variant": answers.variant(named)})

    def create_variant(self, request: Request) -> Response:
        body = _body(request)
        named = _variant(body.get("id"), body)
        if self._state.variant(named.name):
            raise ApiError(EXISTS)
        self._require_subscription()
        try:
            added = self._state.add_variant(named, limit=self._limits.variants)
        except TakenError as error:
            raise ApiError(EXISTS) from error
        if not added:
            raise ApiError(BAD_REQUEST, f"an account may have {self._limits.variants} variants")
        return answers.success({"variant": answers.variant(named)})

    def update_variant(self, request: Request, name: str) -> Response:
        if self._state.variant(name) is None:
            raise ApiError(VARIANT_NOT_FOUND)
        named = _variant(name, _body(request))
        self._require_subscription()
        if not self._state.update_variant(named):
            raise ApiError(VARIANT_NOT_FOUND)
        return answers.success({"variant": answers.variant(named)})

    def delete_variant(self, _request: Request, name: str) -> Response:
        if self._state.variant(name) is None:
            raise ApiError(VARIANT_NOT_FOUND)
        self._require_subscription()
        if name != "public":  # answered with success, and kept
            self._state.delete_variant(name)
        return answers.success({})

    # Signing keys

    def keys(self, _request: Request) -> Response:
        self._require_subscription()
        return answers.success(answers.keys(self._state))

    def put_key(self, _request: Request, name: str) -> Response:
        if not KEY_NAME.fullmatch(name):
            raise ApiError(BAD_REQUEST, f"a key's name has at most {KEY_NAME_LENGTH} letters and digits")
        self._require_subscription()
        if not self._state.put_key(name, limit=self._limits.keys):
            raise ApiError(BAD_REQUEST, f"an account may have {self._limits.keys} signing keys")
        return answers.success(answers.keys(self._state))

    def delete_key(self, _request: Request, name: str) -> Response:
        if name not in self._state.signing_keys():
            raise ApiError(KEY_NOT_FOUND)
        self._require_subscription()
        if choices.KEEP_LAST_KEY and len(self._state.signing_keys()) == 1:
            raise ApiError(BAD_REQUEST, "the last signing key cannot be deleted")
        self._state.delete_key(name)
        return answers.success(answers.keys(self._state))


def _values(pattern: list[str], segments: list[str]) -> list[str] | None:
    """What stands where the pattern has ``{}``, decoded once; ``None`` when the pattern does not match."""
    if len(pattern) != len(segments):
        return None
    pairs = list(zip(pattern, segments, strict=True))
    if not all(segment and expected in ("{}", segment) for expected, segment in pairs):
        return None
    return [unquote(segment, errors="replace") for expected, segment in pairs if expected == "{}"]


def _body(request: Request) -> dict[str, Any]:
    """The JSON object of a request, whatever content type it claims."""
    if (request.content_length or 0) > JSON_BYTES:
        raise ApiError(BAD_REQUEST, "the body is too long")
    try:
        body = json.loads(request.stream.read(JSON_BYTES))
    except (ClientDisconnected, OSError) as error:
        raise ApiError(BAD_REQUEST, "the body is shorter than its Content-Length") from error
    except (ValueError, RecursionError) as error:
        raise ApiError(BAD_REQUEST, "the body is not JSON") from error
    if not isinstance(body, dict):
        raise ApiError(BAD_REQUEST, "the body must be a JSON object")
    return body


def _number(request: Request, name: str, *, default: int) -> int:
    text = request.args.get(name, "")
    if not text:
        return default
    try:
        return int(min(float(text), 1e9))
    except (ValueError, OverflowError) as error:
        raise ApiError(BAD_REQUEST, f"{name} must be a number") from error


def _per_page(request: Request) -> int:
    wanted = _number(request, "per_page", default=DEFAULT_PER_PAGE)
    return min(max(wanted, choices.SMALLEST_PAGE), PER_PAGE.stop - 1)


def _token(image: StoredImage) -> str:
    """The position after an image, at most 32 characters."""
    return f"{round(image.uploaded * 1_000_000):d}-{image.serial:d}"[::-1]


def _position(request: Request) -> tuple[float, int] | None:
    token = request.args.get("continuation_token")
    if not token:
        return None
    match = TOKEN.fullmatch(token[::-1])
    if match is None:
        raise ApiError(BAD_REQUEST, "unknown continuation_token")
    return int(match[1]) / 1_000_000, int(match[2])


def _variant(name: object, body: dict[str, Any]) -> Variant:
    """A variant from a request's body, checked; the name first, as the service does."""
    if not isinstance(name, str) or not VARIANT_NAME.fullmatch(name):
        raise ApiError(BAD_REQUEST, f"a variant's name is 1 to {VARIANT_NAME_LENGTH} letters and digits")
    options, public = body.get("options"), body.get("neverRequireSignedURLs", False)
    if not isinstance(options, dict) or not isinstance(public, bool):
        raise ApiError(BAD_REQUEST, "options must be an object, neverRequireSignedURLs true or false")
    for option, value in options.items():
        if option not in OPTIONS or not OPTIONS[option](value):
            raise ApiError(BAD_REQUEST, f"a variant cannot have {option[:50]!r}: {str(value)[:50]!r}")
    return Variant(name=name, options=DEFAULT_OPTIONS | options, never_require_signed_urls=public)


def _between(lowest: float, highest: float) -> Callable[[Any], bool]:
    return lambda value: type(value) in (int, float) and lowest <= value <= highest


OPTIONS: dict[str, Callable[[Any], bool]] = {
    "fit": lambda value: value in FITS,
    "metadata": lambda value: value in VARIANT_METADATA,
    "width": _between(1, 9_999),
    "height": _between(1, 9_999),
    "blur": _between(1, 250),
    "browser_ttl": lambda value: type(value) is int and value in BROWSER_TTL,
}
