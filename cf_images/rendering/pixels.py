"""Apply a plan and the options to the pixels of one frame, in the order of Cloudflare's pipeline."""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image, ImageChops, ImageEnhance, ImageFilter

from cf_images.rendering.geometry import Box, Plan, Size
from cf_images.variants import Transform
from cf_images.variants.values import Color

_WHITE: Color = (255, 255, 255, 255)
# Flips, and turns: Cloudflare's are clockwise, Pillow's counterclockwise.
_TRANSPOSES: dict[str | int, Image.Transpose] = {
    "h": Image.Transpose.FLIP_LEFT_RIGHT,
    "v": Image.Transpose.FLIP_TOP_BOTTOM,
    "hv": Image.Transpose.ROTATE_180,
    90: Image.Transpose.ROTATE_270,
    180: Image.Transpose.ROTATE_180,
    270: Image.Transpose.ROTATE_90,
}
# How far a channel may be from the corner's color and still be border; JPEG is never quite uniform.
_BORDER_TOLERANCE = 12


def border_free(frame: Image.Image) -> Box:
    """Return the box inside the border in the top left pixel's color; all of the image if there is none."""
    corner = frame.getpixel((0, 0))
    difference = ImageChops.difference(frame, Image.new(frame.mode, frame.size, corner))
    distinct = difference.point(lambda value: 255 if value > _BORDER_TOLERANCE else 0)
    return distinct.getbbox(alpha_only=False) or (0, 0, *frame.size)


def apply(frame: Image.Image, plan: Plan, transform: Transform) -> Image.Image:
    """Return the frame, RGB or RGBA, after the plan and the options."""
    if plan.kept:
        frame = _cut(frame, plan.kept)
    frame = _resize(frame, plan)
    # Observed at Cloudflare: contrast leaves the color of the padding alone, brightness and blur do not.
    if transform.contrast not in (0, 1):
        frame = _map_colors(frame, lambda value: (value - 127.5) * transform.contrast + 127.5)
    frame = _on_background(frame, plan.canvas, transform)
    for turn in (transform.flip, transform.rotate):
        if turn in _TRANSPOSES:
            frame = frame.transpose(_TRANSPOSES[turn])
    if transform.brightness not in (0, 1):
        frame = _map_colors(frame, lambda value: value * transform.brightness)
    if transform.gamma not in (0, 1):
        frame = _map_colors(frame, lambda value: 255 * (value / 255) ** (1 / transform.gamma))
    if transform.saturation != 1:
        frame = ImageEnhance.Color(frame).enhance(transform.saturation)
    if transform.blur >= 1:
        frame = _filter(frame, ImageFilter.GaussianBlur(transform.blur))
    if transform.sharpen:
        frame = _filter(frame, ImageFilter.UnsharpMask(1, round(100 * transform.sharpen), 0))
    return frame


def _cut(frame: Image.Image, box: Box) -> Image.Image:
    """Cut out a box; Pillow's own crop() would warn about large ones."""
    left, top, right, bottom = box
    return frame.transform((right - left, bottom - top), Image.Transform.EXTENT, box)


def _resize(frame: Image.Image, plan: Plan) -> Image.Image:
    """Scale the planned region, as if the whole had been scaled first: its neighbors are blended in."""
    left, top, right, bottom = plan.region
    width, height = frame.size
    box = (float(left * width), float(top * height), float(right * width), float(bottom * height))
    return frame.resize(plan.size, Image.Resampling.LANCZOS, box=box)


def _on_background(frame: Image.Image, canvas: Size, transform: Transform) -> Image.Image:
    color = transform.background or (_WHITE if transform.fit == "pad" else None)
    if color is None or (frame.mode == "RGB" and frame.size == canvas):
        return frame
    base = Image.new("RGBA", canvas, color)
    offset = ((canvas[0] - frame.width) // 2, (canvas[1] - frame.height) // 2)
    base.alpha_composite(frame.convert("RGBA"), offset)
    return base.convert("RGB") if color[3] == 255 else base


def _map_colors(frame: Image.Image, change: Callable[[float], float]) -> Image.Image:
    """Map each color channel through a table; leave alpha unchanged."""
    table = [round(min(255, max(0, change(value)))) for value in range(256)]
    alpha = list(range(256)) if frame.mode == "RGBA" else []
    return frame.point(table * 3 + alpha)


def _filter(frame: Image.Image, kernel: ImageFilter.MultibandFilter) -> Image.Image:
    """Filter premultiplied colors, so that transparent pixels do not bleed."""
    if frame.mode == "RGB":
        return frame.filter(kernel)
    return frame.convert("RGBa").filter(kernel).convert("RGBA")
