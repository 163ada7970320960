"""What a process of the site costs, measured within it; each function returns figures for JSON."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.files.base import ContentFile, File
from django.core.files.storage import storages
from django.utils import timezone

from benchmarks.measure import best, jpeg
from cf_images import naming
from cf_images.background import undelivered, worker
from cf_images.client.connection import process_client
from cf_images.exceptions import CloudflareUnavailableError
from cf_images.models import Upload

_TIMES = 20
_BODY = jpeg(640, 480, at_least=50_000)


def saving(alias: str) -> dict[str, float]:
    """Seconds of ``save()`` of 50 KB, the median: over an open connection, and over a new one each time."""
    _save(alias)  # imports are not the request's
    return {
        "open": statistics.median(_seconds(lambda: _save(alias)) for _ in range(_TIMES)),
        "new": statistics.median(_seconds(lambda: _save(alias)) for _ in range(_TIMES) if _disconnect()),
    }


def _disconnect() -> bool:
    process_client().abandon()
    return True


def hanging(alias: str) -> dict[str, float]:
    """Seconds until ``save()`` has returned or given up."""
    return {"seconds": _seconds(lambda: _save(alias))}


def addresses(rows: str) -> dict[str, float]:
    """Seconds of ``url()`` of an older image while so many rows wait, and of the call that reads them."""
    now = timezone.now()
    Upload.objects.bulk_create(
        Upload(
            name=_old_name(),
            storage="cloudflare_images",
            created_at=now,
            next_attempt_at=now + timedelta(hours=1),
        )
        for _ in range(int(rows))
    )
    storage, direct, name = storages["cloudflare_images"], storages["direct"], _old_name()
    undelivered.forget_all()
    return {
        "reading": _seconds(lambda: storage.url(name)),
        "url": best(lambda: storage.url(name), number=2000),
        "direct": best(lambda: direct.url(name), number=2000),
    }


def memory_of_web(path: str) -> dict[str, float]:
    """Bytes by which ``save()`` of the file makes this process grow at most."""
    _save("cloudflare_images")  # imports and connections are not the upload's

    def save() -> None:
        with Path(path).open("rb") as file:
            storages["cloudflare_images"].save("large.jpg", File(file))

    return {"bytes": _growth(save)}


def memory_of_worker() -> dict[str, float]:
    """Bytes by which delivering the last image makes this process grow at most."""
    waiting = Upload.objects.order_by("pk")
    worker.deliver_one(waiting[0].pk)
    last = waiting.reverse()[0].pk
    return {"bytes": _growth(lambda: worker.deliver_one(last))}


def _save(alias: str) -> None:
    try:
        storages[alias].save("photo.jpg", ContentFile(_BODY))
    except CloudflareUnavailableError:
        pass  # it hangs


def _seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def _growth(run: Callable[[], object]) -> float:
    """Of the resident memory, drivers written in C included; by Linux' own bookkeeping."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _status("VmRSS")
    run()
    return _status("VmHWM") - before


def _status(field: str) -> float:
    lines: dict[str, Any] = dict(
        line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line
    )
    return int(lines[field].split()[0]) * 1024.0


def _old_name() -> str:
    return naming.unique_name("avatars/jane.jpg", seconds=int(time.time()) - 3600)
