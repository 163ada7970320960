"""A Cloudflare over real HTTP that says what it is told, word for word."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One answer; ``cut``: half of the body, then the end; ``lost``: the connection ends instead."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    lost: bool = False


def success(image_id: str, **facts: Any) -> Said:
    result = {"id": image_id, "variants": [], **facts}
    return Said(body=json.dumps({"success": True, "result": result}).encode())


class Scripted:
    """Answers by method; what it was asked is in ``requests``."""

    def __init__(self, port: int) -> None:
        self.api_url = f"http://127.0.0.1:{port}"
        self.requests: list[str] = []
        self.by_method: dict[str, Said] = {}

    def says(self, method: str, said: Said) -> None:
        self.by_method[method] = said


@contextmanager
def scripted() -> Iterator[Scripted]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            script.requests.append(self.command)
            said = script.by_method[self.command]
            if said.lost:
                self.close_connection = True
                return
            self.send_response(said.status)
            for name, value in {**said.headers, "Content-Length": str(len(said.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(said.body[: len(said.body) // 2] if said.cut else said.body)
            self.close_connection = said.cut

        do_GET = do_POST = do_DELETE = answer  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        script = Scripted(server.server_port)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield script
        finally:
            server.shutdown()
            thread.join()
