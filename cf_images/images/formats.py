"""The formats: what is known of an image, how its first bytes tell its format, and what is no image."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, TypeVar

from cf_images.images.svg import svg_attributes
from cf_images.sentences import Sentence

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInfo:
    """What the header of an image says.

    ``format`` is ``"jpeg"``, ``"png"``, ``"gif"``, ``"webp"``, ``"svg"``, ``"heic"`` or ``"avif"``; ``size``
    is in bytes. ``width`` and ``height`` are the stored pixels, before any orientation is applied (of HEIC
    those of the upright picture), as in Django's ``get_image_dimensions``; ``None`` for an SVG without a size
    in pixels. ``frames`` counts what Cloudflare treats as animation, GIF and WebP; it is 1 for everything
    else.
    """

    format: str
    size: int
    width: int | None
    height: int | None
    frames: int = 1

    @property
    def content_type(self) -> str:
        """The media type, as ``image/jpeg``."""
        return content_type_of(self.format)

    @property
    def extension(self) -> str:
        """The usual file extension, without the dot."""
        return "jpg" if self.format == "jpeg" else self.format

    @property
    def area(self) -> int:
        """The pixels of all frames together."""
        return (self.width or 0) * (self.height or 0) * self.frames


_SIGNATURES: Final = (
    (rb"\xff\xd8\xff", "jpeg"),
    (rb"\x89PNG\r\n\x1a\n", "png"),
    (rb"GIF8[79]a", "gif"),
    (rb"RIFF....WEBP", "webp"),
)
_AVIF_BRANDS: Final = {b"avif", b"avis"}
_HEIC_BRANDS: Final = set(b"heic heix heim heis hevc hevx hevm hevs mif1 msf1".split())
_OTHER_FILES: Final = (
    (rb"II[*+]\0|MM\0[*+]", Sentence("The file looks like a TIFF image or a raw photo.")),
    (rb".{4}ftypcrx ", Sentence("The file looks like a raw photo.")),
    (rb"BM.{4}\0{4}", Sentence("The file looks like a BMP image.")),
    (rb"\0\0\x01\0", Sentence("The file looks like an ICO image.")),
    (rb"8BPS", Sentence("The file looks like a Photoshop document.")),
    (rb"\0{3}\x0cJXL |\xff\x0a", Sentence("The file looks like a JPEG XL image.")),
    (rb"\0{3}\x0cjP {2}|\xff\x4f\xff\x51", Sentence("The file looks like a JPEG 2000 image.")),
    (rb"%PDF-", Sentence("The file looks like a PDF document.")),
    (rb"%!PS", Sentence("The file looks like a PostScript document.")),
    (rb".{4}ftyp|\x1a\x45\xdf\xa3|RIFF....AVI ", Sentence("The file looks like a video.")),
    (rb"PK\x03\x04|\x1f\x8b", Sentence("The file looks like a compressed archive.")),
    (
        rb"(\xef\xbb\xbf)?(\s|<!--.*?-->)*+<(?i:!doctype html|html|head|body)\b",
        Sentence("The file looks like an HTML page."),
    ),
    (rb"(\xef\xbb\xbf)?\s*<\?xml\b", Sentence("The file looks like an XML document.")),
    (rb"[\t\n\f\r\x20-\x7e\x80-\xff]+\Z", Sentence("The file looks like plain text.")),
)
_UNKNOWN: Final = Sentence("The file is in no known image format.")
_SUPPORTED: Final = Sentence("JPEG, PNG, GIF, WebP, SVG and HEIC are supported.")


def content_type_of(format_name: str) -> str:
    """Return the media type of a format, as ``image/jpeg``."""
    return "image/svg+xml" if format_name == "svg" else f"image/{format_name}"


def detect_format(head: bytes) -> str | None:
    """Return the format that the first bytes of a file tell, as in ``ImageInfo``; ``None`` for others.

    512 bytes suffice for everything but an SVG, whose root element may follow long comments.
    """
    return _match(_SIGNATURES, head) or _brand(head) or ("svg" if svg_attributes(head) is not None else None)


def unsupported(head: bytes) -> tuple[Sentence, Sentence]:
    """Return what a file in another format looks like, and what is supported."""
    return _match(_OTHER_FILES, head) or _UNKNOWN, _SUPPORTED


def _match(table: tuple[tuple[bytes, T], ...], head: bytes) -> T | None:
    return next((found for pattern, found in table if re.match(pattern, head, re.DOTALL)), None)


def _brand(head: bytes) -> str | None:
    """HEIC or AVIF by the brands of the file type box (ISO/IEC 23008-12, AV1 Image File Format)."""
    if head[4:8] != b"ftyp":
        return None
    end = int.from_bytes(head[:4], "big")
    brands = {head[start : start + 4] for start in range(8, min(end, len(head)), 4)}
    if brands & _AVIF_BRANDS:  # first: an AVIF file may carry HEIF's general brand "mif1", too
        return "avif"
    return "heic" if brands & _HEIC_BRANDS else None
