"""What a browser asks an upload URL before a page of another site may post to it (CORS, Fetch standard)."""

from __future__ import annotations

from cf_images.client.responses import Response, error_for
from cf_images.client.transport import Request, Target, response_to
from cf_images.exceptions import CloudflareImagesError


def is_open_to(upload_url: str, *, origin: str, timeout: float = 15.0) -> bool:
    """Return whether pages of ``origin``, such as ``https://www.example.com``, may post to an upload URL.

    No response raises ``CloudflareUnavailableError``. Errors and logs do not show the URL.
    """
    target = Target.parse(upload_url)
    del upload_url  # it is the permission to upload: an error report would show it with this frame
    if target is None:
        raise CloudflareImagesError("The upload URL must begin with https:// and name a host.")
    request = Request(
        method="OPTIONS",
        target=target,
        line="OPTIONS upload URL",
        timeout=timeout,
        headers={"Origin": origin, "Access-Control-Request-Method": "POST"},
    )
    outcome = response_to(request)
    if not isinstance(outcome, Response):
        raise error_for(outcome, request=request.line, secrets=request.secrets)
    return outcome.status // 100 == 2 and outcome.allowed_origin in ("*", origin)
