"""Small pictures to render, and how to look at what came out."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

from PIL import Image

from cf_images.rendering import Rendering

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def saved(image: Image.Image, pillow_format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, pillow_format, **options)
    return buffer.getvalue()


def plain(size: tuple[int, int], color: Any = RED, *, mode: str = "RGB", kind: str = "PNG") -> bytes:
    return saved(Image.new(mode, size, color), kind)


def bands(*colors: tuple[int, ...], size: tuple[int, int] = (30, 30)) -> Image.Image:
    """One box of ``size`` for each color, from left to right."""
    image = Image.new("RGB", (size[0] * len(colors), size[1]))
    for index, color in enumerate(colors):
        image.paste(color, (index * size[0], 0, (index + 1) * size[0], size[1]))
    return image


def corners(size: tuple[int, int] = (64, 32)) -> Image.Image:
    """Red and green above, blue and white below."""
    above, below = (bands(*pair, size=(size[0] // 2, size[1] // 2)) for pair in ((RED, GREEN), (BLUE, WHITE)))
    image = Image.new("RGB", size)
    image.paste(above, (0, 0))
    image.paste(below, (0, size[1] // 2))
    return image


def frames(*colors: Any, size: tuple[int, int] = (20, 10)) -> list[Image.Image]:
    return [Image.new("RGB" if len(color) == 3 else "RGBA", size, color) for color in colors]


def animation(pillow_format: str = "GIF", *, size: tuple[int, int] = (20, 10), **options: Any) -> bytes:
    """Red for 100 ms, green for 200, blue for 300."""
    first, *others = frames(RED, GREEN, BLUE, size=size)
    options = {"duration": [100, 200, 300], "lossless": True, **options}
    return saved(first, pillow_format, save_all=True, append_images=others, **options)


def png_head(width: int, height: int) -> bytes:
    """The beginning of a PNG that claims a size and has hardly any pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")


def jpeg_head(width: int, height: int) -> bytes:
    """A JPEG of 16 pixels a side that claims another size."""
    data = plain((16, 16), kind="JPEG")
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def gif_head(width: int, height: int, *, screen: tuple[int, int] = (1, 1)) -> bytes:
    """A GIF of a small screen with one frame that claims another size."""
    frame = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x44\x01\x00"
    return b"GIF89a" + struct.pack("<HHBBB", *screen, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff" + frame + b";"


def webp_head(width: int, height: int) -> bytes:
    """An animated WebP of small frames whose canvas claims a size."""
    data = animation("WEBP")
    assert data[12:16] == b"VP8X"
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return data[:24] + canvas + data[30:]


def opened(rendering: Rendering) -> Image.Image:
    image = Image.open(io.BytesIO(rendering.body))
    assert image.size == (rendering.width, rendering.height)
    assert image.get_format_mimetype() == rendering.content_type
    return image


def looks_like(pixel: Any, color: Any, *, tolerance: int = 24) -> bool:
    """Equal but for what a lossy encoder does."""
    return len(pixel) == len(color) and all(
        abs(a - b) <= tolerance for a, b in zip(pixel, color, strict=True)
    )


def corner_colors(image: Image.Image) -> tuple[Any, ...]:
    """Top left, top right, bottom left, bottom right, each a little inside."""
    image, (width, height) = image.convert("RGB"), image.size
    x, y = width // 4, height // 4
    points = ((x, y), (width - x - 1, y), (x, height - y - 1), (width - x - 1, height - y - 1))
    return tuple(image.getpixel(point) for point in points)
