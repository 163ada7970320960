"""Run all benchmarks, or those named: ``python -m benchmarks [name …]``; each prints one table."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import version

NAMES = ("imports", "addresses", "rendering", "saving", "memory", "emulator")


def main() -> None:
    """Print the machine, then the tables; each benchmark has a process and settings of its own."""
    chosen = sys.argv[1:] or list(NAMES)
    if unknown := set(chosen) - set(NAMES):
        sys.exit(f"No benchmark {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}.")
    packages = [f"{name} {version(name)}" for name in ("django", "httpx", "pillow", "huey")]
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}"
    print(", ".join([machine, f"Python {platform.python_version()}", *packages]), flush=True)
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "benchmarks.settings"}
    for name in chosen:
        print(f"\n## {name}\n", flush=True)
        script = f"from benchmarks.{name} import main; main()"
        subprocess.run([sys.executable, "-c", script], env=environment, check=True)


if __name__ == "__main__":
    main()
