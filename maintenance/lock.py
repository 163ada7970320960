"""Write ``requirements/*.txt``: the versions of each setup of ``dev.py``, for all Pythons and platforms.

The files name no index, so that pip takes these versions from whichever index it uses.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

import dev

OLDEST_PYTHON = "3.11"
COMPILE = (
    *("-m", "uv", "pip", "compile", "pyproject.toml", "--quiet"),
    *("--universal", "--python-version", OLDEST_PYTHON, "--generate-hashes"),
    *("--no-emit-index-url", "--no-emit-find-links"),
)


def main(arguments: list[str]) -> int:
    """Write the files, the largest first; return the exit status."""
    parser = argparse.ArgumentParser(prog="dev.py lock", description=__doc__)
    parser.add_argument("--upgrade", action="store_true", help="the newest versions, not those of the files")
    upgrade = ["--upgrade"] if parser.parse_args(arguments).upgrade else []
    largest, *others = reversed(dev.SETUPS)
    status = write(largest, *upgrade)
    for name in others:  # their versions are those of the largest
        status = status or write(name, "--upgrade", "--constraint", str(dev.lock_file(largest)))
    return status


def write(name: str, *options: str) -> int:
    """Write the file of a setup; return the exit status of uv."""
    extras, groups = dev.SETUPS[name]
    output = dev.lock_file(name)
    chosen = [*(f"--extra={extra}" for extra in extras), *(f"--group={group}" for group in groups)]
    command = [sys.executable, *COMPILE, *chosen, *options, f"--output-file={output.relative_to(dev.ROOT)}"]
    said = {"UV_CUSTOM_COMPILE_COMMAND": "python3 dev.py lock"}  # in the head of the file
    return subprocess.run(command, cwd=dev.ROOT, env={**os.environ, **said}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
