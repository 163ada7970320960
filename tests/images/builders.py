"""Image files for these tests, real ones and ones built field by field; and what is said of them."""

from __future__ import annotations

import base64
import io
import random
import struct
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from cf_images.exceptions import ImageRejectedError
from cf_images.images import ImageInfo, inspect


def picture(
    kind: str = "PNG", mode: str = "RGB", size: tuple[int, int] = (37, 23), *, frames: int = 1, **options: Any
) -> bytes:
    """A file made by Pillow: a gradient, so that up, down, left and right differ."""
    gradient = Image.linear_gradient("L").resize(size).convert("RGB").convert(mode)
    if frames > 1:
        colors = Image.new("RGB", size, "red"), Image.new("RGB", size, "blue")
        options |= {"save_all": True, "append_images": [colors[number % 2] for number in range(1, frames)]}
    out = io.BytesIO()
    gradient.save(out, kind, **options)
    return out.getvalue()


def noise(width: int, height: int, mode: str = "RGB", *, seed: int = 7) -> Image.Image:
    """A picture that no encoder makes small."""
    data = random.Random(seed).randbytes(width * height * len(mode))
    return Image.frombytes(mode, (width, height), data)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int) -> bytes:
    shape = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", shape)


def jpeg_header(width: int, height: int, *, before: bytes = b"") -> bytes:
    return b"\xff\xd8" + before + b"\xff\xc0" + struct.pack(">HBHHB", 17, 8, height, width, 3) + bytes(9)


def gif(width: int, height: int, frames: int = 1, *, end: bytes = b";") -> bytes:
    frame = b"," + struct.pack("<4HB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0) + frame * frames + end


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(
        kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for kind, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def webp_canvas(width: int, height: int, frames: int = 0) -> bytes:
    flags = b"\x02" if frames else b"\0"
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return riff((b"VP8X", flags + bytes(3) + canvas), *[(b"ANMF", bytes(17))] * frames)


def box(kind: bytes, *payload: bytes) -> bytes:
    body = b"".join(payload)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def extents(width: int, height: int) -> bytes:
    return box(b"ispe", struct.pack(">III", 0, width, height))


def heif(*meta: bytes, brands: bytes = b"heic\0\0\0\0mif1heic") -> bytes:
    return box(b"ftyp", brands) + box(b"meta", bytes(4), *meta)


def properties(*boxes: bytes, associations: bytes = b"") -> bytes:
    return box(b"iprp", box(b"ipco", *boxes), associations)


def primary(item: int, *, version: int = 0) -> bytes:
    return box(b"pitm", bytes([version]), bytes(3), struct.pack(">I" if version else ">H", item))


def associations(*entries: tuple[int, list[int]], version: int = 0, wide: bool = False) -> bytes:
    body = struct.pack(">B2xBI", version, wide, len(entries))
    for item, numbers in entries:
        body += struct.pack(">IB" if version else ">HB", item, len(numbers))
        body += b"".join(struct.pack(">H" if wide else ">B", number) for number in numbers)
    return box(b"ipma", body)


HEIC = base64.b85decode(  # 80 x 64 pixels, made by libheif
    "0000SW^{RQXk}?*00000ZE0pPXk}?*ZE0a<00042ZDn*}000000000XXk=`10000000000aA{+700000000000000000000B57=I"
    "V*mgE07O6l0RRC200001dH?|c00000000{R001LtX>Mi!000000RR916=`l}WdZ;I000310BCk&F#rGn01j|zbZr0t000010002i"
    "X>f9I0002DX>en20001ZXm(>m0RwOV0058x000009`FGC{rLC*01pFT0096PKmiN^|NjGU00093kN^M!000939=ZZRVE_RDD?$MQ"
    "18@KU0|1Z!00RI30{|YND1il*>PacCZUPz%2mk;B0LTCU0{{p>VgLaE2SfqEa<C#m0000JV{dG7ZewhC0096E00w{n000zeb8uw<"
    "00000002+`002M$000nhX?SS>000032nYxO000+haBX1#00000000310R({p0|Wp703&T=VRQfh02e3$uM1%M#=+PB`DJ_c6hY93"
    "?K0`3@&"
)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="120" height="80"/>'

SMALL_FILES = {
    "jpeg": picture("JPEG", size=(9, 7)),
    "png": picture("PNG", size=(9, 7)),
    "gif": picture("GIF", "P", size=(9, 7), frames=3),
    "webp": picture("WEBP", size=(9, 7)),
    "webp animation": picture("WEBP", size=(9, 7), frames=3),
    "heic": HEIC,
    "avif": picture("AVIF", size=(9, 7)),
    "svg": b'<?xml version="1.0"?><!-- A sun --><!DOCTYPE svg>\n' + SVG,
}


def seen(data: bytes) -> tuple[str, int | None, int | None, int]:
    """What inspect() says of these bytes, without their number."""
    info = inspect(io.BytesIO(data))
    assert info.size == len(data)
    return info.format, info.width, info.height, info.frames


def refusal(call: Callable[[], object]) -> str:
    """The message of the ImageRejectedError that this call raises."""
    with pytest.raises(ImageRejectedError) as caught:
        call()
    return caught.value.message


def oriented(orientation: int) -> bytes:
    """EXIF that says so."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


EXIF = oriented(6)


def info(kind: str = "jpeg", width: int | None = 100, height: int | None = 100, **more: Any) -> ImageInfo:
    return ImageInfo(**{"format": kind, "size": 1000, "width": width, "height": height} | more)
