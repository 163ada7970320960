"""The load on the site: visitors who upload and delete, the sweep, and workers that only claim rows."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import sys
import time

from django.db import connection, transaction

from cf_images.background import (
    circuit_breaker,
    delete,
    destinations,
    huey_tasks,
    leases,
    upload_from_file,
    upload_from_url,
)
from tests.chaos.pictures import picture

logger = logging.getLogger("cf_images.background")

ALIAS = "cloudflare_images"
_PRIVATE, _BY_URL, _PRIVATE_BY_URL = 0, 1, 5  # the last digit of the number


def visitors(first: str, count: str, sources: str = "") -> None:
    """Upload ``count`` images, numbered from ``first``, and print each accepted one to standard output.

    ``sources`` is the base URL of a server that has all images by number. With it, a tenth of the uploads is
    private, a tenth comes by URL, a tenth is both, some are deleted again, and some are rolled back. Without
    it, all are public files.
    """
    for number in range(int(first), int(first) + int(count)):
        with transaction.atomic():
            name = _accept(number, sources)
        _print(event="accepted", name=name, sha256=hashlib.sha256(picture(number)).hexdigest())
        if sources and number % 10 == 3:
            _delete_another(number)
        if sources and number % 10 == 7:
            _roll_back(number)


def _accept(number: int, sources: str) -> str:
    kind = number % 10 if sources else None
    private = kind in (_PRIVATE, _PRIVATE_BY_URL)
    if kind in (_BY_URL, _PRIVATE_BY_URL):
        return upload_from_url(f"{sources}/{number}.jpg", upload_to="web/", require_signed_urls=private)
    file = io.BytesIO(picture(number))
    return upload_from_file(file, filename=f"{number}.jpg", upload_to="web/", require_signed_urls=private)


def _delete_another(number: int) -> None:
    extra = 1_000_000 + number
    name = _accept(extra, "")
    if number % 20 == 3:
        time.sleep(0.5)  # its upload may have started, or be done
    delete(name, ALIAS)
    _print(event="deleted", name=name)


def _roll_back(number: int) -> None:
    with transaction.atomic():
        name = _accept(2_000_000 + number, "")
        transaction.set_rollback(True)
    _print(event="rolled back", name=name)


def sweep(seconds: str) -> None:
    """Sweep every ``seconds``, as the periodic task does each minute; like huey, log a failure and go on."""
    while True:
        try:
            huey_tasks.cf_images_sweep.call_local()
        except Exception:
            logger.exception("The sweep failed.")
        time.sleep(float(seconds))


def claim(signal: str) -> None:
    """Print that it is ready; once the file ``signal`` exists, claim all due rows and print their keys."""
    connection.ensure_connection()
    _print(ready=True)
    while not os.path.exists(signal):
        time.sleep(0.001)
    claimed = []
    backlogs = [backlog for found in destinations.destinations() for backlog in leases.backlogs(found)]
    while any(backlog.has_candidates() for backlog in backlogs):  # none is taken while others lock them
        claimed += [taken.row.pk for backlog in backlogs for taken in backlog.take(3)]
    _print(claimed=claimed)


def own_tasks(count: str) -> None:
    """Send a task of the site now and then; print how long each waited, and the package's messages."""
    from tests.chaos.tasks import own_task  # huey connects when it is imported

    waits, messages = [], []
    for _ in range(int(count)):
        sent = time.time()
        result = own_task()
        messages.append(len([task for task in own_task.huey.pending() if task.name == "cf_images_process"]))
        waits.append(result.get(blocking=True, timeout=600, max_delay=0.05) - sent)
        time.sleep(0.3)
    _print(waits=waits, messages=messages)


def pause() -> None:
    """Pause the account, as after a refused token."""
    for found in destinations.destinations():
        if found.accounts:
            admission = circuit_breaker.Admission(
                account_key=found.account_key, token_digest=found.token_digest
            )
            circuit_breaker.credentials_refused(admission, "Authentication error (10000)")


def _print(**values: object) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()
