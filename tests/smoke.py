"""Try out the running example: ``python -m tests.smoke URL``. Exits with 1 if something is wrong.

Knows the pages only: loads every image in the sizes that its element promises, and presses the buttons.
"""

# ruff: noqa: T201 - the output is the report

from __future__ import annotations

import io
import re
import sys
import time
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from urllib.parse import urljoin

import httpx
from PIL import Image

MOVING = "/moving/"
PATIENCE = 60  # seconds until the pending uploads must be stored
SIZES = {"avatar": "240 x 240", "w=200": "200 x 133", "public": "1153 x 768"}  # of a sample
_URL = re.compile(r'url\("([^"]+)"\)')
_CSRF = re.compile(r'name="csrfmiddlewaretoken" value="(\w+)"')


class Smoke:
    """One visit to the site at ``site``."""

    def __init__(self, site: str) -> None:
        self.site = site
        self.gallery = f"{site}/gallery/"
        self.browser = httpx.Client(follow_redirects=True, timeout=30, base_url=site)
        self.loaded = 0
        self.pressed = 0

    def problems(self) -> Iterator[str]:
        """Try everything; yield what is wrong."""
        home = self._html("/")
        self._html("/admin/")
        people = sorted(set(re.findall(r'href="(/people/\d+/)"', home)))
        if len(people) != 2:
            yield f"{self.site}/ shows {len(people)} people, not 2"
        samples = re.findall(r'<option value="([^"]+/night\.jpg)"', self._html(people[-1]))
        for sample in samples:
            self._press(f"{people[-1]}url/", page=people[-1], url=sample)
        for person in people:
            yield from self._person(person)
        yield from eventually(self.images)
        yield from self._private()
        yield from self._replacing()
        yield from self._moving()
        if "/demo/outage/" in home:
            yield from self._outage()
        print(f"\nThe gallery: {self.loaded} pictures loaded, {self.pressed} buttons pressed")

    def _person(self, path: str) -> Iterator[str]:
        """Wait until the picture is stored, then print and check some of its variants."""
        yield from eventually(lambda: [] if "state stored" in self._html(path) else [f"{path} is not stored"])
        print(f"\n{self.site}{path}")
        urls = Page(self._html(path)).links
        for variant, size in SIZES.items():
            url = next((urljoin(self.site, url) for url in urls if f"/{variant}/" in f"{url}/"), "")
            found, url = self._load(url)
            print(f"  {found:>10}  {url}")
            if found != size:
                yield f"{url} is {found}, not {size}"

    def images(self) -> list[str]:
        """Check that each image of the gallery is stored, and has the size that its element promises."""
        self.loaded = 0
        html = self._html(self.gallery)
        own = "" if "Stored on this machine" in html else self.site
        images = Page(html).images
        found = [] if images else [f"{self.gallery} shows no image"]
        for image in images:
            for url, wanted in candidates(image):
                if problem := self._problem(url, *wanted, not_from=own):
                    found.append(f"{image.get('alt')}: {problem}")
        return found

    def _private(self) -> Iterator[str]:
        """Check that the URL does not work without its signature."""
        html = self._html(self.gallery)
        if "Local files are not private" in html:
            return
        url = re.search(r'id="unsigned" href="([^"]+)"', html)
        status = self.browser.get(url[1]).status_code if url else None
        if status != 403:
            yield f"A private image without a signature: status {status}, not 403"
        if not re.search(r"it works until \d\d:\d\d UTC", html):
            yield "The page does not say until when a signed URL works"

    def _replacing(self) -> Iterator[str]:
        """Check that the new picture has a new name."""
        before = self._first_image("replace")
        self._press("/gallery/replace/")
        after = self._first_image("replace")
        if before["src"] == after["src"]:
            yield f"The picture was not replaced: {before['src']}"
        if problem := self._problem(after["src"], 600, 400):
            yield f"The new picture after replacing: {problem}"

    def _moving(self) -> Iterator[str]:
        """Move a folder of pictures to Cloudflare and back; each picture is there at every step."""
        if "There is no Cloudflare here" in self._html(MOVING):
            return
        number = len(self._moving_pictures())
        for action, is_moved in (
            ("import", False),
            ("switch", True),
            ("add", True),
            ("revert", False),
            ("export", False),
        ):
            self._press(f"{MOVING}{action}/", page=MOVING)
            number += action == "add"
            yield from eventually(lambda: ["not copied"] if "state pending" in self._html(MOVING) else [])
            pictures = self._moving_pictures()
            if len(pictures) != number:
                yield f"{MOVING} shows {len(pictures)} pictures after {action}, not {number}"
            for picture in pictures:
                size, final_url = self._load(urljoin(self.site, picture["src"]))
                if " x " not in size or final_url.startswith(f"{self.site}/pictures/") == is_moved:
                    yield f"After {action}: {final_url} {size}"
        if "state rejected" in self._html(MOVING):
            yield "Some pictures could not be copied"

    def _moving_pictures(self) -> list[dict[str, str]]:
        return Page(self._html(MOVING)).images

    def _outage(self) -> Iterator[str]:
        """Check that an upload during an outage is shown by the site, at once and after the outage."""
        stored = self._first_image("named")["src"]
        self._press("/demo/outage/")
        if not self._problem(stored):
            yield f"{stored} was delivered during the outage"
        self._press("/gallery/upload/")
        uploaded = self._first_image("pending")["src"]
        if problem := self._problem(uploaded, 600, 400):
            yield f"Uploaded during the outage: {problem}"
        if "state pending" not in self._html(self.gallery):
            yield "An upload during the outage is not pending"
        self._press("/demo/outage/")
        for url in (stored, uploaded):
            if problem := self._problem(url):
                yield f"After the outage: {problem}"

    def _html(self, path: str) -> str:
        return self.browser.get(path).raise_for_status().text

    def _first_image(self, card: str) -> dict[str, str]:
        html = self._html(self.gallery).partition(f'<section class="technique" id="{card}"')[2]
        return Page(html).images[0]

    def _press(self, path: str, *, page: str = "/gallery/", **data: str) -> None:
        token = _CSRF.search(self._html(page))
        data["csrfmiddlewaretoken"] = token[1] if token else ""
        self.browser.post(path, data=data, headers={"Referer": f"{self.site}{page}"}).raise_for_status()
        self.pressed += 1

    def _problem(
        self, url: str, width: int | None = None, height: int | None = None, *, not_from: str = ""
    ) -> str:
        """Return what is wrong with the image, or nothing; ``not_from`` is the site if it must be stored."""
        size, final_url = self._load(urljoin(self.gallery, url))
        if not_from and final_url.startswith(not_from):
            return f"{url} is pending"
        found = size.split(" x ")
        if len(found) != 2:
            return f"{url}: {size}"
        if any(wanted and str(wanted) != side for wanted, side in zip((width, height), found, strict=True)):
            return f"{url} is {size}, not {width} x {height or 'any'}"
        return ""

    def _load(self, url: str) -> tuple[str, str]:
        """Load the image; return its size, or why there is none, and the URL after redirects."""
        self.loaded += 1
        try:
            response = self.browser.get(url).raise_for_status()
            image = Image.open(io.BytesIO(response.content))
            image.load()
        except (OSError, httpx.HTTPError) as error:
            return f"no image ({error})", url
        return f"{image.width} x {image.height}", str(response.url)


