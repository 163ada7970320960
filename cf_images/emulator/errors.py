"""How the service says no: codes, statuses and messages, as documented or seen on the real service.

Management and upload hosts answer with a JSON envelope (5xxx and platform codes), delivery with one line
of text (9xxx, "Error codes and troubleshooting").
"""

from __future__ import annotations

from typing import NamedTuple


class Refusal(NamedTuple):
    """One way to be refused: HTTP status, Cloudflare's code, and what it means."""

    status: int
    code: int
    message: str


BAD_REQUEST = Refusal(400, 5400, "Bad request")
VARIANT_NOT_FOUND = Refusal(404, 5401, "Variant not found")
NOT_ENABLED = Refusal(403, 5403, "The given account is not valid or is not authorized to access this service")
NOT_FOUND = Refusal(404, 5404, "Image not found")
KEY_NOT_FOUND = Refusal(404, 5404, "Key not found")
UPLOAD_TIMED_OUT = Refusal(408, 5408, "Upload timed out")
EXISTS = Refusal(409, 5409, "Resource already exists")
CUSTOM_ID_IS_PUBLIC = Refusal(400, 5410, "An image with a custom ID cannot require signed URLs")
TOO_LARGE = Refusal(413, 5413, "The image is too large")
NOT_MULTIPART = Refusal(
    415, 5415, "Images must be uploaded as multipart/form-data, not as raw image data or JSON"
)
ANIMATION_TOO_LARGE = Refusal(413, 5443, "The animation has too many pixels")
FROM_OURSELVES = Refusal(400, 5454, "Images cannot be uploaded from imagedelivery.net")
UNSUPPORTED_TYPE = Refusal(
    415,
    5455,
    "Uploaded image must have image/jpeg, image/png, image/webp, image/gif or image/svg+xml content-type",
)
INTERNAL = Refusal(415, 5550, "Internal Server Error")
QUOTA_USED = Refusal(403, 5453, "The account stores as many images as it has paid for")
BAD_HEADERS = Refusal(400, 6003, "Invalid request headers")
METHOD_NOT_AVAILABLE = Refusal(405, 7001, "Method not available for that URI")
NO_ROUTE = Refusal(404, 7003, "Could not route to the URI, perhaps your object identifier is invalid?")
AUTHENTICATION = Refusal(401, 10000, "Authentication error")
WRONG_ACCOUNT = Refusal(403, 10000, "Authentication error")
THROTTLED = Refusal(429, 971, "Please wait and consider throttling your request speed")

INVALID_OPTIONS = Refusal(400, 9401, "Missing or invalid image options")
IMAGE_NOT_FOUND = Refusal(404, 9404, "Image not found")
TOO_MANY_PIXELS = Refusal(403, 9413, "Image exceeds the area limit")
MALFORMED = Refusal(400, 9424, "Malformed request")
METHOD_NOT_ALLOWED = Refusal(405, 9432, "Only GET and HEAD are allowed")
ACCESS_DENIED = Refusal(403, 9425, "Image access denied")
INVALID_TEXT = Refusal(403, 9426, "Invalid text in the delivery URL")
WRONG_HASH = Refusal(403, 9427, "Account hash is not valid")
NO_FLEXIBLE_VARIANTS = Refusal(403, 9429, "Flexible variants are not enabled for this account")
DECODING_FAILED = Refusal(422, 9516, "Image could not be decoded or encoded")


class ServiceError(Exception):
    """A refusal on its way out; ``reason`` says what was wrong with this very request."""

    def __init__(self, refusal: Refusal, reason: str = "", *, retry_after: int | None = None) -> None:
        self.refusal = refusal
        self.message = f"{refusal.message}: {reason}" if reason else refusal.message
        self.retry_after = retry_after
        super().__init__(self.message)


class ApiError(ServiceError):
    """Refused by the management API or an upload URL: a JSON envelope."""


class PlainError(ServiceError):
    """Refused by the management API in plain text, as the real one does where a variant is missing."""


class DeliveryError(ServiceError):
    """Refused on delivery: a line of text and the header ``cf-images: err=…``."""
