"""Names in texts: as they are, and however URLs are encoded."""

from __future__ import annotations

import html
import json
import time
import tracemalloc
from urllib.parse import quote

import pytest

from cf_images.transfer.mentions import Mentions

UNIQUE = "avatars/jane-t9f2k0-5p2kd0qj3m8v7x1c.jpg"
UUID = "083eb7b2-5392-4565-b69e-aff66acddd00"
ODD = "fotos/Jänner & Café (1)%41.jpg"
NAMES = [
    UNIQUE,
    UUID,
    ODD,
    "1.jpg",
    "photos/holiday.png",
    "写真/猫.jpg",
    "a b/c d.webp",
    "---",
    "é",
    "x" * 1024,
]


def mentions(*names: str) -> Mentions:
    found = Mentions()
    for name in names:
        found.add(name, name)
    return found


def url(name: str) -> str:
    return f"https://imagedelivery.net/hash/{quote(name)}/w=200,fit=cover"


WRITTEN = {
    "name": lambda name: name,
    "sentence": lambda name: f"See {name}, please.",
    "private": lambda name: f"avatars/jane~{name}.jpg",
    "URL": url,
    "custom domain": lambda name: (
        f"https://example.com/cdn-cgi/imagedelivery/hash/{quote(name)}/public?exp=1"
    ),
    "everything quoted": lambda name: f"https://example.com/?next={quote(url(name), safe='')}&page=2",
    "HTML": lambda name: f'<p>&nbsp;<img src="{html.escape(url(name))}" srcset="{name} 2x">&hellip;',
    "HTML entities": lambda name: "".join(f"&#{ord(character)};" for character in name),
    "JSON": lambda name: json.dumps({"blocks": [{"image": name}]}),
    "JSON, slashes escaped": lambda name: json.dumps([f"\n{name}\n"]).replace("/", r"\/"),
    "HTML in JSON in JSON": lambda name: json.dumps(
        {"data": json.dumps({"html": f"<img src='{html.escape(url(name))}'>"})}
    ),
    "CSS": lambda name: f"background:url({url(name)})",
    "Markdown": lambda name: f"![_](/media/{quote(name)})",
    "array": lambda name: f'{{"{name}",other}}',
}


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("name", NAMES)
def test_finds_a_name_however_it_is_written(name: str, written: str) -> None:
    assert name in set(mentions(*NAMES).find(WRITTEN[written](name)))


@pytest.mark.parametrize("name", [UNIQUE, UUID])
def test_finds_nothing_else(name: str) -> None:
    others = [other for other in (UNIQUE, UUID) if other != name]
    assert set(mentions(*others).find(WRITTEN["HTML in JSON in JSON"](name))) == set()
    assert set(mentions(name).find(name.replace("5", "6"))) == set()


@pytest.mark.parametrize("position", [0, 249_990, 250_000, 279_990, 700_000])
def test_finds_a_name_anywhere_in_a_long_text(position: int) -> None:
    text = "x " * (position // 2) + WRITTEN["everything quoted"](UNIQUE) + " x" * 300_000
    assert set(mentions(*NAMES).find(text)) == {UNIQUE}


def test_a_text_of_megabytes_takes_little_memory() -> None:
    text = "words &amp; 50% of them \n" * 50_000
    found = mentions(*NAMES)
    tracemalloc.start()
    assert set(found.find(text)) == set()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000


def test_a_name_may_stand_for_another_image() -> None:
    found = Mentions()
    found.add("a/b-t9f2k0~0a1b2c3d.jpg", UUID)
    assert set(found.find("x a/b-t9f2k0~0a1b2c3d.jpg")) == {UUID}


def test_many_names_with_a_common_part_take_no_longer() -> None:
    found = mentions(*(f"holiday/photo/{'a' * (number % 9)}x.jpg" + str(number) for number in range(50_000)))
    text = "photo holiday/photo/x.jpg0 " * 20_000
    began = time.process_time()
    assert set(found.find(text)) == {"holiday/photo/x.jpg0"}
    assert time.process_time() - began < 5


def test_hostile_text_ends() -> None:
    text = "%25" * 10_000 + "&amp;" * 10_000 + "\\" * 10_001 + r"\ud800\udc00\udc00"
    assert set(mentions(*NAMES[:3]).find(text)) == set()
