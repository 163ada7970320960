"""A real browser reads what ``image_tag`` writes: it chooses the right candidate, and nothing moves."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile

from cf_images.markup import image_tag
from tests.app.models import Photo
from tests.markup.test_markup import on
from tests.pictures import picture

CHROMIUM = next((path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), "")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--virtual-time-budget=20000", "--dump-dom"),
)
SOURCE = (2400, 1200)
WIDTHS = "500,800,1000,1200,1600,2400,4000"
STYLE = "<style>body{margin:0} img{max-width:100%;height:auto}</style>"
# What is below the image, before it has arrived and afterwards.
SCRIPT = """<p id="below">below</p><script>
const image = document.querySelector("img"), top_ = () => below.getBoundingClientRect().top;
const early = {complete: image.complete, top: top_()};
image.onload = () => { document.body.textContent = JSON.stringify(
  {early, top: top_(), src: image.currentSrc, natural: image.naturalWidth, width: image.width}) };
</script>"""

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs Debian's chromium: apt-get install chromium")


@pytest.fixture
def stored(images: Any) -> Any:
    """The field file of a row that knows its dimensions."""
    name = images.save("wide, a photo.jpg", ContentFile(picture("JPEG", SOURCE)))
    file = Photo(file=name, width=SOURCE[0], height=SOURCE[1]).file
    file.storage = images  # whichever the field got when models were imported
    return file


@pytest.fixture
def seen(tmp_path: Path) -> Callable[..., Any]:
    """What the browser says about a page with this image."""

    def see(tag: str, *, window: int = 800, density: int = 1) -> Any:
        page = tmp_path / "page.html"
        page.write_text(f'<!DOCTYPE html><meta charset="utf-8">{STYLE}<body>{tag}{SCRIPT}', encoding="utf-8")
        screen = (f"--window-size={window},1000", f"--force-device-scale-factor={density}")
        command = [CHROMIUM, *FLAGS, *screen, f"--user-data-dir={tmp_path}/profile", page.as_uri()]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True).stdout
        said = re.search(r'\{"early.*\}', shown)
        assert said, f"the image has not arrived: {shown}"
        return json.loads(said[0].replace("&amp;", "&"))

    return see


@pytest.mark.parametrize(
    ("window", "density", "width"),
    [(500, 1, 500), (500, 2, 1000), (800, 1, 800), (800, 2, 1600), (1200, 1, 1200), (1200, 2, 2400)],
)
def test_the_browser_chooses_the_candidate_that_fits(
    window: int, density: int, width: int, stored: Any, seen: Any, cloudflare: Any
) -> None:
    tag = image_tag(stored, widths=WIDTHS, sizes="100vw", w=200, h=100, fit="cover", alt="")
    before = len(cloudflare.requests)
    said = seen(tag, window=window, density=density)
    assert f"/w={width}%2Ch={width // 2}%2Cfit=cover" in said["src"]
    assert said["natural"] == window, "the candidate's pixels, at the density of the screen"
    assert said["width"] == window
    assert len(cloudflare.requests) == before + 1, "one image, and only one"


@pytest.mark.parametrize(("density", "options"), [(1, "avatar"), (2, "w=240%2Ch=240%2Cfit=cover%2Cdpr=2")])
def test_a_dense_screen_gets_a_denser_image(density: int, options: str, stored: Any, seen: Any) -> None:
    said = seen(image_tag(stored, "avatar", dpr="1,2", alt=""), density=density)
    assert said["src"].endswith(options)
    assert said["width"] == 240


TAGS: dict[str, dict[str, Any]] = {
    "named": {"variant": "avatar"},
    "responsive": {"widths": "320,640,1280", "sizes": "(max-width: 40rem) 100vw, 500px"},
    "dense": {"w": 300, "dpr": "1,2"},
    "behind a placeholder": {"w": 300, "placeholder": True},
}


@pytest.mark.parametrize("case", TAGS)
def test_nothing_moves_when_the_image_arrives(case: str, stored: Any, seen: Any, cloudflare: Any) -> None:
    cloudflare.latency = 0.5
    said = seen(image_tag(stored, alt="", **TAGS[case]))
    assert said["early"] == {"complete": False, "top": said["top"]}
    assert said["top"] > 100


def test_an_image_without_its_size_would_move_the_page(stored: Any, seen: Any, cloudflare: Any) -> None:
    cloudflare.latency = 0.5
    tag = image_tag(on(stored.storage, stored.name), w=300, alt="")
    assert "width=" not in tag
    said = seen(tag)
    assert said["early"]["top"] < said["top"], "the measure of the test above"


def test_a_hostile_name_runs_nothing(images: Any, seen: Any) -> None:
    url = "data:image/gif;base64,R0lGODlhAQABAIAAAOXl5QAAACH5BAAAAAAALAAAAAABAAEAAAICRAEAOw=="
    hostile = "\"><script>document.title='run'</script>"
    said = seen(image_tag(url, alt=hostile, class_=hostile, data_x=hostile))
    assert said["src"] == url
