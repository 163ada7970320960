"""What Cloudflare Images accepts: the format, dimensions and frames of a file, and the limits on them.

Only :func:`fit_limits` decodes pixels, and only for an image over a limit. A file that is damaged after its
header passes.
"""

from __future__ import annotations

from cf_images.images.fitting import accept, can_be_reduced, fit_limits
from cf_images.images.formats import ImageInfo, content_type_of, detect_format
from cf_images.images.inspection import inspect, inspect_head, validate
from cf_images.images.limits import MAX_AREA, MAX_BYTES, MAX_SIDE, check_limits

__all__ = [
    "MAX_AREA",
    "MAX_BYTES",
    "MAX_SIDE",
    "ImageInfo",
    "accept",
    "can_be_reduced",
    "check_limits",
    "content_type_of",
    "detect_format",
    "fit_limits",
    "inspect",
    "inspect_head",
    "validate",
]
