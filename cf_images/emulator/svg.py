"""SVG as it is delivered: without scripts and without links to anything else.

The filter is svg-hush, which Cloudflare published as the one it uses ("Transform SVG images").
"""

from __future__ import annotations

from py_svg_hush import filter_svg

from cf_images.emulator.choices import SVG_DATA_URLS
from cf_images.emulator.errors import DECODING_FAILED, DeliveryError


def sanitized(source: bytes) -> bytes:
    """The harmless part of a drawing; raises :class:`DeliveryError` when it is not XML."""
    try:
        return filter_svg(source, SVG_DATA_URLS)
    except ValueError as error:
        raise DeliveryError(DECODING_FAILED, str(error)) from error
