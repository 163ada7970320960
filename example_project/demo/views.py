"""Where images go, for every page, and a button that takes the local Cloudflare down and up again."""

from __future__ import annotations

from typing import Any

import httpx
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

OUTAGE = {"reset_before": 1}  # each connection is reset before the request is read


def place(_: HttpRequest) -> dict[str, Any]:
    """Context processor: where images go; ``is_up`` is called only where a template uses it."""
    return {"is_local": settings.ENV_NAME == "dev", "emulator": settings.EMULATOR_URL, "is_up": is_up}


def is_up() -> bool:
    """Return whether the emulator runs and has no outage; the state of Cloudflare itself is not checked."""
    if not settings.EMULATOR_URL:
        return True
    try:
        return not faults("GET").json()["rates"]
    except httpx.HTTPError:
        return False


@require_POST
def outage(request: HttpRequest) -> HttpResponse:
    """Start or end an outage: API, upload URLs and delivery fail, as if Cloudflare could not be reached."""
    rates = OUTAGE if is_up() else {}
    try:
        faults("PUT", {"rates": rates, "places": ["api", "upload", "delivery"]})
    except httpx.HTTPError as error:
        messages.error(request, f"The emulator at {settings.EMULATOR_URL} does not respond: {error}")
    return redirect(request.headers.get("Referer", "people") + request.POST.get("fragment", ""))


def faults(method: str, body: dict[str, Any] | None = None) -> httpx.Response:
    """Read or set the faults of the emulator."""
    url = f"{settings.EMULATOR_URL}/__emulator__/faults"
    return httpx.request(method, url, json=body, timeout=3, trust_env=False).raise_for_status()
