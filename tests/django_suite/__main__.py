"""Fetch Django's sdist and run its tests: ``python -m tests.django_suite [MODE …]``, by default in all modes.

The status is 77 where the sdist cannot be had, for example without a network.
"""

# ruff: noqa: T201 - it talks to a person

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import django

from tests.django_suite import APPS
from tests.django_suite.modes import MODES

SKIPPED = 77  # of a test that could not run, as Automake has it; also in dev.py and .ci/run


def main(*modes: str) -> int:
    """Run the tests in these modes, or in all; return the exit status."""
    if unknown := set(modes) - set(MODES):
        print(
            f"There is no mode {', '.join(sorted(unknown))}; there are {', '.join(MODES)}.", file=sys.stderr
        )
        return 2
    with tempfile.TemporaryDirectory(prefix="cf-images-django-") as folder:
        try:
            sdist = download(folder)
        except subprocess.SubprocessError:
            print(f"SKIPPED: pip cannot download the sdist of Django {django.__version__}.", file=sys.stderr)
            return SKIPPED
        tests = unpack(sdist, folder)
        failed = [mode for mode in modes or MODES if not passes(mode, tests)]
    if failed:
        print(f"Django's tests failed in: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def download(folder: str) -> Path:
    """Download the sdist of the installed version into ``folder``, from where pip has its packages."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
    only_sdist = ["--no-deps", "--no-binary", "django", f"django=={django.__version__}"]
    subprocess.run([*pip, *only_sdist, "--dest", folder], check=True, timeout=300)
    (sdist,) = Path(folder).glob("*.tar.gz")
    return sdist


def unpack(sdist: Path, folder: str) -> Path:
    """Unpack the packages of the tests into ``folder``; return the folder in which they are."""
    root = sdist.name.removesuffix(".tar.gz")
    wanted = tuple(f"{root}/tests/{app}/" for app in APPS)
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, [m for m in archive if m.name.startswith(wanted)], filter="data")
    return Path(folder, root, "tests")


def passes(mode: str, tests: Path) -> bool:
    """Run the tests in one mode, in a process of its own; return whether all is as expected."""
    print(f"== Django {django.__version__}: {mode}", flush=True)
    command = [sys.executable, "-m", "tests.django_suite.one_mode", mode, str(tests)]
    return subprocess.run(command, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
