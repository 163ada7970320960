"""Requests about images: what each sends, what it returns, whether it may be repeated."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import IO, Any

from cf_images.client.account import AccountClient
from cf_images.client.base import without_none
from cf_images.client.multipart import FilePart, expiry_text, file_part, image_fields, metadata_text
from cf_images.client.paths import check_new_id, image_path
from cf_images.client.retry import Attempts
from cf_images.client.sources import ascii_url
from cf_images.client.transport import MAX_JSON_BYTES, Download, Request, Target
from cf_images.client.values import DirectUpload, Image, check_id, image_page
from cf_images.exceptions import (
    CloudflareImagesError,
    CloudflareUnavailableError,
    ImageExistsError,
    ImageNotFoundError,
    ImageRejectedError,
)

# Of a list, for each image: the URLs of 100 variants, with a long ID in each, and the metadata.
_MAX_LISTED_BYTES = 32 * 1024


class CloudflareImagesClient(AccountClient):
    """Cloudflare Images' management API, with an API token that may edit images.

    Cheap to make: all clients of a process share their connections, and none is opened before the first
    request. Safe to use from several threads and after a fork; it refuses to be pickled.

    ``timeout`` is the number of seconds that one attempt may take on the network, connecting and body
    included. With ``retry``, requests that fail because of a rate limit that ends soon, an error at
    Cloudflare or a broken connection are repeated where that is safe, for up to ten seconds.

    Every method raises ``CredentialsRefusedError``, ``RateLimitedError`` and ``CloudflareUnavailableError``.
    """

    # Images

    def upload(
        self,
        file: IO[bytes],
        *,
        image_id: str | None = None,
        filename: str | None = None,
        content_type: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        require_signed_urls: bool = False,
        creator: str | None = None,
    ) -> Image:
        """Upload ``file`` from its start; it stays open, at the position it had.

        ``filename`` defaults to the last part of the ID, ``content_type`` to what the first bytes say,
        ``metadata`` is at most 1024 bytes of JSON. Without ``image_id`` Cloudflare chooses one. Raises
        ``ImageExistsError`` (nothing is ever overwritten) and ``ImageRejectedError``.

        If a response was lost and the next attempt finds the ID taken, the image counts as uploaded if its
        metadata are those that were sent. Add a random value to them if the ID can be guessed.
        """
        fields = self._fields(image_id, metadata, require_signed_urls=require_signed_urls, creator=creator)
        name = filename or (image_id or "").rpartition("/")[2] or "image"
        with file_part(file, filename=name, content_type=content_type) as part:
            return self._create(fields, part)

    def upload_url(
        self,
        url: str,
        *,
        image_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        require_signed_urls: bool = False,
        creator: str | None = None,
    ) -> Image:
        """Let Cloudflare fetch the image from ``url``, and wait for it; otherwise like ``upload``.

        A URL that is not ASCII is percent-encoded; one that cannot be is ``ImageRejectedError``.
        """
        fields = self._fields(image_id, metadata, require_signed_urls=require_signed_urls, creator=creator)
        return self._create({"url": _source_url(url), **fields}, None)

    def upload_direct(
        self,
        upload_url: str,
        file: IO[bytes],
        *,
        image_id: str | None = None,
        filename: str | None = None,
        content_type: str | None = None,
    ) -> Image:
        """Upload ``file`` to a URL from ``create_direct_upload``; no token is needed or sent.

        With ``image_id``, the ID that was reserved, a response about another image is refused. Repeated only
        if Cloudflare has certainly not received it. In doubt ask for ``details``: a draft has no file yet.
        """
        target = Target.parse(upload_url)
        del upload_url  # as with the token: an error report would show it with this frame
        if target is None:
            raise CloudflareImagesError("The upload URL must begin with https:// and name a host.")
        with file_part(file, filename=filename or "image", content_type=content_type) as part:
            request = Request(
                method="POST", target=target, line="POST upload URL", timeout=self._timeout, file=part
            )
            return self._run(Attempts(request=request, read=_image(image_id), repeatable=False))

    def details(self, image_id: str) -> Image:
        """Return the details of an image or a draft; raise ``ImageNotFoundError`` if there is none."""
        return self._run(self._details(image_id))

    def update(
        self,
        image_id: str,
        *,
        metadata: Mapping[str, Any] | None = None,
        require_signed_urls: bool | None = None,
        creator: str | None = None,
    ) -> Image:
        """Change what is not ``None``; ``metadata`` replaces the old as a whole (``{}`` clears it).

        Keep the ``id`` of the returned image: Cloudflare may assign a new one where ``require_signed_urls``
        is given; otherwise a response about another image is refused. Raises ``ImageNotFoundError``, and
        ``ImageRejectedError`` for signed URLs together with a custom ID.
        """
        if metadata is not None:
            metadata_text(metadata)
        changes = {"metadata": metadata, "requireSignedURLs": require_signed_urls, "creator": creator}
        read = _image(image_id if require_signed_urls is None else None)
        return self._call("PATCH", image_path(image_id), read, json=without_none(changes))

    def delete(self, image_id: str) -> None:
        """Delete an image or a draft for good; raise ``ImageNotFoundError`` if there is none."""
        self._delete(image_path(image_id))

    def download(self, image_id: str) -> Download:
        """Return the original as a stream, already open: ``ImageNotFoundError`` is raised here."""
        path = f"{image_path(image_id)}/blob"
        return self._call("GET", path, _download, download=True)

    def list_images(
        self,
        *,
        per_page: int = 1000,
        sort_order: str | None = None,
        creator: str | None = None,
        meta: Mapping[str, str | int | float | bool] | None = None,
    ) -> Iterator[Image]:
        """Yield all images except drafts, requesting pages as the iterator proceeds.

        ``sort_order`` is ``asc`` or ``desc`` by upload; ``creator=""`` finds images without one. ``meta`` has
        up to five conditions on metadata: ``{"token": "x"}`` is equality, another operator is part of the
        key: ``{"size[gte:number]": 10}``.
        """
        conditions = dict(_condition(key, value) for key, value in (meta or {}).items())
        query = {"per_page": str(per_page), **without_none({"sort_order": sort_order, "creator": creator})}
        max_bytes = max(MAX_JSON_BYTES, per_page * _MAX_LISTED_BYTES)
        seen: set[str] = set()
        token = ""
        while True:
            page = query | conditions | ({"continuation_token": token} if token else {})
            images, token = self._call("GET", "images/v2", image_page, params=page, max_bytes=max_bytes)
            yield from images
            if not token:
                return
            if token in seen:
                raise CloudflareUnavailableError(
                    "Cloudflare's list of images repeats itself: two pages have the same continuation token."
                )
            seen.add(token)

    # Direct uploads

    def create_direct_upload(
        self,
        *,
        image_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        require_signed_urls: bool = False,
        creator: str | None = None,
        expires_at: datetime | None = None,
    ) -> DirectUpload:
        """Reserve an ID and a URL to which one file may be uploaded without a token.

        ``expires_at`` is 2 minutes to 6 hours away, half an hour by default; without a time zone it is
        local time.
        """
        fields = self._fields(image_id, metadata, require_signed_urls=require_signed_urls, creator=creator)
        if expires_at is not None:
            fields["expiry"] = expiry_text(expires_at)
        # A lost response leaves an empty draft behind, and a repeated request would find the ID taken.
        path, repeatable = "images/v2/direct_upload", image_id is None

        def reserved(result: Any) -> DirectUpload:
            reservation = DirectUpload.from_json(result)
            check_id(reservation.id, asked=image_id)
            return reservation

        return self._call("POST", path, reserved, fields=fields, repeatable=repeatable)

    # How requests are made

    def _fields(
        self, image_id: str | None, metadata: Mapping[str, Any] | None, **others: Any
    ) -> dict[str, str]:
        if image_id is not None:
            check_new_id(image_id)
            if others["require_signed_urls"]:
                raise ImageRejectedError(
                    f"{image_id[:80]!r} cannot require signed URLs: Cloudflare gives private images no custom"
                    " IDs. Leave image_id out, and keep the ID of the returned image."
                )
        return image_fields(image_id=image_id, metadata=metadata, **others)

    def _create(self, fields: dict[str, str], file: FilePart | None) -> Image:
        image_id = fields.get("id")
        request = self._request("POST", "images/v1", fields=fields, file=file)
        attempts = Attempts(request=request, read=_image(image_id), repeatable=image_id is not None)
        try:
            return self._run(attempts)
        except ImageExistsError as error:
            if image_id is None or not attempts.unclear:
                raise
            taken = error
        return self._confirm(image_id, json.loads(fields.get("metadata", "{}")), taken, attempts.started)

    def _confirm(self, image_id: str, metadata: Any, taken: ImageExistsError, started: float) -> Image:
        """Return the image whose ID is taken after an attempt without a response, if it is this upload."""
        attempts = self._details(image_id)
        attempts.started = started
        try:
            image = self._run(attempts)
        except ImageNotFoundError:  # for minutes, a new image may be found and then not
            image = None
        if image is None:
            raise CloudflareUnavailableError(
                "It is unclear whether the upload succeeded: the ID is taken, but the image is not found.",
                request=taken.request,
            )
        if image.draft or image.metadata != metadata:
            raise taken
        return image

    def _details(self, image_id: str) -> Attempts[Image]:
        request = self._request("GET", image_path(image_id))
        return Attempts(request=request, read=_image(image_id), repeatable=True)


def _image(image_id: str | None) -> Callable[[Any], Image]:
    """Return what reads an image from a response, and refuses one about another image than ``image_id``."""

    def read(result: Any) -> Image:
        image = Image.from_json(result)
        check_id(image.id, asked=image_id)
        return image

    return read


def _source_url(url: str) -> str:
    try:
        return ascii_url(url)
    except ValueError:
        pass
    raise ImageRejectedError("The URL of the image is not a valid URL.")  # which may hold a password


def _condition(key: str, value: str | float) -> tuple[str, str]:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if "[" in key:
        return f"meta.{key}", text
    kind = "boolean" if isinstance(value, bool) else "string" if isinstance(value, str) else "number"
    return f"meta.{key}[eq:{kind}]", text


def _download(outcome: Any) -> Download:
    if not isinstance(outcome, Download):
        raise TypeError("a success without an image")
    return outcome
