"""``python -m benchmarks [name …]``: run the benchmarks, each prints one table.

Without names, those that take seconds: all but ``chaos`` and ``consumers``, which start many processes and
take minutes. ``python -m benchmarks chaos --long`` takes half an hour.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from importlib.metadata import version

NAMES = ("imports", "addresses", "rendering", "saving", "memory", "emulator", "background")
LENGTHY = ("chaos", "consumers")


def main() -> None:
    """Print the machine, then the tables; each benchmark has a process and settings of its own."""
    options = _options()
    arguments = ["--long"] if options.long else []
    packages = [f"{name} {version(name)}" for name in ("django", "httpx", "pillow", "huey")]
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}"
    print(", ".join([machine, f"Python {platform.python_version()}", *packages]), flush=True)
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "benchmarks.settings"}
    for name in options.names or NAMES:
        print(f"\n## {name}\n", flush=True)
        script = f"from benchmarks.{name} import main; main()"
        subprocess.run([sys.executable, "-c", script, *arguments], env=environment, check=True)


def _options() -> argparse.Namespace:
    known = (*NAMES, *LENGTHY)
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(known))
    parser.add_argument(
        "--long", action="store_true", help="chaos: 2,000 uploads, half of the requests faulty"
    )
    options = parser.parse_args()
    if unknown := set(options.names) - set(known):
        parser.error(f"No benchmark {', '.join(sorted(unknown))}; there are {', '.join(known)}.")
    return options


if __name__ == "__main__":
    main()
