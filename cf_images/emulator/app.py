"""The emulator as a WSGI application: finds out which of Cloudflare's hosts is meant, and who asks.

=======================================================  ===========================================
``/client/v4/accounts/<account_id>/images/…``            management API
``/images/v1…``, ``/images/v2…``                         batch host
``/upload/<account_hash>/<image_id>``                    upload URLs
``/<account_hash>/<image_id>/<variant>``                 delivery, also behind ``/cdn-cgi/imagedelivery``
``/``, ``/__emulator__/…``                               the emulator's own: a page, controls
=======================================================  ===========================================
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, unquote

from werkzeug.wrappers import Request, Response

from cf_images.emulator import access, answers, delivery
from cf_images.emulator.access import RateLimit
from cf_images.emulator.api import Api
from cf_images.emulator.control import Control
from cf_images.emulator.delivery import Delivery
from cf_images.emulator.errors import (
    AUTHENTICATION,
    METHOD_NOT_AVAILABLE,
    NO_ROUTE,
    WRONG_ACCOUNT,
    ApiError,
    DeliveryError,
    PlainError,
)
from cf_images.emulator.faults import Faults, HangUpError
from cf_images.emulator.fetching import Fetcher
from cf_images.emulator.limits import Limits
from cf_images.emulator.renditions import FileRenditions, MemoryRenditions, Renditions
from cf_images.emulator.settings import Settings
from cf_images.emulator.state import State
from cf_images.emulator.uploads import Uploads

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

logger = logging.getLogger("cf_images.emulator")
API_PREFIX = "/client/v4/accounts/"
BATCH_PREFIX = "/images/"
UPLOAD_PREFIX = "/upload/"
CUSTOM_DOMAIN_PREFIX = "/cdn-cgi/imagedelivery"
CONTROL_PREFIX = "/__emulator__/"
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, OPTIONS",
    "Access-Control-Allow-Headers": "*",
}
DETAILS = re.compile(r"(?:/client/v4/accounts/[^/]+)?/images/v1/([^/]+)")


class LoggedRequest(NamedTuple):
    """One request that was answered; status 0 when the connection ended instead. Paths have no query."""

    method: str
    path: str
    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Whose account this is; the token is in no ``repr``."""

    account_id: str
    api_token: str = field(repr=False)
    account_hash: str


