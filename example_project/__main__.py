"""``python -m example_project``: an emulator of Cloudflare Images, a worker, a site, and first pictures.

Stays up until Ctrl-C; with ``--once`` it fetches back every address that it prints, and leaves.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

import django

from cf_images import conf
from example_project.processes import HOST, ROOT, DemoError, alone, free_port

SITE_PORT, EMULATOR_PORT = 8000, 8787
LOCAL, CLOUDFLARE, EMULATOR = "local", "cloudflare", "emulator"  # where images go
PLACES = {
    LOCAL: "Images stay on this machine (ENV_NAME=dev).",
    CLOUDFLARE: "Images go to Cloudflare: its three credentials are set, no emulator is started.",
    EMULATOR: "Images go to an emulator of Cloudflare on this machine.",
}
# What the emulator is given instead of the three values from Cloudflare's dashboard.
EMULATED = {
    "CF_ACCT_ID": "0123456789abcdef0123456789abcdef",
    "CF_IMG_TOKEN": "opens-only-the-emulator-of-this-example",
    "CF_IMG_HASH": "ExampleAccountHash",
}


def main() -> int:
    """Read the arguments and run; the exit status."""
    options = _parser().parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # also into a file, where somebody waits for the address
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # asks for an outage, once everything is up
    place = _place()
    try:
        if options.once:
            with tempfile.TemporaryDirectory(prefix="cf-images-example-") as folder:
                return _run(place, Path(folder), once=True)
        folder = ROOT / "example_project" / "var" / place
        with alone(folder):
            return _run(place, folder, once=False)
    except DemoError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _run(place: str, folder: Path, *, once: bool) -> int:
    print(PLACES[place])
    site = f"http://{HOST}:{_port(0 if once else SITE_PORT)}"
    emulator = f"http://{HOST}:{_port(0 if once else EMULATOR_PORT)}" if place == EMULATOR else ""
    os.environ |= _environment(folder, emulator)
    django.setup()
    from example_project.demo import Demo  # has models in it

    return Demo(folder, site=site, emulator=emulator, once=once).run()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m example_project",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="With ENV_NAME=dev images stay on this machine; with CF_ACCT_ID, CF_IMG_TOKEN and\n"
        "CF_IMG_HASH in the environment they go to Cloudflare; otherwise to the emulator.",
    )
    parser.add_argument("--once", action="store_true", help="try everything out on free ports, and leave")
    return parser


def _place() -> str:
    if os.environ.get("ENV_NAME") == "dev":
        return LOCAL
    given = [any(map(os.environ.get, conf.STORAGE_OPTIONS[name].names)) for name in conf.CREDENTIALS]
    return CLOUDFLARE if all(given) else EMULATOR


def _port(wanted: int) -> int:
    port = free_port(wanted)
    if wanted not in (0, port):
        print(f"Port {wanted} is taken: using {port}.")
    return port


def _environment(folder: Path, emulator: str) -> dict[str, str]:
    """What all processes get besides the caller's environment."""
    beyond_proxies = [os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), HOST]  # no proxy reaches us
    return {
        "DJANGO_SETTINGS_MODULE": "example_project.settings",
        "ENV_NAME": os.environ.get("ENV_NAME") or "demo",
        "EXAMPLE_EMULATOR": emulator,
        "EXAMPLE_RUNNER": str(os.getpid()),
        "EXAMPLE_STATE": str(folder),
        "NO_PROXY": ",".join(filter(None, beyond_proxies)),
        "no_proxy": ",".join(filter(None, beyond_proxies)),
        **(EMULATED if emulator else {}),
    }


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
