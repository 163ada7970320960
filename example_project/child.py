"""Runs a module as ``python -m`` does, and ends when whoever started it has gone, however that happened."""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading


def main() -> None:
    """``python -m example_project.child MODULE ARGS``; standard input is a pipe from the parent."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _end_with_parent() -> None:
    while os.read(0, 1024):  # nobody writes; the pipe ends with the parent, even after kill -9
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
