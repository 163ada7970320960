"""Fixtures: Chromium, driven by Selenium, and a site for it."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.browser.page.site import Site

CHROMIUM = next((path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), "")
CHROMEDRIVER = shutil.which("chromedriver") or ""
NEEDED = "needs Debian's chromium and its driver: apt-get install chromium chromium-driver"
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--no-proxy-server", "--window-size=900,1000", "--disable-dev-shm-usage"),
)
# As in .ci/run: npm install --prefix .venv/node axe-core
AXE = Path(sys.prefix) / "node" / "node_modules" / "axe-core" / "axe.min.js"
needs_axe = pytest.mark.skipif(
    not AXE.exists(), reason="needs axe-core: npm install --prefix .venv/node axe-core"
)
# Violations of the policy, and what was said to screen readers; before any script of the page.
WATCH = """
window.violations = [];
addEventListener("securitypolicyviolation",
  ({violatedDirective, blockedURI}) => violations.push(`${violatedDirective} ${blockedURI}`));
window.said = [];
addEventListener("DOMContentLoaded", () => new MutationObserver(records => {
  for (const {target} of records) {
    const status = target.closest?.(".cf-upload-status");
    if (status?.textContent) said.push(status.textContent);
  }
}).observe(document.body, {childList: true, subtree: true}));
"""


def photo(
    size: tuple[int, int] = (640, 480), kind: str = "JPEG", color: Any = "teal", **options: Any
) -> bytes:
    """Return an image."""
    body = io.BytesIO()
    Image.new("RGB", size, color).save(body, kind, **options)
    return body.getvalue()


def noise(size: tuple[int, int], **options: Any) -> bytes:
    """Return a JPEG that compresses badly."""
    body = io.BytesIO()
    Image.effect_noise(size, 90).convert("RGB").save(body, "JPEG", **options)
    return body.getvalue()


class Page:
    """The page in the browser, in the terms of a person who uses it."""

    def __init__(self, driver: Any, site: Site, folder: Path) -> None:
        self.driver = driver
        self.site = site
        self.folder = folder

    def open(self, path: str = "/") -> Page:
        """Open the page."""
        self.driver.get(self.site.url + path)
        return self

    def js(self, script: str, *arguments: Any) -> Any:
        """Run a script in the page and return its result."""
        return self.driver.execute_script(script, *arguments)

    def find(self, selector: str) -> Any:
        """Return an element."""
        return self.driver.find_element("css selector", selector)

    def find_all(self, selector: str) -> list[Any]:
        """Return elements."""
        found: list[Any] = self.driver.find_elements("css selector", selector)
        return found

    def file(self, name: str, body: bytes) -> str:
        """Write a file and return its path."""
        path = self.folder / name
        path.write_bytes(body)
        return str(path)

    def choose(self, *paths: str, name: str = "image") -> None:
        """Choose files, as the dialog of the browser does."""
        self.find(f"input[type=file][name={name}]").send_keys("\n".join(paths))

    def drop(self, *paths: str, on: str = ".cf-upload-zone") -> None:
        """Drop files from another program."""
        self.js("arguments[0].scrollIntoView({block: 'center'})", self.find(on))
        box = self.js("return arguments[0].getBoundingClientRect()", self.find(on))
        for kind in ("dragEnter", "dragOver", "drop"):
            data = {"items": [], "files": list(paths), "dragOperationsMask": 1}
            middle = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
            self.driver.execute_cdp_cmd("Input.dispatchDragEvent", {"type": kind, **middle, "data": data})

    def paste(self, body: bytes, on: str = "body") -> None:
        """Paste an image from the clipboard."""
        self.js(
            """const bytes = Uint8Array.from(atob(arguments[0]), c => c.charCodeAt(0));
            const data = new DataTransfer();
            data.items.add(new File([bytes], "image.png", {type: "image/png"}));
            document.querySelector(arguments[1]).dispatchEvent(
              new ClipboardEvent("paste", {clipboardData: data, bubbles: true, cancelable: true}));""",
            base64.b64encode(body).decode(),
            on,
        )

    def states(self) -> list[str]:
        """Return the states of the items."""
        return [item.get_attribute("data-state") for item in self.find_all(".cf-upload-item")]

    def names(self) -> list[str]:
        """Return the names of the items."""
        return [each.text for each in self.find_all(".cf-upload-name")]

    def notes(self) -> list[str]:
        """Return what is written below the names."""
        return [each.text for each in self.find_all(".cf-upload-note")]

    def values(self, name: str = "image") -> list[str]:
        """Return what the form would send."""
        found: list[str] = self.js(
            "return new FormData(document.forms[0]).getAll(arguments[0])", f"{name}-upload"
        )
        return [value for value in found if value]

    def until(self, condition: Callable[[], Any], what: str = "", seconds: float = 30) -> Any:
        """Return what ``condition`` returns once it is true."""
        from selenium.common import NoSuchElementException, StaleElementReferenceException

        def holds() -> Any:
            try:
                return condition()
            except (NoSuchElementException, StaleElementReferenceException):  # another page is being loaded
                return False

        deadline = time.monotonic() + seconds
        while not (result := holds()):
            if time.monotonic() > deadline:
                shown = self.find("body").text
                pytest.fail(f"{what or 'It'} did not happen. The page: {shown!r}; log: {self.log()}")
            time.sleep(0.03)
        return result

    def uploaded(self, count: int = 1) -> None:
        """Wait until so many images are uploaded."""
        self.until(lambda: self.states() == ["done"] * count, f"{count} uploads")

    def submit(self) -> None:
        """Press the button of the form."""
        self.find("button[name=send]").click()

    def saved(self) -> Any:
        """Wait until the form was sent, and return what the site has received last."""
        self.until(lambda: self.driver.title == "Saved", "The form")
        return self.site.received[-1]

    def violations(self) -> list[str]:
        """Return violations of the content security policy."""
        found: list[str] = self.js("return window.violations")
        return found

    def said(self) -> list[str]:
        """Return what screen readers were told."""
        found: list[str] = self.js("return window.said")
        return found

    def log(self) -> list[str]:
        """Return what the browser has logged."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def network(self, *, offline: bool = False, upload: float = -1) -> None:
        """Take the network away, or let it send so many bytes a second."""
        conditions = {"offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": upload}
        self.driver.execute_cdp_cmd("Network.enable", {})
        self.driver.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)

    def key(self, *keys: str) -> None:
        """Press keys, one after another."""
        from selenium.webdriver import ActionChains

        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    def focus(self) -> Any:
        """Return the focused element."""
        return self.driver.switch_to.active_element

    def axe(self, script: Path, inside: str = "html") -> list[str]:
        """Return the violations that axe-core finds in the page, or in these elements."""
        self.driver.execute_script(script.read_text(encoding="utf-8"))
        found = self.driver.execute_async_script(
            "const [inside, done] = arguments;"
            "axe.run(inside, {resultTypes: ['violations']}).then(found => done(found.violations))",
            inside,
        )
        return [f"{each['id']}: {json.dumps([node['html'] for node in each['nodes']])}" for each in found]


