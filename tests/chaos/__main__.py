"""Run one process of the site: a module of this package, or a command of ``manage.py``.

Standard input is a pipe from the parent process. When the pipe closes, this process ends.
"""

from __future__ import annotations

import json
import os
import sys
import threading

import django
from django.core.management import execute_from_command_line


def main() -> None:
    """Run the command of the arguments."""
    command, arguments = sys.argv[1], sys.argv[2:]
    if command == "audit":
        django.setup()
        from tests.chaos import audit

        audit.main()  # it reads its questions from standard input, and ends when that closes
        return
    end_with_parent()
    if command == "emulator":
        _emulator(*arguments)
    elif command == "serve":
        django.setup()
        from tests.chaos import web

        web.serve(*arguments)
    elif command in ("visitors", "sweep", "claim", "own_tasks", "pause"):
        django.setup()
        from tests.chaos import visitors

        getattr(visitors, command)(*arguments)
    else:
        execute_from_command_line(["manage.py", command, *arguments])


def end_with_parent() -> None:
    """Exit as soon as standard input closes, even if the parent was killed."""

    def wait() -> None:
        while os.read(0, 1024):  # nothing is ever written to it
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _emulator(rate: str = "", window: str = "1") -> None:
    """Write how to reach the emulator, as options of a storage, and serve until the parent ends.

    ``rate`` is how many requests it allows in a ``window`` of seconds.
    """
    from cf_images.emulator import Emulator
    from cf_images.emulator.limits import Limits

    options = ("account_id", "api_token", "account_hash", "api_url", "delivery_url")
    limits = Limits(api_rate=int(rate), api_window=float(window)) if rate else Limits()
    with Emulator(limits=limits) as emulator:
        sys.stdout.write(json.dumps({name: getattr(emulator, name) for name in options}) + "\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main()
