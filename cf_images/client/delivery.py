"""An image as a browser gets it: one request to a delivery URL, without credentials."""

from __future__ import annotations

from dataclasses import dataclass, field

from cf_images.client.responses import Response, error_for, read_problem
from cf_images.client.transport import MAX_IMAGE_BYTES, Request, Target, response_to
from cf_images.exceptions import CloudflareImagesError

_ACCEPT = "image/avif,image/webp,image/*,*/*;q=0.8"  # what browsers send


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryResponse:
    """The HTTP ``status`` and body, or of a refusal Cloudflare's ``code`` (94xx) and ``message``."""

    status: int
    content_type: str = ""
    body: bytes = field(repr=False, default=b"")
    code: int | None = None
    message: str = ""

    @property
    def is_image(self) -> bool:
        """Return whether a browser would show it."""
        return self.status == 200 and self.content_type.startswith("image/")


def fetch_delivery_url(url: str, *, timeout: float = 15.0) -> DeliveryResponse:
    """Request a delivery URL once, within ``timeout`` seconds.

    A refusal is a response like any other; no response raises ``CloudflareUnavailableError``. Errors and
    logs show neither signature nor path.
    """
    target = Target.parse(url)
    del url  # it may be signed: an error report would show it with this frame
    if target is None:
        raise CloudflareImagesError("The delivery URL must begin with https:// and name a host.")
    request = Request(
        method="GET",
        target=target,
        line="GET delivery URL",
        timeout=timeout,
        accept=_ACCEPT,
        max_bytes=MAX_IMAGE_BYTES,
    )
    outcome = response_to(request)
    if not isinstance(outcome, Response):
        raise error_for(outcome, request=request.line, secrets=request.secrets)
    if outcome.status == 200:
        return DeliveryResponse(status=200, content_type=outcome.content_type, body=outcome.body)
    code, message = read_problem(outcome, secrets=request.secrets)
    return DeliveryResponse(
        status=outcome.status, content_type=outcome.content_type, code=code, message=message
    )
