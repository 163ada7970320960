"""Many visitors at once, a bad network, and pages that are loaded again in the middle."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.browser.page.conftest import CHROMEDRIVER, CHROMIUM, NEEDED, Page, photo, start_chromium
from tests.browser.page.site import Site

SESSIONS, IMAGES = 8, 25

pytestmark = [
    pytest.mark.skipif(not (CHROMIUM and CHROMEDRIVER), reason=NEEDED),
    pytest.mark.heavy,
    pytest.mark.timeout(600),
]


def visit(site: Site, folder: Path, session: int) -> list[str]:
    """Upload images, with a reload in the middle, and return the values of the form that was sent."""
    folder.mkdir()
    driver = start_chromium()
    try:
        page = Page(driver, site, folder)
        files = {
            f"{session}-{number}.png": photo((64, 48), "PNG", (session * 9, number * 9, 99))
            for number in range(IMAGES)
        }
        paths = {name: page.file(name, body) for name, body in files.items()}
        page.open(f"/?session={session}").choose(*paths.values())
        page.until(lambda: page.states().count("done") >= 5, seconds=120)
        driver.refresh()
        page.until(lambda: page.states().count("done") >= 5, "finding what was uploaded", seconds=60)
        page.until(lambda: not page.js("return document.querySelector('cf-image-upload').busy"))
        missing = [path for name, path in paths.items() if name not in page.names()]
        if missing:
            page.choose(*missing)
        page.until(lambda: page.states() == ["done"] * IMAGES, "all uploads", seconds=300)
        assert sorted(page.names()) == sorted(files)
        values = page.values()
        page.submit()
        page.until(lambda: driver.title == "Saved", "saving", seconds=60)
        return values
    finally:
        driver.quit()


def test_200_uploads_by_8_sessions_with_lost_answers_and_reloads(site: Site, tmp_path: Path) -> None:
    site.fields = [site.field("image", "Photos", multiple=True)]
    site.emulator.faults.set(places=("upload",), rates={"reset_after": 0.2, "reset_before": 0.1}, seed=11)

    with ThreadPoolExecutor(SESSIONS) as threads:
        sessions = list(threads.map(lambda one: visit(site, tmp_path / str(one), one), range(SESSIONS)))

    sent = [value for values in sessions for value in values]
    received = [value for form in site.received for value in form.values("image-upload")]
    stored: list[Any] = [image.body for image in site.emulator.images.values() if image.body]
    assert len(set(sent)) == SESSIONS * IMAGES
    assert sorted(received) == sorted(sent), "each form arrived once, and whole"
    assert len({site.stored(value) for value in sent}) == SESSIONS * IMAGES, "no image is there for another"
    assert len(stored) == SESSIONS * IMAGES, "none is stored twice, and none without a form"
