"""Run all benchmarks, or those named: ``python -m benchmarks [name …]``; each prints one table."""

from __future__ import annotations

import importlib
import os
import platform
import sys
from importlib.metadata import version

NAMES = ("imports", "addresses", "rendering", "saving", "memory")


def main() -> None:
    """Print the machine, then the tables."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")
    chosen = sys.argv[1:] or list(NAMES)
    if unknown := set(chosen) - set(NAMES):
        sys.exit(f"No benchmark {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}.")
    packages = ("django", "httpx", "pillow", "huey")
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}, "
    )
    print(", ".join(f"{name} {version(name)}" for name in packages))
    for name in chosen:
        print(f"\n## {name}\n")
        importlib.import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main()
