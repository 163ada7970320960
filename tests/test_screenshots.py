"""The screenshots of the README: what is no picture of a page is an error."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest
from PIL import Image

from tests import screenshots
from tests.pictures import picture


def page(*, mode: str = "noise") -> Image.Image:
    """Return what Chromium could have taken."""
    if mode == "noise":
        return Image.frombytes("RGB", (1000, 800), random.Random(1).randbytes(1000 * 800 * 3))
    if mode == "empty":
        return Image.new("RGB", screenshots.WINDOW, "white")
    return Image.open(io.BytesIO(picture("PNG", screenshots.WINDOW))).convert("RGB")


def test_a_screenshot_becomes_a_small_file() -> None:
    body = screenshots.compressed(page(mode="pictures"))
    assert 1000 < len(body) <= screenshots.MAX_BYTES
    with Image.open(io.BytesIO(body)) as image:
        assert (image.format, image.size) == ("WEBP", screenshots.WINDOW)


@pytest.mark.parametrize(("mode", "problem"), [("empty", "hardly any color"), ("noise", "more than 150,000")])
def test_an_empty_page_and_a_large_file_are_errors(mode: str, problem: str) -> None:
    with pytest.raises(screenshots.ScreenshotError, match=problem):
        screenshots.compressed(page(mode=mode))


@pytest.mark.parametrize(("browser", "problem"), [("", "There is no Chromium"), ("false", "has taken no")])
def test_without_a_browser_that_works_it_fails(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    browser: str,
    problem: str,
) -> None:
    monkeypatch.setattr(screenshots, "NAMES", (browser,) if browser else ("no-such-browser",))
    assert screenshots.main("http://127.0.0.1:9", str(tmp_path / "made")) == 1
    assert problem in capsys.readouterr().err
