"""A site for the upload element: the protocol of its views, in memory, with real upload URLs of an emulator.

The element alone is tested: each answer can be lost, late or an error, and each byte is counted.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections import Counter, deque
from collections.abc import Callable
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import httpx
from django.forms.renderers import DjangoTemplates

import cf_images
from cf_images.browser.texts import texts
from cf_images.emulator import Emulator

STATIC = Path(cf_images.__file__).parent / "static"
TYPES = {".js": "text/javascript", ".css": "text/css"}
ACCEPT = "image/jpeg,image/png,image/gif,image/webp,image/svg+xml"
PAGE = """<!DOCTYPE html><html lang="{lang}" dir="{direction}"><head>
<meta charset="utf-8"><title>Photos</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/static/cf_images/upload.css">
{script}</head>
<body><main><h1>Photos</h1><form method="post" action="/form/" enctype="multipart/form-data">
<input type="hidden" name="csrfmiddlewaretoken" value="the-token">
{fields}
<p><label for="id_title">Title</label> <input name="title" id="id_title"></p>
<p><button type="submit" name="send" value="yes">Save</button> <button type="reset">Reset</button></p>
</form></main></body></html>"""
SCRIPT = '<script type="module" src="/static/cf_images/upload.js"></script>'
FIELD = '<p><label for="id_{name}">{label}</label></p>\n{widget}'


class Received(NamedTuple):
    """One submitted form: text fields in their order, and names and sizes of files that are not empty."""

    fields: list[tuple[str, str]]
    files: list[tuple[str, str, int]]

    def values(self, name: str) -> list[str]:
        """Return the values of a field."""
        return [value for field, value in self.fields if field == name]


class Site:
    """A page with a form, its views, and what was requested."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.fields = [self.field("image", "Photo")]
        self.script = SCRIPT
        self.language, self.direction = "en", "ltr"
        self.policy = f"default-src 'self'; connect-src 'self' {emulator.url}; frame-ancestors 'none'"
        self.requests: list[tuple[str, str]] = []
        self.posted: Counter[str] = Counter()  # bytes of bodies, by path
        self.received: list[Received] = []
        self.answers: deque[tuple[int, dict[str, str], Any] | str] = deque()  # for the next reservations
        self.reservations: dict[str, dict[str, Any]] = {}
        self.discarded: list[str] = []
        self.upload_host = emulator.url
        self.respond_to_form: Callable[[Received], str | None] = lambda _: None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def field(
        self,
        name: str,
        label: str,
        *,
        uploads: tuple[dict[str, str], ...] = (),
        initial: Any = None,
        attrs: dict[str, Any] | None = None,
        **element: Any,
    ) -> str:
        """Return a labeled field, as the widget's template renders it."""
        data = {
            **{action: f"/cf-images/reservations/{path}" for action, path in VIEWS.items()},
            "field": "signed-field",
            "csrf_header": "X-CSRFToken",
            "accept": ACCEPT,
            "max_bytes": 10 * 1024 * 1024,
            "max_side": 12_000,
            "max_area": 100_000_000,
            "texts": json.dumps(texts()),
            **element,
        }
        widget = {
            "name": name,
            "type": "file",
            "upload_name": f"{name}-upload",
            "uploads": uploads,
            "attrs": {"id": f"id_{name}", "accept": "image/*", **(attrs or {})},
            "element": data,
            "is_initial": bool(initial),
            "value": initial,
            "initial_text": "Currently",
            "input_text": "Change",
            "checkbox_name": f"{name}-clear",
            "checkbox_id": f"{name}-clear_id",
            "clear_checkbox_label": "Clear",
            "is_multiple": "multiple" in element,
            "file_input_template": "django/forms/widgets/clearable_file_input.html",
        }
        template = DjangoTemplates().get_template("cf_images/widgets/direct_image_input.html")
        return FIELD.format(name=name, label=label, widget=template.render({"widget": widget}))

    def page(self, fields: list[str] | None = None) -> str:
        """Return the page."""
        return PAGE.format(
            fields="\n".join(self.fields if fields is None else fields),
            script=self.script,
            lang=self.language,
            direction=self.direction,
        )

    # The views

    def reserve(self, data: dict[str, Any]) -> Any:
        """Create an upload URL."""
        headers = {"Authorization": f"Bearer {self.emulator.api_token}"}
        url = f"{self.emulator.api_url}/accounts/{self.emulator.account_id}/images/v2/direct_upload"
        result = httpx.post(url, headers=headers, trust_env=False).json()["result"]
        value = f"signed-{secrets.token_hex(8)}"
        self.reservations[value] = {**data, "id": result["id"], "state": ""}
        upload_url = self.upload_host + urlsplit(result["uploadURL"]).path
        answer = {"value": value, "upload_url": upload_url, "max_bytes": 10 * 1024 * 1024}
        return 201, {}, {**answer, "expires_at": "2030-01-01T00:00:00Z"}

    def status(self, data: dict[str, Any]) -> Any:
        """Ask the emulator what has arrived."""
        reservation = self.reservations[data["value"]]
        image = self.emulator.images.get(reservation["id"])
        state = reservation["state"] or ("uploaded" if image and image.body else "open")
        preview = f"/cf-images/reservations/preview/?value={data['value']}" if state == "uploaded" else None
        return 200, {}, {"state": state, "filename": reservation["filename"], "preview_url": preview}

    def discard(self, data: dict[str, Any]) -> Any:
        """Note what was discarded."""
        self.discarded.append(data["value"])
        self.reservations[data["value"]]["state"] = "gone"
        return 204, {}, None

    def stored(self, value: str) -> bytes:
        """Return the bytes behind a value that a form has sent."""
        body: bytes = self.emulator.images[self.reservations[value]["id"]].body
        return body


