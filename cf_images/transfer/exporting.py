"""The ledger of an export: a row for each image that rows refer to, and the file that it is to be.

A file gets the name that the row has, or that it had before an import: out and back, a folder is the same.
Filling the ledger again continues: what is there stays, what is missing or was refused is tried again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from django.core.files.storage import Storage
from django.utils import timezone

from cf_images.background import places
from cf_images.background.copying import CopyOptions
from cf_images.background.rows import database
from cf_images.background.transfers import new_row, transfers
from cf_images.exceptions import ImageNotFoundError
from cf_images.images import names
from cf_images.models import MAX_NAME_LENGTH, State, Transfer
from cf_images.storage import legacy_names
from cf_images.transfer import fields
from cf_images.transfer.fields import Route
from cf_images.transfer.ledger import is_newer, new_name, retried, taken_names, waits_for_long
from cf_images.transfer.lookup import Ledger
from cf_images.transfer.report import FileProblem, Problems

_MAX_SEGMENT_BYTES = 255  # of a name between two slashes, in almost every file system
_ATTEMPTS = 5  # to insert rows whose names another command takes meanwhile


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image that rows refer to by ``name``; ``problem`` says why there is nothing to export.

    ``source_name`` is its name at Cloudflare, ``target_name`` that of the file. A ``rejection`` says why it
    was not imported; it may have been saved at Cloudflare all the same.
    """

    name: str
    source_name: str = ""
    target_name: str = ""
    size: int | None = None
    problem: str = ""
    rejection: str = ""


@dataclass(slots=True, kw_only=True)
class Exported:
    """What has become of the images that rows refer to."""

    stored: int = 0
    renamed: int = 0  # of these, files with another name than rows have
    pending: int = 0
    newer: int = 0  # pending as well; they came meanwhile, by a mirror, and are for the workers
    size: int = 0  # bytes, as far as known


