"""Take the screenshots of the README: ``python -m tests.screenshots URL FOLDER``, of the running example.

Exits with 1 if one cannot be taken: without Chromium, or where the page stays empty.
"""

# ruff: noqa: T201 - the output is the report

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

PAGES = {"gallery": "/gallery/"}  # the file's name, and the page
WINDOW = (1280, 720)  # pixels
MAX_BYTES = 150_000  # of a file, so that the README loads fast
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--no-proxy-server", "--virtual-time-budget=10000"),
)


class ScreenshotError(Exception):
    """A screenshot cannot be taken; the message says why."""


def take(url: str, folder: Path, *, chromium: str) -> Path:
    """Take a screenshot of a page; return the PNG in ``folder``."""
    path = folder / "screenshot.png"
    size = "{},{}".format(*WINDOW)
    command = [chromium, *FLAGS, f"--user-data-dir={folder}/profile", f"--window-size={size}"]
    done = subprocess.run(
        [*command, f"--screenshot={path}", url], capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode or not path.exists():
        raise ScreenshotError(f"Chromium has taken no screenshot of {url}: {done.stderr[-2000:]}")
    return path


def compressed(image: Image.Image) -> bytes:
    """Return a screenshot as WebP, as good as ``MAX_BYTES`` allow."""
    if len(image.resize((64, 64)).getcolors(64 * 64) or ()) < 100:
        raise ScreenshotError("The page is empty: the screenshot has hardly any color.")
    for quality in (90, 80, 70, 60):
        body = io.BytesIO()
        image.save(body, "WEBP", quality=quality, method=6)
        if len(body.getvalue()) <= MAX_BYTES:
            return body.getvalue()
    raise ScreenshotError(f"The screenshot has more than {MAX_BYTES:,} bytes.")


def main(site: str, target: str) -> int:
    """Take all of them; return the exit status."""
    chromium = next(filter(None, map(shutil.which, NAMES)), None)
    try:
        if chromium is None:
            raise ScreenshotError("There is no Chromium. On Debian and Ubuntu: apt install chromium")
        Path(target).mkdir(parents=True, exist_ok=True)
        for name, page in PAGES.items():
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                taken = take(f"{site}{page}", Path(folder), chromium=chromium)
                body = compressed(Image.open(taken).convert("RGB"))
            path = Path(target, f"{name}.webp")
            path.write_bytes(body)
            print(f"{path}: {len(body):,} bytes")
    except (ScreenshotError, OSError, subprocess.TimeoutExpired) as error:
        print(f"No screenshot: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
