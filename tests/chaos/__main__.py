"""Run one process of the site: a module of this package, or a command of ``manage.py``.

Standard input is a pipe from the parent process. When the pipe closes, this process ends.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import TYPE_CHECKING

import django
from django.core.management import execute_from_command_line

if TYPE_CHECKING:
    from cf_images.emulator.app import LoggedRequest


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
    elif command == "library":
        django.setup()
        from tests.chaos import library

        library.library(*arguments)
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


def _emulator(limits: str, arrivals: str) -> None:
    """Write how to reach the emulator, as options of a storage, and serve until the parent ends.

    ``limits`` are those of the account, as JSON; the file ``arrivals`` gets the moment of each request to the
    batch host, in seconds.
    """
    from cf_images.emulator import Emulator
    from cf_images.emulator.app import BATCH_PREFIX
    from cf_images.emulator.limits import Limits

    options = ("account_id", "api_token", "account_hash", "api_url", "delivery_url")
    with (
        open(arrivals, "w", buffering=1) as moments,
        Emulator(limits=Limits(**json.loads(limits))) as emulator,
    ):

        def note(logged: LoggedRequest, seconds: float) -> None:
            if logged.path.startswith(BATCH_PREFIX):
                moments.write(f"{time.monotonic() - seconds:.6f}\n")

        emulator.app.on_request = note
        found = {name: getattr(emulator, name) for name in options} | {"batch_url": emulator.url}
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main()