class Export:
    """The images of one field, and the files that they are to be."""

    def __init__(self, route: Route, *, threads: int = 1) -> None:
        self._route = route
        self._threads = threads
        self._storage = places.storage_of(route.target)
        self._account = places.account_of(route.source)
        files = fields.to_place(route.field).source
        self._imports = Ledger(route.field, target=route.source, source=files)
        self._exports = Ledger(route.field, target=route.target, source=route.source)
        length = route.field.max_length or MAX_NAME_LENGTH
        self._max_length = min(length, MAX_NAME_LENGTH)

    def fill(
        self,
        *,
        is_enqueued: bool,
        stop: threading.Event | None = None,
        on_batch: Callable[[], object] = bool,
    ) -> None:
        """Give each image that rows refer to a row that is due, unless its file is there.

        The number of queries grows with the batches, and ``on_batch`` is called after each.
        """
        for images in self._batches():
            if stop is not None and stop.is_set():
                return
            known = self._known(images)
            self._continue(known.values(), is_enqueued=is_enqueued)
            missing = [image for image in images if image.source_name and image.source_name not in known]
            self._insert(missing, is_enqueued=is_enqueued)
            on_batch()

    def plan(self, problems: Problems) -> Exported:
        """Return what an export would copy, as pending; nothing is written."""
        return self._counted(problems, is_plan=True)

    def outcome(self, problems: Problems, *, is_stopped: bool = False, newest: int | None = None) -> Exported:
        """Return what was copied, and add what was left behind to ``problems``.

        That includes what has failed and is to be tried again, unless a person stopped before it was. Pending
        rows with a key above ``newest`` came after the ledger was filled.
        """
        return self._counted(problems, is_plan=False, is_stopped=is_stopped, newest=newest)

    def _counted(
        self, problems: Problems, *, is_plan: bool, is_stopped: bool = False, newest: int | None = None
    ) -> Exported:
        found, seen = Exported(), set[str]()
        for images in self._batches():
            known = self._known(images)
            for image in images:
                if image.name in seen:
                    continue
                seen.add(image.name)
                row = known.get(image.source_name)
                if reason := image.problem or self._left(image, row, is_plan=is_plan):
                    problems.add(FileProblem(field=self._route.label, name=image.name, reason=reason))
                elif row is not None and row.state == State.STORED:
                    found.stored += 1
                    found.renamed += row.name != image.name
                    found.size += (row.size or 0) if not is_plan else 0
                elif is_newer(row, newest):
                    found.newer += 1
                else:
                    found.pending += 1
                    found.size += (image.size or 0) if is_plan else 0
                    if row is not None and row.last_error and not (is_plan or is_stopped):
                        problems.add(
                            FileProblem(field=self._route.label, name=image.name, reason=row.last_error)
                        )
        return found

    def _left(self, image: Image, row: Transfer | None, *, is_plan: bool) -> str:
        """Return why an image is left behind; empty where it is not."""
        if row is None and is_plan:
            return image.rejection
        if row is None:
            return "It came after the rows were read."
        if row.state in (State.DELETING, State.DELETED):
            return "It was deleted on both sides; the row still refers to it."
        if row.state != State.REJECTED:
            return ""
        return image.rejection or ("" if is_plan else row.last_error)

    # Which images, and under which names

    def _batches(self) -> Iterator[list[Image]]:
        for _, rows in fields.batches(self._route.field):
            yield list(self._images(dict.fromkeys(name for _, name in rows)))

    def _images(self, found: Collection[str]) -> Iterator[Image]:
        imported, exported = self._imports.find(found), self._exports.by_name(found)
        for name in found:
            row = exported.get(name)
            if names.is_url(name):
                yield self._of_url(name)
            elif name in imported:
                yield _of_import(name, imported[name])
            elif row is not None and row.source == self._route.source:  # rows were switched to the target
                yield Image(name=name, source_name=row.source_name, target_name=name, size=row.size)
            else:
                yield Image(name=name, source_name=name, target_name=name)

    def _of_url(self, name: str) -> Image:
        """Return the image of a delivery URL, as older recipes stored it."""
        try:
            image_id = legacy_names.image_id(name, self._account) if self._account else ""
        except ImageNotFoundError:
            image_id = ""
        if not image_id:
            return Image(name=name, problem="It is the URL of an image elsewhere, which is not copied.")
        return Image(name=name, source_name=name, target_name=image_id)

    # The rows of the ledger

    def _known(self, images: Sequence[Image]) -> dict[str, Transfer]:
        found = self._exports.by_source_name({image.source_name for image in images if image.source_name})
        return {name: row for name, row in found.items() if row.source == self._route.source}

    def _continue(self, rows: Iterable[Transfer], *, is_enqueued: bool) -> None:
        """Make rows due that were refused or have failed for long, or whose file is not there any more."""
        known, now = list(rows), timezone.now()
        stored = [row for row in known if row.state == State.STORED]
        again = [row.pk for row in known if row.state == State.REJECTED]
        are_there = zip(stored, self._are_there(stored), strict=True)
        again += [row.pk for row, is_there in are_there if not is_there]
        due = {
            "state": State.PENDING,
            "is_enqueued": is_enqueued,
            "account": self._account.key if self._account else "",
            "next_attempt_at": now,
            "attempts": 1,
            "unknown_errors": 0,
        }
        finished = transfers().filter(pk__in=again, state__in=(State.REJECTED, State.STORED))
        retried(lambda: finished.update(**due))
        late = [row.pk for row in known if waits_for_long(row, now)]
        failed = transfers().filter(pk__in=late, state=State.PENDING, lease="")
        retried(lambda: failed.update(next_attempt_at=now, attempts=1, unknown_errors=0))
        if is_enqueued:
            waiting = [row.pk for row in known if row.state == State.PENDING and not row.is_enqueued]
            pending = transfers().filter(pk__in=waiting, state=State.PENDING)
            retried(lambda: pending.update(is_enqueued=True))

    def _are_there(self, rows: Sequence[Transfer]) -> list[bool]:
        with ThreadPoolExecutor(self._threads) as pool:
            return list(pool.map(lambda row: _is_there(self._storage, row.name or ""), rows))

    def _insert(self, images: Iterable[Image], *, is_enqueued: bool) -> None:
        """Insert rows. Those that another command inserts meanwhile are ignored, and so are the names that it
        takes, for which others are chosen.
        """
        missing = list({image.source_name: image for image in images}.values())
        for _ in range(_ATTEMPTS):
            if not missing:
                return
            wanted = {image.target_name for image in missing}
            taken = taken_names(self._route, set(filter(can_be_file, wanted)))
            rows = []
            for image in missing:
                rows.append(self._row(image, taken, is_enqueued=is_enqueued))
                taken.add(rows[-1].name)
            rows.sort(key=lambda row: row.key)  # in one order: two commands do not wait for each other
            retried(lambda rows=rows: _insert(rows))  # type: ignore[misc]  # a default of a lambda
            known = self._known(missing)
            missing = [image for image in missing if image.source_name not in known]

    def _row(self, image: Image, taken: Collection[str | None], *, is_enqueued: bool) -> Transfer:
        name = image.target_name
        if name in taken or not can_be_file(name):
            name = new_name(name, max_length=self._max_length)
        return new_row(
            source=self._route.source,
            target=self._route.target,
            source_name=image.source_name,
            name=name,
            field=self._route.label,
            options=CopyOptions().as_json(),
            is_enqueued=is_enqueued,
        )


def _of_import(name: str, row: Transfer) -> Image:
    """Return an image that was imported: its file gets the name that it had before.

    An image that a visitor saved at Cloudflare has no file here, so that a later import has rejected it.
    """
    if row.state != State.STORED:
        reason = f": {row.last_error}" if row.last_error else ""
        problem = f"It is not at Cloudflare, its import is {row.state}{reason}"
        if row.state != State.REJECTED:
            return Image(name=name, problem=problem)
        return Image(name=name, source_name=name, target_name=name, rejection=problem)
    return Image(name=name, source_name=row.name or "", target_name=row.source_name, size=row.size)


def can_be_file(name: str) -> bool:
    """Return whether a file may have this name in a folder of any usual file system, and in the ledger."""
    try:
        written = name.encode()
    except UnicodeEncodeError:
        return False
    is_inside = not name.startswith("/") and ".." not in name.split("/")
    is_short = len(name) <= MAX_NAME_LENGTH and max(map(len, written.split(b"/"))) <= _MAX_SEGMENT_BYTES
    return bool(name.strip()) and is_inside and is_short and not name.endswith("/") and "\0" not in name


def _is_there(storage: Storage, name: str) -> bool:
    try:
        return storage.exists(name)
    except Exception:  # noqa: BLE001  # each storage has its own; the attempt will say
        return False


def _insert(rows: Sequence[Transfer]) -> None:
    Transfer.objects.using(database()).bulk_create(rows, ignore_conflicts=True)
