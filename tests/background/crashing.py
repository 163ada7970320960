"""Processes that kill themselves at one point of an upload, and those that come after them.

A line of JSON on standard input is a job, such as ``["crash", "claim", "public"]`` or ``["process"]``; each
has a fork of its own, since starting Django for each of them would take minutes.
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
    chunks,
    delete,
    enqueue,
    operations,
    outcomes,
    upload_from_file,
    worker,
)
from cf_images.client import CloudflareImagesClient, streams  # noqa: E402
from tests.pictures import picture  # noqa: E402


def die(*_: Any, **__: Any) -> None:
    """End this process as ``kill -9`` does."""
    os.kill(os.getpid(), signal.SIGKILL)


def after(owner: Any, name: str) -> None:
    """Die when the function ``name`` of ``owner`` has returned."""
    function = getattr(owner, name)

    @functools.wraps(function)
    def deadly(*args: Any, **kwargs: Any) -> None:
        function(*args, **kwargs)
        die()

    setattr(owner, name, deadly)


def before_response_to_file_is_read() -> None:
    """Do the same for the second request of a private image, the one with its bytes."""
    upload = CloudflareImagesClient.upload_direct

    def deadly(*args: Any, **kwargs: Any) -> Any:
        before_response_is_read()
        return upload(*args, **kwargs)

    CloudflareImagesClient.upload_direct = deadly  # type: ignore[method-assign]


def before_response_is_read() -> None:
    """Die when the response is there, before a byte of it is read: Cloudflare has carried the request out."""

    def read(stream: Any, *_: Any, **__: Any) -> None:
        select.select([stream.get_extra_info("socket")], [], [])
        die()

    streams.Stream.read = read  # type: ignore[method-assign, assignment]


POINTS: dict[str, Callable[[], None]] = {
    "row inserted": functools.partial(setattr, chunks, "write", die),
    "bytes written": lambda: after(chunks, "write"),
    "commit": functools.partial(setattr, enqueue, "notify", die),
    "claim": lambda: after(worker, "claim"),
    "reservation response read": lambda: after(CloudflareImagesClient, "create_direct_upload"),
    "reservation written": lambda: after(operations, "_reserve"),
    "POST sent": before_response_is_read,
    "response read": lambda: after(CloudflareImagesClient, "upload"),
    "file sent": before_response_to_file_is_read,
    "response to file read": lambda: after(CloudflareImagesClient, "upload_direct"),
    "within the transaction of the outcome": lambda: after(chunks, "delete"),
    "outcome written": lambda: after(outcomes, "stored"),
    "DELETE sent": before_response_is_read,
    "response to DELETE read": lambda: after(CloudflareImagesClient, "delete"),
    "image deleted": lambda: after(operations, "delete"),
}


def crash(point: str, kind: str) -> None:
    """Accept an image and process it; ``deleted``: then delete it. Only the last step crashes."""
    if kind != "deleted":
        POINTS[point]()
    name = upload_from_file(io.BytesIO(picture()), require_signed_urls=kind == "private")
    worker.process()
    if kind == "deleted":
        POINTS[point]()
        delete(name, "cloudflare_images")
        worker.process()


def process() -> None:
    """Process all that is due, and again when pauses and leases are over."""
    real = timezone.now
    for minutes in (10, 20, 30):
        timezone.now = lambda minutes=minutes: real() + timedelta(minutes=minutes)  # type: ignore[misc]
        while worker.process_one():
            pass


def main() -> None:
    """Run each job and print its exit status, negative for a signal."""
    jobs: dict[str, Callable[..., None]] = {"crash": crash, "process": process}
    for line in sys.stdin:
        job, *arguments = json.loads(line)
        child = os.fork()
        if child == 0:
            run(jobs[job], *arguments)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def run(job: Callable[..., None], *arguments: str) -> None:
    """Run a job and end the process with its exit status."""
    try:
        job(*arguments)
    except BaseException:  # noqa: BLE001 - the last thing in this process
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    main()
