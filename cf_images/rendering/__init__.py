"""One variant applied to one image, as Cloudflare Images does it, with Pillow.

For development and the emulator. Sizes are Cloudflare's; encoders and the exact curves of ``sharpen`` or
``contrast`` are similar, not equal. What Pillow cannot do (faces, saliency, generated pixels) has a simple
fallback and a text in ``Rendering.warnings``. Knows no Django and no network.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from cf_images.exceptions import InvalidVariantError, RenderingError
from cf_images.rendering import cost
from cf_images.rendering.encoding import (
    accepted,
    encode,
    encode_animation,
    keeps_animation,
    negotiate,
    negotiate_animation,
    preferred,
)
from cf_images.rendering.geometry import MAX_PIXELS, Box, Plan, Size, plan, trimmed
from cf_images.rendering.pixels import apply, border_free
from cf_images.rendering.sources import JPEG, OVERSAMPLING, SVG, Source, open_source, rendering_errors, sniff
from cf_images.variants import Transform, Trim
from cf_images.variants.options import MAX_DPR

__all__ = [
    "InvalidVariantError",
    "Rendering",
    "RenderingError",
    "Transform",
    "Trim",
    "accepted",
    "preferred",
    "render",
]

# Cloudflare Images, "Limits": an animation with more pixels in all its frames is delivered unchanged.
MAX_ANIMATION_PIXELS = 50_000_000
# Where time is limited, an animation of more frames is not counted to its end, and stands still.
_MAX_FRAMES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """The result: its bytes, media type, size in pixels (0 and 0 for SVG) and ``Warning`` header values."""

    body: bytes
    content_type: str
    width: int
    height: int
    warnings: tuple[str, ...]


def render(
    source: bytes | BinaryIO,
    transform: Transform,
    *,
    accept: str = "",
    max_pixels: int = MAX_PIXELS,
    max_seconds: float | None = None,
) -> Rendering:
    """Apply a transform; ``accept`` is the value of the ``Accept`` header, which decides on the format.

    A file is read from its current position. SVG and large animations are returned unchanged.
    ``max_pixels`` limits the area of source and result. ``RenderingError`` with Cloudflare's status and
    code when the image is damaged, of an unknown format, or too large.

    ``max_seconds`` limits the CPU, as estimated before anything is decoded (``cost``). Within it no bitmap is
    returned unchanged: of an animation that would take longer only the first frame is rendered, instead of
    AVIF or WebP it may be JPEG or PNG, and for anything else that would take longer there is a
    ``RenderingError``.
    """
    data = source if isinstance(source, bytes) else source.read()
    with rendering_errors():
        kind = sniff(data)
        if kind == SVG:
            return _rendering(data, kind, (0, 0))
        if max_seconds is not None:
            return _render_within(max_seconds, data, kind, transform, accept, max_pixels)
        opened = open_source(data, kind, max_pixels=max_pixels)
        animated = opened.frames > 1 and keeps_animation(transform)
        if animated and _total_pixels(opened) > MAX_ANIMATION_PIXELS:
            return _rendering(data, kind, opened.size, ["animation too large, delivered untransformed"])
        planned = plan(opened.size, transform, kept=_kept(opened, transform), max_pixels=max_pixels)
        if transform.format == "json":
            return _rendering(_description(data, opened, planned), "application/json", planned.output)
        body, kind, notes = (_animation if animated else _still)(opened, planned, transform, accept)
        return _rendering(body, kind, planned.output, [*_limitations(transform), *notes])


def _render_within(
    limit: float, data: bytes, kind: str, transform: Transform, accept: str, max_pixels: int
) -> Rendering:
    """Render what is expected to take at most ``limit`` seconds."""
    head = cost.read_head(data, kind)
    opened = open_source(data, kind, max_pixels=max_pixels, max_frames=_MAX_FRAMES)
    estimate = partial(cost.seconds, opened, head, len(data))
    whole = plan(opened.size, transform, kept=None, max_pixels=max_pixels)
    if transform.trim == "border":  # what it leaves is known only after decoding
        cost.check(estimate(whole, transform, JPEG), limit)
    planned = plan(opened.size, transform, kept=_kept(opened, transform), max_pixels=max_pixels)
    if transform.format == "json":
        return _rendering(_description(data, opened, planned), "application/json", planned.output)
    if 1 < opened.frames < _MAX_FRAMES and keeps_animation(transform):
        moving = estimate(planned, transform, negotiate_animation(transform, accept), frames=opened.frames)
        if moving <= limit:
            body, kind, notes = _animation(opened, planned, transform, accept)
            return _rendering(body, kind, planned.output, [*_limitations(transform), *notes])
    alpha = opened.image.has_transparency_data or (transform.background or (255,))[-1] < 255
    for formats in (accept, ""):
        result, _ = negotiate(transform, formats, source=kind, size=planned.output, alpha=alpha)
        estimated = estimate(planned, transform, result)
        if estimated <= limit:
            break
    cost.check(estimated, limit)
    body, kind, notes = _still(opened, planned, transform, formats, oversampling=1)
    return _rendering(body, kind, planned.output, [*_limitations(transform), *notes])


def _total_pixels(source: Source) -> int:
    return source.frames * source.size[0] * source.size[1]


def _kept(source: Source, transform: Transform) -> Box | None:
    """Return the box that ``trim`` leaves, ``None`` for all of the image."""
    if transform.trim is None:
        return None
    if transform.trim == "border":
        return border_free(source.first())
    return trimmed(source.size, transform.trim, dpr=transform.dpr)


def _still(
    source: Source, planned: Plan, transform: Transform, accept: str, *, oversampling: int = OVERSAMPLING
) -> tuple[bytes, str, list[str]]:
    at_least = None if planned.kept else planned.scaled
    frame = source.first(at_least=at_least, oversampling=oversampling)
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
    """Return the body of ``format=json``."""
    width, height = source.size
    original = {"file_size": len(data), "width": width, "height": height, "format": source.kind}
    description = {"width": planned.output[0], "height": planned.output[1], "original": original}
    return json.dumps(description).encode()


def _rendering(body: bytes, content_type: str, size: Size, notes: Iterable[str] = ()) -> Rendering:
    return Rendering(
        body=body,
        content_type=content_type,
        width=size[0],
        height=size[1],
        warnings=tuple(f'cf-images 299 "{note}"' for note in notes),
    )


def _limitations(transform: Transform) -> Iterator[str]:
    """Yield what the options request without effect, at Cloudflare or with Pillow."""
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
