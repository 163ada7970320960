"""A real browser posts a file to an upload URL from a page of another origin."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.emulator.conftest import PNG, Account
from tests.emulator.test_direct_uploads import direct_upload

CHROMIUM = next((path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), "")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--virtual-time-budget=20000", "--dump-dom"),
)
PAGE = """<!DOCTYPE html><body><script>
const form = new FormData();
form.append("file", new Blob([new Uint8Array(BYTES)], {type: "image/png"}), "from the browser.png");
fetch(URL, {method: "POST", body: form})
  .then(response => response.text()).catch(error => "failed: " + error)
  .then(text => { document.body.textContent = text; });
</script>"""

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs Debian's chromium: apt-get install chromium")


@pytest.fixture
def page() -> Iterator[Callable[[str], str]]:
    """Serve a page from another origin and return its URL."""
    pages: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(pages[0].encode())

        def log_message(self, *_: object) -> None:
            """Do nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()

    def serve(html: str) -> str:
        pages.append(html)
        return f"http://127.0.0.1:{server.server_port}/"

    yield serve
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_browser_uploads_across_origins(
    account: Account, page: Callable[[str], str], tmp_path: Path
) -> None:
    reservation = direct_upload(account, creator="jane")
    html = PAGE.replace("URL", json.dumps(reservation["uploadURL"])).replace("BYTES", json.dumps(list(PNG)))
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path}", page(html)]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True).stdout
    assert '"success": true' in dom, dom
    stored = account.emulator.images[reservation["id"]]
    assert (stored.body, stored.filename, stored.creator) == (PNG, "from the browser.png", "jane")
