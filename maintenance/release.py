"""Rehearse a release: build it as the release workflow does, look into it, and install it. Publishes nothing.

    python3 dev.py release --rehearse               what is committed now
    python3 dev.py release --rehearse --tag v1.2.3  that this tag may be released; run by the release workflow

The files are in ``dist/`` afterwards. Each step either holds or ends the rehearsal with what is wrong.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import dev
from maintenance import contents

DIST = dev.ROOT / "dist"
SMOKE = Path(__file__).parent / "smoke.py"
_HEADING = re.compile(r"^## \[([^\]]+)\](?: - (\d{4}-\d\d-\d\d))?$", re.MULTILINE)  # version, date
# What a second build changes: the files must be equal all the same.
ANOTHER_MACHINE = {"TZ": "Pacific/Auckland", "LC_ALL": "C", "PYTHONHASHSEED": "7"}


class NotReadyError(Exception):
    """The release is not ready; the message says why."""


class Release(NamedTuple):
    """What is released."""

    name: str
    version: str
    tag: str  # empty: nothing is tagged yet


def main(arguments: list[str]) -> int:
    """Run all steps; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="dev.py release", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rehearse", action="store_true", required=True, help="there is nothing else")
    parser.add_argument("--tag", default="", help="fail if this tag is not the version in pyproject.toml")
    given = parser.parse_args(arguments)
    project = tomllib.loads((dev.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    release = Release(project["name"], project["version"], given.tag)
    try:
        for title, step in STEPS:
            print(f"== {title}", flush=True)
            for line in step(release):
                print(f"   {line}", flush=True)
    except NotReadyError as error:
        print(f"dev.py release: not ready: {error}", file=sys.stderr)
        return 1
    print(_what_is_next(release))
    return 0


def check_tree(_: Release) -> Iterator[str]:
    """Everything is committed, so that the build has what the tag has."""
    changed = _git("status", "--porcelain").splitlines()
    if changed:
        raise NotReadyError("these files are not committed:\n  " + "\n  ".join(changed))
    yield f"commit {_git('rev-parse', '--short', 'HEAD')}"


def check_version(release: Release) -> Iterator[str]:
    """The version, the tag and CHANGELOG.md agree."""
    changelog = (dev.ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    yield compare_versions(release.version, release.tag, changelog)


def compare_versions(version: str, tag: str, changelog: str) -> str:
    """Return what is released, or raise ``NotReadyError`` if the three disagree."""
    if tag and tag != f"v{version}":
        raise NotReadyError(f"the tag {tag} is not v{version}, the version in pyproject.toml")
    headings = _HEADING.findall(changelog)
    newest, date = next((heading for heading in headings if heading[0] != "Unreleased"), ("", ""))
    if not tag and headings[:1] == [("Unreleased", "")]:
        if newest == version:
            raise NotReadyError(f"{version} is released: set the next version in pyproject.toml")
        return f"{version}, which CHANGELOG.md calls Unreleased until the release"
    if newest != version:
        raise NotReadyError(f"CHANGELOG.md has no heading for {version}; its newest is {newest or 'missing'}")
    if not date:
        raise NotReadyError(
            f"the heading of {version} in CHANGELOG.md has no date: ## [{version}] - 2026-01-31"
        )
    return f"{version} of {date}"


def build(_: Release) -> Iterator[str]:
    """Build twice, from copies of the commit in different folders; both are equal to the last byte."""
    shutil.rmtree(DIST, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="release-") as folder:
        first = _build_in(Path(folder) / "first", {})
        second = _build_in(Path(folder) / "a second folder", ANOTHER_MACHINE)
        if [_sha256(path) for path in first] != [_sha256(path) for path in second]:
            raise NotReadyError("two builds of the same commit differ")
        DIST.mkdir()
        for path in first:
            shutil.copy(path, DIST)
            yield f"{_sha256(path)}  {path.name}"


def look_inside(_: Release) -> Iterator[str]:
    """Wheel and sdist have exactly the files that they should, and metadata that an index accepts."""
    project = tomllib.loads((dev.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (wheel,), (sdist,) = DIST.glob("*.whl"), DIST.glob("*.tar.gz")
    tracked = _git("ls-files").splitlines()
    wrong = [
        *contents.wheel_problems(wheel, tracked),
        *contents.sdist_problems(sdist, tracked),
        *contents.metadata_problems(contents.metadata(wheel), project),
    ]
    if wrong:
        raise NotReadyError("the files are not as they should be:\n  " + "\n  ".join(wrong))
    for path, names in ((wheel, contents.wheel_files(wheel)), (sdist, contents.sdist_files(sdist))):
        yield f"{len(names)} files in {path.name}"


def install(_: Release) -> Iterator[str]:
    """The wheel works in an empty environment: a site with it takes an image and shows it."""
    (wheel,) = DIST.glob("*.whl")
    with tempfile.TemporaryDirectory(prefix="release-") as folder:
        venv = Path(folder) / "venv"
        _run(sys.executable, "-m", "venv", venv)
        python = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        _run(python, "-m", "pip", "install", *dev.PIP, wheel)
        yield _run(python, "-I", SMOKE, cwd=folder).strip()


STEPS: list[tuple[str, Callable[[Release], Iterator[str]]]] = [
    ("everything is committed", check_tree),
    ("version and changelog agree", check_version),
    ("two builds are equal", build),
    ("the files are as they should be", look_inside),
    ("the wheel works where nothing else is installed", install),
]


def _build_in(folder: Path, variables: dict[str, str]) -> list[Path]:
    """Build sdist and wheel from a copy of the commit; return their paths."""
    folder.mkdir()
    archive = folder.parent / f"{folder.name}.tar"
    _git("archive", "--format=tar", f"--output={archive}", "HEAD")
    shutil.unpack_archive(archive, folder, filter="data")
    epoch = {"SOURCE_DATE_EPOCH": _git("log", "-1", "--pretty=%ct")}
    # The wheel is built from the sdist, and by the versions in .venv: they are locked, too.
    _run(
        sys.executable, "-m", "build", "--no-isolation", cwd=folder, env={**os.environ, **epoch, **variables}
    )
    return sorted((folder / "dist").iterdir())


def _what_is_next(release: Release) -> str:
    if release.tag:
        return f"\n{release.tag} is ready. The release workflow publishes dist/*."
    return f"""
The rehearsal of {release.version} went well; nothing was published. A person does the rest:

 1. In CHANGELOG.md, turn "## [Unreleased]" into "## [{release.version}] - YYYY-MM-DD", and commit it.
 2. python3 dev.py release --rehearse --tag v{release.version}
 3. git tag -s v{release.version} && git push origin main v{release.version}
 4. The workflow "Release" runs all tests, rehearses, and waits: approve it in the environment "pypi".
 5. In a fresh environment: pip install {release.name}=={release.version}
"""


def _git(*arguments: str) -> str:
    return _run("git", "-C", dev.ROOT, *arguments).strip()


def _run(*command: object, **options: Any) -> str:
    """Run a command; return what it prints, or raise ``NotReadyError`` with it."""
    words = [str(word) for word in command]
    ran = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **options
    )
    if ran.returncode:
        said = (ran.stdout + ran.stderr).strip()
        raise NotReadyError(f"{' '.join(words)} ended with {ran.returncode}:\n{said}")
    return ran.stdout


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