class App:
    """One account of Cloudflare Images; a WSGI callable, safe for threads."""

    def __init__(
        self,
        account: Account,
        *,
        data: Path | None = None,
        variants: Mapping[str, Mapping[str, Any]] | None = None,
        flexible_variants: bool = True,
        limits: Limits | None = None,
        subscribed: bool = True,
        fetch_from: Iterable[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.account = account
        self.limits = limits or Limits()
        self.faults = Faults()
        self.requests: list[LoggedRequest] = []
        self.connections = 0
        self.on_request: Callable[[LoggedRequest, float], None] | None = None
        self.state = State(data, variants=variants, flexible_variants=flexible_variants, clock=clock)
        self.renditions: Renditions = FileRenditions(data / "renditions") if data else MemoryRenditions()
        fetcher = Fetcher(fetch_from, seconds=self.limits.upload_seconds)
        self.api = Api(
            self.state,
            uploads=Uploads(self.state.images, limits=self.limits, fetcher=fetcher, clock=clock),
            settings=Settings(self.state, limits=self.limits, subscribed=subscribed),
            renditions=self.renditions,
            account_hash=account.account_hash,
            limits=self.limits,
        )
        self.delivery = Delivery(
            self.state, renditions=self.renditions, account_hash=account.account_hash, limits=self.limits
        )
        self.control = Control(self)
        self._api_rate = self._rate(self.limits.api_rate, self.limits.api_window)
        self._batch_rate = self._rate(self.limits.batch_rate, 1)
        self._log_lock = threading.Lock()

    def _rate(self, limit: int | None, window: float) -> RateLimit | None:
        if limit is None:
            return None
        return RateLimit(limit, window=window, clock=self.state.clock)

    def reset(self) -> None:
        """As on the first day: no images, no faults, nothing counted."""
        self.state.reset()
        self.renditions.forget()
        self.faults.reset()
        for rate in (self._api_rate, self._batch_rate):
            if rate:
                rate.reset()
        with self._log_lock:
            self.requests.clear()
            self.connections = 0

    def count_connection(self) -> None:
        """For the server to tell that a client connected."""
        with self._log_lock:
            self.connections += 1

    def counters(self) -> dict[str, Any]:
        """What happened since the last reset; ``duplicates`` are images with the bytes of another."""
        with self._log_lock:
            statuses = Counter(logged.status for logged in self.requests)
        return {
            "requests": sum(statuses.values()),
            "statuses": {str(status): statuses[status] for status in sorted(statuses)},
            "connections": self.connections,
            "faults": dict(self.faults.counts),
            "images": len(self.state.images),
            "duplicates": self.state.images.duplicates(),
        }

    def close(self) -> None:
        """Let go of the data folder, wake what sleeps."""
        self.faults.close()
        self.state.close()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        started = time.perf_counter()
        request, path = Request(environ, populate_request=False), raw_path(environ)
        try:
            answer = self._answer(request, path)
        except HangUpError:
            self._log(request, path, status=0, seconds=time.perf_counter() - started)
            raise
        except Exception:  # a defect of ours is not to look like a broken connection
            logger.exception("The emulator failed at %s %s", request.method, path)
            answer = Response("The emulator failed; its log says how.\n", status=500)
        self._log(request, path, status=answer.status_code, seconds=time.perf_counter() - started)
        return answer(environ, start_response)

    def _log(self, request: Request, path: str, *, status: int, seconds: float) -> None:
        if path.startswith(CONTROL_PREFIX) or path == "/":
            return
        logged = LoggedRequest(request.method, path, status)
        with self._log_lock:
            self.requests.append(logged)
        if self.on_request:
            self.on_request(logged, seconds)

    def _answer(self, request: Request, path: str) -> Response:
        if path == "/" or path.startswith(CONTROL_PREFIX):
            return self.control(request, path)
        self.faults.sleep(self.faults.latency)
        place, serve = self._serve(path)
        kind = self.faults.draw(place, fresh=lambda: self._is_fresh(request, path))
        answer = guarded(lambda _: self.faults.instead(kind, place) or serve(request), request)
        return self.faults.afterwards(kind, answer)

    def _is_fresh(self, request: Request, path: str) -> bool:
        """Whether an image that was just uploaded is asked for."""
        match = DETAILS.fullmatch(path)
        if request.method != "GET" or not match:
            return False
        image = self.state.images.find(unquote(match[1]))
        return image is not None and self.state.clock() - image.uploaded < self.faults.stale_seconds

    def _serve(self, path: str) -> tuple[str, Callable[[Request], Response]]:
        """Which host a path belongs to, and what answers it."""
        if path.startswith(API_PREFIX):
            return "api", lambda request: self._management(request, path.removeprefix(API_PREFIX))
        if path.startswith(BATCH_PREFIX):
            return "api", lambda request: self._batch(request, path)
        if path.startswith(UPLOAD_PREFIX):
            return "upload", lambda request: self._upload(request, path.removeprefix(UPLOAD_PREFIX))
        if path.startswith("/client/"):
            return "api", no_route
        return "delivery", lambda request: self.delivery(request, path.removeprefix(CUSTOM_DOMAIN_PREFIX))

    def _management(self, request: Request, path: str) -> Response:
        account_id, _, rest = path.partition("/")
        token = access.bearer_token(request)
        if not access.same_secret(token, self.account.api_token):
            raise ApiError(AUTHENTICATION)
        if unquote(account_id) != self.account.account_id:
            raise ApiError(WRONG_ACCOUNT)
        headers = self._api_rate.take(token) if self._api_rate else {}
        answer = self.api(request, rest)
        answer.headers.extend(headers)
        return answer

    def _batch(self, request: Request, path: str) -> Response:
        token = access.bearer_token(request)
        if not self.state.knows_batch_token(token):
            raise ApiError(AUTHENTICATION)
        if self._batch_rate:
            self._batch_rate.take(token)
        return self.api(request, path.removeprefix("/"), batch=True)

    def _upload(self, request: Request, path: str) -> Response:
        account_hash, _, image_id = path.partition("/")
        if request.method == "OPTIONS":
            return Response(status=204, headers=CORS)
        if request.method != "POST":
            answer = answers.refusal(ApiError(METHOD_NOT_AVAILABLE, request.method[:20]))
        elif account_hash != self.account.account_hash or not image_id:
            answer = answers.refusal(ApiError(NO_ROUTE))
        else:
            answer = guarded(lambda _: self.api.complete(request, unquote(image_id)), request)
        answer.headers.update(CORS)
        return answer


def guarded(serve: Callable[[Request], Response], request: Request) -> Response:
    """What it answers, or how the service writes its refusal."""
    try:
        return serve(request)
    except ApiError as error:
        return answers.refusal(error)
    except PlainError as error:
        return answers.plain_refusal(error)
    except DeliveryError as error:
        return delivery.refusal(error)


def no_route(_request: Request) -> Response:
    """No such place."""
    raise ApiError(NO_ROUTE)


def raw_path(environ: WSGIEnvironment) -> str:
    """The path as it was sent, percent-encoding and all; WSGI only promises the decoded one."""
    sent: str = environ.get("RAW_URI") or environ.get("REQUEST_URI") or ""
    path = (sent or quote(environ["PATH_INFO"], encoding="latin-1")).partition("?")[0]
    if path.startswith("/"):
        return path
    return "/" + path.partition("://")[2].partition("/")[2]  # the absolute form, as for a proxy
