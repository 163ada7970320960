"""The story of one run: start everything, upload the first pictures, show where they are, and stay."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import time
import urllib.request
from pathlib import Path

from PIL import Image

from cf_images import conf
from cf_images.exceptions import CloudflareImagesError
from example_project import content
from example_project.processes import POLL, Children, answers
from example_project.profiles.models import Profile
from example_project.visit import Visit


class Demo:
    """One run with its state in ``folder``; ``emulator`` is empty where there is none."""

    def __init__(self, folder: Path, *, site: str, emulator: str, once: bool) -> None:
        self.folder = folder
        self.site = site
        self.emulator = emulator
        self.once = once
        self.children = Children(folder)
        self.failures: list[str] = []

    def run(self) -> int:
        """All of it; the exit status."""
        try:
            self.start()
            self.fill()
            if self.failures:
                print("\nNot as it should be:", *self.failures, sep="\n  ", file=sys.stderr)
            if not self.once:
                self.stay()
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)  # nothing interrupts the tidying up
            self.children.stop()
        return self.verdict() if self.once else 0

    def start(self) -> None:
        """Start what serves, and wait until each of them does."""
        start, wait_for = self.children.start, self.children.wait_for
        if self.emulator:
            port, data = self.emulator.rpartition(":")[2], str(self.folder / "images")
            declared = ["--no-flexible-variants"] if conf.package("FLEXIBLE_VARIANTS") is False else []
            emulator = start("emulator", "cf_images.emulator", "--port", port, "--data", data, *declared)
        content.prepare()
        site = start("site", "django", "runserver", "--noreload", self.site.removeprefix("http://"))
        worker = start("worker", "django", "run_huey", "-k", "thread", "-g", "TERM", "-t", "55")
        content.draw_samples()  # while they start
        if self.emulator:
            wait_for("starting the emulator", lambda: answers(self.emulator))
            self.children.optional = emulator  # from here on it may be down, as Cloudflare may
            print(f"Emulator (process {emulator.pid}) is up: {self.emulator}/")
        wait_for("starting the site", lambda: answers(self.site))
        wait_for("starting the worker", lambda: "consumer started" in worker.log.read_text())
        print(f"Site (process {site.pid}) and worker ({worker.pid}) are up; their logs: {self.folder}")

    def fill(self) -> None:
        """Upload the first pictures, or show what is there from the last time."""
        try:
            content.declare_variants()
        except CloudflareImagesError as error:
            self.failures.append(f"The variants could not be declared: {error}")
        if Profile.objects.exists():
            for profile in Profile.objects.exclude(image="")[:2]:
                self.show(profile, "there since the last time")
        else:
            jane = content.by_file()
            self.show(jane, "uploaded by file")
            self.show(content.by_url(content.source(self.site, jane)), "uploaded by URL")
        self.hang()
        print(f"\nOpen     {self.site}/")
        print(f"Gallery  {self.site}/gallery/")
        print(f"Admin    {self.site}/admin/  (user {content.USER}, password {content.PASSWORD})")
        self.expect(f"{self.site}/")
        self.expect(f"{self.site}/admin/")

    def show(self, profile: Profile, how: str) -> None:
        """Wait until the picture has arrived, then print and fetch what browsers get."""
        page = f"{self.site}{profile.get_absolute_url()}"
        print(f"\n{profile}, {how}: {page}")
        self.expect(page)
        try:
            self.children.wait_for("the upload", lambda: content.is_stored(profile.image))
        except (TimeoutError, ValueError) as error:
            self.failures.append(f"{profile}: {error}")
            return
        for rendition in content.renditions(profile, self.site):
            found = _size(rendition.url)
            print(f"  {found:>10}  {rendition.url}")
            if self.once and found != rendition.size:
                self.failures.append(f"{rendition.url} is {found}, not {rendition.size}")

    def hang(self) -> None:
        """Wait until the gallery is complete; with ``--once`` look at each picture, and press each button."""
        hung = content.hang()
        try:
            self.children.wait_for("the gallery", lambda: all(map(content.is_stored, hung)))
        except (TimeoutError, ValueError) as error:
            self.failures.append(f"The gallery: {error}")
            return
        self.expect(
            f"{self.site}/gallery/"
        )  # and this process of the site knows the signing keys from now on
        if self.once:
            visit = Visit(self.site, self.children, emulator=self.emulator)
            self.failures += visit.flaws()
            print(f"\nThe gallery: {visit.seen} pictures looked at, {visit.pressed} buttons pressed")

    def expect(self, url: str) -> None:
        """Note it when a printed page is not there."""
        if not answers(url):
            self.failures.append(f"{url} does not answer")

    def verdict(self) -> int:
        """The exit status, and the reason."""
        if self.failures:
            print(self.children.last_lines(), file=sys.stderr)
            return 1
        print("\nEvery address above was fetched back, every picture in the right size.")
        return 0

    def stay(self) -> None:
        """Until Ctrl-C; meanwhile Cloudflare can be taken down and brought back."""
        (self.folder / "address").write_text(f"{self.site}/")
        outage = threading.Event()
        if self.emulator:
            print(f"Outage   Enter, or the button on each page, or kill -USR1 {os.getpid()}: Cloudflare goes")
            print("         down, and comes back the same way; what you upload meanwhile is shown all along")
            signal.signal(signal.SIGUSR1, lambda *_: outage.set())
            _on_enter(outage)
        print("End      Ctrl-C")
        try:
            self.watch(outage)
        except KeyboardInterrupt:
            print("\nStopping …")

    def watch(self, outage: threading.Event) -> None:
        """Look after the processes for ever."""
        was_up = True
        while True:
            self.children.check()
            if outage.is_set():
                outage.clear()
                self.children.toggle_optional()
            is_up = self.children.optional is None or self.children.optional.is_running
            if is_up != was_up:
                print(f"Cloudflare (the emulator) is {'up again' if is_up else 'down'}.")
            was_up = is_up
            time.sleep(POLL)


def _size(url: str) -> str:
    """Width and height of the image behind an address, or why there is none."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - an address of our own
            image = Image.open(io.BytesIO(answer.read()))
            image.load()
    except OSError as error:
        return f"no image ({error})"
    return f"{image.width} x {image.height}"


def _on_enter(event: threading.Event) -> None:
    """Set the event whenever Enter is pressed."""

    def read() -> None:
        try:
            for _ in sys.stdin:
                event.set()
        except OSError:
            pass  # in the background of a shell, where nobody types

    if sys.stdin.isatty():
        signal.signal(signal.SIGTTIN, signal.SIG_IGN)  # there, reading would stop the process
        threading.Thread(target=read, daemon=True).start()