VIEWS = {"reserve": "", "status": "status/", "discard": "discard/"}


def _handler_of(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            site.requests.append(("GET", parts.path))
            if parts.path.startswith("/static/"):
                file = STATIC / parts.path.removeprefix("/static/")
                return self.answer(200, TYPES[file.suffix], file.read_bytes())
            if parts.path.endswith("/preview/"):
                return self.answer(200, "image/png", site.stored(parse_qs(parts.query)["value"][0]))
            if parts.path == "/favicon.ico":
                return self.answer(404, "text/plain", b"")
            return self.answer(200, "text/html", site.page().encode())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            site.requests.append(("POST", self.path))
            site.posted[self.path] += len(body)
            if self.path == "/form/":
                received = _received(self.headers["Content-Type"], body)
                site.received.append(received)
                html = site.respond_to_form(received) or "<!DOCTYPE html><title>Saved</title><p>Saved"
                return self.answer(200, "text/html", html.encode())
            assert self.headers["X-CSRFToken"] == "the-token"
            view = self.path.removeprefix("/cf-images/reservations/").strip("/") or "reserve"
            planned = site.answers.popleft() if view == "reserve" and site.answers else None
            if planned == "lost":
                self.close_connection = True
                return None
            status, headers, answer = planned or getattr(site, view)(json.loads(body))
            return self.answer(status, "application/json", json.dumps(answer).encode(), headers)

        def answer(self, status: int, kind: str, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Type", f"{kind}; charset=utf-8" if "image" not in kind else kind)
            for name, value in {"Content-Security-Policy": site.policy, **(headers or {})}.items():
                self.send_header(name, value)
            if status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if status != 204:
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Do nothing."""

    return Handler


def _received(content_type: str, body: bytes) -> Received:
    message = BytesParser(policy=HTTP).parsebytes(
        b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body
    )
    fields, files = [], []
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True) or b""
        if part.get_filename():
            files.append((str(name), part.get_filename(), len(content)))
        elif part.get_param("filename", header="content-disposition") is None:
            fields.append((str(name), content.decode()))
    return Received(fields, files)
