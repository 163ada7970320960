"""Sample photographs, drawn by Pillow at the first start: mountains, a lake, and a sun or moon."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from PIL import Image, ImageChops, ImageColor, ImageDraw, ImageFilter, ImageOps

SIZE = (1600, 1066)
HORIZON = 690  # pixels from the top; the lake mirrors what is above
RIDGES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Mood:
    """The colors of one time of day, from the zenith down and from the far ridges to the near ones."""

    sky: tuple[str, ...]
    light: str
    far: str
    near: str
    sun: tuple[int, int, int]  # x, y, radius
    stars: int = 0


MOODS = {
    "dawn": Mood(
        sky=("#27406e", "#7d7fb0", "#e8a598", "#ffd9a8"),
        light="#ffdfa6",
        far="#b98a9c",
        near="#1c2540",
        sun=(1080, 330, 54),
    ),
    "noon": Mood(
        sky=("#1769aa", "#4fa3d9", "#a8d8ee", "#eaf7f5"),
        light="#ffffff",
        far="#9cc3cf",
        near="#12463f",
        sun=(1130, 210, 56),
    ),
    "dusk": Mood(
        sky=("#2b1b4d", "#7a2f6e", "#e2555b", "#ffb45e"),
        light="#ffcf70",
        far="#a5426a",
        near="#190f2b",
        sun=(980, 330, 78),
    ),
    "night": Mood(
        sky=("#050a1c", "#0d1d3f", "#1d3b63", "#3f6f8c"),
        light="#f3f6ff",
        far="#254d6b",
        near="#040914",
        sun=(430, 200, 52),
        stars=420,
    ),
}


def draw_all(folder: Path) -> None:
    """Put every picture that is not there yet into ``folder``, as JPEG."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, mood in MOODS.items():
        if not (path := folder / f"{name}.jpg").exists():
            landscape(mood, seed=name).save(path, quality=88)


def landscape(mood: Mood, *, seed: str) -> Image.Image:
    """One picture; the same ``seed`` gives the same mountains."""
    chance = random.Random(seed)  # noqa: S311 - mountains are no secret
    picture = gradient(mood.sky, (SIZE[0], HORIZON)).convert("RGB")
    add_stars(picture, mood, chance)
    add_sun(picture, mood)
    for number in range(RIDGES):
        add_ridge(picture, mood, number / (RIDGES - 1), chance)
    whole = Image.new("RGB", SIZE)
    whole.paste(picture)
    whole.paste(lake(picture, mood, chance), (0, HORIZON))
    return whole


def gradient(colors: tuple[str, ...], size: tuple[int, int]) -> Image.Image:
    """``colors`` blended from top to bottom."""
    column = Image.new("RGB", (1, len(colors)))
    column.putdata([ImageColor.getrgb(color) for color in colors])
    # From the middle of the first pixel to the middle of the last, so that no end is a flat band
    return column.resize(size, Image.Resampling.BICUBIC, box=(0, 0.5, 1, len(colors) - 0.5))


def add_stars(picture: Image.Image, mood: Mood, chance: random.Random) -> None:
    """Points in the upper sky, most of them faint."""
    for _ in range(mood.stars):
        x, y = chance.randrange(SIZE[0]), int(chance.random() ** 1.6 * HORIZON * 0.8)
        strength = chance.random() ** 2
        sky = picture.getpixel((x, y))
        picture.putpixel((x, y), tuple(int(value + (255 - value) * strength) for value in sky))


def add_sun(picture: Image.Image, mood: Mood) -> None:
    """A disc with a wide glow, both added to the light of the sky."""
    x, y, radius = mood.sun
    color, dark = (Image.new("RGB", picture.size, value) for value in (mood.light, "black"))
    for spread, strength in ((6.0, 0.35), (2.4, 0.5), (1.0, 1.0)):
        coarse = 1 if spread == 1 else 8  # nobody sees the pixels of a glow
        glow = Image.new("L", (picture.width // coarse, picture.height // coarse))
        box = [(at + sign * radius * spread) / coarse for sign in (-1, 1) for at in (x, y)]
        ImageDraw.Draw(glow).ellipse(box, fill=int(255 * strength))
        glow = glow.filter(ImageFilter.GaussianBlur(1.2 if spread == 1 else radius * spread / 2.5 / coarse))
        light = Image.composite(color, dark, glow.resize(picture.size, Image.Resampling.BICUBIC))
        picture.paste(ImageChops.screen(picture, light))


def add_ridge(picture: Image.Image, mood: Mood, nearness: float, chance: random.Random) -> None:
    """One chain of mountains; the far ones are high and pale, the near ones low and dark."""
    base = HORIZON * (0.60 + 0.36 * nearness)
    heights = midpoints(chance, levels=9, roughness=0.52)
    tall = HORIZON * (0.30 - 0.20 * nearness)
    step = SIZE[0] / (len(heights) - 1)
    line = [(index * step, base - height * tall) for index, height in enumerate(heights)]
    far, near = ImageColor.getrgb(mood.far), ImageColor.getrgb(mood.near)
    color = tuple(round(a + (b - a) * nearness**0.8) for a, b in zip(far, near, strict=True))
    mask = Image.new("L", picture.size)
    ImageDraw.Draw(mask).polygon([*line, (SIZE[0], HORIZON), (0, HORIZON)], fill=255)
    haze = tuple(round(value + (other - value) * 0.28) for value, other in zip(color, far, strict=True))
    shade = Image.new("RGB", (1, 2))
    shade.putdata([color, haze])  # mist lies in the valleys
    top = int(base - tall)
    body = Image.new("RGB", picture.size, color)
    body.paste(shade.resize((SIZE[0], HORIZON - top), Image.Resampling.BILINEAR), (0, top))
    picture.paste(body, mask=mask.filter(ImageFilter.GaussianBlur(0.7)))


def midpoints(chance: random.Random, *, levels: int, roughness: float) -> list[float]:
    """A mountain line by midpoint displacement, about -1 to 1."""
    line = [chance.uniform(-0.6, 0.6), chance.uniform(-0.6, 0.6)]
    spread = 1.0
    for _ in range(levels):
        halves = [(a, (a + b) / 2 + chance.uniform(-spread, spread)) for a, b in pairwise(line)]
        line = [point for half in halves for point in half] + [line[-1]]
        spread *= roughness
    return line


def lake(above: Image.Image, mood: Mood, chance: random.Random) -> Image.Image:
    """What is above the horizon, upside down, darker, and broken by ripples that widen toward us."""
    height = SIZE[1] - HORIZON
    margin = 20  # more than a ripple moves a row, which would else come in again on the other side
    wide = (SIZE[0] + 2 * margin, int(HORIZON * 0.8))
    mirror = ImageOps.flip(above).resize(wide).filter(ImageFilter.GaussianBlur(1.5))
    water = Image.new("RGB", (SIZE[0], height))
    phase = chance.uniform(0, math.tau)
    for y in range(height):
        near = y / height
        sway = math.sin(y * (0.55 - 0.35 * near) + phase) + 0.5 * math.sin(y * 0.23 + 2 * phase)
        left = margin + round(sway * (1 + 9 * near))
        water.paste(mirror.crop((left, y, left + SIZE[0], y + 1)), (0, y))
    return Image.blend(water, gradient((mood.far, mood.near), water.size), 0.34)
