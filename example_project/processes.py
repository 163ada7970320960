"""Start the processes of the example, wait until they answer, notice when one ends, and leave none behind."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
GRACE = 15  # seconds to end in; an upload on its way is finished first
POLL = 0.1  # seconds


class DemoError(Exception):
    """What went wrong, in words for the person at the terminal."""


class Child:
    """One process with a log file of its own."""

    def __init__(self, name: str, *command: str, folder: Path) -> None:
        self.name = name
        self.command = command
        self.log = folder / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it in a session of its own, so that Ctrl-C reaches us alone and we end all in order."""
        self.stop()  # what is left of the last one
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "example_project.child", *self.command],
                cwd=ROOT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process ID; 0 when it was never started."""
        return self.process.pid if self.process else 0

    @property
    def is_running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self.process is not None and self.process.poll() is None

    @property
    def has_failed(self) -> bool:
        """Whether it ended by itself and not because somebody ended it by a signal."""
        return self.process is not None and (self.process.poll() or 0) > 0

    @property
    def ending(self) -> str:
        """How it ended, in words."""
        status = self.process.poll() if self.process else None
        return f"killed by signal {-status}" if status is not None and status < 0 else f"status {status}"

    def stop(self) -> None:
        """End it: politely, then not."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdin:
            self.process.stdin.close()

    def last_lines(self, count: int = 15) -> str:
        """The end of its log, with a heading."""
        lines = self.log.read_text(errors="replace").splitlines()[-count:]
        return "\n    ".join([f"The end of {self.log}:", *lines])


class Children:
    """All of them; the emulator alone may be missing for a while, as Cloudflare may."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[Child] = []
        self.optional: Child | None = None

    def start(self, name: str, *command: str) -> Child:
        """Start ``python -m`` with this command."""
        child = Child(name, *command, folder=self._folder)
        child.start()
        self._running.append(child)
        return child

    def toggle_optional(self) -> None:
        """Stop it if it runs, else start it again."""
        if self.optional is not None:
            self.optional.stop() if self.optional.is_running else self.optional.start()

    def check(self) -> None:
        """Raise ``DemoError`` if one has ended that should not have."""
        for child in self._running:
            if child.has_failed or not (child.is_running or child is self.optional):
                raise DemoError(f"The {child.name} has ended ({child.ending}). {child.last_lines()}")

    def wait_for(self, what: str, is_done: Callable[[], object], *, seconds: float = 30) -> None:
        """Return once ``is_done``; ``TimeoutError`` after ``seconds``, ``DemoError`` when a process ends."""
        deadline = time.monotonic() + seconds
        while not is_done():
            self.check()
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"{what} takes more than {seconds:g} seconds; see the logs in {self._folder}"
                )
            time.sleep(POLL)

    def stop(self) -> None:
        """Stop all, the last one first: the worker can still finish with the emulator."""
        for child in reversed(self._running):
            child.stop()

    def last_lines(self) -> str:
        """The end of every log."""
        return "\n".join(child.last_lines() for child in self._running)


def answers(url: str) -> bool:
    """Whether the address answers a request, with whatever status below 500."""
    try:
        with urllib.request.urlopen(url, timeout=10):  # noqa: S310 - our own children
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False


def free_port(wanted: int = 0) -> int:
    """``wanted`` if nobody has it, else any free one."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what has just ended does not count
        try:
            probe.bind((HOST, wanted))
        except OSError:
            return free_port()
        return int(probe.getsockname()[1])


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep a second one out of ``folder``; it is told the address in the file of that name."""
    folder.mkdir(parents=True, exist_ok=True)
    address = folder / "address"
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            where = address.read_text() if address.exists() else "an address that it is about to print"
            raise DemoError(
                f"The example is running already, at {where}. Use that one, stop it with Ctrl-C where it was "
                f"started, or try everything out beside it with --once."
            ) from None
        address.unlink(missing_ok=True)
        yield
