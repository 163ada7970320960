"""A complete list of the images that a site has uploaded to an account.

Cloudflare's lists repeat and skip images beyond 10,000 ("list v2", as users reported). So the list is made of
ranges of the second of the upload, which this package writes into the metadata, each with fewer images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from cf_images.client import CloudflareImagesClient, Image
from cf_images.exceptions import CloudflareUnavailableError
from cf_images.images import metadata
from cf_images.transfer.pacing import PacedRequests

MAX_LISTED = 10_000  # from so many on, a list is not believed
_END = 2**40  # seconds since 1970: after every upload


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedImage:
    """What the list says of an image; ``name`` is that of a private one, ``uploaded`` a second."""

    image_id: str
    name: str
    uploaded: int
    quarantined: int | None


class Listing:
    """The images of ``site``; ``overfull`` are the seconds of which the list may be incomplete."""

    def __init__(self, requests: PacedRequests, site: str) -> None:
        self._requests = requests
        self._site = site
        self.overfull: list[int] = []

    def __iter__(self) -> Iterator[ListedImage]:
        ranges = [(0, _END)]
        while ranges:
            start, end = ranges.pop()
            images = self._images(start, end)
            if len(images) >= MAX_LISTED and end - start > 1:
                middle = _middle(images, start, end)
                ranges += [(middle, end), (start, middle)]
                continue
            if len(images) >= MAX_LISTED:
                self.overfull.append(start)
            yield from images

    def _images(self, start: int, end: int) -> list[ListedImage]:
        """Return the images from ``start`` until before ``end``, ``MAX_LISTED`` of them where there are
        more.
        """
        second = f"{metadata.KEY}.uploaded"
        conditions: dict[str, str | int | float | bool] = {
            f"{metadata.KEY}.site": self._site,
            f"{second}[gte:number]": start,
            f"{second}[lt:number]": end,
        }

        def listed(client: CloudflareImagesClient) -> list[ListedImage]:
            images = client.list_images(sort_order="asc", meta=conditions)
            return [self._listed(image, start, end) for image in islice(images, MAX_LISTED)]

        return self._requests.send(listed)

    def _listed(self, image: Image, start: int, end: int) -> ListedImage:
        uploaded = metadata.uploaded_of(image.metadata)
        if uploaded is None or not start <= uploaded < end or metadata.site_of(image.metadata) != self._site:
            raise CloudflareUnavailableError(
                f"Cloudflare's list does not keep to the conditions on metadata: it has {image.id[:80]!r}."
            )
        return ListedImage(
            image_id=image.id,
            name=metadata.name_of(image.metadata),
            uploaded=uploaded,
            quarantined=metadata.quarantined_of(image.metadata),
        )


def _middle(images: list[ListedImage], start: int, end: int) -> int:
    """Return where to divide a range, so that the first part has three quarters of what was listed."""
    seconds = sorted(image.uploaded for image in images)
    return max(start + 1, min(seconds[len(seconds) * 3 // 4], end - 1))
