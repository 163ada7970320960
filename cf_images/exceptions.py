"""Every error of this package.

::

    CloudflareImagesError              the base class
    ├── ImageRejectedError             final: Cloudflare never accepts this image or these fields
    │   └── InvalidNameError           … because of the name (also ValueError)
    ├── InvalidVariantError            no such variant or option (also ValueError)
    ├── InvalidExpiryError             no valid lifetime of a signed URL (also ValueError)
    ├── RenderingError                 a variant cannot be rendered from this image
    ├── ImageNotFoundError             no such image (also FileNotFoundError)
    ├── ImageExistsError               the ID is in use (also FileExistsError)
    ├── CredentialsRefusedError        token, account or subscription; the image is not at fault
    └── CloudflareUnavailableError     Cloudflare or the network fails: try again later
        └── RateLimitedError           … after a known number of seconds

Mistakes in the settings are Django's ``ImproperlyConfigured``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from cf_images import links

if TYPE_CHECKING:
    from cf_images.sentences import Sentence


class CloudflareImagesError(Exception):
    """An error with its evidence; never contains the token, a signature or an upload URL.

    ``message`` is what is wrong, by Cloudflare or by this package; ``status`` is the HTTP status and
    ``code`` Cloudflare's error code, both ``None`` without a response; ``request`` is the method and path of
    the request, without account or query. ``http_status`` is what a view should respond with.

    ``str(error)`` is for developers: the message, this evidence, and a link to the page about the error.
    ``summary`` is the same without the link, for texts in which the error is only a part.
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
        # The page of a public class: a subclass elsewhere in this package, or in a project, has none.
        public = next(kind for kind in type(self).__mro__ if kind.__module__ == __name__)
        return links.with_link(self.summary, links.error_page(public.__name__))

    @property
    def summary(self) -> str:
        """The message, followed by Cloudflare's code, the HTTP status and the request in parentheses."""
        evidence = [
            f"code {self.code}" if self.code else "",
            f"HTTP {self.status}" if self.status else "",
            self.request or "",
        ]
        text = ", ".join(part for part in evidence if part)
        return f"{self.message} ({text})" if text else self.message


class ImageRejectedError(CloudflareImagesError):
    """A final rejection: sending the same again gives the same response.

    ``sentences`` say to a visitor what is wrong with the file, and can be translated; empty for any other
    rejection.
    """

    http_status = 400
    sentences: tuple[Sentence, ...] = ()

    @classmethod
    def saying(cls, *sentences: Sentence) -> Self:
        """Return the error whose message is these sentences."""
        error = cls(" ".join(map(str, sentences)))
        error.sentences = sentences
        return error


class InvalidNameError(ImageRejectedError, ValueError):
    """A name that cannot be an image ID."""


class InvalidVariantError(CloudflareImagesError, ValueError):
    """A variant or an option that does not exist, or a value out of its range."""

    http_status = 400


class InvalidExpiryError(CloudflareImagesError, ValueError):
    """A signed URL that would expire in the past, or in more than a year."""

    http_status = 400


class RenderingError(CloudflareImagesError):
    """A variant that cannot be rendered from this image; ``code`` is Cloudflare's 94xx or 95xx."""

    http_status = 400


class ImageNotFoundError(CloudflareImagesError, FileNotFoundError):
    """An image that does not exist."""

    http_status = 404


class ImageExistsError(CloudflareImagesError, FileExistsError):
    """An ID that another image has; Cloudflare never overwrites."""

    http_status = 409


class CredentialsRefusedError(CloudflareImagesError):
    """A refusal because of token, account ID or subscription, not because of the image."""


class CloudflareUnavailableError(CloudflareImagesError):
    """No response, an unreadable one, or an error of Cloudflare."""


class RateLimitedError(CloudflareUnavailableError):
    """Too many requests; ``retry_after`` is in seconds, ``None`` if Cloudflare does not say."""

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
