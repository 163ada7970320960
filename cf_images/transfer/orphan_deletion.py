"""The deletion of orphans, at once or after a quarantine: a tag in their metadata.

Before images are deleted, all references are read once more, and each image is confirmed again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from cf_images.client import Image
from cf_images.exceptions import CloudflareImagesError, ImageNotFoundError
from cf_images.images import metadata
from cf_images.transfer.mentions import Mentions
from cf_images.transfer.orphans import (
    Found,
    Options,
    Orphan,
    add_image,
    batches,
    difference,
    used_as_default,
    used_by,
)
from cf_images.transfer.pacing import PacedRequests
from cf_images.transfer.references import tables

_BATCH = 500  # deletions for which references are read once more


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What became of an orphan: ``released`` lost its tag, ``left`` has a reason."""

    image_id: str
    outcome: Literal["deleted", "quarantined", "released", "left"]
    reason: str = ""


class Deletion:
    """What changes images at Cloudflare, one after another."""

    def __init__(self, requests: PacedRequests, options: Options) -> None:
        self._requests, self._options = requests, options

    def settle(self, found: Found, *, delete: bool, quarantine: bool) -> Iterator[Done]:
        """Tag orphans (``quarantine``), and delete those of ``due``; yield what became of each.

        Images that are in use again lose their tag. Before deletions, all references are read again.
        """
        for image_id in found.used_again if delete or quarantine else ():
            yield from self._changed(image_id, self._release)
        for orphan in found.orphans if quarantine else ():
            if orphan.quarantined is None:
                yield from self._changed(orphan.image_id, self._tag)
        for batch in batches(due(found, self._options, quarantine=quarantine) if delete else [], _BATCH):
            used = self._used_by_now(batch)
            for orphan in batch:
                if orphan.image_id in used:
                    yield Done(image_id=orphan.image_id, outcome="left", reason="it is in use by now")
                else:
                    gone = Done(image_id=orphan.image_id, outcome="deleted")  # another run was faster
                    yield from self._changed(orphan.image_id, partial(self._delete, orphan), gone=gone)

    def _used_by_now(self, orphans: Sequence[Orphan]) -> set[str]:
        mentions = Mentions()
        for orphan in orphans:
            add_image(mentions, orphan.image_id, orphan.name)
        used = used_as_default(mentions)
        for table in tables(with_texts=self._options.with_texts):
            for value in table.values():
                used.update(used_by(value, mentions))
        return used

    def _changed(
        self, image_id: str, change: Callable[[Image], Done | None], *, gone: Done | None = None
    ) -> Iterator[Done]:
        """Yield the outcome of ``change`` for the image as it is now; ``gone`` where there is none."""
        try:
            outcome = change(self._requests.send(lambda client: client.details(image_id)))
        except ImageNotFoundError:
            outcome = gone
        except CloudflareImagesError as error:
            if self._requests.are_hopeless(error):
                raise
            outcome = Done(image_id=image_id, outcome="left", reason=error.summary)
        if outcome:
            yield outcome

    def _delete(self, orphan: Orphan, image: Image) -> Done:
        reason = difference(image, self._options)
        if metadata.quarantined_of(image.metadata) != orphan.quarantined:
            reason = reason or "another run has changed its tag"
        if reason:
            return Done(image_id=image.id, outcome="left", reason=reason)
        self._requests.send(lambda client: client.delete(image.id))
        return Done(image_id=image.id, outcome="deleted")

    def _tag(self, image: Image) -> Done:
        if reason := difference(image, self._options):
            return Done(image_id=image.id, outcome="left", reason=reason)
        self._write(image, int(time.time()))
        return Done(image_id=image.id, outcome="quarantined")

    def _release(self, image: Image) -> Done | None:
        if metadata.quarantined_of(image.metadata) is None:
            return None
        self._write(image, None)
        return Done(image_id=image.id, outcome="released")

    def _write(self, image: Image, second: int | None) -> None:
        """Write all metadata again, since Cloudflare replaces them as a whole."""
        complete = metadata.with_quarantine(image.metadata, second)
        self._requests.send(lambda client: client.update(image.id, metadata=complete))


def due(found: Found, options: Options, *, quarantine: bool) -> list[Orphan]:
    """Return the orphans to delete: all, or with ``quarantine`` those that were tagged long enough ago."""
    return [
        orphan
        for orphan in found.orphans
        if not quarantine or (orphan.quarantined is not None and orphan.quarantined <= options.cutoff)
    ]
