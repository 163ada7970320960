"""Run benchmarks and print their tables in Markdown.

Without names, run those that take seconds. Each benchmark runs in a new process. --page makes
docs/figures.md: it runs what has no result in benchmarks/results/ yet, and can be interrupted.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from importlib.metadata import version

from benchmarks import figures

_SHORT = {
    "imports": "what importing the package loads, and how long it takes",
    "delivery_urls": "URLs, signed URLs and tags beside other packages; CPU and targets",
    "rendering": "a 12-megapixel JPEG as a 240 × 240 avatar",
    "saving": "save() beside Cloudflare's SDK and a bare httpx loop; CPU and a target",
    "memory": "memory of uploads, over the size of the file",
    "emulator": "requests a second of the emulator",
    "pending_view": "the view of pending images, requested twenty times at once, beside a plain page",
    "browser_uploads": "a page beside slow uploads, through the site and straight to Cloudflare",
    "background": "what background uploads cost a request, a page and a process",
}
_LONG = {
    "backlog": "what a million rows cost a worker and a page, beside five (5 minutes; --rows: fewer)",
    "chaos": "workers killed while the API fails: is anything lost or doubled? (2 minutes; --long: 30)",
    "faults": "how soon all is stored while two of five requests fail, with and without kills (10 minutes)",
    "consumers": "four huey consumers against one (3 minutes)",
    "draining": "how fast a backlog drains under a rate limit (5 minutes)",
    "transfers": "`cf_images import` beside a bare httpx loop; its memory; out and back (20 minutes)",
    "moving": "two imports killed while the API fails: is anything lost or doubled? (5 minutes; --images)",
    "orphans": "`cf_images orphans` on 100,000 images and 100,000 rows (5 minutes; --rows: fewer)",
    "guest": "how long a task of the site waits in huey's queue beside 1,500 pending images (2 minutes)",
}
_FEWEST_ROWS = 200
_PACKAGES = ("django", "httpx", "pillow", "huey")


def main() -> None:
    """Print the machine and the versions, then the tables of the benchmarks."""
    options = _options()
    if options.page:
        _make_page(options)
        return
    arguments = [
        flag for flag in ("--long", "--matrix", "--batch", "--memory") if getattr(options, flag.strip("-"))
    ]
    arguments += ["--rows", str(options.rows)] if options.rows else []
    arguments += ["--images", str(options.images)] if options.images else []
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}"
    packages = [f"{name} {version(name)}" for name in _PACKAGES]
    print(", ".join([machine, f"Python {platform.python_version()}", *packages]), flush=True)
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "benchmarks.settings"}
    failed = []
    for name in options.names or _SHORT:
        print(f"\n## {name}\n", flush=True)
        script = f"from benchmarks.{name} import main; main()"
        if subprocess.run(
            [sys.executable, "-c", script, *arguments], env=environment, check=False
        ).returncode:
            failed.append(name)
    if failed:
        sys.exit(f"Failed: {', '.join(failed)}.")


def _make_page(options: argparse.Namespace) -> None:
    """Make the page of figures, or say what that would take."""
    try:
        runs = figures.chosen(options.only)
    except ValueError as error:
        sys.exit(str(error))
    print(figures.describe(runs), flush=True)
    if not options.estimate and (failed := figures.make(runs)):
        sys.exit(f"Failed: {', '.join(failed)}. The same command tries again.")


def _options() -> argparse.Namespace:
    known = _SHORT | _LONG
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog=f"run by default:\n{_lines(_SHORT)}\n\nrun only by name:\n{_lines(_LONG)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="name", help="a benchmark of the lists below")
    parser.add_argument(
        "--long",
        action="store_true",
        help="chaos: 2,000 uploads, half of the requests faulty; draining: 6,000 images (35 minutes)",
    )
    parser.add_argument(
        "--matrix", action="store_true", help="draining: all combinations of workers, processes and limits"
    )
    parser.add_argument("--batch", action="store_true", help="transfers: only the rate at the batch host")
    parser.add_argument("--memory", action="store_true", help="transfers: only the memory for --rows")
    parser.add_argument(
        "--rows", type=int, help="backlog, orphans, transfers: the rows (default: a million, 100,000, 5,000)"
    )
    parser.add_argument("--images", type=int, help="transfers, moving: the images (default: 5,000)")
    parser.add_argument("--page", action="store_true", help="run what has no result; write docs/figures.md")
    parser.add_argument(
        "--only",
        nargs="*",
        metavar="RUN",
        help='with --page: these alone, again, such as saving "draining --long"; without any: only the page',
    )
    parser.add_argument("--estimate", action="store_true", help="with --page: only say what would be run")
    options = parser.parse_args()
    if not options.page and (options.only is not None or options.estimate):
        parser.error("--only and --estimate belong to --page.")
    if options.rows is not None and options.rows < _FEWEST_ROWS:
        parser.error(f"--rows is {options.rows}; it must be {_FEWEST_ROWS} or more.")
    if unknown := set(options.names) - set(known):
        parser.error(f"There is no benchmark {', '.join(sorted(unknown))}. Choose from {', '.join(known)}.")
    return options


def _lines(benchmarks: dict[str, str]) -> str:
    return "\n".join(f"  {name:15}  {description}" for name, description in benchmarks.items())


if __name__ == "__main__":
    main()
