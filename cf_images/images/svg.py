"""SVG: whether a text is one, and its size in pixels, from the start tag of the root element.

No XML parser: what a document declares before its root cannot expand.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

SVG_HEAD: Final = 64 * 1024  # bytes; comments and a document type may precede the root element
_SVG: Final = re.compile(
    rb"""
    (?: \s | <\?.*?\?> | <!--.*?-->
      | <!DOCTYPE \s+ (?:[\w.-]+:)? svg \b (?: [^\["'>] | "[^"]*" | '[^']*' | \[.*?\]\s*(?=>) )*+ > )*+
    < (?:[\w.-]+:)? svg ( (?: \s+ [^\s=>"'/]+ \s*=\s* (?: "[^"]*" | '[^']*' ) )*+ ) \s* /?>
    """,
    re.DOTALL | re.VERBOSE,
)
_ATTRIBUTE: Final = re.compile(rb"""([^\s=]+)\s*=\s*("[^"]*"|'[^']*')""")
_PIXELS: Final = re.compile(rb"""["']\s*(\d{1,6}(?:\.\d*)?|\.\d+)(?:px)?\s*["']""")


def svg_attributes(head: bytes) -> bytes | None:
    """Return the attributes of the root element as they are written; ``None`` when the file is no SVG."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        head = head.decode("utf-16", "ignore").encode()
    root = _SVG.match(head.removeprefix(codecs.BOM_UTF8))  # other encodings agree with ASCII
    return root[1] if root else None


def svg_size(head: bytes) -> tuple[int | None, int | None]:
    """Return width and height in pixels; both or none."""
    attributes = dict(_ATTRIBUTE.findall(svg_attributes(head) or b""))
    width, height = (_pixels(attributes.get(name, b"")) for name in (b"width", b"height"))
    return (width, height) if width and height else (None, None)


def _pixels(value: bytes) -> int:
    length = _PIXELS.fullmatch(value)
    return round(float(length[1])) if length else 0
