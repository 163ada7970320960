"""Processes that kill themselves at one point of an upload, and those that come after them.

A line of JSON on standard input is a job, such as ``["crash", "claim", "public"]`` or ``["deliver"]``; each
has a fork of its own, since starting Django anew for all of them would take minutes.
"""

from __future__ import annotations

import functools
import io
import json
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import django

django.setup()

from django.utils import timezone  # noqa: E402 - Django comes first

from cf_images.background import (  # noqa: E402
    discard,
    doomed,
    pieces,
    private,
    settling,
    staging,
    upload_from_file,
    worker,
)
from cf_images.client import CloudflareImagesClient, connection  # noqa: E402
from tests.pictures import picture  # noqa: E402


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def after(owner: Any, name: str) -> None:
    """Die when this function has returned."""
    function = getattr(owner, name)

    @functools.wraps(function)
    def deadly(*args: Any, **kwargs: Any) -> None:
        function(*args, **kwargs)
        die()

    setattr(owner, name, deadly)


def when_file_is_answered() -> None:
    """The same for the second request of a private image, the one with its bytes."""
    upload = CloudflareImagesClient.upload_direct

    def deadly(*args: Any, **kwargs: Any) -> Any:
        when_answered()
        return upload(*args, **kwargs)

    CloudflareImagesClient.upload_direct = deadly  # type: ignore[method-assign]


def when_answered() -> None:
    """Die when the answer is there, before a byte of it is read: Cloudflare has carried the request out."""

    def read(stream: Any, *_: Any, **__: Any) -> None:
        select.select([stream.get_extra_info("socket")], [], [])
        die()

    connection._DeadlineStream.read = read  # type: ignore[method-assign, assignment]


POINTS: dict[str, Callable[[], None]] = {
    "row inserted": functools.partial(setattr, pieces, "write", die),
    "bytes written": lambda: after(pieces, "write"),
    "commit": functools.partial(setattr, staging, "ring", die),
    "claim": lambda: after(worker, "claim"),
    "reservation answered": lambda: after(CloudflareImagesClient, "create_direct_upload"),
    "reservation written": lambda: after(private, "_reserve"),
    "POST sent": when_answered,
    "answer read": lambda: after(CloudflareImagesClient, "upload"),
    "file sent": when_file_is_answered,
    "file answer read": lambda: after(CloudflareImagesClient, "upload_direct"),
    "within settling": lambda: after(pieces, "forget"),
    "settled": lambda: after(settling, "stored"),
    "DELETE sent": when_answered,
    "DELETE answer read": lambda: after(CloudflareImagesClient, "delete"),
    "deleted": lambda: after(doomed, "delete"),
}


def crash(point: str, kind: str) -> None:
    """Accept an image and deliver it; ``deleted``: and then delete it. Only the last step is deadly."""
    if kind != "deleted":
        POINTS[point]()
    name = upload_from_file(io.BytesIO(picture()), require_signed_urls=kind == "private")
    worker.deliver()
    if kind == "deleted":
        POINTS[point]()
        discard(name, "cloudflare_images")
        worker.deliver()


def deliver() -> None:
    """All that is due, and once more when pauses and leases are over."""
    real = timezone.now
    for minutes in (10, 20, 30):
        timezone.now = lambda minutes=minutes: real() + timedelta(minutes=minutes)  # type: ignore[misc]
        while worker.deliver_one():
            pass


def main() -> None:
    """Answer each job with its exit status, negative for a signal."""
    jobs: dict[str, Callable[..., None]] = {"crash": crash, "deliver": deliver}
    for line in sys.stdin:
        job, *arguments = json.loads(line)
        child = os.fork()
        if child == 0:
            run(jobs[job], *arguments)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def run(job: Callable[..., None], *arguments: str) -> None:
    """Never returns."""
    try:
        job(*arguments)
    except BaseException:  # noqa: BLE001 - the last thing in this process
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    main()
