"""What ``import cf_images.storage`` loads, and how long it takes beside other storages and Cloudflare's SDK.

Each module is imported in a new process after ``django.setup()``; figures are medians of five.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

from benchmarks.measure import compared, table

_HEAVY = ("httpx", "PIL", "huey", "stamina", "werkzeug")
_SCRIPT = """
import sys, time
import django; django.setup()
began = time.perf_counter()
import {module}
print(time.perf_counter() - began, *[name for name in {heavy!r} if name in sys.modules])
"""


def main() -> None:
    """Print one row a module that is installed."""
    rows, found = [], {}
    for module in (
        "django.core.files.storage",
        "cf_images.storage",
        "cf_images.client.api",
        "cf_images.rendering",
        "storages.backends.s3",
        "cloudflare_images.storage",
        "cloudflare",
    ):
        if find_spec(module.partition(".")[0]) is None:
            continue
        runs = [_run(module) for _ in range(5)]
        seconds = found[module] = sorted(float(run[0]) for run in runs)[2]
        rows.append((f"`import {module}`", f"{seconds * 1000:.1f} ms", ", ".join(runs[0][1:]) or "none"))
    for rival in ("storages.backends.s3", "cloudflare_images.storage", "cloudflare"):
        if rival in found:
            compared(
                "`import cf_images.storage`", f"`import {rival}`", found["cf_images.storage"] / found[rival]
            )
    table(("", "time", f"of {', '.join(_HEAVY)}"), rows)


def _run(module: str) -> list[str]:
    script = _SCRIPT.format(module=module, heavy=_HEAVY)
    environment = {"DJANGO_SETTINGS_MODULE": "django.conf.global_settings", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True
    )
    return done.stdout.split()
