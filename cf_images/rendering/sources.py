"""An uploaded image: its format, its limits, and its frames as upright sRGB pixels."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import (
    AvifImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageCms,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
)

from cf_images.exceptions import CloudflareImagesError, RenderingError
from cf_images.images import heic
from cf_images.rendering.geometry import Size, size_error

AVIF, GIF, HEIC, JPEG, PNG, SVG, WEBP = (
    f"image/{subtype}" for subtype in ("avif", "gif", "heic", "jpeg", "png", "svg+xml", "webp")
)
_SIGNATURES = {b"\xff\xd8\xff": JPEG, b"\x89PNG\r\n\x1a\n": PNG, b"GIF87a": GIF, b"GIF89a": GIF}
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
# The classes and not Image.open(), which tries every format of Pillow, takes a photo with a second picture
# inside for an animation, and warns about sizes that this module checks.
_DECODERS: dict[str, type[ImageFile.ImageFile]] = {
    AVIF: AvifImagePlugin.AvifImageFile,
    GIF: GifImagePlugin.GifImageFile,
    JPEG: JpegImagePlugin.JpegImageFile,
    PNG: PngImagePlugin.PngImageFile,
    WEBP: WebPImagePlugin.WebPImageFile,
}
_ORIENTATION = ExifTags.Base.Orientation
# What turns the image upright, by EXIF's orientation (TIFF 6.0, tag 274).
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SRGB = ImageCms.createProfile("sRGB")
# Where time is limited, more blocks, chunks or segments are not read: 10 MB of GIF have 40,000 sub-blocks.
MAX_PARTS = 60_000
# A JPEG segment holds 65,533 bytes; larger EXIF cannot be written back.
_MAX_EXIF = 65_533
# How many times larger than the result a JPEG is decoded; Lanczos does the rest of the reduction.
OVERSAMPLING = 2


@contextmanager
def rendering_errors() -> Iterator[None]:
    """Raise ``RenderingError`` for whatever Pillow raises on damaged or hostile bytes."""
    try:
        yield
    except CloudflareImagesError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError) as error:
        raise size_error(f"the image is too large: {error}") from error
    except Exception as error:  # Pillow raises almost every built-in exception
        raise RenderingError(f"the image cannot be rendered: {error}", status=422, code=9516) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An opened image of which only the head has been read; ``size`` is that of the upright image.

    ``plays`` is how often an animation runs, 0 for endlessly.
    """

    kind: str
    image: ImageFile.ImageFile
    orientation: int
    size: Size
    frames: int
    plays: int

    def first(self, *, at_least: Size | None = None, oversampling: int = OVERSAMPLING) -> Image.Image:
        """Decode the first frame; a JPEG may be decoded smaller, but ``oversampling`` times ``at_least``."""
        if self.frames > 1:  # of several pictures in a HEIC, the decoder has chosen the primary one
            self.image.seek(0)
        if at_least:
            width, height = at_least[::-1] if self.orientation >= 5 else at_least
            self.image.draft(None, (width * oversampling, height * oversampling))
        return self._upright()

    def animation(self) -> Iterator[tuple[Image.Image, int]]:
        """Decode frame by frame, each whole and with its duration in milliseconds."""
        for index in range(self.frames):
            self.image.seek(index)
            frame = self._upright()
            yield frame, round(self.image.info.get("duration", 0))

    def exif(self, policy: str) -> bytes:
        """Return what the ``metadata`` option keeps of the EXIF, never the orientation that was applied."""
        if policy == "none":
            return b""
        try:
            exif = self.image.getexif()
            for tag in set(exif) - {ExifTags.Base.Copyright} if policy == "copyright" else {_ORIENTATION}:
                exif.pop(tag, None)
            kept = exif.tobytes() if exif else b""
        except Exception:  # noqa: BLE001 - damaged EXIF raises anything, and the image matters more
            return b""
        return kept if len(kept) <= _MAX_EXIF else b""

    def _upright(self) -> Image.Image:
        self.image.load()
        frame = _srgb(self.image)
        if self.kind == GIF and frame.size != self.size:  # Pillow's canvas grows with the frames
            frame = frame.transform(self.size, Image.Transform.EXTENT, (0, 0, *self.size))
        turn = _UPRIGHT.get(self.orientation)
        return frame if turn is None else frame.transpose(turn)


def sniff(data: bytes) -> str:
    """Return the media type by the first bytes; raise ``RenderingError`` 9412 for an unsupported one."""
    for signature, kind in _SIGNATURES.items():
        if data.startswith(signature):
            return kind
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return WEBP
    if data[4:8] == b"ftyp":
        brands = {data[at : at + 4] for at in range(8, min(64, int.from_bytes(data[:4])), 4)}
        if brands & {b"avif", b"avis"}:
            return AVIF
        if brands & _HEIC_BRANDS:
            return HEIC
    if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") and b"<svg" in data[:4096]:
        return SVG
    raise _unsupported("this is not a JPEG, PNG, GIF, WebP, AVIF, HEIC or SVG image")


