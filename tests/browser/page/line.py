"""A line between the browser and the emulator that is cut."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from tests.browser.page.site import Site


class Line(socketserver.ThreadingTCPServer):
    """Forwards connections, and closes the first that has sent ``cut_after`` bytes."""

    daemon_threads = True

    def __init__(self, target: tuple[str, int], *, cut_after: int) -> None:
        super().__init__(("127.0.0.1", 0), Connection)
        self.target, self.cut_after, self.cuts = target, cut_after, 0


class Connection(socketserver.BaseRequestHandler):
    """One connection."""

    server: Line

    def handle(self) -> None:
        """Forward both directions until one ends."""
        with socket.create_connection(self.server.target) as upstream:
            threading.Thread(target=forward, args=(upstream, self.request), daemon=True).start()
            sent = 0
            with contextlib.suppress(OSError):
                while data := self.request.recv(16_384):
                    sent += len(data)
                    if sent > self.server.cut_after and not self.server.cuts:
                        self.server.cuts += 1
                        return
                    upstream.sendall(data)


def forward(source: Any, target: Any) -> None:
    """Copy until the source ends."""
    with contextlib.suppress(OSError):
        while data := source.recv(16_384):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def line_to(site: Site, *, cut_after: int) -> Iterator[Line]:
    """Let upload URLs of the site go through a line."""
    parts = urlsplit(site.emulator.url)
    with Line((str(parts.hostname), int(parts.port or 80)), cut_after=cut_after) as line:
        thread = threading.Thread(target=line.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        here = f"http://127.0.0.1:{line.server_address[1]}"
        site.policy = site.policy.replace(site.emulator.url, here)
        site.upload_host = here
        yield line
        line.shutdown()
        thread.join()
