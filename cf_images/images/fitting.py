"""Fit an image into the limits, with Pillow, which is imported only for an image over a limit."""

from __future__ import annotations

import io
import math
import struct
from typing import IO, TYPE_CHECKING, Any, Final

from cf_images.exceptions import ImageRejectedError
from cf_images.images import heic, limits
from cf_images.images.formats import ImageInfo
from cf_images.images.inspection import inspect, validate
from cf_images.sentences import Sentence

if TYPE_CHECKING:
    from PIL import Image

MAX_REDUCIBLE_AREA: Final = 200_000_000  # pixels; the largest phone camera's, 800 MB decoded

_MAX_ATTEMPTS: Final = 20
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


def can_be_reduced(info: ImageInfo) -> bool:
    """Return whether :func:`fit_limits` would try to reduce this image, should it be over a limit."""
    return (
        info.frames == 1
        and info.format != "svg"
        and info.area <= MAX_REDUCIBLE_AREA
        and _decoder(info.format) is not None
    )


def fit_limits(file: IO[bytes], *, allow_avif: bool = False) -> tuple[IO[bytes], ImageInfo]:
    """Return the file itself if it is within the limits, else a new, smaller one; and its info.

    A reduced image keeps its format, color profile and transparency; its orientation is applied to the
    pixels; other metadata is dropped. HEIC and AVIF become JPEG (PNG when transparent), GIF becomes PNG.
    Decoding takes up to four bytes of memory a pixel. Raise ``ImageRejectedError`` for what cannot be
    reduced: animations, SVG, more than ``MAX_REDUCIBLE_AREA``, a format Pillow cannot decode here, damage.
    """
    info = inspect(file)
    try:
        limits.check_limits(info, allow_avif=allow_avif)
    except ImageRejectedError as problem:
        reduced = _reduce(file, info, problem) if can_be_reduced(info) else None
        if reduced is None:
            raise _with_hint(problem, info) from None
        return reduced, inspect(reduced)
    return file, info


def _with_hint(problem: ImageRejectedError, info: ImageInfo) -> ImageRejectedError:
    """Add what to install where that alone keeps the image from being reduced."""
    if info.format != "heic" or heic.register():
        return problem
    return ImageRejectedError.saying(*problem.sentences, heic.NOT_READABLE)


def accept(file: IO[bytes], *, reduce: bool) -> tuple[IO[bytes], ImageInfo]:
    """Return the file as it will be stored, and its info; ``reduce`` is the option ``fit_limits``.

    Raise ``ImageRejectedError`` for what Cloudflare would refuse.
    """
    return fit_limits(file) if reduce else (file, validate(file))


def _reduce(file: IO[bytes], info: ImageInfo, problem: ImageRejectedError) -> io.BytesIO | None:
    position = file.tell()
    try:
        return _reencode(file, info)
    except Exception as error:  # Pillow's plugins raise what they like
        cause = Sentence("It cannot be reduced: it is damaged or takes too much memory.")
        raise ImageRejectedError.saying(*problem.sentences, cause) from error
    finally:
        file.seek(position)


def _decoder(kind: str) -> Any:
    """Return Pillow's decoder for a format, if any; for HEIC it needs the extra ``[heic]``.

    Not ``Image.open``, which warns about the images that are to be reduced, and refuses larger ones.
    """
    from PIL import Image

    Image.init()
    if kind == "heic":
        heic.register()
    decoder, _ = Image.OPEN.get(heic.FORMAT if kind == "heic" else kind.upper(), (None, None))
    return decoder


def _reencode(file: IO[bytes], info: ImageInfo) -> io.BytesIO | None:
    from PIL.Image import Transpose

    file.seek(0)
    image: Image.Image = _decoder(info.format)(file, "")
    # The further pictures of a JPEG or HEIC are previews and gain maps; others are an APNG or AVIF sequence.
    if info.format not in ("jpeg", "heic") and getattr(image, "is_animated", False):
        return None
    size = _fitting_size(*image.size)
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


def _fitting_size(width: int, height: int) -> tuple[int, int]:
    """Return the largest size of these proportions within the limits on side and area."""
    longest = max(width, height, limits.MAX_SIDE)
    width, height = max(1, width * limits.MAX_SIDE // longest), max(1, height * limits.MAX_SIDE // longest)
    scale = min(1.0, math.sqrt(limits.MAX_AREA / (width * height)))
    return max(1, int(width * scale)), max(1, int(height * scale))


def _resampleable(image: Image.Image) -> Image.Image:
    """Convert to a mode that can be resampled and keeps transparency and the color profile's channels."""
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
    """Return a file within ``MAX_BYTES``: first lower the quality, then the number of pixels."""
    for attempt in range(_MAX_ATTEMPTS):
        encoded = io.BytesIO()
        image.save(encoded, target, quality=80 if attempt else 90, icc_profile=profile)
        size = encoded.getbuffer().nbytes
        if size <= limits.MAX_BYTES:
            encoded.seek(0)
            return encoded
        if attempt or target == "PNG":  # which has no quality to lower
            scale = min(0.9, math.sqrt(limits.MAX_BYTES / size))
            image = _resized(image, (max(1, int(image.width * scale)), max(1, int(image.height * scale))))
    return None  # nothing but a color profile that is too large by itself
