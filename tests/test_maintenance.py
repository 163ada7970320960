"""What maintainers run: the audit, and the rehearsal of a release."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

import dev
from maintenance import audit, contents, release

TRACKED = [
    *("cf_images/__init__.py", "cf_images/py.typed", "cf_images/migrations/0001_initial.py"),
    *("cf_images/static/a.css", "cf_images/templates/a.html", "cf_images/templatetags/cf_images.py"),
    *("docs/a.md", "tests/test_a.py", "pyproject.toml", ".github/workflows/ci.yml"),
]
PACKAGE = [name for name in TRACKED if name.startswith("cf_images/")]
PROJECT: dict[str, Any] = {
    "optional-dependencies": {"heic": []},
    "requires-python": ">=3.11",
    "urls": {"Source": "https://a.example/"},
}
METADATA = """Metadata-Version: 2.4
Name: django-cf-images
Version: 1.0
Provides-Extra: heic
Requires-Python: >=3.11
Project-URL: Source, https://a.example/

See [this](https://a.example/b).
"""


def report(*vulnerabilities: dict[str, Any]) -> str:
    """Return what pip-audit prints about two packages."""
    fine = {"name": "django", "version": "5.2", "vulns": []}
    return json.dumps(
        {"dependencies": [fine, {"name": "pillow", "version": "1.0", "vulns": vulnerabilities}]}
    )


@pytest.mark.parametrize(
    ("printed", "errors", "status", "said"),
    [
        (report(), "", 0, "2 packages, 0 known vulnerabilities"),
        (
            report({"id": "PYSEC-2026-1", "fix_versions": ["1.1", "2.0"]}),
            "Found 1 known vulnerability in 1 package",
            1,
            "pillow 1.0: PYSEC-2026-1, mended in 1.1, 2.0",
        ),
        (report({"id": "PYSEC-2026-2", "fix_versions": []}), "", 1, "PYSEC-2026-2, mended in no version yet"),
        ("", "ERROR:pip_audit._cli:Could not connect to PyPI's vulnerability feed", dev.SKIPPED, "Skipped: "),
        (
            "",
            "requests.exceptions.ConnectionError: Max retries exceeded",
            dev.SKIPPED,
            "Max retries exceeded",
        ),
        ("", "503 Server Error: Service Unavailable for url", dev.SKIPPED, "Skipped: "),
        ("", "error: unrecognized arguments: --nonsense", 1, "unrecognized arguments"),
        ("", "", 1, ""),
    ],
)
def test_an_audit_fails_for_a_vulnerability_and_is_skipped_without_an_answer(
    capsys: pytest.CaptureFixture[str], printed: str, errors: str, status: int, said: str
) -> None:
    assert audit.judge(printed, errors) == status
    output = capsys.readouterr()
    assert said in output.out + output.err


@pytest.mark.parametrize(
    ("tag", "changelog", "result"),
    [
        ("", "## [Unreleased]\n", "which CHANGELOG.md calls Unreleased"),
        ("", "## [Unreleased]\n\n## [1.1.0] - 2026-01-31\n", "which CHANGELOG.md calls Unreleased"),
        ("", "## [1.2.0] - 2026-01-31\n", "1.2.0 of 2026-01-31"),
        ("v1.2.0", "## [1.2.0] - 2026-01-31\n\n## [1.1.0] - 2026-01-30\n", "1.2.0 of 2026-01-31"),
    ],
)
def test_a_version_that_agrees_with_tag_and_changelog(tag: str, changelog: str, result: str) -> None:
    assert result in release.compare_versions("1.2.0", tag, changelog)


@pytest.mark.parametrize(
    ("tag", "changelog", "problem"),
    [
        ("v1.2.1", "## [1.2.0] - 2026-01-31\n", "the tag v1.2.1 is not v1.2.0"),
        ("1.2.0", "## [1.2.0] - 2026-01-31\n", "the tag 1.2.0 is not v1.2.0"),
        ("v1.2.0", "## [Unreleased]\n", "no heading for 1.2.0; its newest is missing"),
        ("v1.2.0", "## [Unreleased]\n\n## [1.1.0] - 2026-01-31\n", "its newest is 1.1.0"),
        ("v1.2.0", "## [1.2.0]\n", "has no date"),
        ("", "## [1.1.0] - 2026-01-31\n", "no heading for 1.2.0"),
        ("", "", "no heading for 1.2.0"),
        ("", "## [Unreleased]\n\n## [1.2.0] - 2026-01-31\n", "1.2.0 is released: set the next version"),
    ],
)
def test_a_version_that_disagrees_with_tag_or_changelog(tag: str, changelog: str, problem: str) -> None:
    with pytest.raises(release.NotReadyError, match=problem):
        release.compare_versions("1.2.0", tag, changelog)


def test_the_changelog_of_this_repository_agrees_with_the_version() -> None:
    steps = dict(release.STEPS)
    assert list(steps["version and changelog agree"](release.Release("a", project_version(), "")))


def test_a_rehearsal_ends_at_the_first_step_that_does_not_hold(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(release, "_git", lambda *_: " M cf_images/conf.py")
    assert release.main(["--rehearse"]) == 1
    output = capsys.readouterr()
    assert "not ready: these files are not committed:\n   M cf_images/conf.py" in output.err
    assert "changelog" not in output.out


def test_a_rehearsal_that_goes_well_says_what_a_person_does_next(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(release, "STEPS", [("nothing", lambda _: iter(["fine"]))])
    assert release.main(["--rehearse"]) == 0
    assert f"git tag -s v{project_version()}" in capsys.readouterr().out
    assert release.main(["--rehearse", "--tag", "v1"]) == 0
    assert "git tag" not in capsys.readouterr().out


def test_there_is_no_release_without_a_rehearsal(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        release.main([])
    assert "--rehearse" in capsys.readouterr().err


def test_two_builds_that_differ_are_no_release(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def built(folder: Path, _: object) -> list[Path]:
        folder.mkdir()
        made = folder / "a.whl"
        made.write_text(folder.name)
        return [made]

    monkeypatch.setattr(release, "DIST", tmp_path / "dist")
    monkeypatch.setattr(release, "_build_in", built)
    with pytest.raises(release.NotReadyError, match="two builds of the same commit differ"):
        list(release.build(release.Release("a", "1", "")))


@pytest.mark.parametrize(
    ("names", "problems"),
    [
        (PACKAGE, []),
        ([*PACKAGE[1:]], ["the wheel lacks cf_images/__init__.py"]),
        ([*PACKAGE, "tests/test_a.py"], ["the wheel has tests/test_a.py, which is not of the package"]),
    ],
)
def test_a_wheel_has_the_package_and_nothing_else(
    tmp_path: Path, names: list[str], problems: list[str]
) -> None:
    assert list(contents.wheel_problems(wheel(tmp_path, names), TRACKED)) == problems


@pytest.mark.parametrize("kind", contents.NEEDED)
def test_a_wheel_needs_each_kind_of_file(tmp_path: Path, kind: str) -> None:
    folder = kind.rpartition("/")[0] + "/"
    names = [
        name for name in PACKAGE if not (name == kind or (folder != "cf_images/" and name.startswith(folder)))
    ]
    assert list(contents.wheel_problems(wheel(tmp_path, names), names)) == [f"the wheel has no {kind}"]


def test_a_wheel_has_the_compiled_form_of_each_catalog(tmp_path: Path) -> None:
    catalog = "cf_images/locale/de/LC_MESSAGES/django"
    names = [*PACKAGE, f"{catalog}.po"]
    assert list(contents.wheel_problems(wheel(tmp_path, names), names)) == [f"the wheel lacks {catalog}.mo"]
    names.append(f"{catalog}.mo")
    assert list(contents.wheel_problems(wheel(tmp_path, names), names)) == []


def test_an_sdist_has_everything_that_is_committed(tmp_path: Path) -> None:
    names = [name for name in TRACKED if not name.startswith(".github/")]
    assert list(contents.sdist_problems(sdist(tmp_path, [*names, "PKG-INFO"]), TRACKED)) == []
    wrong = [*names[:-1], "PKG-INFO", "secrets.env"]
    assert list(contents.sdist_problems(sdist(tmp_path, wrong), TRACKED)) == [
        "the sdist lacks pyproject.toml",
        "the sdist has secrets.env, which is not committed",
    ]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("", "", ""),
        ("Provides-Extra: heic\n", "Provides-Extra: heic\nProvides-Extra: test\n", "the extras are"),
        ("Requires-Python: >=3.11\n", "Requires-Python: >=3.9\n", "it requires Python >=3.9"),
        ("Source, https://a", "Source, https://b", "the URLs are"),
        ("](https://a.example/b)", "](docs/b.md)", "the description links to docs/b.md"),
        ("Version: 1.0\n", "Version: one\n", "metadata: "),
    ],
)
def test_metadata_is_what_an_index_accepts_and_the_build_file_says(old: str, new: str, problem: str) -> None:
    found = list(contents.metadata_problems(METADATA.replace(old, new).encode(), PROJECT))
    assert len(found) == bool(problem)
    assert not problem or problem in found[0]


def project_version() -> str:
    """Return the version in the build file."""
    return str(
        release.tomllib.loads((dev.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    )


def wheel(folder: Path, names: list[str]) -> Path:
    """Return a wheel with these files."""
    path = folder / "a.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in [*names, "a-1.dist-info/METADATA"]:
            archive.writestr(name, "")
    return path


def sdist(folder: Path, names: list[str]) -> Path:
    """Return an sdist with these files."""
    path = folder / "a.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(f"a-1/{name}"), io.BytesIO())
    return path
