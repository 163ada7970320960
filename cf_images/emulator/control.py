"""What is not Cloudflare's: counters and faults under ``/__emulator__/``, and the page at ``/``.

======================================  ================================================================
``GET  /__emulator__/counters``         requests, connections, faults, images, duplicates
``GET  /__emulator__/faults``           what is set
``PUT  /__emulator__/faults``           set it: ``{"rates": {"429": 0.1}, "seed": 7, "latency": 0.04}``
``POST /__emulator__/faults/next``      let the next requests fail: ``{"kind": "cut", "times": 2}``
``POST /__emulator__/reset``            forget everything
``GET  /__emulator__/thumbnails/<id>``  for the page: any image, private ones as well
======================================  ================================================================

Bodies are JSON and say so: a web page elsewhere cannot send that type without asking first, and is not
allowed to.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from werkzeug.wrappers import Request, Response

from cf_images import rendering
from cf_images.emulator import delivery, page
from cf_images.emulator.errors import IMAGE_NOT_FOUND, DeliveryError

if TYPE_CHECKING:
    from cf_images.emulator.app import App

THUMBNAIL = {"width": 320, "height": 240, "fit": "cover"}
PREFIX = "/__emulator__/"


class Control:
    """The emulator's own paths."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._routes = {
            ("GET", "/"): self._page,
            ("GET", PREFIX + "counters"): self._counters,
            ("GET", PREFIX + "faults"): self._faults,
            ("PUT", PREFIX + "faults"): self._set_faults,
            ("POST", PREFIX + "faults/next"): self._plan,
            ("POST", PREFIX + "reset"): self._reset,
        }

    def __call__(self, request: Request, path: str) -> Response:
        """Answer a request for one of our own paths."""
        method = "GET" if request.method == "HEAD" else request.method
        if method == "GET" and path.startswith(PREFIX + "thumbnails/"):
            return self._thumbnail(request, unquote(path.removeprefix(PREFIX + "thumbnails/")))
        handler = self._routes.get((method, path))
        if handler is None:
            return _json({"error": f"The emulator has no {request.method} {path}"}, status=404)
        if method != "GET" and request.mimetype != "application/json":
            return _json({"error": "Send JSON with Content-Type: application/json"}, status=415)
        try:
            return handler(request)
        except (ValueError, TypeError) as error:
            return _json({"error": str(error)}, status=400)

    def _page(self, request: Request) -> Response:
        return Response(page.render(self._app, request), mimetype="text/html", headers=page.HEADERS)

    def _counters(self, _request: Request) -> Response:
        return _json(self._app.counters())

    def _faults(self, _request: Request) -> Response:
        return _json(self._app.faults.describe())

    def _set_faults(self, request: Request) -> Response:
        self._app.faults.set(**_body(request))
        return self._faults(request)

    def _plan(self, request: Request) -> Response:
        body = _body(request)
        self._app.faults.plan(str(body.get("kind")), times=int(body.get("times", 1)))
        return self._faults(request)

    def _reset(self, request: Request) -> Response:
        self._app.reset()
        return self._counters(request)

    def _thumbnail(self, request: Request, image_id: str) -> Response:
        image = self._app.state.images.find(image_id)
        try:
            if image is None or image.draft:
                raise DeliveryError(IMAGE_NOT_FOUND)
            transform = rendering.Transform.from_options(THUMBNAIL)
            made = self._app.delivery.render(image, transform, accept=request.headers.get("Accept", ""))
        except DeliveryError as error:
            return delivery.refusal(error)
        return Response(made.body, mimetype=made.content_type, headers=delivery.SAFETY)


def _body(request: Request) -> dict[str, Any]:
    body = json.loads(request.get_data())
    if not isinstance(body, dict):
        raise TypeError("Expected a JSON object")
    return body


def _json(value: object, *, status: int = 200) -> Response:
    return Response(json.dumps(value, indent=2) + "\n", status=status, mimetype="application/json")
