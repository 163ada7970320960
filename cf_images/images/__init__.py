"""What Cloudflare Images accepts: the format, dimensions and frames of a file, and the limits on them.

Nothing here decodes pixels, except :func:`fit_limits`, which is asked to. A file that is damaged *after*
its header passes.

The limits are those of Cloudflare's page "Limits and formats", hosted images.
"""

from __future__ import annotations

import io
import math
import struct
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final

from cf_images.exceptions import ImageRejectedError
from cf_images.images.headers import measure, read_header

if TYPE_CHECKING:
    from PIL import Image

MAX_BYTES: Final = 10 * 1024 * 1024
MAX_SIDE: Final = 12_000  # pixels; WebP and AVIF are exempt
MAX_AREA: Final = 100_000_000  # pixels; of an animation, all frames together

MAX_REDUCIBLE_AREA: Final = 200_000_000  # pixels; the largest phone camera's, 800 MB decoded


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInfo:
    """What the header of an image says.

    ``format`` is ``"jpeg"``, ``"png"``, ``"gif"``, ``"webp"``, ``"svg"``, ``"heic"`` or ``"avif"``; ``size``
    is in bytes. ``width`` and ``height`` are the stored pixels, before any orientation is applied, as in
    Django's ``get_image_dimensions``; ``None`` for an SVG without a size in pixels. ``frames`` counts what
    Cloudflare treats as animation, GIF and WebP; it is 1 for everything else.
    """

    format: str
    size: int
    width: int | None
    height: int | None
    frames: int = 1

    @property
    def content_type(self) -> str:
        """The media type, as ``image/jpeg``."""
        return "image/svg+xml" if self.format == "svg" else f"image/{self.format}"

    @property
    def extension(self) -> str:
        """The usual file extension, without the dot."""
        return "jpg" if self.format == "jpeg" else self.format


def inspect(file: IO[bytes]) -> ImageInfo:
    """The format and dimensions of an image file, from its start; its position is restored.

    Raises ``ImageRejectedError`` for what is empty, closed, cannot seek, is no image or has a damaged header.
    Costs a few KiB of memory (64 KiB for an SVG), whatever the size of the file.
    """
    position, size = measure(file)
    if not size:
        raise ImageRejectedError("The file is empty.")
    try:
        kind, width, height, frames = read_header(file, size)
    finally:
        file.seek(position)
    return ImageInfo(format=kind, size=size, width=width, height=height, frames=frames)


def check_limits(info: ImageInfo, *, allow_avif: bool = False) -> None:
    """Refuse what Cloudflare would refuse, with an ``ImageRejectedError`` fit for an end user.

    ``allow_avif`` is for accounts on an Enterprise plan, the only ones that may upload AVIF.
    """
    if complaint := _complaint(info, allow_avif=allow_avif):
        raise ImageRejectedError(complaint)


def validate(file: IO[bytes], *, allow_avif: bool = False) -> ImageInfo:
    """Inspect a file and check its limits; raises ``ImageRejectedError``."""
    info = inspect(file)
    check_limits(info, allow_avif=allow_avif)
    return info


def can_be_reduced(info: ImageInfo) -> bool:
    """Whether :func:`fit_limits` would try its hand at this image, should it break a limit."""
    return (
        info.frames == 1
        and info.format != "svg"
        and _area(info) <= MAX_REDUCIBLE_AREA
        and _opener(info.format) is not None
    )


def fit_limits(file: IO[bytes], *, allow_avif: bool = False) -> tuple[IO[bytes], ImageInfo]:
    """The same file when it is within the limits, else a new, smaller one; with what it is.

    A reduced image keeps its format, color profile and transparency; its orientation is applied to the
    pixels; other metadata is dropped. HEIC and AVIF become JPEG (PNG when transparent), GIF becomes PNG.
    Decoding takes up to four bytes of memory a pixel. Raises ``ImageRejectedError`` for what cannot be
    mended: animations, SVG, more than ``MAX_REDUCIBLE_AREA``, a format Pillow cannot decode here, damage.
    """
    info = inspect(file)
    complaint = _complaint(info, allow_avif=allow_avif)
    if complaint is None:
        return file, info
    if not can_be_reduced(info):
        raise ImageRejectedError(complaint)
    position = file.tell()
    try:
        reduced = _reduce(file, info)
    except Exception as error:  # Pillow's plugins raise what they like
        raise ImageRejectedError(f"{complaint} It is too large or too damaged to be reduced.") from error
    finally:
        file.seek(position)
    if reduced is None:
        raise ImageRejectedError(complaint)
    return reduced, inspect(reduced)


# Limits


