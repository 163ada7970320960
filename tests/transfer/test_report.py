"""What was left behind: in words, and in a file."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from cf_images.transfer.report import FileProblem, Problems, written_to

NAMES = ["a.png", 'sub/a "b", c.png', "a\nb.png", "Café 中文.png", "  a.png ", "a\0b.png", "\udc80.png"]


def problem(name: str, reason: str = "The file is empty.") -> FileProblem:
    return FileProblem(field="app.Photo.file", name=name, reason=reason)


def report(path: Path, names: list[str]) -> None:
    with written_to(str(path)) as write:
        assert write is not None
        for name in names:
            write(problem(name))


@pytest.mark.parametrize("suffix", ["jsonl", "ndjson", "JSONL"])
def test_json_lines_have_an_object_for_each_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"report.{suffix}"
    report(path, NAMES)
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    assert [line["name"] for line in found[:-1]] == NAMES[:-1]
    assert found[0] == {"field": "app.Photo.file", "name": "a.png", "reason": "The file is empty."}


def test_csv_has_a_row_for_each_file(tmp_path: Path) -> None:
    path = tmp_path / "report.csv"
    report(path, NAMES)
    with path.open(encoding="utf-8", newline="") as file:
        found = list(csv.reader(file))
    assert found[0] == ["field", "name", "reason"]
    assert found[1] == ["app.Photo.file", "a.png", "The file is empty."]
    assert [row[1] for row in found[1:-1]] == NAMES[:-1]


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@a", "\t=1", "\r=1", "\n=1", "  =1", "\uff1d1"])
def test_no_name_is_a_formula_in_a_spreadsheet(tmp_path: Path, name: str) -> None:
    path = tmp_path / "report.csv"
    report(path, [name])
    with path.open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file))[1][1] == f"'{name}"


@pytest.mark.parametrize("name", ["report.txt", "report", "report.json", ".csv"])
def test_another_kind_of_file_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"must end in \.csv or \.jsonl"):
        report(tmp_path / name, [])
    assert not (tmp_path / name).exists()


def test_a_report_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    for path in (tmp_path / "gone" / "report.csv", tmp_path / "folder.csv", Path("a\0.csv")):
        with pytest.raises(ImproperlyConfigured, match="cannot be written: "):
            report(path, [])


def test_without_a_path_there_is_no_report() -> None:
    with written_to(None) as write:
        assert write is None


def test_twenty_lines_are_for_a_person() -> None:
    problems = Problems()
    for number in range(1_234):
        problems.add(problem(f"{number}.png"))
    lines = list(problems.lines())
    assert len(lines) == 21
    assert lines[0] == "'0.png' (app.Photo.file): The file is empty."
    assert lines[-1] == "… and 1,214 more: --report FILE lists all"


def test_a_report_has_all_lines(tmp_path: Path) -> None:
    path = tmp_path / "report.csv"
    with written_to(str(path)) as write:
        problems = Problems(write)
        for number in range(30):
            problems.add(problem(f"{number}.png"))
    assert len(path.read_text().splitlines()) == 31
    assert list(problems.lines())[-1] == "… and 10 more"
    assert problems.count == 30
