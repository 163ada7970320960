"""Worker processes claim rows of one table at the same time: each row goes to one of them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.background import databases
from tests.chaos.processes import Site

pytestmark = pytest.mark.timeout(400)

ROWS, WORKERS = 200, 4


@pytest.mark.parametrize("database", databases.ONE_OF_EACH)
def test_each_row_is_claimed_once(tmp_path: Path, database: databases.Database) -> None:
    huey = {"huey_class": "huey.MemoryHuey"}
    with database(tmp_path) as chosen, Site(tmp_path, database=chosen, huey=huey) as site:
        site.run("visitors", "1", str(ROWS))
        signal = tmp_path / "signal"
        workers = [site.start("claim", str(signal), output=subprocess.PIPE).stdout for _ in range(WORKERS)]
        assert [worker and json.loads(worker.readline()) for worker in workers] == [{"ready": True}] * WORKERS
        signal.touch()
        claimed = [json.loads(worker.read())["claimed"] for worker in workers if worker]
        assert sorted(pk for rows in claimed for pk in rows) == list(range(1, ROWS + 1))
        assert site.ask("pending") == {"pending": ROWS, "leased": ROWS}
        assert sum(map(bool, claimed)) > 1, "one worker alone proves nothing"