class Page(HTMLParser):
    """The images in the main part of a page, and what its links lead to."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.images: list[dict[str, str]] = []
        self.links: list[str] = []
        self.feed(html.partition("<main")[2] or html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect it."""
        known = {name: value or "" for name, value in attrs}
        if tag == "img":
            self.images.append(known)
        elif tag == "a" and "href" in known:
            self.links.append(known["href"])


def candidates(image: dict[str, str]) -> Iterator[tuple[str, tuple[int | None, int | None]]]:
    """Yield every URL of an element, with the width and height that the image must have."""
    width, height = (int(image[name]) if name in image else None for name in ("width", "height"))
    scaled = "sizes" in image or "object-fit" in image.get("style", "")  # by the page
    yield image["src"], (None, None) if scaled else (width, height)
    for candidate in filter(None, image.get("srcset", "").split(", ")):
        url, descriptor = candidate.rsplit(" ", 1)
        number = float(descriptor[:-1])
        yield url, (int(number if descriptor[-1] == "w" else number * (width or 0)), None)
    for url in _URL.findall(image.get("style", "")):
        yield url, (32, None)


def eventually(check: Callable[[], list[str]]) -> list[str]:
    """Repeat ``check`` until it finds no problem; return the last ones after ``PATIENCE`` seconds."""
    deadline = time.monotonic() + PATIENCE
    while (problems := check()) and time.monotonic() < deadline:
        time.sleep(0.5)
    return problems


def main(site: str) -> int:
    """Print the report; return the exit status."""
    try:
        problems = list(Smoke(site.rstrip("/")).problems())
    except (httpx.HTTPError, LookupError) as error:
        problems = [f"{type(error).__name__}: {error}"]
    if problems:
        print("\nProblems:", *problems, sep="\n  ", file=sys.stderr)
        return 1
    print("Everything works: every picture has the right size.")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
