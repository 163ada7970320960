"""Text inside of an image, so that what stores images stores it, and out again."""

from __future__ import annotations

import struct
import zlib

_CARRIER = b"djTs"  # ancillary, private, safe to copy: every reader of PNG skips such a chunk


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


_HEAD = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
_TAIL = _chunk(b"IDAT", zlib.compress(b"\x00\x00")) + _chunk(b"IEND", b"")


def image_of(text: bytes) -> bytes:
    """Return a PNG of one pixel that carries ``text``."""
    return _HEAD + _chunk(_CARRIER, text) + _TAIL


def text_of(image: bytes) -> bytes | None:
    """Return what ``image_of`` has put into an image; ``None`` for any other image."""
    kind_at = len(_HEAD) + 4
    start = kind_at + len(_CARRIER)
    if not image.startswith(_HEAD) or image[kind_at:start] != _CARRIER:
        return None
    (length,) = struct.unpack(">I", image[len(_HEAD) : kind_at])
    return image[start : start + length]