def _complaint(info: ImageInfo, *, allow_avif: bool) -> str | None:
    shape = f"{info.width or 0:,} \N{MULTIPLICATION SIGN} {info.height or 0:,} pixels"
    megapixels, most = _rounded_up(_area(info), 1_000_000), MAX_AREA // 1_000_000
    if info.format == "avif" and not allow_avif:
        return "AVIF images are not possible; save the image as JPEG, PNG or WebP."
    if info.size > MAX_BYTES:
        size, limit = _rounded_up(info.size, 1024 * 1024), MAX_BYTES // (1024 * 1024)
        return f"The image file is {size} MB; at most {limit} MB are possible."
    if info.format == "svg":
        return None  # has no pixels
    if info.format not in ("webp", "avif") and max(info.width or 0, info.height or 0) > MAX_SIDE:
        return f"The image is {shape}; at most {MAX_SIDE:,} pixels a side are possible."
    if _area(info) <= MAX_AREA:
        return None
    if info.frames > 1:
        shape = f"{info.frames:,} frames of {shape}"
    return f"The image is {shape} ({megapixels} megapixels); at most {most} megapixels are possible."


def _area(info: ImageInfo) -> int:
    return (info.width or 0) * (info.height or 0) * info.frames


def _rounded_up(amount: int, unit: int) -> str:
    """To one decimal, upwards: what is over a limit never looks like the limit."""
    return f"{math.ceil(amount * 10 / unit) / 10:,.1f}"


# Reducing, with Pillow

_EXIF_ORIENTATION: Final = 0x0112
_UPRIGHT: Final = {  # what undoes each orientation, by Pillow's names
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
_MAX_ATTEMPTS: Final = 20


def _opener(kind: str) -> Any:
    """Pillow's decoder for a format, if it has one; HEIC needs ``pillow_heif.register_heif_opener()``.

    Not ``Image.open``, which warns about the images that are to be reduced, and refuses larger ones.
    """
    from PIL import Image

    Image.init()
    opener, _ = Image.OPEN.get("HEIF" if kind == "heic" else kind.upper(), (None, None))
    return opener


def _reduce(file: IO[bytes], info: ImageInfo) -> io.BytesIO | None:
    from PIL.Image import Transpose

    file.seek(0)
    image: Image.Image = _opener(info.format)(file, "")
    if info.format != "jpeg" and getattr(image, "is_animated", False):
        return None  # an APNG or AVIF sequence; the further pictures of a JPEG are previews and gain maps
    size = _fitting(*image.size)
    image.draft(None, size)  # a JPEG can be halved while it is decoded
    image.load()
    profile, orientation = image.info.get("icc_profile"), _orientation(image)
    image = _resized(_resampleable(image), size)
    image.info = {}  # what Pillow would write by itself, as the comment of a JPEG
    if orientation in _UPRIGHT:
        image = image.transpose(Transpose[_UPRIGHT[orientation]])
    return _encode(image, _target(info, image), profile)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except (SyntaxError, ValueError, TypeError, LookupError, OSError, struct.error):
        return 1  # viewers ignore broken EXIF, too


def _fitting(width: int, height: int) -> tuple[int, int]:
    """The largest size of this shape within the limits on side and area."""
    longest = max(width, height, MAX_SIDE)
    width, height = max(1, width * MAX_SIDE // longest), max(1, height * MAX_SIDE // longest)
    scale = min(1.0, math.sqrt(MAX_AREA / (width * height)))
    return max(1, int(width * scale)), max(1, int(height * scale))


def _resampleable(image: Image.Image) -> Image.Image:
    """In a mode that can be resampled, without losing transparency or what the color profile is about."""
    if image.mode in ("RGBA", "LA", "CMYK", "I;16"):
        return image
    gray = image.mode in ("1", "L")
    if image.has_transparency_data:
        return image.convert("LA" if gray else "RGBA")
    return image.convert("L" if gray else "RGB")


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    from PIL.Image import Resampling

    return image if image.size == size else image.resize(size, Resampling.LANCZOS)


def _target(info: ImageInfo, image: Image.Image) -> str:
    if info.format in ("jpeg", "png", "webp"):
        return info.format.upper()
    return "PNG" if info.format == "gif" or image.has_transparency_data else "JPEG"


def _encode(image: Image.Image, target: str, profile: bytes | None) -> io.BytesIO | None:
    """Within ``MAX_BYTES``: first with less quality, then with fewer pixels."""
    for attempt in range(_MAX_ATTEMPTS):
        encoded = io.BytesIO()
        image.save(encoded, target, quality=80 if attempt else 90, icc_profile=profile)
        size = encoded.getbuffer().nbytes
        if size <= MAX_BYTES:
            encoded.seek(0)
            return encoded
        if attempt or target == "PNG":  # which has no quality to lower
            scale = min(0.9, math.sqrt(MAX_BYTES / size))
            image = _resized(image, (max(1, int(image.width * scale)), max(1, int(image.height * scale))))
    return None  # nothing but a color profile that is too large by itself
