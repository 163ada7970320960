"""The page of figures has what the benchmarks have left, and nothing else; a run can be interrupted."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import figures
from benchmarks.figures import RUNS, Comparison, Result, Run

README = (figures.ROOT / "README.md").read_text(encoding="utf-8")
FAKE = '''"""A benchmark of ``nothing``."""
import json, os, sys

def main():
    print("| what | figure |\\n| --- | --- |\\n| nothing | 0 ms |")
    with open(os.environ["BENCHMARKS_COMPARISONS"], "a") as file:
        print(json.dumps({"name": "nothing", "rival": "less", "ratio": 2.0, "peer": True}), file=file)
    sys.exit(3 if "--fail" in sys.argv else 0)
'''


def result(words: str, *comparisons: Comparison, **changes: object) -> Result:
    made = Result(
        words=words,
        title=f"Title of {words}",
        about="How it is measured.",
        date="2026-01-02",
        machine="a machine",
        versions={"Python": "3.99"},
        output="| a | b |\n| --- | --- |\n| one | 1 ms |",
        seconds=3.0,
        load=0.5,
        comparisons=list(comparisons),
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # each test names fields of it


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one benchmark, which takes no time; return its folder of results."""
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks/__init__.py").touch()
    (tmp_path / "benchmarks/nothing.py").write_text(FAKE)
    runs = (
        Run(words="nothing", title="Nothing", minutes=7),
        Run(words="nothing --fail", title="Failing", minutes=1),
        Run(words="nothing --long", title="Long", minutes=90, wanted=False),
    )
    monkeypatch.setattr(figures, "ROOT", tmp_path)
    monkeypatch.setattr(figures, "RUNS", runs)
    return tmp_path / "results"


def make(folder: Path, names: list[str] | None = None) -> list[str]:
    runs = figures.chosen(names, folder)
    return figures.make(runs, folder=folder, page=folder.parent / "figures.md", say=lambda _: None)


def test_page_is_that_of_the_results() -> None:
    assert figures.PAGE.read_text(encoding="utf-8") == figures.page_of(figures.results())


def test_every_result_is_on_the_page() -> None:
    known = {run.file_name for run in RUNS}
    assert {path.name for path in figures.RESULTS.glob("*")} <= known


def test_every_number_of_a_table_is_in_a_result() -> None:
    kept = "\n".join(path.read_text(encoding="utf-8") for path in figures.RESULTS.glob("*.json"))
    page = figures.PAGE.read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.startswith("|") and not line.startswith("| ---")]
    for number in set(re.findall(r"\d+(?:[.,]\d+)*", "\n".join(lines))):
        assert number in kept or number.rstrip("0").rstrip(".") in kept or f"{float(number):g}" in kept


def test_what_the_readme_says_of_figures_is_on_the_page() -> None:
    page = figures.PAGE.read_text(encoding="utf-8")
    paragraphs = [text for text in re.split(r"\n\s*\n", README) if "docs/figures.md" in text]
    for number, unit in re.findall(r"(\d[\d.,]*) ?(µs|ms|×|images/s)", "\n".join(paragraphs)):
        assert f"{number} {unit}" in page


def test_every_run_is_a_benchmark() -> None:
    folder = Path(figures.__file__).parent
    assert len({run.file_name for run in RUNS}) == len(RUNS)
    for run in RUNS:
        assert (folder / f"{run.benchmark}.py").exists(), run.words


def test_every_benchmark_is_on_the_page() -> None:
    help_text = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--help"], capture_output=True, text=True, check=True
    ).stdout
    listed = re.findall(r"^  (\w+)  +\S", help_text.partition("run by default:")[2], re.M)
    assert set(listed) == {run.benchmark for run in RUNS}


def test_slower_comes_first_and_other_packages_before_bare_loops() -> None:
    page = figures.page_of(
        [
            result(
                "saving",
                Comparison(name="quick", rival="peer", ratio=0.5),
                Comparison(name="slow", rival="peer", ratio=1.5),
                Comparison(name="slowest", rival="peer", ratio=1.7),
                Comparison(name="slow beside nothing", rival="loop", ratio=3, peer=False),
                Comparison(name="alike", rival="peer", ratio=1.04),
            )
        ]
    )
    names = ("slowest", "slow", "slow beside nothing", "quick", "alike")
    places = [page.index(f"| {name} |") for name in names]
    assert places == sorted(places)
    assert places[2] < page.index("as fast, or faster") < places[3]


def test_page_says_what_was_carried_over() -> None:
    page = figures.page_of([result("saving", carried="from a letter"), result("memory")])
    saving, memory = page.index("Title of saving"), page.index("Title of memory")
    assert "**carried over**: from a letter" in page[saving:memory]
    assert "carried over" not in page[memory:]


def test_page_names_the_machine_of_each_result_where_they_differ() -> None:
    page = figures.page_of([result("saving"), result("memory", machine="another")])
    assert "1. a machine, Python 3.99" in page
    assert "2. another, Python 3.99" in page
    assert "; machine 2;" in page[page.index("Title of memory") :]


def test_a_run_leaves_its_tables_and_comparisons(fake: Path) -> None:
    assert make(fake, ["nothing"]) == []
    (found,) = figures.results(fake)
    assert "| nothing | 0 ms |" in found.output
    assert found.about == "A benchmark of `nothing`."
    assert found.comparisons == [Comparison(name="nothing", rival="less", ratio=2.0)]
    assert "Python" in found.versions
    assert "| nothing | less | 2.00 × |" in (fake.parent / "figures.md").read_text()


def test_a_run_that_fails_leaves_nothing_and_the_others_go_on(fake: Path) -> None:
    assert make(fake, ["nothing --fail", "nothing"]) == ["nothing --fail"]
    assert [found.words for found in figures.results(fake)] == ["nothing"]


def test_the_same_command_continues_with_what_is_missing(fake: Path) -> None:
    make(fake, ["nothing"])
    assert [run.words for run in figures.chosen(None, fake)] == ["nothing --fail"]


def test_what_was_carried_over_is_measured(fake: Path) -> None:
    result("nothing", carried="from a letter").write(fake, "nothing.json")
    assert "nothing" in [run.words for run in figures.chosen(None, fake)]


def test_a_named_run_is_made_again(fake: Path) -> None:
    result("nothing", output="old").write(fake, "nothing.json")
    make(fake, ["nothing"])
    assert json.loads((fake / "nothing.json").read_text())["output"] != "old"


def test_unknown_run_is_named(fake: Path) -> None:
    with pytest.raises(ValueError, match="'something'"):
        figures.chosen(["something"], fake)


def test_estimate_is_the_last_duration_or_a_guess(fake: Path) -> None:
    guessed, other, _ = figures.RUNS
    result("nothing --fail", seconds=120.0).write(fake, other.file_name)
    assert figures.minutes([guessed, other], fake) == 7 + 2


def test_estimate_of_the_command_runs_nothing() -> None:
    command = [
        sys.executable,
        "-m",
        "benchmarks",
        "--page",
        "--estimate",
        "--only",
        "saving",
        "draining --long",
    ]
    done = subprocess.run(command, cwd=figures.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "draining --long" in done.stdout
    assert "in all" in done.stdout


@pytest.mark.parametrize("arguments", [["--only", "saving"], ["--page", "--only", "something"]])
def test_wrong_arguments_are_errors(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    done = subprocess.run(command, cwd=figures.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "--page" in done.stderr or "'something'" in done.stderr
