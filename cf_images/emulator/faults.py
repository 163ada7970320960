"""Faults on demand: slow, broken and lying answers, at a rate or for the next requests, repeatable by seed.

====================  ==================================================================================
``429``               refused with code 971 and ``Retry-After``
``500``               an envelope with an error
``html_502``          a page of HTML, as from the edge
``internal_5550``     HTTP 415 with code 5550, as in a real outage
``reset_before``      the connection is reset before the request is read
``reset_after``       … after it was carried out
``cut``               half of the answer's body, then the end
``slow``              the answer's body at a byte a second (``byte_seconds``)
``stale``             GET of an image that was just uploaded: not found
====================  ==================================================================================
"""

from __future__ import annotations

import random
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from werkzeug.wrappers import Response

from cf_images.emulator.errors import INTERNAL, NOT_FOUND, THROTTLED, ApiError, DeliveryError, Refusal

KINDS = (
    *("429", "500", "html_502", "internal_5550"),
    *("reset_before", "reset_after", "cut", "slow", "stale"),
)
PLACES = ("api", "upload", "delivery")
"""Where a fault may strike: management and batch API, upload URLs, delivery."""
REFUSALS = {
    "429": THROTTLED,
    "500": Refusal(500, 5550, "Internal Server Error"),
    "internal_5550": INTERNAL,
    "stale": NOT_FOUND,
}
MOST_PLANNED = 10_000
BAD_GATEWAY = "<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body>cloudflare</body></html>"


class HangUpError(Exception):
    """Ends the connection: abruptly (``reset``), or as if the answer were over. For the server to obey."""

    def __init__(self, *, reset: bool) -> None:
        super().__init__("the connection ends here, on demand")
        self.reset = reset


class Faults:
    """What goes wrong, and how often it did. Seconds for all times; rates from 0 to 1."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.counts: Counter[str] = Counter()
        self.reset()

    def reset(self) -> None:
        """No faults; counters at zero."""
        self.latency = 0.0
        self.connect_latency = 0.0
        self.retry_after = 1
        self.byte_seconds = 1.0
        self.stale_seconds = 30.0
        self.rates: dict[str, float] = {}
        self.places: tuple[str, ...] = ("api", "upload")
        self._planned: deque[str] = deque()
        self._random = random.Random(0)  # noqa: S311 - repeatable is what is wanted
        self.counts.clear()

    def close(self) -> None:
        """Wake up everything that sleeps."""
        self._stop.set()

    def set(self, **settings: Any) -> None:
        """Change some of ``SETTABLE``; ``ValueError`` names what is wrong. A seed starts the sequence."""
        for name, value in settings.items():
            if name not in SETTABLE:
                raise ValueError(f"Unknown fault setting {name!r}; known are {', '.join(SETTABLE)}")
            SETTABLE[name](name, value)
        if "seed" in settings:
            self._random = random.Random(settings.pop("seed"))  # noqa: S311 - repeatable is what is wanted
        for name, value in settings.items():
            setattr(self, name, value)

    def describe(self) -> dict[str, Any]:
        """What is set, and which faults are planned for the next requests."""
        return {name: getattr(self, name) for name in SETTABLE if name != "seed"} | {"next": [*self._planned]}

    def plan(self, kind: str, *, times: int = 1) -> None:
        """Let the next requests fail in this way, whatever the rates say."""
        _check_kind(kind)
        if not 0 < times <= MOST_PLANNED:
            raise ValueError(f"times must be from 1 to {MOST_PLANNED}, not {times}")
        with self._lock:
            self._planned.extend([kind] * times)

    def draw(self, place: str, *, fresh: Callable[[], bool]) -> str | None:
        """The kind of fault that strikes a request, if any; counts it.

        ``fresh`` says whether the request is one that ``stale`` can strike.
        """
        if place not in self.places:
            return None
        with self._lock:
            kind = self._planned[0] if self._planned else self._drawn()
            if kind is None or (kind == "stale" and not fresh()):
                return None
            if self._planned:
                self._planned.popleft()
            self.counts[kind] += 1
            return kind

    def _drawn(self) -> str | None:
        point = self._random.random() if self.rates else 1.0
        for kind, rate in self.rates.items():
            point -= rate
            if point < 0:
                return kind
        return None

    def sleep(self, seconds: float) -> None:
        """Wait, unless the emulator is being closed."""
        if seconds > 0:
            self._stop.wait(seconds)

    def instead(self, kind: str | None, place: str) -> Response | None:
        """The answer of faults that answer without carrying anything out."""
        if kind == "reset_before":
            raise HangUpError(reset=True)
        if kind == "html_502":
            return Response(BAD_GATEWAY, status=502, mimetype="text/html")
        if refusal := REFUSALS.get(kind or ""):
            error = DeliveryError if place == "delivery" else ApiError
            raise error(refusal, retry_after=int(self.retry_after) if refusal is THROTTLED else None)
        return None

    def afterwards(self, kind: str | None, answer: Response) -> Response:
        """The answer of faults that strike when the work is done."""
        if kind == "reset_after":
            answer.close()
            raise HangUpError(reset=True)
        if kind == "cut":
            return _rewritten(answer, _half)
        if kind == "slow":
            return _rewritten(answer, self._dripping)
        return answer

    def _dripping(self, body: bytes) -> Iterator[bytes]:
        for position in range(len(body)):
            yield body[position : position + 1]
            self.sleep(self.byte_seconds)


def _half(body: bytes) -> Iterator[bytes]:
    yield body[: len(body) // 2]
    raise HangUpError(reset=False)


def _rewritten(answer: Response, change: Any) -> Response:
    answer.direct_passthrough = False
    body = answer.get_data()
    answer.response = change(body)
    answer.content_length = len(body)
    return answer


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise ValueError(f"Unknown fault {kind!r}; known are {', '.join(KINDS)}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_number(name: str, value: object) -> None:
    if not _is_number(value) or not 0 <= value < float("inf"):  # type: ignore[operator]
        raise ValueError(f"{name} must be a number from 0, not {value!r}")


def _check_rates(_name: str, rates: Mapping[str, object]) -> None:
    if not isinstance(rates, Mapping):
        raise ValueError(f"rates must be an object, not {rates!r}")
    for kind, rate in rates.items():
        _check_kind(kind)
        if not _is_number(rate) or not 0 <= rate <= 1:  # type: ignore[operator]
            raise ValueError(f"The rate of {kind} must be from 0 to 1, not {rate!r}")


def _check_places(_name: str, places: Iterable[str]) -> None:
    if isinstance(places, str) or not set(places) <= set(PLACES):
        raise ValueError(f"places must be some of {', '.join(PLACES)}, not {places!r}")


SETTABLE: dict[str, Callable[[str, Any], None]] = {
    "rates": _check_rates,
    "places": _check_places,
    "seed": _check_number,
    "latency": _check_number,
    "connect_latency": _check_number,
    "retry_after": _check_number,
    "byte_seconds": _check_number,
    "stale_seconds": _check_number,
}
