"""Workers of several processes meet the same outage: one of them writes the line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SETTINGS = """
from tests.settings import *
DATABASES = {"default": {
    "ENGINE": "django.db.backends.sqlite3", "NAME": FILE,
    "OPTIONS": {"init_command": "PRAGMA journal_mode=WAL", "transaction_mode": "IMMEDIATE", "timeout": 20},
}}
"""
# Each process says that it is ready, waits for a line, and finds the account refusing it.
WORKER = """
import sys, django
django.setup()
from cf_images.background import circuit_breaker
admission = circuit_breaker.admit("account")
print("ready", flush=True)
sys.stdin.readline()
circuit_breaker.{outcome}
"""


@pytest.mark.parametrize(
    "outcome",
    ["rate_limited(admission, retry_after=30)", 'credentials_refused(admission, "Authentication error")'],
)
def test_workers_of_four_processes_write_one_line(tmp_path: Path, outcome: str) -> None:
    (tmp_path / "outage_settings.py").write_text(SETTINGS.replace("FILE", repr(str(tmp_path / "db"))))
    path = os.pathsep.join([str(ROOT), str(tmp_path)])
    environment = {**os.environ, "PYTHONPATH": path, "DJANGO_SETTINGS_MODULE": "outage_settings"}
    migrate = [sys.executable, "-m", "django", "migrate", "-v0", "--skip-checks"]
    subprocess.run(migrate, env=environment, check=True, timeout=100)
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER.format(outcome=outcome)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for worker in workers:
        assert worker.stdout
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin
        worker.stdin.write("\n")
        worker.stdin.flush()
    logged = [line for worker in workers for line in worker.communicate(timeout=100)[1].splitlines()]
    assert [worker.returncode for worker in workers] == [0] * 4, logged
    assert len(logged) == 1
    assert "are paused until " in logged[0]
