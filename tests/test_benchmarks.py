"""The benchmarks that no other test runs still run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos import servers

ROOT = Path(__file__).parent.parent


@pytest.mark.timeout(400)
def test_benchmark_of_a_backlog_runs_on_each_database() -> None:
    command = [sys.executable, "-m", "benchmarks", "backlog", "--rows", "2000"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for database in ("PostgreSQL", "MariaDB", "SQLite"):
        rows = [line for line in done.stdout.splitlines() if line.startswith(f"| {database} |")]
        assert len(rows) == 9 or (database != "SQLite" and servers.refusal(database))


def test_benchmark_of_orphans_finds_all_of_them() -> None:
    command = [sys.executable, "-m", "benchmarks", "orphans", "--rows", "2000"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| 2,000 | 2,000 |" in done.stdout


@pytest.mark.timeout(400)
def test_benchmark_of_transfers_loses_nothing_out_and_back() -> None:
    command = [sys.executable, "-m", "benchmarks", "transfers", "--rows", "300", "--images", "60"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    for threads in (1, 4, 16):
        assert [line for line in lines if line.startswith(f"| 60 | {threads} | ")]
    assert [line for line in lines if line.startswith("| 300 | ") and "≤ 50 MB | yes" in line]
    assert [line for line in lines if line.startswith("| 60 | 0 | yes | ")], "a file or the database differs"
    assert [line for line in lines if "| ≤ 200 | yes | 0 |" in line], "too many requests in a second"


@pytest.mark.parametrize("rows", ["0", "-5", "many"])
def test_wrong_number_of_rows_is_named(rows: str) -> None:
    command = [sys.executable, "-m", "benchmarks", "backlog", f"--rows={rows}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert rows in done.stderr
