"""What an import would do: every file is read, nothing is sent and nothing is written."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

from django.core.files.storage import Storage

from cf_images import images
from cf_images.background import places, wording
from cf_images.background.copying import CopyOptions
from cf_images.background.pace import allowed_rate, batch_key
from cf_images.background.reading import open_source
from cf_images.exceptions import ImageRejectedError
from cf_images.images import ImageInfo, names
from cf_images.images.converting import convert
from cf_images.models import MAX_NAME_LENGTH
from cf_images.transfer import fields, ledger
from cf_images.transfer.fields import Route
from cf_images.transfer.ledger import Entry
from cf_images.transfer.report import FileProblem, Problems

# "Pricing" (Cloudflare Images docs), read in October 2026: dollars for 100,000 images stored for a month,
# sold in steps of that size, and for 100,000 images delivered.
STORED_PRICE, DELIVERED_PRICE, PRICED_IMAGES = 5, 1, 100_000
PRICES_OF = "October 2026"

_TAKEN = "another file has it there"
_PRIVATE = "Cloudflare chooses the IDs of private images"


@dataclass(slots=True, kw_only=True)
class Plan:
    """What would be copied; sizes are in bytes."""

    files: int = 0  # all that rows refer to
    stored: int = 0  # of them at Cloudflare already
    copied: int = 0  # of them to be copied
    size: int = 0
    reduced: int = 0
    converted: int = 0
    formats: Counter[str] = field(default_factory=Counter)
    renamed: Counter[str] = field(default_factory=Counter)  # by reason
    requests: Counter[str] = field(default_factory=Counter)  # by account key

    def seconds(self, rate: float | None) -> float | None:
        """Return how long the requests take at the rates that the accounts allow, and at most ``rate`` a
        second; ``None`` where no limit is known.
        """
        durations = [
            requests / min(rate or math.inf, allowed_rate(key) or math.inf)
            for key, requests in self.requests.items()
        ]
        return max(durations, default=0.0) or None

    @property
    def monthly_price(self) -> int:
        """The dollars that storing the images costs each month."""
        return math.ceil((self.stored + self.copied) / PRICED_IMAGES) * STORED_PRICE


@dataclass(frozen=True, slots=True, kw_only=True)
class _Examined:
    entry: Entry
    info: ImageInfo | None = None
    is_reduced: bool = False
    is_converted: bool = False
    reason: str = ""  # why it would be left behind


def make(
    routes: Iterable[Route],
    options: CopyOptions,
    problems: Problems,
    *,
    threads: int = 1,
    is_batch: bool = False,
    stop: threading.Event | None = None,
) -> Plan:
    """Examine all files, several at a time; add to ``problems`` what would be left behind."""
    planning = _Planning(options, problems, is_batch=is_batch)
    with ThreadPoolExecutor(threads, thread_name_prefix="cf-images-plan") as pool:
        for route in routes:
            storage = places.storage_of(route.source)
            for _, rows in fields.batches(route.field):
                if stop is not None and stop.is_set():
                    return planning.plan
                wanted = planning.select(route, [name for _, name in rows])
                for found in pool.map(partial(_examine, storage, options, stop), wanted):
                    if found is not None:
                        planning.count(route, found)
    return planning.plan


class _Planning:
    """A plan while it is made."""

    def __init__(self, options: CopyOptions, problems: Problems, *, is_batch: bool) -> None:
        self.plan = Plan()
        self._options = options
        self._problems = problems
        self._is_batch = is_batch
        # Numbers of 64 bits take less than names.
        self._seen: set[int] = set()
        self._taken: set[int] = set()

    def select(self, route: Route, found: Collection[str]) -> list[Entry]:
        """Return the files to examine, each once for all rows and fields; count those that are copied."""
        wanted = []
        for entry in ledger.entries(route, found):
            if hash(entry.key) in self._seen:
                continue
            self._seen.add(hash(entry.key))
            self.plan.files += 1
            if entry.is_stored:
                self.plan.stored += 1
            elif entry.is_deleted:
                self._leave(route, entry, entry.reason or "")
            else:
                wanted.append(entry)
        self._find_taken(route, wanted)
        return wanted

    def count(self, route: Route, found: _Examined) -> None:
        """Add a file to the plan, or to what would be left behind."""
        plan, info = self.plan, found.info
        if info is None:
            self._leave(route, found.entry, found.reason)
            return
        plan.copied += 1
        plan.size += info.size
        plan.reduced += found.is_reduced
        plan.converted += found.is_converted
        plan.formats[info.format] += 1
        self._count_requests(route)
        if reason := self._renaming(route, found.entry):
            plan.renamed[reason] += 1

    def _leave(self, route: Route, entry: Entry, reason: str) -> None:
        self._problems.add(FileProblem(field=route.label, name=entry.name, reason=reason))

    def _count_requests(self, route: Route) -> None:
        if account := route.account:
            key = batch_key(account.key) if self._is_batch else account.key
            # A private image: its ID is reserved, then filled.
            self.plan.requests[key] += 2 if account.options.require_signed_urls else 1

    def _find_taken(self, route: Route, wanted: Collection[Entry]) -> None:
        fresh = [entry.name for entry in wanted if entry.row is None]
        for name in ledger.taken_names(route, fresh):
            self._taken.add(hash((route.target, name)))

    def _renaming(self, route: Route, entry: Entry) -> str:
        """Return why the file gets another name; empty if it keeps its own."""
        account = route.account
        if account is not None and account.options.require_signed_urls:
            return _PRIVATE
        if problem := names.id_problem(entry.name, max_length=MAX_NAME_LENGTH):
            return problem
        if entry.row is not None:
            return _TAKEN if entry.is_renamed else ""
        number = hash((route.target, entry.name))
        if number in self._taken:
            return _TAKEN
        self._taken.add(number)
        return ""


def _examine(
    storage: Storage, options: CopyOptions, stop: threading.Event | None, entry: Entry
) -> _Examined | None:
    """Read what is needed of a file, nothing after ``stop``; any error is about that file alone."""
    if stop is not None and stop.is_set():
        return None
    if reason := ledger.no_file(entry.name):
        return _Examined(entry=entry, reason=reason)
    try:
        with open_source(storage, entry.name) as file:
            ready = convert(file, options.convert) if options.convert else file
            info = images.inspect(ready)
            is_reduced = _is_reduced(info, options)
            return _Examined(entry=entry, info=info, is_reduced=is_reduced, is_converted=ready is not file)
    except ImageRejectedError as error:
        return _Examined(entry=entry, reason=error.message)
    except Exception as error:  # noqa: BLE001  # each storage has its own
        return _Examined(entry=entry, reason=f"The file cannot be read: {wording.failure(error)}.")


def _is_reduced(info: ImageInfo, options: CopyOptions) -> bool:
    try:
        images.check_limits(info)
    except ImageRejectedError:
        if options.fit_limits and images.can_be_reduced(info):
            return True
        raise
    return False


def lines(plan: Plan, *, rate: float | None, is_batch: bool) -> Iterator[str]:
    """Yield the plan in words."""
    yield f"{wording.count(plan.files, 'file')}: {plan.stored:,} at Cloudflare Images already."
    formats = ", ".join(f"{count:,} {kind.upper()}" for kind, count in plan.formats.most_common())
    yield f"{wording.count(plan.copied, 'file')} would be copied, {in_words(plan.size)}: {formats or 'none'}."
    if plan.converted:
        yield f"{plan.converted:,} of them would be converted first (--convert)."
    if plan.reduced:
        yield f"{plan.reduced:,} of them would be made smaller first (--fit-limits)."
    for reason, count in plan.renamed.most_common():
        yield f"{count:,} of them would get a new name: {reason}."
    seconds = plan.seconds(rate)
    if seconds is not None:
        requests, length = sum(plan.requests.values()), wording.duration(timedelta(seconds=seconds))
        yield (
            f"{wording.count(requests, 'request')} would take at least {length} at "
            f"{requests / seconds:,.1f} a second{'' if is_batch else '; see --batch'}."
        )
    yield (
        f"Storing the images would cost ${plan.monthly_price:,} a month (${STORED_PRICE} for each "
        f"{PRICED_IMAGES:,} stored; ${DELIVERED_PRICE} for each {PRICED_IMAGES:,} delivered comes on top; "
        f"Cloudflare's prices of {PRICES_OF})."
    )


def in_words(size: int) -> str:
    """Return a number of bytes in its largest unit."""
    amount, units = float(size), iter(("bytes", "KB", "MB", "GB"))
    unit = next(units)
    while amount >= 1024 and (larger := next(units, None)):
        amount, unit = amount / 1024, larger
    return f"{amount:,.0f} {unit}" if unit == "bytes" else f"{amount:,.1f} {unit}"
