"""Controls of the emulator itself: counters and faults under ``/__emulator__/``, and the page at ``/``.

======================================  ================================================================
``GET  /__emulator__/counters``         requests, connections, faults, images, duplicates
``GET  /__emulator__/faults``           fault settings
``PUT  /__emulator__/faults``           change them: ``{"rates": {"429": 0.1}, "seed": 7, "latency": 0.04}``
``POST /__emulator__/faults/next``      make the next requests fail: ``{"kind": "cut", "times": 2}``
``POST /__emulator__/reset``            restore the initial state
``GET  /__emulator__/thumbnails/<id>``  a thumbnail of any image, private ones included, for the page
======================================  ================================================================

Bodies must have the content type ``application/json``. A web page of another origin cannot send that type
without a preflight request, which fails.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from werkzeug.wrappers import Request, Response

from cf_images import rendering
from cf_images.emulator import delivery, page, responses
from cf_images.emulator.access import Account
from cf_images.emulator.delivery import Delivery
from cf_images.emulator.errors import IMAGE_NOT_FOUND, DeliveryError
from cf_images.emulator.faults import Faults
from cf_images.emulator.state import State

THUMBNAIL = {"width": 320, "height": 240, "fit": "cover"}
PREFIX = "/__emulator__/"


def is_control(path: str) -> bool:
    """Return whether a path belongs to the emulator itself."""
    return path == "/" or path.startswith(PREFIX)


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """The paths of the emulator itself."""

    account: Account
    state: State
    delivery: Delivery
    faults: Faults
    counters: Callable[[], dict[str, Any]]
    reset: Callable[[], None]

    def __call__(self, request: Request, path: str) -> Response:
        """Respond to a request for ``/`` or a path under ``/__emulator__/``."""
        method = "GET" if request.method == "HEAD" else request.method
        if method == "GET" and path.startswith(PREFIX + "thumbnails/"):
            return self._thumbnail(request, unquote(path.removeprefix(PREFIX + "thumbnails/")))
        handler = {
            ("GET", "/"): self._page,
            ("GET", PREFIX + "counters"): self._get_counters,
            ("GET", PREFIX + "faults"): self._get_faults,
            ("PUT", PREFIX + "faults"): self._set_faults,
            ("POST", PREFIX + "faults/next"): self._plan_faults,
            ("POST", PREFIX + "reset"): self._reset,
        }.get((method, path))
        if handler is None:
            return _json({"error": f"The emulator does not support {request.method} {path}"}, status=404)
        if method != "GET" and request.mimetype != "application/json":
            return _json({"error": "Send JSON with Content-Type: application/json"}, status=415)
        try:
            return handler(request)
        except (ValueError, TypeError) as error:
            return _json({"error": str(error)}, status=400)

    def _page(self, request: Request) -> Response:
        html = page.render(self.account, request, state=self.state, counters=self.counters())
        return Response(html, mimetype="text/html", headers=page.HEADERS)

    def _get_counters(self, _request: Request) -> Response:
        return _json(self.counters())

    def _get_faults(self, _request: Request) -> Response:
        return _json(self.faults.describe())

    def _set_faults(self, request: Request) -> Response:
        self.faults.set(**_body(request))
        return self._get_faults(request)

    def _plan_faults(self, request: Request) -> Response:
        body = _body(request)
        self.faults.plan(str(body.get("kind")), times=int(body.get("times", 1)))
        return self._get_faults(request)

    def _reset(self, request: Request) -> Response:
        self.reset()
        return self._get_counters(request)

    def _thumbnail(self, request: Request, image_id: str) -> Response:
        image = self.state.images.find(image_id)
        try:
            if image is None or image.draft:
                raise DeliveryError(IMAGE_NOT_FOUND)
            transform = rendering.Transform.from_options(THUMBNAIL)
            accept = request.headers.get("Accept", "")
            rendition = self.delivery.render(image, transform, accept=accept)
        except DeliveryError as error:
            return responses.error(error)
        return Response(rendition.body, mimetype=rendition.content_type, headers=delivery.SECURITY_HEADERS)


def _body(request: Request) -> dict[str, Any]:
    body = json.loads(request.get_data())
    if not isinstance(body, dict):
        raise TypeError("Expected a JSON object")
    return body


def _json(value: object, *, status: int = 200) -> Response:
    return Response(json.dumps(value, indent=2) + "\n", status=status, mimetype="application/json")
