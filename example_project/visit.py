"""A visitor of the gallery: fetches each image that its elements name, and presses its buttons."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from urllib.parse import urljoin

import httpx
from PIL import Image

from example_project.processes import Children, answers

_URL = re.compile(r'url\("([^"]+)"\)')
_CSRF = re.compile(r'name="csrfmiddlewaretoken" value="(\w+)"')


class Visit:
    """One visit; ``emulator`` is empty where there is none, and may be stopped and started meanwhile."""

    def __init__(self, site: str, children: Children, *, emulator: str) -> None:
        self.page = f"{site}/gallery/"
        self.children = children
        self.emulator = emulator
        self.browser = httpx.Client(follow_redirects=True, timeout=30, base_url=site)
        self.seen = 0
        self.pressed = 0

    def flaws(self) -> list[str]:
        """All of it; what is not as it should be, in words."""
        with self.browser:
            found = [*self._pictures(), *self._private(), *self._replacing()]
            return [*found, *(self._outage() if self.emulator else [])]

    def _pictures(self) -> Iterator[str]:
        """Each image has the size that its element says."""
        images = Page(self._html()).images
        for image in images:
            for address, wanted in _places(image):
                if flaw := self._flaw(address, *wanted):
                    yield f"{image.get('alt')}: {flaw}"
        if not images:
            yield f"{self.page} shows no image"

    def _private(self) -> Iterator[str]:
        """The address without its signature opens nothing."""
        bare = Page(self._html()).links.get("bare")
        status = self.browser.get(bare).status_code if bare else None
        if (self.emulator or bare) and status != 403:
            yield f"A private image without a signature: {status} from {bare}"

    def _replacing(self) -> Iterator[str]:
        """Another name, another picture."""
        before = self._shown("replace")
        self._press("replace")
        after = self._shown("replace")
        if before["src"] == after["src"]:
            yield f"The picture was not replaced: {before['src']}"
        if flaw := self._flaw(after["src"], 600, 400):
            yield f"The picture that replaces another: {flaw}"

    def _outage(self) -> Iterator[str]:
        """What is uploaded while Cloudflare is down is shown by the site, at once and under one address."""
        self.children.toggle_optional()
        self.children.wait_for("the outage", lambda: not answers(self.emulator))
        self._press("upload")
        shown = self._shown("pending")
        if flaw := self._flaw(shown["src"], 600, 400):
            yield f"Uploaded while Cloudflare was down: {flaw}"
        if "state pending" not in self._html():
            yield "An upload while Cloudflare was down does not wait"
        self.children.toggle_optional()
        self.children.wait_for("the end of the outage", lambda: answers(self.emulator))
        if flaw := self._flaw(shown["src"], 600, 400):
            yield f"Uploaded while Cloudflare was down, after the outage: {flaw}"

    def _html(self) -> str:
        return self.browser.get(self.page).raise_for_status().text

    def _shown(self, card: str) -> dict[str, str]:
        """The first image of a card."""
        return Page(self._html().partition(f'<section class="technique" id="{card}"')[2]).images[0]

    def _press(self, button: str) -> None:
        token = _CSRF.search(self._html())
        data = {"csrfmiddlewaretoken": token[1] if token else ""}
        self.browser.post(f"{self.page}{button}/", data=data).raise_for_status()
        self.pressed += 1

    def _flaw(self, address: str, width: int | None, height: int | None) -> str:
        """What is wrong with the image there; empty if nothing."""
        self.seen += 1
        try:
            size = Image.open(io.BytesIO(self.browser.get(urljoin(self.page, address)).content)).size
        except (OSError, httpx.HTTPError) as error:
            return f"no image at {address} ({error})"
        if (width and size[0] != width) or (height and size[1] != height):
            return f"{address} is {size[0]} x {size[1]}, not {width} x {height or 'any'}"
        return ""


class Page(HTMLParser):
    """The images of a page, and its links by ID."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.images: list[dict[str, str]] = []
        self.links: dict[str, str] = {}
        main = html.partition("<main")[2] or html  # what is above belongs to every page
        self.feed(main)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note it."""
        known = {name: value or "" for name, value in attrs}
        if tag == "img":
            self.images.append(known)
        elif tag == "a" and "id" in known:
            self.links[known["id"]] = known["href"]


def _places(image: dict[str, str]) -> Iterator[tuple[str, tuple[int | None, int | None]]]:
    """Every address in an element, and the sides that the image there must have."""
    width, height = (int(image[name]) if name in image else None for name in ("width", "height"))
    scaled = "sizes" in image or "object-fit" in image.get("style", "")  # by the page
    yield image["src"], (None, None) if scaled else (width, height)
    for candidate in filter(None, image.get("srcset", "").split(", ")):
        address, descriptor = candidate.rsplit(" ", 1)
        number = float(descriptor[:-1])
        yield address, (int(number if descriptor[-1] == "w" else number * (width or 0)), None)
    for address in _URL.findall(image.get("style", "")):
        yield address, (32, None)
