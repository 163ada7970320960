"""Every error of this package.

::

    CloudflareImagesError              what all of them are
    ├── ImageRejectedError             never: these bytes or fields will always be refused
    │   └── InvalidNameError           … because of the name (also ValueError)
    ├── InvalidVariantError            no such variant or option (also ValueError)
    ├── InvalidExpiryError             no lifetime that an address can have (also ValueError)
    ├── RenderingError                 a variant could not be made from this image
    ├── ImageNotFoundError             no such image (also FileNotFoundError)
    ├── ImageExistsError               the ID is taken (also FileExistsError)
    ├── CredentialsRefusedError        token, account or subscription; the image is not at fault
    └── CloudflareUnavailableError     nothing is wrong on our side: try again later
        └── RateLimitedError           … and knows after how many seconds

Mistakes in the settings are Django's ``ImproperlyConfigured``.
"""

from __future__ import annotations


class CloudflareImagesError(Exception):
    """What went wrong, with the evidence: never contains the token, a signature or an upload URL.

    ``message`` is Cloudflare's or ours, in words for a developer; ``status`` the HTTP status and
    ``code`` Cloudflare's error code, both ``None`` when there was no answer; ``request`` the method
    and path that was asked, without account or query. ``http_status`` is what a view should answer.
    """

    http_status = 502

    def __init__(
        self, message: str, *, status: int | None = None, code: int | None = None, request: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.request = request

    def __str__(self) -> str:
        evidence = [
            f"code {self.code}" if self.code else "",
            f"HTTP {self.status}" if self.status else "",
            self.request or "",
        ]
        shown = ", ".join(part for part in evidence if part)
        return f"{self.message} ({shown})" if shown else self.message


class ImageRejectedError(CloudflareImagesError):
    """Refused for good: sending the same again gives the same answer."""

    http_status = 400


class InvalidNameError(ImageRejectedError, ValueError):
    """A name that cannot be an image's ID."""


class InvalidVariantError(CloudflareImagesError, ValueError):
    """A variant or an option that does not exist, or a value out of its range."""

    http_status = 400


class InvalidExpiryError(CloudflareImagesError, ValueError):
    """A signed address that would end in the past, or in more than a year."""

    http_status = 400


class RenderingError(CloudflareImagesError):
    """A variant cannot be made from this image; ``code`` is Cloudflare's 94xx or 95xx."""

    http_status = 400


class ImageNotFoundError(CloudflareImagesError, FileNotFoundError):
    """There is no image with this ID."""

    http_status = 404


class ImageExistsError(CloudflareImagesError, FileExistsError):
    """Another image has this ID; Cloudflare never overwrites."""

    http_status = 409


class CredentialsRefusedError(CloudflareImagesError):
    """Token, account ID or subscription: Cloudflare refuses us, not the image."""


class CloudflareUnavailableError(CloudflareImagesError):
    """No answer, an unreadable one, or an error on Cloudflare's side."""


class RateLimitedError(CloudflareUnavailableError):
    """Too many requests; ``retry_after`` is in seconds, ``None`` when Cloudflare did not say."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: int | None = None,
        request: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, status=status, code=code, request=request)
        self.retry_after = retry_after
