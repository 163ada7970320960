"""Errors of the service: HTTP statuses, codes and messages, as documented or observed.

The management and upload hosts send errors in a JSON envelope (5xxx and platform codes), delivery sends one
line of text (9xxx, "Error codes and troubleshooting").
"""

from __future__ import annotations

from typing import NamedTuple


class ErrorCode(NamedTuple):
    """HTTP status, Cloudflare's error code and its message."""

    status: int
    code: int
    message: str


BAD_REQUEST = ErrorCode(400, 5400, "Bad request")
VARIANT_NOT_FOUND = ErrorCode(404, 5401, "Variant not found")
NOT_ENABLED = ErrorCode(
    403, 5403, "The given account is not valid or is not authorized to access this service"
)
NOT_FOUND = ErrorCode(404, 5404, "Image not found")
KEY_NOT_FOUND = ErrorCode(404, 5404, "Key not found")
UPLOAD_TIMED_OUT = ErrorCode(408, 5408, "Upload timed out")
EXISTS = ErrorCode(409, 5409, "Resource already exists")
CUSTOM_ID_IS_PUBLIC = ErrorCode(400, 5410, "An image with a custom ID cannot require signed URLs")
TOO_LARGE = ErrorCode(413, 5413, "The image is too large")
NOT_MULTIPART = ErrorCode(
    415, 5415, "Images must be uploaded as multipart/form-data, not as raw image data or JSON"
)
ANIMATION_TOO_LARGE = ErrorCode(413, 5443, "The animation has too many pixels")
FROM_CLOUDFLARE = ErrorCode(400, 5454, "Images cannot be uploaded from imagedelivery.net")
UNSUPPORTED_TYPE = ErrorCode(
    415,
    5455,
    "Uploaded image must have image/jpeg, image/png, image/webp, image/gif or image/svg+xml content-type",
)
INTERNAL = ErrorCode(415, 5550, "Internal Server Error")
QUOTA_EXCEEDED = ErrorCode(403, 5453, "The account has used its image quota")
BAD_HEADERS = ErrorCode(400, 6003, "Invalid request headers")
METHOD_NOT_AVAILABLE = ErrorCode(405, 7001, "Method not available for that URI")
NO_ROUTE = ErrorCode(404, 7003, "Could not route to the URI, perhaps your object identifier is invalid?")
AUTHENTICATION = ErrorCode(401, 10000, "Authentication error")
WRONG_ACCOUNT = ErrorCode(403, 10000, "Authentication error")
THROTTLED = ErrorCode(429, 971, "Please wait and consider throttling your request speed")

INVALID_OPTIONS = ErrorCode(400, 9401, "Missing or invalid image options")
IMAGE_NOT_FOUND = ErrorCode(404, 9404, "Image not found")
MALFORMED = ErrorCode(400, 9424, "Malformed request")
METHOD_NOT_ALLOWED = ErrorCode(405, 9432, "Only GET and HEAD are allowed")
ACCESS_DENIED = ErrorCode(403, 9425, "Image access denied")
INVALID_TEXT = ErrorCode(403, 9426, "Invalid text in the delivery URL")
WRONG_HASH = ErrorCode(403, 9427, "Account hash is not valid")
NO_FLEXIBLE_VARIANTS = ErrorCode(403, 9429, "Flexible variants are not enabled for this account")
DECODING_FAILED = ErrorCode(422, 9516, "Image could not be decoded or encoded")


class ServiceError(Exception):
    """An error response; ``reason`` says what is wrong with this request, ``retry_after`` is in seconds."""

    def __init__(self, error_code: ErrorCode, reason: str = "", *, retry_after: int | None = None) -> None:
        self.status, self.code, message = error_code
        self.message = f"{message}: {reason}" if reason else message
        self.retry_after = retry_after
        super().__init__(self.message)


class ApiError(ServiceError):
    """An error of the management API or an upload URL, sent in a JSON envelope."""


class PlainTextError(ServiceError):
    """An error of the management API in plain text, as the real one sends for a missing variant."""


class DeliveryError(ServiceError):
    """An error of delivery, sent as a line of text with the header ``Cf-Images: err=…``."""