def open_source(data: bytes, kind: str, *, max_pixels: int, max_frames: int | None = None) -> Source:
    """Read the head of a bitmap; raise ``RenderingError`` if it is too large to decode.

    With ``max_frames``, further frames are not counted, and no pixel is decoded whatever the format.
    """
    if kind == GIF:
        size, frames = _walk_gif(data, max_frames)
        # Above its own limit Pillow warns about a GIF while reading it, so check first.
        _check_area(size, min(max_pixels, Image.MAX_IMAGE_PIXELS or max_pixels))
        image = _decode(data, kind)
    else:
        image = _decode(data, kind)
        size, frames = image.size, getattr(image, "n_frames", 1) if kind == WEBP else 1
        _check_area(size, max_pixels)
    # Pillow decodes a PNG to find EXIF behind the pixels.
    only_head = max_frames is not None and kind == PNG and "exif" not in image.info
    orientation = 1 if only_head else _orientation(image)
    return Source(
        kind=kind,
        image=image,
        orientation=orientation,
        size=size[::-1] if orientation >= 5 else size,
        frames=frames,
        plays=_plays(image),
    )


def _unsupported(reason: str) -> RenderingError:
    return RenderingError(reason, status=415, code=9412)


def _decode(data: bytes, kind: str) -> ImageFile.ImageFile:
    if kind != HEIC:
        return _DECODERS[kind](io.BytesIO(data), "")
    if not heic.register():
        raise _unsupported(str(heic.NOT_READABLE))
    factory, _accepts = Image.OPEN[heic.FORMAT]
    return factory(io.BytesIO(data), "")


def _check_area(size: Size, max_pixels: int) -> None:
    if size[0] * size[1] > max_pixels:
        raise size_error(f"{size[0]}x{size[1]} is too large: the limit is {max_pixels} pixels in all")


def _walk_gif(data: bytes, max_frames: int | None) -> tuple[Size, int]:
    """Return the canvas that holds every frame, and the number of frames, without decoding (GIF89a)."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    blocks = _GifBlocks(data, 13 + _color_table(flags), limit=None if max_frames is None else MAX_PARTS)
    frames = 0
    while (block := blocks.next()) and frames != max_frames:
        if block == 0x21:  # an extension: one byte of label
            blocks.skip(1)
        elif block == 0x2C:  # an image: nine bytes of descriptor, colors, one byte of code size
            left, top, across, down, flags = struct.unpack_from("<4HB", data, blocks.position)
            width, height = max(width, left + across), max(height, top + down)
            blocks.skip(9 + _color_table(flags) + 1)
            frames += 1
    return (width, height), frames


def _color_table(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


@dataclass(slots=True)
class _GifBlocks:
    """The blocks of a GIF from a position on; ``limit`` is how many, sub-blocks included, are read."""

    data: bytes
    position: int
    limit: int | None
    _number: int = 0

    def next(self) -> int:
        """Return the label of the next block and step behind it; 0 for the trailer, and at the end."""
        self._count()
        label = self.data[self.position] if self.position < len(self.data) else 0x3B
        self.position += 1
        return 0 if label == 0x3B else label or 0xFF

    def skip(self, length: int) -> None:
        """Step over so many bytes, and over the sub-blocks that follow."""
        self.position += length
        while self.position < len(self.data) and self.data[self.position]:
            self._count()
            self.position += self.data[self.position] + 1
        self.position += 1

    def _count(self) -> None:
        self._number += 1
        if self.limit is not None and self._number > self.limit:
            raise too_many_parts(self.limit)


def too_many_parts(limit: int) -> RenderingError:
    """Return the error for a file that is made to be slow."""
    return RenderingError(f"the image has more than {limit:,} parts", status=422, code=9516)


def _plays(image: ImageFile.ImageFile) -> int:
    """Return how often the animation runs; a GIF has the number of repetitions, a WebP that of runs."""
    loop: int | None = image.info.get("loop")
    if image.format != "GIF":
        return loop or 0
    if loop is None:
        return 1
    return loop + 1 if loop else 0


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:  # noqa: BLE001 - damaged EXIF raises anything, and the pixels may be fine
        return 1
    return orientation if orientation in _UPRIGHT else 1


def _srgb(image: Image.Image) -> Image.Image:
    """Copy as RGB, or RGBA if a pixel is transparent; apply the color profile, drop metadata."""
    profile = image.info.get("icc_profile")
    if image.mode == "I;16":
        image = _eight_bits(image)
    gray = Image.getmodebase(image.mode) == "L"
    alpha = None
    if image.has_transparency_data:
        image = image.convert("LA" if gray else "RGBA")
        alpha = image.getchannel("A")
    if image.mode != "CMYK":
        image = image.convert("L" if gray else "RGB")
    image = _apply_profile(image, profile)
    if alpha is not None and alpha.getextrema() != (255, 255):
        image.putalpha(alpha)
    image.info.clear()
    return image


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale 16 bits of gray to 8: Pillow's own conversion clips them."""
    gray = image.point(lambda value: value * (1 / 256)).convert("L")
    if "transparency" in gray.info:
        gray.info["transparency"] >>= 8
    return gray


def _apply_profile(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert to RGB; ignore a profile that is damaged or for other channels."""
    if profile:
        try:
            converted = ImageCms.profileToProfile(
                image, ImageCms.ImageCmsProfile(io.BytesIO(profile)), _SRGB, outputMode="RGB"
            )
        except (ImageCms.PyCMSError, OSError):
            converted = None
        if converted is not None:
            return converted
    return image.convert("RGB")
