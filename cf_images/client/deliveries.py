"""An image as a browser gets it: one request to a delivery URL, without credentials."""

from __future__ import annotations

from dataclasses import dataclass, field

from cf_images.client.answers import Answer, complaint, error_of
from cf_images.client.door import HiddenURL, Request, answer_to, is_address
from cf_images.exceptions import CloudflareImagesError

_ACCEPT = "image/avif,image/webp,image/*,*/*;q=0.8"  # what browsers ask for


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What came: HTTP's ``status``; of a refusal Cloudflare's ``code``, 94xx, and ``message``."""

    status: int
    content_type: str = ""
    body: bytes = field(repr=False, default=b"")
    code: int | None = None
    message: str = ""

    @property
    def is_image(self) -> bool:
        """Whether a browser would show it."""
        return self.status == 200 and self.content_type.startswith("image/")


def deliver(url: str, *, timeout: float = 15.0) -> Delivered:
    """Ask once for a delivery URL, for ``timeout`` seconds; ``CloudflareUnavailableError`` without an answer.

    What Cloudflare refuses is an answer like any other. Errors and logs show neither signature nor path.
    """
    if not is_address(url):
        del url
        raise CloudflareImagesError("The delivery URL is not an address that begins with https://.")
    address = HiddenURL(url)
    del url  # it may be signed: it would be shown with this frame
    request = Request(method="GET", url=address, line="GET delivery URL", timeout=timeout, accept=_ACCEPT)
    outcome = answer_to(request)
    if not isinstance(outcome, Answer):
        raise error_of(outcome, request=request.line, secrets=request.secrets)
    if outcome.status == 200:
        return Delivered(status=200, content_type=outcome.content_type, body=outcome.body)
    code, message = complaint(outcome, secrets=request.secrets)
    return Delivered(status=outcome.status, content_type=outcome.content_type, code=code, message=message)
