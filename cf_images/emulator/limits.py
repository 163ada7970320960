"""The published limits of Cloudflare Images; :class:`Limits` has those that a test can change."""

from __future__ import annotations

from dataclasses import dataclass

MEGABYTE = 1024 * 1024
IMAGE_TYPES = {"image/jpeg", "image/png", "image/webp", "image/gif", "image/svg+xml", "image/heic"}
"""Content types of uploads ("Supported formats and limitations"); AVIF input is for Enterprise only."""
CUSTOM_ID_LENGTH = 1024
CREATOR_LENGTH = 1024
FILENAME_LENGTH = 255
VARIANT_NAME_LENGTH = 99
KEY_NAME_LENGTH = 20
FITS = ("scale-down", "contain", "cover", "crop", "pad")
VARIANT_SIDE = range(1, 10_000)
VARIANT_BLUR = range(1, 251)
VARIANT_METADATA = ("keep", "copyright", "none")
BROWSER_TTL = range(3_600, 31_536_001)
"""Seconds ("Browser TTL"): from an hour to a year."""
DEFAULT_BROWSER_TTL = 172_800
DIRECT_UPLOAD_SECONDS = range(120, 21_601)
"""Time until ``expiry`` ("Direct creator upload"): from two minutes to six hours."""
DEFAULT_DIRECT_UPLOAD_SECONDS = 1_800
BATCH_TOKEN_SECONDS = 3_600
FILTER_CONDITIONS = 5
FILTER_DEPTH = 5
FILTER_FIELD_LENGTH = 100
FILTER_VALUES = 10
PER_PAGE = range(10, 10_001)
DEFAULT_PER_PAGE = 1_000
FORM_PARTS = 100
FORM_TEXT_BYTES = MEGABYTE
JSON_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of an account: ``*_bytes`` in bytes, areas and sides in pixels, times in seconds.

    ``area`` applies to one frame, ``animation_area`` to the sum of all frames. ``images`` is the quota.
    ``api_rate`` is the number of requests per ``api_window`` and token, ``batch_rate`` per second and batch
    token ("API rate limits", "Upload images in batches"); ``None`` means no rate limit.
    """

    upload_bytes: int = 10 * MEGABYTE
    upload_seconds: float = 15
    side: int = 12_000
    area: int = 100_000_000
    animation_area: int = 100_000_000
    metadata_bytes: int = 1_024
    variants: int = 100
    keys: int = 2
    images: int = 100_000
    api_rate: int | None = None
    api_window: float = 300
    batch_rate: int | None = None


CLOUDFLARE_RATES = {"api_rate": 1_200, "batch_rate": 200}
