"""Sample photographs, drawn by Pillow so that none has to be shipped: mountains over a lake."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import NamedTuple

from django.conf import settings
from django.core.files.base import ContentFile, File
from PIL import Image, ImageColor, ImageDraw, ImageFilter, ImageOps

FOLDER = settings.STATE / "samples"
WIDTH, HEIGHT, HORIZON = 1600, 1066, 690


class Mood(NamedTuple):
    """The colors of the sky from top to bottom, of the far and the near mountains; where the sun is."""

    sky: str
    far: str
    near: str
    sun: tuple[int, int, int]  # x, y, radius
    stars: int = 0


MOODS = {
    "dawn": Mood("#27406e #7d7fb0 #e8a598 #ffd9a8", "#b98a9c", "#1c2540", (1080, 330, 54)),
    "noon": Mood("#1769aa #4fa3d9 #a8d8ee #eaf7f5", "#9cc3cf", "#12463f", (1130, 210, 56)),
    "dusk": Mood("#2b1b4d #7a2f6e #e2555b #ffb45e", "#a5426a", "#190f2b", (980, 330, 78)),
    "night": Mood("#050a1c #0d1d3f #1d3b63 #3f6f8c", "#254d6b", "#040914", (430, 200, 52), stars=420),
    "aurora": Mood("#02060f #0b3140 #17805f #7df0b4", "#1b4a55", "#02060a", (1120, 300, 40), stars=620),
    "mist": Mood("#9fb8bd #c9d8d3 #e9efe2 #f4f6ea", "#c3d1c8", "#1d3b33", (1330, 210, 46)),
    "autumn": Mood("#40639a #93a9b8 #f3cf98 #ffb65c", "#d9925a", "#4a1f14", (420, 260, 60)),
    "twilight": Mood("#1c1440 #4c2f86 #9a5fc4 #f0a6d0", "#7a4f9e", "#150c2e", (560, 290, 64)),
}


def paths() -> list[str]:
    """Return paths on this site for uploads by URL; none for Cloudflare, which cannot reach this machine."""
    return [] if settings.PLACE == "cloudflare" else [f"/samples/{name}.jpg" for name in MOODS]


def open_sample(name: str) -> File[bytes]:
    """Return a sample as an uploaded file; draw it if it is missing."""
    path = FOLDER / f"{name}.jpg"
    if not path.exists():
        FOLDER.mkdir(exist_ok=True)
        draw(MOODS[name], seed=name).save(path, quality=88)
    return ContentFile(path.read_bytes(), name=path.name)


def open_another(name: str) -> File[bytes]:
    """Return a sample with another motif than the image ``name``."""
    return open_sample(random.choice([mood for mood in MOODS if f"/{mood}" not in name]))  # noqa: S311 - no secret


def draw(mood: Mood, *, seed: str) -> Image.Image:
    """Draw a mood; the same ``seed`` gives the same mountains."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    above = _gradient(mood.sky.split(), HORIZON)
    for _ in range(mood.stars):
        above.putpixel((chance.randrange(WIDTH), int(chance.random() ** 1.6 * HORIZON)), (220, 225, 240))
    x, y, radius = mood.sun
    for spread, opacity, blur in ((5, 80, 2 * radius), (2.4, 110, radius), (1, 255, 1.2)):  # glow and disc
        mask = Image.new("L", above.size)
        ImageDraw.Draw(mask).circle((x, y), radius * spread, fill=opacity)
        above.paste("#fff6e0", mask=mask.filter(ImageFilter.GaussianBlur(blur)))
    for nearness in (0, 0.25, 0.5, 0.75, 1):
        _add_mountains(above, mood, nearness, chance)
    picture = Image.new("RGB", (WIDTH, HEIGHT))
    picture.paste(above)
    mirror = ImageOps.flip(above).filter(ImageFilter.GaussianBlur(3)).crop((0, 0, WIDTH, HEIGHT - HORIZON))
    water = _gradient([mood.far, mood.near], mirror.height)
    picture.paste(Image.blend(mirror, water, 0.34), (0, HORIZON))
    return picture


def _gradient(colors: list[str], height: int) -> Image.Image:
    column = Image.new("RGB", (1, len(colors)))
    column.putdata([ImageColor.getrgb(color) for color in colors])
    return column.resize((WIDTH, height), Image.Resampling.BICUBIC, box=(0, 0.5, 1, len(colors) - 0.5))


def _add_mountains(picture: Image.Image, mood: Mood, nearness: float, chance: random.Random) -> None:
    """Add a chain by midpoint displacement: far ones are high and pale, near ones low and dark."""
    line, spread = [chance.uniform(-0.6, 0.6), chance.uniform(-0.6, 0.6)], 1.0
    for _ in range(9):
        halves = [(a, (a + b) / 2 + chance.uniform(-spread, spread)) for a, b in pairwise(line)]
        line = [point for half in halves for point in half] + [line[-1]]
        spread *= 0.52
    base, height = HORIZON * (0.6 + 0.36 * nearness), HORIZON * (0.3 - 0.2 * nearness)
    outline = [(index * WIDTH / 512, base - height * point) for index, point in enumerate(line)]
    mask = Image.new("L", picture.size)
    ImageDraw.Draw(mask).polygon([*outline, (WIDTH, HORIZON), (0, HORIZON)], fill=255)
    far, near = (Image.new("RGB", picture.size, color) for color in (mood.far, mood.near))
    color = Image.blend(far, near, nearness**0.8)
    picture.paste(color, mask=mask.filter(ImageFilter.GaussianBlur(0.7)))
