"""More sample photographs, drawn by Pillow: dunes, a misty wood, polar lights, the lamps of a city."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path

from PIL import Image, ImageChops, ImageColor, ImageDraw, ImageFilter

from example_project import pictures
from example_project.pictures import HORIZON, RIDGES, SIZE, Mood

POLAR = Mood(
    sky=("#02060f", "#06182b", "#0b3140", "#1c5a5c"),
    light="#eafff6",
    far="#1b4a55",
    near="#02060a",
    sun=(0, 0, 0),
    stars=620,
)
DESERT = Mood(
    sky=("#2f6f9f", "#8fb9c9", "#f3dcb8", "#ffe9c4"),
    light="#fff4d6",
    far="#e0a56c",
    near="#8a4522",
    sun=(1180, 250, 46),
)
GREENS = ("#d9e4d6", "#1d3b33", "#08150f")  # the mist, the far trees, the near ones
LIGHTS = ("#ffb347", "#ff7b54", "#ffd56b", "#ff5d8f", "#7fd1ff", "#fff1cf", "#b38cff")


def draw_all(folder: Path) -> None:
    """Put every scene that is not there yet into ``folder``, as JPEG."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in SCENES.items():
        if not (path := folder / f"{name}.jpg").exists():
            draw(random.Random(name)).save(path, quality=88)  # noqa: S311 - dunes are no secret


def aurora(chance: random.Random) -> Image.Image:
    """Curtains of green and violet light over mountains and their lake."""
    sky = pictures.gradient(POLAR.sky, (SIZE[0], HORIZON)).convert("RGB")
    pictures.add_stars(sky, POLAR, chance)
    for color, base, strength in (("#7d5cff", 0.52, 0.5), ("#34f5a4", 0.66, 1.0), ("#9dffcf", 0.40, 0.45)):
        sky = ImageChops.screen(sky, _curtain(color, base, strength, chance))
    for number in range(2, RIDGES):
        pictures.add_ridge(sky, POLAR, number / (RIDGES - 1), chance)
    whole = Image.new("RGB", SIZE)
    whole.paste(sky)
    whole.paste(pictures.lake(sky, POLAR, chance), (0, HORIZON))
    return whole


def dunes(chance: random.Random) -> Image.Image:
    """Ridges of sand, one side in the light and one in the shade."""
    picture = pictures.gradient(DESERT.sky, SIZE).convert("RGB")
    pictures.add_sun(picture, DESERT)
    for number in range(6):
        _add_dune(picture, number / 5, chance)
    return picture


def wood(chance: random.Random) -> Image.Image:
    """Firs in the mist, row behind row."""
    mist, far, near = map(ImageColor.getrgb, GREENS)
    picture = pictures.gradient(("#b9cdd0", "#e9efe2", GREENS[0], "#a9bfb2"), SIZE).convert("RGB")
    for number in range(6):
        nearness = number / 5
        color = _blend(_blend(mist, far, 0.15 + 0.85 * nearness), near, nearness**2)
        _add_firs(picture, color, nearness, chance)
        if number < 5:
            _add_mist(picture, mist, int(SIZE[1] * (0.52 + 0.1 * number)))
    return picture


def city(chance: random.Random) -> Image.Image:
    """The lights of a street at night, out of focus."""
    picture = pictures.gradient(("#090b1d", "#181534", "#2b1a3a", "#0a0914"), SIZE).convert("RGB")
    for size, count, strength, blur in ((26, 130, 0.5, 5), (60, 60, 0.42, 2), (120, 20, 0.26, 1)):
        layer = Image.new("RGB", SIZE)
        for _ in range(count):
            _add_light(layer, size * chance.uniform(0.7, 1.2), strength, chance)
        picture = ImageChops.screen(picture, layer.filter(ImageFilter.GaussianBlur(blur)))
    return picture


SCENES: Mapping[str, Callable[[random.Random], Image.Image]] = {
    "aurora": aurora,
    "city": city,
    "dunes": dunes,
    "wood": wood,
}


def _curtain(color: str, base: float, strength: float, chance: random.Random) -> Image.Image:
    """Light that hangs from a wavy line upwards, drawn coarsely, column by column."""
    width, height = SIZE[0] // 4, HORIZON // 4
    light = Image.new("L", (width, height))
    draw = ImageDraw.Draw(light)
    phases = [chance.uniform(0, math.tau) for _ in range(4)]
    for x in range(width):
        at = x / width
        foot = height * (base + 0.13 * math.sin(5 * at + phases[0]) + 0.04 * math.sin(17 * at + phases[1]))
        tall = height * (0.36 + 0.14 * math.sin(3 * at + phases[2]) + 0.05 * chance.random())
        bright = strength * (0.55 + 0.45 * math.sin(9 * at + phases[3])) * chance.uniform(0.75, 1)
        for y in range(max(0, int(foot - tall)), min(height, int(foot))):
            rise = min(1.0, (foot - y) / tall)
            draw.point((x, y), fill=int(255 * bright * (1 - rise) ** 1.7 * min(1, rise * 9)))
    light = light.filter(ImageFilter.GaussianBlur(1.6)).resize((SIZE[0], HORIZON), Image.Resampling.BICUBIC)
    return Image.composite(Image.new("RGB", light.size, color), Image.new("RGB", light.size), light)


