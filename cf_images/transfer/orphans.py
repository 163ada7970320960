"""The search for images that no row uses, and for rows whose image is not there.

Nothing is believed to be absent because a list or one response does not have it: each finding is confirmed by
asking Cloudflare for this very image before it is reported.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, TypeVar

from django.db.models import FileField

from cf_images import conf, image_fields
from cf_images.accounts import Account, AccountStorage
from cf_images.background.rows import uploads
from cf_images.client import CloudflareImagesClient, Image
from cf_images.delivery import urls
from cf_images.exceptions import (
    CloudflareImagesError,
    ImageNotFoundError,
    ImageRejectedError,
    InvalidNameError,
)
from cf_images.images import metadata, names
from cf_images.models import UNCONFIRMED
from cf_images.storage.file_names import resolve
from cf_images.transfer.listing import Listing
from cf_images.transfer.mentions import Mentions
from cf_images.transfer.pacing import PacedRequests
from cf_images.transfer.references import UnreadableTableError, Value, tables

T = TypeVar("T")

Progress = Callable[[str], None]

SECOND_LOOK_SECONDS = 5.0  # an image may be "not found" for moments
_NAMES = 500  # in one query
_IMAGES_PER_REQUEST = 1_000  # of a list


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What counts: ``sites`` are the project's tags, ``cutoff`` the second before which orphans were
    uploaded.
    """

    sites: Collection[str]
    older_than: timedelta
    cutoff: int
    with_texts: bool = True

    @classmethod
    def since(cls, older_than: timedelta, *, sites: Collection[str], with_texts: bool = True) -> Options:
        """Return the options with the cutoff as of now."""
        cutoff = int(time.time() - older_than.total_seconds())
        return cls(sites=sites, older_than=older_than, cutoff=cutoff, with_texts=with_texts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """An image that no row uses; ``uploaded`` and ``quarantined`` are seconds since 1970, ``size`` bytes."""

    image_id: str
    name: str
    uploaded: int
    size: int | None
    quarantined: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A name in rows whose image is not there: the first of the rows, and how many there are."""

    name: str
    field: str
    pk: str
    rows: int
    reason: str = "Cloudflare has no such image"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unclear:
    """An image about which Cloudflare gives no clear response."""

    name: str
    reason: str


@dataclass(slots=True, kw_only=True)
class Found:
    """What a search has found: numbers of images, and the findings."""

    listed: int = 0
    in_use: int = 0
    young: int = 0
    others: int | None = None  # of other sites, or without this package's metadata
    overfull: list[int] = field(default_factory=list)  # seconds with too many images for a list
    orphans: list[Orphan] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    unclear: list[Unclear] = field(default_factory=list)
    used_again: list[str] = field(default_factory=list)  # tagged, and in use


class Search:
    """The search for orphans in one account."""

    def __init__(
        self, account: Account, requests: PacedRequests, options: Options, *, progress: Progress
    ) -> None:
        self._account, self._requests, self._options = account, requests, options
        self._progress = progress
        self._mentions = Mentions()
        self._young: set[str] = set()
        self._quarantined: set[str] = set()
        self._ids: list[str] = []
        self._absent: dict[str, Missing] = {}

    def run(self) -> Found:
        """List, read all references, and confirm what seems to be an orphan, or to be missing."""
        found = Found()
        self._list(found)
        self._progress(f"{len(self._ids):,} images listed; reading the databases.")
        used = self._references()
        unused = [image_id for image_id in self._ids if image_id not in used]
        candidates = [image_id for image_id in unused if image_id not in self._young]
        found.listed, found.in_use = len(self._ids), len(self._ids) - len(unused)
        found.young = len(unused) - len(candidates)
        found.used_again = sorted(self._quarantined & used)
        found.others = self._count_others(found)
        self._confirm_orphans(candidates, found)
        self._confirm_missing(found)
        return found

    # Listing and reading

    def _list(self, found: Found) -> None:
        for site in self._options.sites:
            listing = Listing(self._requests, site)
            for image in listing:
                if image.image_id in self._mentions:
                    continue  # listed twice
                self._ids.append(image.image_id)
                add_image(self._mentions, image.image_id, image.name)
                if image.uploaded > self._options.cutoff:
                    self._young.add(image.image_id)
                if image.quarantined is not None:
                    self._quarantined.add(image.image_id)
                if len(self._ids) % _IMAGES_PER_REQUEST == 0:
                    self._progress(f"{len(self._ids):,} images listed.")
            found.overfull += listing.overfull

    def _references(self) -> set[str]:
        used = used_as_default(self._mentions)
        stored_here: dict[Any, bool] = {}
        for table in tables(with_texts=self._options.with_texts):
            for value in table.values():
                used.update(used_by(value, self._mentions))
                is_here = stored_here.get(value.field)
                if is_here is None:
                    is_here = stored_here[value.field] = self._stores(value.field)
                if is_here:
                    self._note_absent(value.text, str(value.field), value.pk)
        return used

    def _stores(self, column: Any) -> bool:
        storage = column.storage if isinstance(column, FileField) else None
        return isinstance(storage, AccountStorage) and storage.account.key == self._account.key

    def _note_absent(self, name: str, label: str, pk: Any) -> None:
        image_id = _image_id(name, self._account)
        if image_id is None or image_id in self._mentions or name in self._mentions:
            return
        known = self._absent.get(name)
        self._absent[name] = (
            replace(known, rows=known.rows + 1)
            if known
            else Missing(name=name, field=label, pk=str(pk), rows=1)
        )

    def _count_others(self, found: Found) -> int | None:
        try:
            total = self._requests.send(lambda client: client.stats()).current
        except CloudflareImagesError:
            return None
        return max(0, total - found.listed)

    # Confirming

    def _confirm_orphans(self, candidates: Sequence[str], found: Found) -> None:
        for number, image_id in enumerate(candidates, 1):
            self._progress(f"Confirming orphans: {number:,} of {len(candidates):,}.")
            image = self._ask(image_id, found)
            if image is not None and not difference(image, self._options):
                found.orphans.append(_orphan(image))

    def _confirm_missing(self, found: Found) -> None:
        ids = self._ids_of_absent()
        pages = (found.listed + (found.others or 0)) // _IMAGES_PER_REQUEST + 1
        if len(ids) > 2 * pages:
            self._strike_listed(ids)
        not_found = []
        for number, (name, image_id) in enumerate(ids.items(), 1):
            self._progress(f"Confirming rows without an image: {number:,} of {len(ids):,}.")
            if problem := self._absence(name, image_id, found):
                not_found.append((name, problem))
        if not_found:
            time.sleep(SECOND_LOOK_SECONDS)
        for name, _ in not_found:
            if problem := self._absence(name, ids[name], found):
                found.missing.append(replace(self._absent[name], reason=problem))

    def _ids_of_absent(self) -> dict[str, str]:
        """Return names and IDs, without images that Cloudflare need not have yet."""
        ids: dict[str, str] = {}
        for batch in batches(list(self._absent), _NAMES):
            rows = uploads().filter(name__in=batch).values_list("name", "remote_id", "state")
            known = {name: (remote_id, state) for name, remote_id, state in rows}
            for name in batch:
                remote_id, state = known.get(name, ("", ""))
                if state not in UNCONFIRMED:
                    ids[name] = remote_id or _image_id(name, self._account) or ""
        return ids

    def _strike_listed(self, ids: dict[str, str]) -> None:
        """Drop what a list of the whole account has: it may lack images, but what it has is there."""
        by_id: dict[str, list[str]] = {}
        for name, image_id in ids.items():
            by_id.setdefault(image_id, []).append(name)

        def listed(client: CloudflareImagesClient) -> list[str]:
            return [image.id for image in client.list_images() if image.id in by_id]

        self._progress("Listing all images of the account.")
        for image_id in self._requests.send(listed):
            for name in by_id.pop(image_id, ()):
                del ids[name]

    def _absence(self, name: str, image_id: str, found: Found) -> str:
        """Return why a row has no image; empty if it has one, or nothing is clear."""
        if not image_id:
            return "it can be no image's name"
        try:
            image = self._details(image_id)
        except ImageNotFoundError:
            return "Cloudflare has no such image"
        except ImageRejectedError:
            return "it can be no image's name"
        except CloudflareImagesError as error:
            self._unclear(name, error, found)
            return ""
        return "its upload was never finished" if image.draft else ""

    def _ask(self, image_id: str, found: Found) -> Image | None:
        try:
            return self._details(image_id)
        except ImageNotFoundError:
            return None
        except CloudflareImagesError as error:
            self._unclear(image_id, error, found)
            return None

    def _details(self, image_id: str) -> Image:
        return self._requests.send(lambda client: client.details(image_id))

    def _unclear(self, name: str, error: CloudflareImagesError, found: Found) -> None:
        if self._requests.are_hopeless(error):
            raise error
        found.unclear.append(Unclear(name=name, reason=error.summary))


def add_image(mentions: Mentions, image_id: str, name: str) -> None:
    """Let an image be found by its ID and, if it is private and has its ID in a row, by its ``name``."""
    mentions.add(image_id, image_id)
    if names.is_private(name):
        mentions.add(name, image_id)


def difference(image: Image, options: Options) -> str:
    """Return why an image is not the one that was listed; empty if it is an old one of this project."""
    uploaded = metadata.uploaded_of(image.metadata)
    if image.draft or not metadata.token_of(image.metadata):
        return "this package has not stored it"
    if metadata.site_of(image.metadata) not in options.sites:
        return "it belongs to another site"
    stored = image.uploaded_at.timestamp() if image.uploaded_at else 0
    if uploaded is None or max(uploaded, stored) > options.cutoff:
        return "it was uploaded again"
    return ""


def _orphan(image: Image) -> Orphan:
    return Orphan(
        image_id=image.id,
        name=metadata.name_of(image.metadata),
        uploaded=metadata.uploaded_of(image.metadata) or 0,
        size=metadata.size_of(image.metadata),
        quarantined=metadata.quarantined_of(image.metadata),
    )


def _image_id(name: str, account: Account) -> str | None:
    """Return the ID of the image that a row names, ``None`` for the URL of another account's image, and an
    empty text for what can be no name.
    """
    if names.is_url(name):
        found = urls.parse_url(name, conf.delivery_urls())
        return found.image_id if found and account.owns(found) else None
    try:
        return names.image_id(resolve(name))
    except InvalidNameError:
        return ""


def used_by(value: Value, mentions: Mentions) -> Iterator[str]:
    """Yield the images that a value mentions; a file field may name one by another path, with ``..``."""
    yield from mentions.find(value.text)
    if isinstance(value.field, FileField):
        with suppress(InvalidNameError):
            if (resolved := resolve(value.text)) != value.text:
                yield from mentions.find(resolved)


def used_as_default(mentions: Mentions) -> set[str]:
    """Return the images that rows without one of their own show."""
    used: set[str] = set()
    try:
        for default in image_fields.defaults(call=True):
            used.update(mentions.find(default.name))
    except Exception as error:  # a callable of the project's own may raise anything
        raise UnreadableTableError(f"The default of an image field cannot be read: {error}") from error
    return used


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield the items, so many at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
