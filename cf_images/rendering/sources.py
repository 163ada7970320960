"""What was uploaded: its format, its limits, and its frames as upright sRGB pixels."""

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
from cf_images.rendering.geometry import Size, refuse_size

AVIF, GIF, HEIC, JPEG, PNG, SVG, WEBP = (
    f"image/{subtype}" for subtype in ("avif", "gif", "heic", "jpeg", "png", "svg+xml", "webp")
)
_SIGNATURES = {b"\xff\xd8\xff": JPEG, b"\x89PNG\r\n\x1a\n": PNG, b"GIF87a": GIF, b"GIF89a": GIF}
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
# The classes and not Image.open(): that one tries every format Pillow knows, takes a photo with a second
# picture inside for an animation, and warns about sizes that are judged here.
_DECODERS: dict[str, type[ImageFile.ImageFile]] = {
    AVIF: AvifImagePlugin.AvifImageFile,
    GIF: GifImagePlugin.GifImageFile,
    JPEG: JpegImagePlugin.JpegImageFile,
    PNG: PngImagePlugin.PngImageFile,
    WEBP: WebPImagePlugin.WebPImageFile,
}
_ORIENTATION = ExifTags.Base.Orientation
# EXIF's orientation (TIFF 6.0, tag 274) to what turns the image upright.
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
# A JPEG segment holds 65,533 bytes; larger EXIF cannot be written back.
_MAX_EXIF = 65_533
# How many times finer than the result a JPEG is decoded: the rest of the reduction is Lanczos'.
_OVERSAMPLING = 2


@contextmanager
def refusing_damage() -> Iterator[None]:
    """Turn whatever Pillow raises on damaged or hostile bytes into ``RenderingError``."""
    try:
        yield
    except CloudflareImagesError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError) as error:
        raise refuse_size(f"the image is too large: {error}") from error
    except Exception as error:  # Pillow raises almost every built-in exception
        raise RenderingError(f"the image cannot be rendered: {error}", status=422, code=9516) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An opened image of which only the head was read; ``size`` is that of the upright image.

    ``plays`` is how often an animation of several ``frames`` runs, 0 for without end.
    """

    kind: str
    image: ImageFile.ImageFile
    orientation: int
    size: Size
    frames: int
    plays: int

    def first(self, *, at_least: Size | None = None) -> Image.Image:
        """Decode the first frame; a JPEG may come smaller, but larger than ``at_least``."""
        self.image.seek(0)
        if at_least:
            width, height = at_least[::-1] if self.orientation >= 5 else at_least
            self.image.draft(None, (width * _OVERSAMPLING, height * _OVERSAMPLING))
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
        except Exception:  # noqa: BLE001 - damaged EXIF raises anything, and is not worth an image
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
    """Return the media type that the first bytes tell; ``RenderingError`` 9412 when it is none of ours."""
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


def open_source(data: bytes, kind: str, *, max_pixels: int) -> Source:
    """Read the head of a bitmap and refuse it when it is too large to be decoded."""
    if kind == GIF:
        size, frames = _walk_gif(data)
        # Above its own limit Pillow warns about a GIF while reading it: refused before it sees one.
        _check_area(size, min(max_pixels, Image.MAX_IMAGE_PIXELS or max_pixels))
        image = _decode(data, kind)
    else:
        image = _decode(data, kind)
        size, frames = image.size, getattr(image, "n_frames", 1) if kind == WEBP else 1
        _check_area(size, max_pixels)
    orientation = _orientation(image)
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
    if "HEIF" not in Image.OPEN:
        raise _unsupported("HEIC needs pillow-heif: install it and call its register_heif_opener()")
    factory, _accepts = Image.OPEN["HEIF"]
    return factory(io.BytesIO(data), "")


def _check_area(size: Size, max_pixels: int) -> None:
    if size[0] * size[1] > max_pixels:
        raise refuse_size(f"{size[0]}x{size[1]} is too large: the limit is {max_pixels} pixels in all")


def _walk_gif(data: bytes) -> tuple[Size, int]:
    """Return the canvas that holds every frame, and how many there are, without decoding one (GIF89a)."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    position = 13 + _color_table(flags)
    frames = 0
    while position < len(data) and data[position] != 0x3B:  # the trailer
        block, position = data[position], position + 1
        if block == 0x21:  # an extension: one byte of label
            position = _after_sub_blocks(data, position + 1)
        elif block == 0x2C:  # an image: nine bytes of descriptor, colors, one byte of code size
            left, top, across, down, flags = struct.unpack_from("<4HB", data, position)
            width, height = max(width, left + across), max(height, top + down)
            position = _after_sub_blocks(data, position + 9 + _color_table(flags) + 1)
            frames += 1
    return (width, height), frames


def _color_table(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _after_sub_blocks(data: bytes, position: int) -> int:
    while position < len(data) and data[position]:
        position += data[position] + 1
    return position + 1


def _plays(image: ImageFile.ImageFile) -> int:
    """Return how often the animation runs; a GIF says how often it is repeated, a WebP how often shown."""
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
    """Copy as RGB or, when a pixel is transparent, RGBA; the color profile applied, metadata dropped."""
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
    """Convert to RGB; a profile that is damaged or made for other channels is ignored."""
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
