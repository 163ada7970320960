"""SVG for delivery, without scripts and without links to other documents.

The filter is svg-hush, which Cloudflare publishes and uses ("Transform SVG images").
"""

from __future__ import annotations

from py_svg_hush import filter_svg

from cf_images.emulator.assumptions import SVG_DATA_URLS
from cf_images.emulator.errors import DECODING_FAILED, DeliveryError


def sanitize(source: bytes) -> bytes:
    """Return an SVG without its unsafe parts; raise :class:`DeliveryError` with 9516 if it is not XML."""
    try:
        return filter_svg(source, SVG_DATA_URLS)
    except ValueError as error:
        raise DeliveryError(DECODING_FAILED, str(error)) from error
