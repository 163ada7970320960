"""The files around the code: workflows, locked versions, links, and what PyPI shows."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import dev
from maintenance import lock
from tests.chaos import servers
from tests.test_packaging import tox_environments

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
FORGE = ROOT / ".github"
WORKFLOWS = {
    path.name: path.read_text(encoding="utf-8") for path in sorted((FORGE / "workflows").glob("*.yml"))
}
JOBS = [
    pytest.param(job, id=f"{name} {key}")
    for name, text in WORKFLOWS.items()
    for key, job in yaml.safe_load(text)["jobs"].items()
]
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PORTS = {
    "PostgreSQL": ("postgres", "5432:5432"),
    "MariaDB": ("mariadb", "3306:3306"),
    "Redis": ("redis", "6379:6379"),
}


def used() -> Iterator[str]:
    """Yield every action that a workflow uses, as it is written, with the comment."""
    for text in WORKFLOWS.values():
        yield from re.findall(r"^\s*(?:- )?uses: (.+)$", text, re.MULTILINE)


def test_each_action_is_pinned_to_a_commit_and_the_same_one_everywhere() -> None:
    actions = [action for action in used() if action != "./.github/workflows/ci.yml"]
    assert actions
    assert [action for action in actions if not PINNED.fullmatch(action)] == []
    assert len(set(actions)) == len({action.partition("@")[0] for action in actions})


@pytest.mark.parametrize("job", JOBS)
def test_no_job_runs_text_that_a_stranger_can_write(job: dict[str, Any]) -> None:
    """An expression in ``run`` is pasted into the script: a branch may be named ``$(…)``."""
    assert [step["run"] for step in job.get("steps", []) if "${{" in step.get("run", "")] == []


@pytest.mark.parametrize("job", JOBS)
def test_each_job_has_an_end(job: dict[str, Any]) -> None:
    assert "uses" in job or job["timeout-minutes"] <= 120


@pytest.mark.parametrize("text", WORKFLOWS.values(), ids=WORKFLOWS)
def test_permissions_are_minimal(text: str) -> None:
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] in ({}, {"contents": "read"})
    for name, job in workflow["jobs"].items():
        extra = {"id-token": "write"} if name == "publish" else {"contents": "read"}
        assert job.get("permissions", {}) in ({}, extra)
        if name != "publish" and "steps" in job:
            first = job["steps"][0]
            assert first["uses"].startswith("actions/checkout@")
            assert first["with"] == {"persist-credentials": False}
    assert "secrets." not in text
    assert "pull_request_target" not in text


def test_ci_runs_what_a_developer_runs() -> None:
    jobs = yaml.safe_load(WORKFLOWS["ci.yml"])["jobs"]
    assert jobs["all"]["steps"][-1] == {"run": ".ci/run"}
    for server in servers._CONNECT:
        service, port = PORTS[server]
        assert jobs["all"]["services"][service]["ports"] == [port]


def test_the_workflow_and_ci_run_environments_of_tox() -> None:
    environments = set(expanded(tox_environments()))
    include = yaml.safe_load(WORKFLOWS["ci.yml"])["jobs"]["tox"]["strategy"]["matrix"]["include"]
    assert {each["environment"] for each in include} == environments
    assert all(each["environment"].startswith(f"py{each['python'].replace('.', '')}-") for each in include)
    ci = re.search(r"for combination in ([^;]+);", (ROOT / ".ci/run").read_text(encoding="utf-8"))
    assert ci
    assert set(ci[1].split()) < environments


def test_a_release_is_tested_built_by_the_rehearsal_and_then_published_without_a_token() -> None:
    jobs = yaml.safe_load(WORKFLOWS["release.yml"])["jobs"]
    assert set(jobs["publish"]["needs"]) == {"ci", "build"}
    assert jobs["publish"]["environment"]["name"] == "pypi"
    runs = [step.get("run", "") for step in jobs["build"]["steps"]]
    assert 'python3 dev.py release --rehearse --tag "$GITHUB_REF_NAME"' in runs
    upload = jobs["publish"]["steps"][-1]
    assert upload["uses"].startswith("pypa/gh-action-pypi-publish@")
    assert upload["with"] == {"attestations": True}


def test_the_forms_for_issues_are_complete() -> None:
    for path in sorted((FORGE / "ISSUE_TEMPLATE").glob("*.yml")):
        form = yaml.safe_load(path.read_text(encoding="utf-8"))
        if path.name == "config.yml":
            assert all({"name", "url", "about"} == set(link) for link in form["contact_links"])
            continue
        assert {"name", "description", "body"} <= set(form)
        fields = [field for field in form["body"] if field["type"] != "markdown"]
        assert len({field["id"] for field in fields}) == len(fields)
        assert all(field["attributes"]["label"] for field in fields)
    assert yaml.safe_load((FORGE / "dependabot.yml").read_text(encoding="utf-8"))["version"] == 2


def test_all_links_to_the_repository_have_the_address_in_the_build_file() -> None:
    source = PROJECT["urls"]["Source"]
    owner = re.escape(source.rpartition("/")[0])
    paths = [
        *ROOT.glob("*.md"),
        *FORGE.rglob("*.yml"),
        *(ROOT / "docs").rglob("*.md"),
        ROOT / "pyproject.toml",
    ]
    for path in paths:
        for found in re.findall(rf"{owner}/[\w-]+", path.read_text(encoding="utf-8")):
            assert found == source, path
    assert PROJECT["urls"]["Issues"] == f"{source}/issues"


def test_the_description_on_pypi_has_no_relative_links_and_the_code_of_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = readme
    for each in PYPROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        shown = re.sub(each["pattern"], each["replacement"], shown)
    code = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
    assert code.findall(shown) == code.findall(readme)
    assert re.findall(r"\]\((?!\w+:|#)[^)]+\)", code.sub("", shown)) == []


@pytest.mark.parametrize(
    ("readme", "beginning"),
    [
        ("[a](docs/a.md#b)", "[a](https://github.com/"),
        ("![a](docs/a.png)", "![a](https://raw.githubusercontent.com/"),
        ("[a](#b)", "[a](#b)"),
        ("[a](https://a.example/)", "[a](https://a.example/)"),
        ("[![a](docs/a.png)](docs/a.md)", "[![a](https://raw.githubusercontent.com/"),
    ],
)
def test_links_and_pictures_of_the_readme_become_absolute(readme: str, beginning: str) -> None:
    for each in PYPROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        readme = re.sub(each["pattern"], each["replacement"], readme)
    assert readme.startswith(beginning)
    assert "](docs" not in readme


@pytest.mark.parametrize("setup", dev.SETUPS)
def test_the_lock_has_a_fitting_version_of_everything_for_every_python(setup: str) -> None:
    """If not: ``python3 dev.py lock``."""
    pins = locked(setup)
    extras, groups = dev.SETUPS[setup]
    wanted = [Requirement(line) for line in PROJECT["dependencies"]]
    wanted += [Requirement(line) for extra in extras for line in PROJECT["optional-dependencies"][extra]]
    wanted += [Requirement(line) for group in groups for line in members(group)]
    for python in PYTHONS:
        where = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}
        found: dict[str, list[Requirement]] = {}
        for pin in pins:
            if not pin.marker or pin.marker.evaluate(where):
                found.setdefault(canonicalize_name(pin.name), []).append(pin)
        assert [name for name, each in found.items() if len(each) != 1] == []
        for requirement in wanted:
            if requirement.marker and not requirement.marker.evaluate(where):
                continue
            (pin,) = found.get(canonicalize_name(requirement.name), [None])
            assert pin, f"the lock lacks {requirement}"
            version = str(pin.specifier).removeprefix("==")
            assert requirement.specifier.contains(version), f"{requirement}: the lock has {version}"


def test_the_smaller_lock_is_a_part_of_the_larger() -> None:
    smaller, larger = ({str(pin) for pin in locked(setup)} for setup in ("run", "dev"))
    assert {pin.partition(";")[0].strip() for pin in smaller} <= {
        pin.partition(";")[0].strip() for pin in larger
    }


@pytest.mark.parametrize("setup", dev.SETUPS)
def test_the_lock_names_no_index_and_no_file_of_a_machine(setup: str) -> None:
    text = dev.lock_file(setup).read_text(encoding="utf-8")
    assert "python3 dev.py lock" in text
    for line in text.splitlines():
        assert re.match(
            r"#|    (#|--hash=sha256:[0-9a-f]{64}( \\)?$)|[\w.-]+(\[\w+\])?==[\w.+!-]+( ;.*)? \\$", line
        ), line
    assert "/" not in re.sub(r"#.*", "", text)
    assert "://" not in text


def test_the_lock_is_for_the_oldest_python_and_newer() -> None:
    assert PROJECT["requires-python"] == f">={lock.OLDEST_PYTHON}"


def locked(setup: str) -> list[Requirement]:
    """Return the pins of a setup."""
    lines = dev.lock_file(setup).read_text(encoding="utf-8").splitlines()
    return [Requirement(line.removesuffix("\\").strip()) for line in lines if re.match(r"\w", line)]


def members(group: str) -> Iterator[str]:
    """Yield the requirements of a dependency group, and of those that it includes."""
    for entry in PYPROJECT["dependency-groups"][group]:
        if isinstance(entry, str):
            yield entry
        else:
            yield from members(entry["include-group"])


def expanded(environments: str) -> Iterator[str]:
    """Yield each ``pyXXX-djangoXX`` of an ``env_list``."""
    for line in environments.split():
        if match := re.fullmatch(r"py(?:\{([\d,]+)\}|(\d+))-django(?:\{([\d,]+)\}|(\d+))", line):
            for python in (match[1] or match[2]).split(","):
                yield from (f"py{python}-django{django}" for django in (match[3] or match[4]).split(","))
