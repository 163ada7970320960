"""The format of a rendition, and its bytes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from PIL import Image, features

from cf_images.rendering.geometry import Size
from cf_images.rendering.sources import AVIF, GIF, JPEG, PNG, WEBP
from cf_images.variants import Transform

DEFAULT_QUALITY = 85
# Cloudflare Images, "Limits": the longest side of an AVIF, in pixels.
MAX_AVIF_SIDE = 1_200
# The areas, in pixels, of progressive JPEGs.
_PROGRESSIVE = range(50 * 50, 3000 * 3000 + 1)
# From 0, smallest, to 10, fastest: developers wait for the page.
_AVIF_SPEED = 10

# "jpeg" in ``format`` and the media type it stands for.
_STILL = {"jpeg": JPEG, "baseline-jpeg": JPEG, "png": PNG}


def keeps_animation(transform: Transform) -> bool:
    """Return whether an animated source stays animated."""
    return transform.anim and transform.format not in (*_STILL, "json")


def accepted(accept: str) -> list[str]:
    """Return which of AVIF and WebP an ``Accept`` header names, the preferred one first (RFC 9110, 12.5.1).

    ``image/*`` and ``*/*`` name neither: browsers that support them name them.
    """
    weights = {}
    for part in accept.lower().split(","):
        media_type, *parameters = (field.strip() for field in part.split(";"))
        weights[media_type] = _weight(parameters)
    known = [kind for kind in (AVIF, WEBP) if weights.get(kind, 0) > 0]
    return sorted(known, key=lambda kind: -weights[kind])


def _weight(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                break
    return 1.0


def negotiate(
    transform: Transform, accept: str, *, source: str, size: Size, alpha: bool
) -> tuple[str, list[str]]:
    """Return the media type of the rendition, and warnings about what differs from the options."""
    warnings = []
    if transform.format == "png":
        warnings.append("png is chosen automatically where it is needed")
    for kind in preferred(transform, accept):
        if not _writable(kind):
            warnings.append(f"this Pillow cannot write {kind}")
        elif kind == AVIF and max(size) > MAX_AVIF_SIDE:
            if transform.format == "avif":
                warnings.append("image too large for AVIF")
        else:
            return kind, warnings
    return (PNG if alpha or source == PNG else JPEG), warnings


def negotiate_animation(transform: Transform, accept: str) -> str:
    """Return the media type of an animated rendition: WebP where it is accepted, else GIF."""
    return WEBP if WEBP in preferred(transform, accept) and _writable(WEBP) else GIF


def preferred(transform: Transform, accept: str) -> list[str]:
    """Return the formats to try in this order, before the fallback to JPEG or PNG.

    ``accept`` changes nothing else.
    """
    if transform.format in _STILL:
        return [_STILL[transform.format]]
    if transform.compression == "fast":
        return []
    if transform.format == "auto":
        return accepted(accept)
    return [AVIF, WEBP] if transform.format == "avif" else [WEBP]


def _writable(kind: str) -> bool:
    """Return whether Pillow can write a format; AVIF and WebP depend on how it was built."""
    return kind not in (AVIF, WEBP) or bool(features.check(kind.removeprefix("image/")))


def encode(frame: Image.Image, kind: str, transform: Transform, *, exif: bytes) -> bytes:
    """Encode one frame; ``exif`` goes into JPEG and AVIF, never into WebP and PNG."""
    quality = transform.quality or DEFAULT_QUALITY
    if kind == AVIF:
        return _save(frame, "AVIF", quality=quality, speed=_AVIF_SPEED, exif=exif)
    if kind == WEBP:
        return _save(frame, "WEBP", quality=quality, lossless=quality == 100)
    if kind == PNG:
        # An explicit quality allows a palette: PNG8.
        return _save(frame if transform.quality is None else frame.quantize(), "PNG")
    progressive = transform.format != "baseline-jpeg" and frame.width * frame.height in _PROGRESSIVE
    return _save(_flattened(frame), "JPEG", quality=quality, progressive=progressive, exif=exif)


def encode_animation(
    frames: Sequence[Image.Image], durations: Sequence[int], kind: str, transform: Transform, *, plays: int
) -> bytes:
    """Encode as animated WebP or GIF; ``durations`` in milliseconds, ``plays`` 0 for an endless one."""
    options: dict[str, Any] = {"save_all": True, "duration": list(durations)}
    if kind == WEBP:
        quality = transform.quality or DEFAULT_QUALITY
        options |= {"quality": quality, "lossless": quality == 100, "loop": plays}
        return _save(frames[0], "WEBP", append_images=frames[1:], **options)
    if plays != 1:  # a GIF without a number plays once, and its number is that of repetitions
        options["loop"] = max(0, plays - 1)
    if any(frame.mode == "RGBA" for frame in frames):
        frames = [_one_bit_alpha(frame) for frame in frames]
        options["disposal"] = 2  # clear each frame, or it shines through the next one's holes
    return _save(frames[0], "GIF", append_images=frames[1:], **options)


def _save(frame: Image.Image, pillow_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    frame.save(buffer, pillow_format, **options)
    return buffer.getvalue()


def _flattened(frame: Image.Image) -> Image.Image:
    """Put a transparent frame on white, for JPEG."""
    if frame.mode == "RGB":
        return frame
    base = Image.new("RGBA", frame.size, "white")
    base.alpha_composite(frame)
    return base.convert("RGB")


def _one_bit_alpha(frame: Image.Image) -> Image.Image:
    """Make each pixel of a GIF either visible or not."""
    frame = frame.convert("RGBA")
    frame.putalpha(frame.getchannel("A").point(lambda value: 255 if value >= 128 else 0))
    return frame
