"""Start, ask and kill the processes of the site, and leave none running."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Self

ROOT = Path(__file__).resolve().parent.parent.parent
POLL = 0.05  # seconds
_SETTINGS = {"DJANGO_SETTINGS_MODULE": "tests.chaos.settings"}
# Not measured by coverage.py: dozens of processes would start and work half as fast.
_COVERAGE = ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")


class Site:
    """Processes that share a database, a queue and an emulator; ``haste`` divides all durations.

    ``api_rate`` is the setting; ``edge_rate`` the requests that the emulator allows, and in how many seconds;
    ``batch_rate`` those that it allows a batch token in a second; by default any. It writes when each request
    to the batch host came to the file ``arrivals``.
    Each process writes a log in ``folder``; local files are in ``media`` in it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        database: Any,
        huey: Any,
        haste: float = 1,
        api_rate: Any = None,
        edge_rate: tuple[int, float] | None = None,
        batch_rate: int | None = None,
    ) -> None:
        self.folder, self.media, self.arrivals = folder, folder / "media", folder / "arrivals"
        self.api_rate, self.edge_rate, self.batch_rate = api_rate, edge_rate, batch_rate
        self.database, self.huey, self.haste = database, huey, haste
        self.options: dict[str, Any] = {}
        self._started: list[subprocess.Popen[str]] = []
        self._auditor: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        try:
            self._start_emulator()
            self.run("migrate", "--run-syncdb", "--verbosity", "0")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill the processes that still run."""
        for process in self._started:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    pipe.close()

    def start(
        self, *command: str, module: str = "tests.chaos", output: int | IO[str] = subprocess.DEVNULL
    ) -> subprocess.Popen[str]:
        """Start ``python -m module command``, which ends with this process and writes its errors to a log."""
        log = self.folder / f"{command[0]}-{len(self._started)}.log"
        inherited = {name: value for name, value in os.environ.items() if name not in _COVERAGE}
        with log.open("w") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *command],
                cwd=ROOT,
                env={**inherited, "CF_IMAGES_SITE": self._settings(), **_SETTINGS},
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=errors,
                text=True,
            )
        self._started.append(process)
        return process

    def run(self, *command: str, module: str = "tests.chaos") -> str:
        """Run a command to its end and return its standard output."""
        process = self.start(*command, module=module, output=subprocess.PIPE)
        output = process.stdout.read() if process.stdout else ""
        if status := process.wait():
            raise RuntimeError(f"{' '.join(command)} ended with status {status}; {self.last_lines()}")
        return output

    def ask(self, *question: str) -> dict[str, Any]:
        """Return the reply of ``audit`` to a question."""
        if self._auditor is None:
            self._auditor = self.start("audit", output=subprocess.PIPE)
        assert self._auditor.stdin
        assert self._auditor.stdout
        self._auditor.stdin.write(" ".join(question) + "\n")
        self._auditor.stdin.flush()
        reply = self._auditor.stdout.readline()
        if not reply:
            raise RuntimeError(f"The auditor ended; {self.last_lines()}")
        return dict(json.loads(reply))

    def wait_for(self, what: str, is_done: Callable[[], object], *, seconds: float) -> None:
        """Return once ``is_done``; raise ``TimeoutError`` with the end of the logs after ``seconds``."""
        deadline = time.monotonic() + seconds
        while not is_done():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what} takes more than {seconds:g} seconds; {self.last_lines()}")
            time.sleep(POLL)

    def wait_until_idle(self, *, seconds: float) -> None:
        """Return once no row is pending or deleting."""
        self.wait_for("Processing all", lambda: not self.ask("pending")["pending"], seconds=seconds)

    def set_faults(self, **faults: Any) -> None:
        """Set the faults of the emulator."""
        self._control("PUT", "faults", faults)

    def counters(self) -> dict[str, Any]:
        """Return the counters of the emulator."""
        return self._control("GET", "counters")

    def last_lines(self, count: int = 5) -> str:
        """Return the end of every log that is not empty."""
        logs = {log.name: log.read_text().splitlines()[-count:] for log in self.folder.glob("*.log")}
        return "\n    ".join(line for name, lines in logs.items() if lines for line in [f"{name}:", *lines])

    def _settings(self) -> str:
        return json.dumps(
            {
                "database": self.database,
                "huey": self.huey,
                "haste": self.haste,
                "options": self.options,
                "api_rate": self.api_rate,
                "media": str(self.media),
            }
        )

    def _start_emulator(self) -> None:
        limits: dict[str, Any] = {"batch_rate": self.batch_rate}
        if self.edge_rate:
            limits["api_rate"], limits["api_window"] = self.edge_rate
        emulator = self.start("emulator", json.dumps(limits), str(self.arrivals), output=subprocess.PIPE)
        output = emulator.stdout.readline() if emulator.stdout else ""
        if not output:
            raise RuntimeError(f"The emulator did not start; {self.last_lines()}")
        self.options = json.loads(output)

    def _control(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self.options['delivery_url']}/__emulator__/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            return dict(json.load(response))
