"""One variant applied to one image, as Cloudflare Images does it, with Pillow.

For development and the emulator: what is not Cloudflare's arithmetic but its taste (encoders, the exact
curves of ``sharpen`` or ``contrast``) is near, not equal. What Pillow cannot do (faces, saliency, generated
pixels) falls back to something plain and says so in ``Rendering.warnings``. Knows no Django and no network.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from cf_images.exceptions import InvalidVariantError, RenderingError
from cf_images.options import Transform, Trim
from cf_images.rendering.encoding import (
    accepted,
    encode,
    encode_animation,
    keeps_animation,
    negotiate,
    negotiate_animation,
)
from cf_images.rendering.geometry import MAX_DPR, Box, Plan, Size, plan, trimmed
from cf_images.rendering.pixels import apply, border_free
from cf_images.rendering.sources import SVG, Source, open_source, refusing_damage, sniff

__all__ = [
    "InvalidVariantError",
    "Rendering",
    "RenderingError",
    "Transform",
    "Trim",
    "accepted",
    "render",
]

# Cloudflare Images, "Limits": an animation with more pixels in all its frames is delivered as it is.
MAX_ANIMATION_PIXELS = 50_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """The answer: its bytes, media type, size in pixels (0 and 0 for SVG) and ``Warning`` header values."""

    body: bytes
    content_type: str
    width: int
    height: int
    warnings: tuple[str, ...]


def render(
    source: bytes | BinaryIO, transform: Transform, *, accept: str = "", max_pixels: int = 100_000_000
) -> Rendering:
    """Apply a transform; the format is negotiated with the ``Accept`` header's value ``accept``.

    A file is read from where it stands. SVG comes back untouched, and so does a large animation.
    ``max_pixels`` limits the area of source and result. ``RenderingError`` with Cloudflare's status and
    code when the image is damaged, of an unknown format, or too large.
    """
    data = source if isinstance(source, bytes) else source.read()
    with refusing_damage():
        kind = sniff(data)
        if kind == SVG:
            return _rendering(data, kind, (0, 0))
        opened = open_source(data, kind, max_pixels=max_pixels)
        animated = opened.frames > 1 and keeps_animation(transform)
        total = opened.frames * opened.size[0] * opened.size[1]
        if animated and total > MAX_ANIMATION_PIXELS:
            return _rendering(data, kind, opened.size, ["animation too large, delivered untransformed"])
        planned = plan(opened.size, transform, kept=_kept(opened, transform), max_pixels=max_pixels)
        if transform.format == "json":
            return _rendering(_description(data, opened, planned), "application/json", planned.output)
        body, kind, notes = (_animation if animated else _still)(opened, planned, transform, accept)
        return _rendering(body, kind, planned.output, [*_shortcomings(transform), *notes])


def _kept(source: Source, transform: Transform) -> Box | None:
    """Return the box that ``trim`` leaves, ``None`` when all is left."""
    if transform.trim is None:
        return None
    if transform.trim == "border":
        return border_free(source.first())
    return trimmed(source.size, transform.trim, dpr=transform.dpr)


def _still(source: Source, planned: Plan, transform: Transform, accept: str) -> tuple[bytes, str, list[str]]:
    frame = source.first(at_least=None if planned.kept else planned.scaled)
    frame = apply(frame, planned, transform)
    kind, notes = negotiate(
        transform, accept, source=source.kind, size=frame.size, alpha=frame.mode == "RGBA"
    )
    return encode(frame, kind, transform, exif=source.exif(transform.metadata)), kind, notes


def _animation(
    source: Source, planned: Plan, transform: Transform, accept: str
) -> tuple[bytes, str, list[str]]:
    frames, durations = [], []
    for frame, duration in source.animation():
        frames.append(apply(frame, planned, transform))
        durations.append(duration)
    kind = negotiate_animation(transform, accept)
    return encode_animation(frames, durations, kind, transform, plays=source.plays), kind, []


def _description(data: bytes, source: Source, planned: Plan) -> bytes:
    """Return the answer to ``format=json``."""
    width, height = source.size
    original = {"file_size": len(data), "width": width, "height": height, "format": source.kind}
    described = {"width": planned.output[0], "height": planned.output[1], "original": original}
    return json.dumps(described).encode()


def _rendering(body: bytes, content_type: str, size: Size, notes: Iterable[str] = ()) -> Rendering:
    return Rendering(
        body=body,
        content_type=content_type,
        width=size[0],
        height=size[1],
        warnings=tuple(f'cf-images 299 "{note}"' for note in notes),
    )


def _shortcomings(transform: Transform) -> Iterator[str]:
    """Tell what the options ask for in vain, of Cloudflare or of Pillow."""
    if transform.fit == "cover" and (transform.width is None) != (transform.height is None):
        yield "cover fit mode needs both width and height"
    if transform.dpr > MAX_DPR:
        yield f"dpr is limited to {MAX_DPR}"
    if transform.gravity in ("auto", "face", "entropy"):
        yield f"gravity={transform.gravity} is not available here: centered"
    if transform.segment:
        yield f"segment={transform.segment} is not available here: ignored"
    if transform.upscale == "generate":
        yield "upscale=generate is not available here: interpolated"
