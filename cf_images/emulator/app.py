"""The emulator as a WSGI application: choose the host by the path, authenticate, log each request.

=======================================================  ===========================================
``/client/v4/accounts/<account_id>/images/…``            management API
``/images/v1…``, ``/images/v2…``                         batch host
``/upload/<account_hash>/<image_id>``                    upload URLs
``/<account_hash>/<image_id>/<variant>``                 delivery, also behind ``/cdn-cgi/imagedelivery``
``/``, ``/__emulator__/…``                               page and controls of the emulator
=======================================================  ===========================================
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, unquote

from werkzeug.wrappers import Request, Response

from cf_images.emulator import access, responses
from cf_images.emulator.access import Account, RateLimit
from cf_images.emulator.api import Api
from cf_images.emulator.control import Control, is_control
from cf_images.emulator.delivery import Delivery
from cf_images.emulator.errors import (
    AUTHENTICATION,
    METHOD_NOT_AVAILABLE,
    NO_ROUTE,
    WRONG_ACCOUNT,
    ApiError,
    ServiceError,
)
from cf_images.emulator.faults import Faults, HangUpError
from cf_images.emulator.fetching import Fetcher
from cf_images.emulator.hosts import Hosts
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

CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, OPTIONS",
    "Access-Control-Allow-Headers": "*",
}
DETAILS = re.compile(r"(?:/client/v4/accounts/[^/]+)?/images/v1/([^/]+)")


class LoggedRequest(NamedTuple):
    """One request, its path without query, and the status of its response (0: the connection ended)."""

    method: str
    path: str
    status: int


class App:
    """One account of Cloudflare Images as a WSGI application; thread-safe.

    Requests may name loopback and ``allowed_hosts`` as their host (``hosts``).
    """

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
        allowed_hosts: Iterable[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.account = account
        self.hosts = Hosts(allowed_hosts)
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
            uploads=Uploads(self.state, limits=self.limits, fetcher=fetcher),
            settings=Settings(self.state, limits=self.limits, subscribed=subscribed),
            renditions=self.renditions,
            account_hash=account.account_hash,
            limits=self.limits,
            faults=self.faults,
        )
        self.delivery = Delivery(
            self.state, renditions=self.renditions, account_hash=account.account_hash, limits=self.limits
        )
        self.control = Control(
            account=account,
            state=self.state,
            delivery=self.delivery,
            faults=self.faults,
            counters=self.counters,
            reset=self.reset,
        )
        self._api_rate = self._rate(self.limits.api_rate, self.limits.api_window)
        self._batch_rate = self._rate(self.limits.batch_rate, 1)
        self._log_lock = threading.Lock()

    def _rate(self, limit: int | None, window: float) -> RateLimit | None:
        if limit is None:
            return None
        return RateLimit(limit, window=window, clock=self.state.clock)

    def reset(self) -> None:
        """Restore the initial state: no images, no faults, counters at zero."""
        self.state.reset()
        self.renditions.clear()
        self.faults.reset()
        for rate in (self._api_rate, self._batch_rate):
            if rate:
                rate.reset()
        with self._log_lock:
            self.requests.clear()
            self.connections = 0

    def count_connection(self) -> None:
        """Count a new connection; called by the server."""
        with self._log_lock:
            self.connections += 1

    def counters(self) -> dict[str, Any]:
        """Return the counts since the last reset; ``duplicates`` are images with the bytes of another."""
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
        """Close the data folder and end all delays."""
        self.faults.close()
        self.state.close()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        started = time.perf_counter()
        request, path = Request(environ, populate_request=False), raw_path(environ)
        try:
            response = self._respond(request, path)
        except HangUpError:
            self._log(request, path, status=0, seconds=time.perf_counter() - started)
            raise
        except Exception:  # a bug in the emulator must not look like a broken connection
            logger.exception("The emulator failed at %s %s", request.method, path)
            response = Response("Internal error of the emulator; see its log.\n", status=500)
        self._log(request, path, status=response.status_code, seconds=time.perf_counter() - started)
        return response(environ, start_response)

    def _log(self, request: Request, path: str, *, status: int, seconds: float) -> None:
        if is_control(path):
            return
        logged = LoggedRequest(request.method, path, status)
        with self._log_lock:
            self.requests.append(logged)
        if self.on_request:
            self.on_request(logged, seconds)

    def _respond(self, request: Request, path: str) -> Response:
        if refusal := self.hosts.refusal(request):
            return refusal
        if is_control(path):
            return self.control(request, path)
        self.faults.sleep(self.faults.latency)
        place, handler = self._route(path)
        kind = self.faults.draw(place, is_fresh=lambda: self._is_fresh(request, path))
        response = catch_errors(lambda: self.faults.before(kind, place) or handler(request))
        return self.faults.after(kind, response)

    def _is_fresh(self, request: Request, path: str) -> bool:
        """Return whether this is a GET of an image that was just uploaded."""
        match = DETAILS.fullmatch(path)
        if request.method != "GET" or not match:
            return False
        image = self.state.images.find(unquote(match[1]))
        return image is not None and self.state.clock() - image.uploaded < self.faults.stale_seconds

    def _route(self, path: str) -> tuple[str, Callable[[Request], Response]]:
        """Return the place (for faults) and the handler of a path."""
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
        if not access.secrets_match(token, self.account.api_token):
            raise ApiError(AUTHENTICATION)
        if unquote(account_id) != self.account.account_id:
            raise ApiError(WRONG_ACCOUNT)
        headers = self._api_rate.count(token) if self._api_rate else {}
        response = self.api(request, rest)
        response.headers.extend(headers)
        return response

    def _batch(self, request: Request, path: str) -> Response:
        token = access.bearer_token(request)
        if not self.state.is_batch_token(token):
            raise ApiError(AUTHENTICATION)
        if self._batch_rate:
            self._batch_rate.count(token)
        return self.api(request, path.removeprefix("/"), batch=True)

    def _upload(self, request: Request, path: str) -> Response:
        if request.method == "OPTIONS":
            return Response(status=204, headers=CORS)
        response = catch_errors(lambda: self._complete(request, path))
        response.headers.update(CORS)
        return response

    def _complete(self, request: Request, path: str) -> Response:
        account_hash, _, image_id = path.partition("/")
        if request.method != "POST":
            raise ApiError(METHOD_NOT_AVAILABLE, request.method[:20])
        if account_hash != self.account.account_hash or not image_id:
            raise ApiError(NO_ROUTE)
        return self.api.complete(request, unquote(image_id))


def catch_errors(handler: Callable[[], Response]) -> Response:
    """Return the response of a handler, or that of the error it raises."""
    try:
        return handler()
    except ServiceError as error:
        return responses.error(error)


def no_route(_request: Request) -> Response:
    """Raise :class:`ApiError` with 7003."""
    raise ApiError(NO_ROUTE)


def raw_path(environ: WSGIEnvironment) -> str:
    """Return the path as the client sent it, still percent-encoded; WSGI promises only the decoded path."""
    sent: str = environ.get("RAW_URI") or environ.get("REQUEST_URI") or ""
    path = (sent or quote(environ["PATH_INFO"], encoding="latin-1")).partition("?")[0]
    if path.startswith("/"):
        return path
    # The absolute form, which clients send to a proxy.
    return "/" + path.partition("://")[2].partition("/")[2]