def start_chromium() -> Any:
    """Return a driver of a new Chromium, with a profile of its own."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    running = webdriver.Chrome(options=options, service=webdriver.ChromeService(CHROMEDRIVER))
    running.set_script_timeout(60)
    running.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
    return running


@pytest.fixture(scope="session")
def driver() -> Iterator[Any]:
    """Chromium, for all tests: each has a site, and so an origin, of its own."""
    if not (CHROMIUM and CHROMEDRIVER):
        pytest.skip(NEEDED)
    running = start_chromium()
    yield running
    running.quit()


@pytest.fixture
def site(cf_images_emulator: Any) -> Iterator[Site]:
    """A site with a form for one image."""
    running = Site(cf_images_emulator)
    yield running
    running.close()


@pytest.fixture
def page(driver: Any, site: Site, tmp_path: Path) -> Iterator[Page]:
    """The browser at this site, on a fast network."""
    shown = Page(driver, site, tmp_path)
    shown.network()
    driver.get_log("browser")
    yield shown
    driver.get("about:blank")


def keep(page: Page, name: str) -> None:
    """Keep a screenshot where ``SCREENSHOTS`` names a folder."""
    if folder := os.environ.get("SCREENSHOTS"):
        page.driver.save_screenshot(f"{folder}/{name}.png")
