"""What is wrong with the files of a release: missing or strange files, and metadata that an index refuses."""

from __future__ import annotations

import re
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from packaging.metadata import Metadata

PACKAGE = "cf_images/"
# Of the files in the repository, only these are not in the sdist.
NOT_IN_SDIST = (".ci/", ".github/", ".pre-commit-config.yaml", ".readthedocs.yaml")
# A wheel without one of these would install, and fail later.
NEEDED = (
    "cf_images/py.typed",
    "cf_images/migrations/*.py",
    "cf_images/static/*",
    "cf_images/templates/*",
    "cf_images/templatetags/*.py",
)
_RELATIVE_LINK = re.compile(r"\]\((?!\w+:|#)([^)\s]+)")


def wheel_files(wheel: Path) -> list[str]:
    """Return the names of the files in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return [name for name in archive.namelist() if not name.endswith("/")]


def sdist_files(sdist: Path) -> list[str]:
    """Return the names of the files in an sdist, without its folder."""
    with tarfile.open(sdist) as archive:
        return [member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()]


def metadata(wheel: Path) -> bytes:
    """Return the metadata file of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return archive.read(name)


def wheel_problems(wheel: Path, tracked: Sequence[str]) -> Iterator[str]:
    """Compare a wheel with the files of the repository: the package, all of it, and nothing else."""
    found = {name for name in wheel_files(wheel) if ".dist-info/" not in name}
    wanted = {name for name in tracked if name.startswith(PACKAGE)}
    yield from (f"the wheel lacks {name}" for name in sorted(wanted - found))
    yield from (f"the wheel has {name}, which is not of the package" for name in sorted(found - wanted))
    for pattern in NEEDED:
        if not any(Path(name).match(pattern) or _is_below(name, pattern) for name in found):
            yield f"the wheel has no {pattern}"
    catalogs = {name.removesuffix(".po") for name in found if name.endswith(".po")}
    yield from (f"the wheel lacks {name}.mo" for name in sorted(catalogs) if f"{name}.mo" not in found)


def sdist_problems(sdist: Path, tracked: Sequence[str]) -> Iterator[str]:
    """Compare an sdist with the files of the repository: a copy that can be built, tested and read."""
    found = set(sdist_files(sdist)) - {"PKG-INFO"}
    wanted = {name for name in tracked if not name.startswith(NOT_IN_SDIST)}
    yield from (f"the sdist lacks {name}" for name in sorted(wanted - found))
    yield from (f"the sdist has {name}, which is not committed" for name in sorted(found - set(tracked)))


def metadata_problems(raw: bytes, project: dict[str, Any]) -> Iterator[str]:
    """Check the metadata: an index accepts it, it says what pyproject.toml says, and its links work there."""
    try:
        found = Metadata.from_email(raw, validate=True)
    except ExceptionGroup as invalid:
        yield from (f"metadata: {error}" for error in invalid.exceptions)
        return
    extras = sorted(project["optional-dependencies"])
    if sorted(found.provides_extra or []) != extras:
        yield f"the extras are {found.provides_extra}, not {extras}"
    if found.project_urls != project["urls"]:
        yield f"the URLs are {found.project_urls}, not {project['urls']}"
    if str(found.requires_python) != project["requires-python"]:
        yield f"it requires Python {found.requires_python}, not {project['requires-python']}"
    description = re.sub(r"^```.*?^```", "", found.description or "", flags=re.DOTALL | re.MULTILINE)
    yield from (f"the description links to {link}" for link in _RELATIVE_LINK.findall(description))


def _is_below(name: str, pattern: str) -> bool:
    return pattern.endswith("/*") and name.startswith(pattern[:-1])
