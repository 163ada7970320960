"""A process of the site: see the modules beside this one, or a command of ``manage.py``.

Standard input is a pipe from whoever started it: when that ends, however it does, so does this.
"""

from __future__ import annotations

import json
import os
import sys
import threading

import django
from django.core.management import execute_from_command_line


def main() -> None:
    """Run one command."""
    command, arguments = sys.argv[1], sys.argv[2:]
    if command == "audit":
        django.setup()
        from benchmarks.site import audit

        audit.main()  # it reads its questions from standard input, and ends with it, too
        return
    _end_with_parent()
    if command == "emulator":
        _emulator()
    elif command in ("visitors", "sweep", "claim"):
        django.setup()
        from benchmarks.site import visitors

        getattr(visitors, command)(*arguments)
    elif command == "measure":
        django.setup()
        from benchmarks.site import measuring

        print(json.dumps(getattr(measuring, arguments[0])(*arguments[1:])))
    else:
        execute_from_command_line(["manage.py", command, *arguments])


def _emulator() -> None:
    """Tell how to reach it, as options of a storage, and serve until the parent ends."""
    from cf_images.emulator import Emulator

    options = ("account_id", "api_token", "account_hash", "api_url", "delivery_url")
    with Emulator() as emulator:
        print(json.dumps({name: getattr(emulator, name) for name in options}), flush=True)
        threading.Event().wait()


def _end_with_parent() -> None:
    def wait() -> None:
        while os.read(0, 1024):  # nobody writes
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    main()
