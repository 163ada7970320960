"""``python -m example_project``: the emulator, the worker and the site, with the first pictures in them.

Stays up until Ctrl-C; with ``--once`` it fetches back every address that it prints, and leaves.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import django
from PIL import Image

from cf_images import conf
from cf_images.exceptions import CloudflareImagesError
from example_project.processes import HOST, POLL, ROOT, Child, Children, DemoError, alone, answers, free_port

SITE_PORT, EMULATOR_PORT = 8000, 8787
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# What the emulator is given instead of the three values from Cloudflare's dashboard.
EMULATED = {
    "CF_ACCT_ID": "0123456789abcdef0123456789abcdef",
    "CF_IMG_TOKEN": "opens-only-the-emulator-of-this-example",
    "CF_IMG_HASH": "ExampleAccountHash",
}


def main() -> int:
    """Read the arguments and run; the exit status."""
    options = _parser().parse_args()
    for number in ENDINGS:
        signal.signal(number, _interrupt)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # means an outage, once all is up
    try:
        if options.once:
            with tempfile.TemporaryDirectory(prefix="cf-images-example-") as folder:
                return Demo(Path(folder), once=True).run()
        folder = ROOT / "example_project" / "var" / _place()
        with alone(folder) as tell:
            return Demo(folder, tell=tell).run()
    except DemoError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m example_project",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="ENV_NAME=dev keeps the images on this machine. With CF_ACCT_ID, CF_IMG_TOKEN and CF_IMG_HASH in "
        "the environment they go to Cloudflare, else to the emulator.",
    )
    parser.add_argument("--once", action="store_true", help="try everything out on free ports, and leave")
    return parser


def _place() -> str:
    """Where images go: ``local``, ``cloudflare`` or ``emulator``."""
    if os.environ.get("ENV_NAME") == "dev":
        return "local"
    given = [any(map(os.environ.get, conf.STORAGE_OPTIONS[name].names)) for name in conf.CREDENTIALS]
    return "cloudflare" if all(given) else "emulator"


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


class Demo:
    """One run, with its state in ``folder``; ``once`` decides whether it stays."""

    def __init__(self, folder: Path, *, once: bool = False, tell: Callable[[str], None] = print) -> None:
        self.folder = folder
        self.once = once
        self.tell = tell
        self.place = _place()
        self.site = f"http://{HOST}:{self._port(SITE_PORT)}"
        self.emulator_port = self._port(EMULATOR_PORT) if self.place == "emulator" else 0
        self.environment = self._environment()
        self.children = Children(self.environment, folder=folder)
        self.failures: list[str] = []

    def run(self) -> int:
        """Start, show, stay; the exit status."""
        try:
            self.start()
            self.fill()
            if self.once:
                return self.judge()
            self.stay()
        except (ValueError, CloudflareImagesError) as error:
            raise DemoError(f"{error}\n{self.children.last_lines()}") from None
        finally:
            for number in ENDINGS:
                signal.signal(number, signal.SIG_IGN)  # nothing interrupts the tidying up
            self.children.stop()
        return 0

    def start(self) -> None:
        """Start what serves, and wait until each of them does."""
        print({"local": "Images stay on this machine (ENV_NAME=dev).",
               "cloudflare": "Images go to Cloudflare: the three credentials are set; no emulator is started.",
               "emulator": "Images go to an emulator of Cloudflare on this machine."}[self.place])  # fmt: skip
        if self.place == "emulator":
            self.start_emulator()
        os.environ.update(self.environment)
        django.setup()
        from example_project import content

        content.prepare()
        site = self.children.start(
            "site", "django", "runserver", "--noreload", self.site.removeprefix("http://")
        )
        worker = self.children.start("worker", "django", "run_huey", "-k", "thread", "-g", "TERM", "-t", "55")
        self.children.wait_for("Starting the site", lambda: answers(self.site))
        self.children.wait_for("Starting the worker", lambda: "consumer started" in worker.log.read_text())
        print(f"Running: site ({site.pid}), worker ({worker.pid}); their logs: {self.folder}")

    def start_emulator(self) -> None:
        """Start it alone first: it stands for somebody else's service."""
        data = str(self.folder / "emulator")
        port = str(self.emulator_port)
        emulator = self.children.start("emulator", "cf_images.emulator", "--port", port, "--data", data)
        self.children.wait_for("Starting the emulator", lambda: answers(self.environment["EXAMPLE_EMULATOR"]))
        self.children.optional = emulator

    def fill(self) -> None:
        """Upload the first pictures, or show what is there from the last time."""
        from example_project import content
        from example_project.profiles.models import Profile

        content.declare_variants()
        if not Profile.objects.exists():
            self.show(content.by_file(), "by file")
            self.show(content.by_url(self.source()), "by URL")
        else:
            for profile in Profile.objects.exclude(image="")[:2]:
                self.show(profile, "from the last time")
        print(f"\nOpen     {self.site}/")
        print(f"Admin    {self.site}/admin/   user {content.USER}, password {content.PASSWORD}")
        self.expect_page(f"{self.site}/")
        self.expect_page(f"{self.site}/admin/")

    def source(self) -> str:
        """An address that whoever fetches can reach: Cloudflare cannot reach this machine."""
        from example_project import content
        from example_project.profiles.models import Profile

        if self.place != "cloudflare":
            return f"{self.site}/samples/night.jpg"
        return content.renditions(Profile.objects.get(), self.site)[-1].url

    def show(self, profile: Any, how: str) -> None:
        """Wait until the picture has arrived, and print and fetch what browsers get."""
        from example_project import content

        print(f"\n{profile} ({how}): {self.site}{profile.get_absolute_url()}")
        self.expect_page(f"{self.site}{profile.get_absolute_url()}")
        self.children.wait_for(f"Uploading the picture of {profile}", lambda: content.is_stored(profile))
        for rendition in content.renditions(profile, self.site):
            found = _size(rendition.url)
            print(f"  {found:>11}  {rendition.url}")
            expected = f"{rendition.size[0]} x {rendition.size[1]}"
            if found != expected:
                self.failures.append(f"{rendition.url} is {found}, not {expected}")

    def expect_page(self, url: str) -> None:
        """Note it when a printed page is not there."""
        if not answers(url):
            self.failures.append(f"{url} does not answer")

    def judge(self) -> int:
        """Say how it went; the exit status."""
        if not self.failures:
            print("\nEverything that is printed here was fetched back, in the right size.")
            return 0
        print("\nFailed:", *self.failures, self.children.last_lines(), sep="\n  ", file=sys.stderr)
        return 1

    def stay(self) -> None:
        """Until Ctrl-C; meanwhile Cloudflare can be taken down and brought back."""
        self.tell(f"open {self.site}/ (process {os.getpid()})")
        emulator = self.children.optional
        wanted = threading.Event()
        if emulator:
            signal.signal(signal.SIGUSR1, lambda *_: wanted.set())
            print(
                f"Outage   press Enter, or kill -USR1 {os.getpid()}, or use the button at the top of the page"
            )
            if sys.stdin.isatty():
                threading.Thread(target=_on_enter, args=(wanted.set,), daemon=True).start()
        print("End      Ctrl-C", flush=True)
        was_up = True
        try:
            while True:
                self.children.check()
                if emulator and wanted.is_set():
                    wanted.clear()
                    self.children.toggle(emulator)
                if emulator and emulator.is_running != was_up:
                    was_up = emulator.is_running
                    print(f"Cloudflare (the emulator) is {'up again' if was_up else 'down'}.", flush=True)
                time.sleep(POLL)
        except KeyboardInterrupt:
            print("\nStopping …", flush=True)

    def _port(self, wanted: int) -> int:
        port = free_port(0 if self.once else wanted)
        if not self.once and port != wanted:
            print(f"Port {wanted} is taken: using {port}.")
        return port

    def _environment(self) -> dict[str, str]:
        """The environment of all processes."""
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "example_project.settings",
            "ENV_NAME": os.environ.get("ENV_NAME") or "demo",
            "EXAMPLE_RUNNER": str(os.getpid()),
            "EXAMPLE_STATE": str(self.folder),
            "EXAMPLE_EMULATOR": f"http://{HOST}:{self.emulator_port}" if self.emulator_port else "",
        }
        for name in ("NO_PROXY", "no_proxy"):  # no proxy can reach this machine for us
            environment[name] = ",".join(filter(None, [os.environ.get(name), HOST]))
        return {**environment, **(EMULATED if self.emulator_port else {})}


def _size(url: str) -> str:
    """The pixels of the image behind an address, or why there is none."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - an address of our own
            image = Image.open(io.BytesIO(answer.read()))
            image.load()
    except OSError as error:
        return f"no image ({error})"
    return f"{image.width} x {image.height}"


def _on_enter(do: Callable[[], None]) -> None:
    for _ in sys.stdin:
        do()


if __name__ == "__main__":
    sys.exit(main())
