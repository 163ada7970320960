"""Those who use the site: people who upload and delete, the sweeper, and workers that only claim."""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import time

from django.db import connection, transaction

from benchmarks.site.pictures import picture
from cf_images.background import claims, discard, sweeper, upload_from_file, upload_from_url

ALIAS = "cloudflare_images"
_PRIVATE, _BY_URL, _PRIVATE_BY_URL = 0, 1, 5  # the last digit of the number


def visitors(first: str, count: str, sources: str = "") -> None:
    """Upload ``count`` images, numbered from ``first``; each accepted one is told on standard output.

    With ``sources``, where images can be fetched from by number, a tenth is private, a tenth comes by URL,
    a tenth is both, some are deleted again, and some are rolled back; without it all are public files.
    """
    for number in range(int(first), int(first) + int(count)):
        with transaction.atomic():
            name = _accept(number, sources)
        _say(event="accepted", name=name, sha256=hashlib.sha256(picture(number)).hexdigest())
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
        time.sleep(0.5)  # perhaps its upload is on its way, or done
    discard(name, ALIAS)
    _say(event="deleted", name=name)


def _roll_back(number: int) -> None:
    with transaction.atomic():
        name = _accept(2_000_000 + number, "")
        transaction.set_rollback(True)
    _say(event="rolled back", name=name)


def sweep(seconds: str) -> None:
    """What the periodic task does each minute, every ``seconds``."""
    while True:
        sweeper.sweep()
        time.sleep(float(seconds))


def claim(signal: str) -> None:
    """Say when ready; once there is a file ``signal``, claim all that is due, and tell which rows it got."""
    connection.ensure_connection()
    _say(ready=True)
    while not os.path.exists(signal):
        time.sleep(0.001)
    claimed = []
    while rows := claims.candidates([ALIAS]):
        claimed += [row.pk for row in rows if claims.claim(row.pk)]
    _say(claimed=claimed)


def _say(**facts: object) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()
