"""A web server of the site, with a thread for each request."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from django.core.wsgi import get_wsgi_application
from werkzeug.serving import make_server

from cf_images import rendering


def serve(renderings: str, signal: str) -> None:
    """Write the port to standard output, and serve until the parent ends.

    Each rendering adds a line to the file ``renderings``, and then waits for the file ``signal``.
    """
    real = rendering.render

    def render(*args: Any, **options: Any) -> Any:
        with Path(renderings).open("a") as file:
            file.write(f"{os.getpid()}\n")
        while not os.path.exists(signal):
            time.sleep(0.001)
        return real(*args, **options)

    rendering.render = render
    server = make_server("127.0.0.1", 0, get_wsgi_application(), threaded=True)
    sys.stdout.write(f"{server.port}\n")
    sys.stdout.flush()
    server.serve_forever()
