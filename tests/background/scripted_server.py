"""A server over real HTTP that gives exactly the responses that a test scripts."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One response; ``cut``: the connection ends within the body; ``lost``: it ends without a response."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    lost: bool = False


def success(image_id: str, **fields: Any) -> Response:
    """Return Cloudflare's response with an image."""
    result = {"id": image_id, "variants": [], **fields}
    return Response(body=json.dumps({"success": True, "result": result}).encode())


class ScriptedServer:
    """One response for each method; ``requests`` are the methods of the requests so far."""

    def __init__(self, port: int) -> None:
        self.api_url = f"http://127.0.0.1:{port}"
        self.requests: list[str] = []
        self.by_method: dict[str, Response] = {}

    def respond(self, method: str, response: Response) -> None:
        """Give ``response`` to each request with ``method``."""
        self.by_method[method] = response


@contextmanager
def serve_script() -> Iterator[ScriptedServer]:
    """Serve on a free port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def respond(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            script.requests.append(self.command)
            response = script.by_method[self.command]
            if response.lost:
                self.close_connection = True
                return
            self.send_response(response.status)
            for name, value in {**response.headers, "Content-Length": str(len(response.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(response.body[: len(response.body) // 2] if response.cut else response.body)
            self.close_connection = response.cut

        do_GET = do_POST = do_DELETE = respond  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        script = ScriptedServer(server.server_port)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield script
        finally:
            server.shutdown()
            thread.join()
