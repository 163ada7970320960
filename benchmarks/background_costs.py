"""Measure what background uploads cost a process: ``python -m benchmarks.background_costs NAME [ARGUMENT]``.

``background`` starts it with the settings of ``tests.chaos``. Each function returns figures, printed as JSON.
"""

from __future__ import annotations

import gc
import json
import statistics
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import django
from django.core.files.base import ContentFile, File
from django.core.files.storage import storages
from django.utils import timezone

from benchmarks.measure import per_call, public_names
from tests.chaos.__main__ import end_with_parent
from tests.chaos.pictures import jpeg

django.setup()  # before the imports of models

from cf_images.background import pending, worker  # noqa: E402  # after django.setup()
from cf_images.client import pool  # noqa: E402  # after django.setup()
from cf_images.exceptions import CloudflareUnavailableError  # noqa: E402  # after django.setup()
from cf_images.models import Upload  # noqa: E402  # after django.setup()

_TIMES = 20
_URLS, _ROUNDS = 2000, 5
_BODY = jpeg(640, 480, at_least=50_000)


def saving(alias: str) -> dict[str, float]:
    """Return the median seconds of ``save()`` of 50 KB, over an open and over a new connection."""
    _save(alias)  # the imports of the first call do not count
    return {
        "open": statistics.median(_seconds(lambda: _save(alias)) for _ in range(_TIMES)),
        "new": statistics.median(_seconds(lambda: _save(alias)) for _ in range(_TIMES) if _disconnect()),
    }


def _disconnect() -> bool:
    pool.close()
    return True


def hanging(alias: str) -> dict[str, float]:
    """Return the seconds until ``save()`` returns or fails."""
    return {"seconds": _seconds(lambda: _save(alias))}


def urls(rows: str) -> dict[str, float]:
    """Return the seconds of ``url()`` while ``rows`` uploads are pending, and of the call that reads them."""
    now = timezone.now()
    Upload.objects.bulk_create(
        Upload(
            name=name,
            storage="cloudflare_images",
            created_at=now,
            next_attempt_at=now + timedelta(hours=1),
        )
        for name in public_names(int(rows))
    )
    background, direct = storages["cloudflare_images"], storages["direct"]
    name, *names = public_names(1 + _URLS * _ROUNDS)
    pending.clear_cache()
    return {
        "reading": _seconds(lambda: background.url(name)),
        "url": _per_name(background.url, names),
        "direct": _per_name(direct.url, names),
    }


def _per_name(url: Callable[[str], str], names: list[str]) -> float:
    """Return the seconds of one call, each with another name."""
    following = iter(names)
    return per_call(lambda: url(next(following)), number=_URLS, rounds=_ROUNDS)


def memory_of_web(path: str) -> dict[str, float]:
    """Return the bytes by which ``save()`` of the file at ``path`` makes this process grow at most."""
    _save("cloudflare_images")  # imports and connections of the first call do not count

    def save() -> None:
        with Path(path).open("rb") as file:
            storages["cloudflare_images"].save("large.jpg", File(file))

    return {"bytes": _growth(save)}


def memory_of_worker() -> dict[str, float]:
    """Return the bytes by which processing the last upload makes this process grow at most."""
    uploads = Upload.objects.order_by("pk")
    worker.process_one(uploads[0].pk)
    last = uploads.reverse()[0].pk
    return {"bytes": _growth(lambda: worker.process_one(last))}


def _save(alias: str) -> None:
    try:
        storages[alias].save("photo.jpg", ContentFile(_BODY))
    except CloudflareUnavailableError:
        pass  # the API hangs


def _seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def _growth(run: Callable[[], object]) -> float:
    """Return the growth of the resident memory in bytes, as Linux counts it: C libraries are included."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # reset VmHWM, the peak
    before = _status("VmRSS")
    run()
    return _status("VmHWM") - before


def _status(field: str) -> float:
    lines: dict[str, Any] = dict(
        line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line
    )
    return int(lines[field].split()[0]) * 1024.0


def main() -> None:
    """Print the figures of the function of the arguments."""
    end_with_parent()
    functions = {function.__name__: function for function in _FUNCTIONS}
    name, *arguments = sys.argv[1:]
    print(json.dumps(functions[name](*arguments)))


_FUNCTIONS: tuple[Callable[..., dict[str, float]], ...] = (
    saving,
    hanging,
    urls,
    memory_of_web,
    memory_of_worker,
)

if __name__ == "__main__":
    main()
