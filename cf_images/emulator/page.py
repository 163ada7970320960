"""The page at ``/``: what is stored, with its variants and metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import escape
from werkzeug.wrappers import Request

if TYPE_CHECKING:
    from cf_images.emulator.app import App

HEADERS = {"Cache-Control": "no-store"}


def render(app: App, request: Request) -> str:
    """HTML."""
    return f"<!DOCTYPE html><title>Emulator</title><p>{app.state.count()} images at {escape(request.host_url)}</p>"
