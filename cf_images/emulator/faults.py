"""Faults on demand: errors, and slow, broken or outdated responses, at a rate or for the next requests.

A seed makes a sequence of random faults repeatable.

====================  ==================================================================================
``429``               HTTP 429 with code 971 and ``Retry-After``
``500``               HTTP 500 with code 5550 in an envelope
``html_502``          HTTP 502 with an HTML page, as Cloudflare's edge sends
``internal_5550``     HTTP 415 with code 5550, as in a real outage
``reset_before``      the connection is reset before the request is processed
``reset_after``       the connection is reset after the request was processed
``cut``               the connection ends after half of the response body
``slow``              the response body arrives at one byte a second (``byte_seconds``)
``stale``             GET of an image that was just uploaded: not found
====================  ==================================================================================

``unstable_lists`` is no fault of single requests: a list that finds more images than this number repeats some
and skips others, as was reported of lists beyond 10,000 images. 0 switches it off.
"""

from __future__ import annotations

import random
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from werkzeug.wrappers import Response

from cf_images.emulator.errors import INTERNAL, NOT_FOUND, THROTTLED, ApiError, DeliveryError, ErrorCode

KINDS = (
    *("429", "500", "html_502", "internal_5550"),
    *("reset_before", "reset_after", "cut", "slow", "stale"),
)
PLACES = ("api", "upload", "delivery")
"""Where faults can occur: management and batch API, upload URLs, delivery."""
ERRORS = {
    "429": THROTTLED,
    "500": ErrorCode(500, 5550, "Internal Server Error"),
    "internal_5550": INTERNAL,
    "stale": NOT_FOUND,
}
MAX_PLANNED = 10_000
BAD_GATEWAY = "<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body>cloudflare</body></html>"


class HangUpError(Exception):
    """Tells the server to end the connection: with a reset, or as after a complete response."""

    def __init__(self, *, reset: bool) -> None:
        super().__init__("a fault ends the connection")
        self.reset = reset


class Faults:
    """Fault settings and counters; times are in seconds, rates are from 0 to 1."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.counts: Counter[str] = Counter()
        self.reset()

    def reset(self) -> None:
        """Switch off all faults and set the counters to zero."""
        self.latency = 0.0
        self.connect_latency = 0.0
        self.retry_after = 1
        self.byte_seconds = 1.0
        self.stale_seconds = 30.0
        self.unstable_lists = 0
        self.rates: dict[str, float] = {}
        self.places: tuple[str, ...] = ("api", "upload")
        self._planned: deque[str] = deque()
        self._random = random.Random(0)  # noqa: S311 - must be repeatable
        self.counts.clear()

    def close(self) -> None:
        """End all delays."""
        self._stop.set()

    def set(self, **settings: Any) -> None:
        """Change settings; raise ``ValueError`` for a wrong one. ``seed`` restarts the random sequence."""
        for name, value in settings.items():
            if name not in CHECKS:
                raise ValueError(f"Unknown fault setting {name!r}; use one of {', '.join(CHECKS)}")
            CHECKS[name](name, value)
        if "seed" in settings:
            self._random = random.Random(settings.pop("seed"))  # noqa: S311 - must be repeatable
        for name, value in settings.items():
            setattr(self, name, value)

    def describe(self) -> dict[str, Any]:
        """Return the settings, and under ``next`` the faults planned for the next requests."""
        return {name: getattr(self, name) for name in CHECKS if name != "seed"} | {"next": [*self._planned]}

    def plan(self, kind: str, *, times: int = 1) -> None:
        """Make the next requests fail with this kind of fault; the rates do not apply to them."""
        _check_kind(kind)
        if not 0 < times <= MAX_PLANNED:
            raise ValueError(f"times must be from 1 to {MAX_PLANNED:,}, not {times}")
        with self._lock:
            self._planned.extend([kind] * times)

    def draw(self, place: str, *, is_fresh: Callable[[], bool]) -> str | None:
        """Return the kind of fault for a request, if any, and count it.

        ``is_fresh`` tells whether ``stale`` applies to the request; a planned one waits for such a request.
        """
        if place not in self.places:
            return None
        with self._lock:
            kind = self._planned[0] if self._planned else self._random_kind()
            if kind is None or (kind == "stale" and not is_fresh()):
                return None
            if self._planned:
                self._planned.popleft()
            self.counts[kind] += 1
            return kind

    def _random_kind(self) -> str | None:
        point = self._random.random() if self.rates else 1.0
        for kind, rate in self.rates.items():
            point -= rate
            if point < 0:
                return kind
        return None

    def sleep(self, seconds: float) -> None:
        """Wait for some seconds, or until the emulator closes."""
        if seconds > 0:
            self._stop.wait(seconds)

    def before(self, kind: str | None, place: str) -> Response | None:
        """Apply a fault that prevents processing: return its response, or raise its error."""
        if kind == "reset_before":
            raise HangUpError(reset=True)
        if kind == "html_502":
            return Response(BAD_GATEWAY, status=502, mimetype="text/html")
        if code := ERRORS.get(kind or ""):
            error = DeliveryError if place == "delivery" else ApiError
            raise error(code, retry_after=int(self.retry_after) if code is THROTTLED else None)
        return None

    def after(self, kind: str | None, response: Response) -> Response:
        """Apply a fault that occurs after processing: change the response, or end the connection."""
        if kind == "reset_after":
            response.close()
            raise HangUpError(reset=True)
        if kind == "cut":
            return _replace_body(response, _half)
        if kind == "slow":
            return _replace_body(response, self._byte_by_byte)
        return response

    def _byte_by_byte(self, body: bytes) -> Iterator[bytes]:
        for position in range(len(body)):
            yield body[position : position + 1]
            self.sleep(self.byte_seconds)


def _half(body: bytes) -> Iterator[bytes]:
    yield body[: len(body) // 2]
    raise HangUpError(reset=False)


def _replace_body(response: Response, change: Callable[[bytes], Iterator[bytes]]) -> Response:
    response.direct_passthrough = False
    body = response.get_data()
    response.response = change(body)
    response.content_length = len(body)
    return response


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise ValueError(f"Unknown fault {kind!r}; use one of {', '.join(KINDS)}")


def _check_number(name: str, value: object) -> None:
    if type(value) not in (int, float) or not 0 <= value < float("inf"):  # type: ignore[operator]
        raise ValueError(f"{name} must be a number of at least 0, not {value!r}")


def _check_rates(_name: str, rates: Mapping[str, object]) -> None:
    if not isinstance(rates, Mapping):
        raise ValueError(f"rates must be a mapping, not {rates!r}")
    for kind, rate in rates.items():
        _check_kind(kind)
        if type(rate) not in (int, float) or not 0 <= rate <= 1:  # type: ignore[operator]
            raise ValueError(f"The rate of {kind} must be from 0 to 1, not {rate!r}")


def _check_places(_name: str, places: Iterable[str]) -> None:
    if isinstance(places, str) or not set(places) <= set(PLACES):
        raise ValueError(f"places must be some of {', '.join(PLACES)}, not {places!r}")


CHECKS: dict[str, Callable[[str, Any], None]] = {
    "rates": _check_rates,
    "places": _check_places,
    "seed": _check_number,
    "latency": _check_number,
    "connect_latency": _check_number,
    "retry_after": _check_number,
    "byte_seconds": _check_number,
    "stale_seconds": _check_number,
    "unstable_lists": _check_number,
}
