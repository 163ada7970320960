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

from django.core.files.base import ContentFile  # noqa: E402 - Django comes first
from django.core.files.storage import storages  # noqa: E402
from django.db.models import Max  # noqa: E402
from django.utils import timezone  # noqa: E402

from cf_images.background import (  # noqa: E402
    chunks,
    delete,
    enqueue,
    leases,
    operations,
    outcomes,
    upload_from_file,
    worker,
)
from cf_images.client import CloudflareImagesClient, streams  # noqa: E402
from cf_images.models import (  # noqa: E402
    AccountPace,
    Chunk,
    CircuitBreaker,
    QueueState,
    Upload,
    Worker,
)
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


def before_response_of(name: str) -> None:
    """Do the same for the request of the client's method ``name``, which is not the first."""
    method = getattr(CloudflareImagesClient, name)

    def deadly(*args: Any, **kwargs: Any) -> Any:
        before_response_is_read()
        return method(*args, **kwargs)

    setattr(CloudflareImagesClient, name, deadly)


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
    "claim": lambda: after(leases, "claim"),
    "reservation response read": lambda: after(CloudflareImagesClient, "create_direct_upload"),
    "reservation written": lambda: after(operations, "_reserve"),
    "POST sent": before_response_is_read,
    "response read": lambda: after(CloudflareImagesClient, "upload"),
    "file sent": lambda: before_response_of("upload_direct"),
    "POST sent after DELETE": lambda: before_response_of("upload"),
    "response to file read": lambda: after(CloudflareImagesClient, "upload_direct"),
    "within the transaction of the outcome": lambda: after(chunks, "delete"),
    "outcome written": lambda: after(outcomes, "stored"),
    "DELETE sent": before_response_is_read,
    "response to DELETE read": lambda: after(CloudflareImagesClient, "delete"),
    "image deleted": lambda: after(operations, "delete"),
    "deletion superseded": lambda: after(enqueue, "_supersede_deletion"),
    "superseded image deleted": lambda: after(operations, "_delete_superseded"),
}
NAME = "100w.png"  # of a rendition that another app keeps


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


def save(seed: str) -> None:
    """Save an image under its exact name."""
    assert storages["given_names"].save(NAME, ContentFile(picture(seed=int(seed)))) == NAME


def crash_replacing(point: str, step: str) -> None:
    """Store an image, delete it and save another one under its name; crash while ``step`` is processed."""
    save("1")
    worker.process()
    if step == "deletion":
        POINTS[point]()
    storages["given_names"].delete(NAME)
    if step == "deletion":
        worker.process()
    POINTS[point]()
    save("2")
    worker.process()


def reset() -> None:
    """Delete all rows."""
    for model in (Upload, Chunk, CircuitBreaker, AccountPace, QueueState, Worker):
        model.objects.all().delete()


def remaining() -> None:
    """Print the number of chunks and of rows, and the state and the remote ID of the one row."""
    rows = Upload.objects.aggregate(state=Max("state"), remote_id=Max("remote_id"))
    found = [Chunk.objects.count(), Upload.objects.count(), rows["state"], rows["remote_id"]]
    sys.stdout.write(f"{json.dumps(found)}\n")
    sys.stdout.flush()


def process() -> None:
    """Process all that is due, and again when pauses and leases are over."""
    real = timezone.now
    for minutes in (10, 20, 30):
        timezone.now = lambda minutes=minutes: real() + timedelta(minutes=minutes)  # type: ignore[misc]
        while worker.process_one():
            pass


def main() -> None:
    """Run each job and print its exit status, negative for a signal."""
    jobs: tuple[Callable[..., None], ...] = (crash, crash_replacing, save, process, reset, remaining)
    named = {job.__name__: job for job in jobs}
    for line in sys.stdin:
        job, *arguments = json.loads(line)
        child = os.fork()
        if child == 0:
            run(named[job], *arguments)
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