def _add_dune(picture: Image.Image, nearness: float, chance: random.Random) -> None:
    """One ridge: a sunlit body, and the shade that falls from a winding crest to the left."""
    width, height = SIZE
    base = height * (0.47 + 0.4 * nearness)
    swing = height * (0.03 + 0.1 * nearness)
    phase, turns = chance.uniform(0, math.tau), chance.uniform(0.7, 1.25) * (2.1 - nearness)
    crest = [
        (x, base - swing * (1 - abs(math.sin(turns * math.pi * x / width + phase)) ** 0.8))
        for x in range(0, width + 8, 8)
    ]
    far, near = ImageColor.getrgb(DESERT.far), ImageColor.getrgb(DESERT.near)
    sand = _blend(far, near, 0.75 * nearness)
    crested = _hex(_blend(sand, (255, 231, 190), 0.45))
    lit = pictures.gradient((crested, _hex(sand)), (width, int(height * 0.4)))
    body = Image.new("RGB", SIZE, sand)
    body.paste(lit, (0, int(base - swing)))
    mask = Image.new("L", SIZE)
    ImageDraw.Draw(mask).polygon([*crest, (width, height), (0, height)], fill=255)
    picture.paste(body, mask=mask.filter(ImageFilter.GaussianBlur(0.8)))
    shade = Image.new("L", SIZE)
    for run in _falling(crest):  # where the crest goes down to the right, the sun does not reach
        shares = (at / len(run) for at in range(len(run)))
        ends = [
            (x - swing * 0.7 * math.sin(math.pi * share), y + swing * 1.5 * (1 - share) ** 1.5)
            for share, (x, y) in zip(shares, run, strict=True)
        ]
        ImageDraw.Draw(shade).polygon([*run, *reversed(ends)], fill=135)
    shade = ImageChops.multiply(shade.filter(ImageFilter.GaussianBlur(3 + 9 * nearness)), mask)
    picture.paste(Image.new("RGB", SIZE, _blend(near, (60, 26, 30), 0.4)), mask=shade)


def _falling(line: list[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """The parts of a line that go down, from each summit to the next valley."""
    runs: list[list[tuple[float, float]]] = [[]]
    for point, after in pairwise(line):
        if after[1] > point[1]:
            runs[-1].append(point)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if len(run) > 2]


def _add_firs(picture: Image.Image, color: tuple[int, ...], nearness: float, chance: random.Random) -> None:
    """One row of trees; the near ones are few and tall."""
    draw = ImageDraw.Draw(picture)
    tall = SIZE[1] * (0.12 + 0.42 * nearness**1.3)
    ground = SIZE[1] * (0.50 + 0.55 * nearness)
    x = -tall * 0.2
    while x < SIZE[0] + tall * 0.2:
        foot = ground + chance.uniform(-0.1, 0.06) * tall
        _draw_fir(draw, x, foot, tall * chance.uniform(0.65, 1.1), color)
        x += tall * chance.uniform(0.16, 0.34)
    draw.rectangle([0, ground - tall * 0.05, SIZE[0], 2 * SIZE[1]], fill=color)


def _draw_fir(draw: ImageDraw.ImageDraw, x: float, foot: float, tall: float, color: tuple[int, ...]) -> None:
    """Boughs that widen toward the ground, with ragged ends."""
    chance = random.Random(x)  # noqa: S311 - boughs are no secret
    rows = max(9, int(tall / 22))
    left, right = [], []
    for row in range(rows):
        at, wide = row / rows, tall * 0.19 * (row + 0.6) / rows
        y = foot - tall * (1 - at)
        drop = tall / rows * 0.75
        left += [(x - wide * 0.35, y), (x - wide * chance.uniform(0.75, 1.1), y + drop)]
        right += [(x + wide * 0.35, y), (x + wide * chance.uniform(0.75, 1.1), y + drop)]
    draw.polygon([(x, foot - tall * 1.05), *right, (x, foot), *reversed(left)], fill=color)
    draw.rectangle([x - tall * 0.012, foot - tall * 0.1, x + tall * 0.012, foot + tall * 0.1], fill=color)


def _add_mist(picture: Image.Image, color: tuple[int, ...], center: int) -> None:
    """A band that is thickest at ``center``."""
    band = Image.new("L", (1, 9))
    band.putdata([0, 10, 40, 90, 130, 100, 50, 12, 0])
    tall = SIZE[1] // 2
    mask = Image.new("L", SIZE)
    mask.paste(band.resize((SIZE[0], tall), Image.Resampling.BICUBIC), (0, center - tall // 2))
    picture.paste(Image.new("RGB", SIZE, color), mask=mask)


def _add_light(layer: Image.Image, radius: float, strength: float, chance: random.Random) -> None:
    """A disc with a brighter rim, as a lens makes it of a lamp; most of them along the street."""
    x = chance.uniform(0, SIZE[0])
    y = SIZE[1] * (0.56 + chance.gauss(0, 0.14) + 0.16 * abs(x / SIZE[0] - 0.5))
    color = _blend((0, 0, 0), ImageColor.getrgb(chance.choice(LIGHTS)), strength * chance.uniform(0.4, 1))
    disc = Image.new("RGB", (int(2 * radius), int(2 * radius)))
    inside = [1, 1, disc.width - 2, disc.height - 2]
    ImageDraw.Draw(disc).ellipse(inside, fill=color, outline=_blend(color, (255, 255, 255), 0.25), width=2)
    box = (int(x - radius), int(y - radius))
    corner = (*box, box[0] + disc.width, box[1] + disc.height)
    layer.paste(ImageChops.screen(layer.crop(corner), disc), box)


def _blend(first: tuple[int, ...], second: tuple[int, ...], share: float) -> tuple[int, ...]:
    return tuple(round(a + (b - a) * share) for a, b in zip(first, second, strict=True))


def _hex(color: tuple[int, ...]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)
