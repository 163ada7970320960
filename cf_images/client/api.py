"""The calls about images: what each sends, what it returns, when it may be repeated."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import IO, Any

from cf_images.client.account import AccountCalls
from cf_images.client.caller import given
from cf_images.client.calls import Call
from cf_images.client.door import Download, HiddenURL, Request, is_address
from cf_images.client.forms import FilePart, expiry_text, file_part, image_fields, metadata_text
from cf_images.client.paths import check_new_id, image_path
from cf_images.client.values import DirectUpload, Image, image_page
from cf_images.exceptions import (
    CloudflareImagesError,
    CloudflareUnavailableError,
    ImageExistsError,
    ImageNotFoundError,
    ImageRejectedError,
)


class CloudflareImagesClient(AccountCalls):
    """Cloudflare Images' management API, with an API token that may edit images.

    Cheap to make: all clients of a process share their connections, and none is opened before the first
    request. Safe to use from several threads and after a fork; it refuses to be pickled.

    ``timeout`` is the seconds that one attempt may take on the network, connecting and body included.
    With ``retry``, rate limits that end soon, errors on Cloudflare's side and broken connections are
    tried again where that is safe, beginning no later than ten seconds after the first attempt.

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

        When an answer was lost and the next attempt finds the ID taken, the image is ours if it carries
        the metadata we sent: who chooses IDs that can be guessed should add a random value.
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
        """Let Cloudflare fetch the image from ``url``, and wait for it; else like ``upload``."""
        fields = self._fields(image_id, metadata, require_signed_urls=require_signed_urls, creator=creator)
        return self._create({"url": url, **fields}, None)

    def upload_direct(
        self,
        upload_url: str,
        file: IO[bytes],
        *,
        filename: str | None = None,
        content_type: str | None = None,
    ) -> Image:
        """Upload ``file`` to an address from ``create_direct_upload``, which is all the permission it takes.

        Repeated only while Cloudflare has surely not received it; otherwise ``details`` tells: a draft
        has no file yet.
        """
        if not is_address(upload_url):
            del upload_url
            raise CloudflareImagesError("The upload URL is not an address that begins with https://.")
        address = HiddenURL(upload_url)
        del upload_url  # as the token: it would be shown with this frame
        with file_part(file, filename=filename or "image", content_type=content_type) as part:
            request = Request(
                method="POST", url=address, line="POST upload URL", timeout=self._timeout, file=part
            )
            return self._run(Call(request=request, read=Image.from_json, repeatable=False))

    def details(self, image_id: str) -> Image:
        """What Cloudflare knows of an image or a draft; ``ImageNotFoundError`` when there is none."""
        return self._run(self._details(image_id))

    def update(
        self,
        image_id: str,
        *,
        metadata: Mapping[str, Any] | None = None,
        require_signed_urls: bool | None = None,
        creator: str | None = None,
    ) -> Image:
        """Change what is given; ``None`` stays, ``metadata`` replaces the old as a whole (``{}`` clears it).

        The answer's ``id`` counts: Cloudflare may give a new one when access changes. Raises
        ``ImageNotFoundError``, and ``ImageRejectedError`` for signed URLs with an ID of one's own.
        """
        if metadata is not None:
            metadata_text(metadata)
        changes = {"metadata": metadata, "requireSignedURLs": require_signed_urls, "creator": creator}
        return self._call("PATCH", image_path(image_id), Image.from_json, json=given(changes))

    def delete(self, image_id: str) -> None:
        """Delete an image or a draft for good; ``ImageNotFoundError`` when there is none."""
        self._delete(image_path(image_id))

    def download(self, image_id: str) -> Download:
        """The original, streamed; asked for at once, so that ``ImageNotFoundError`` is raised here."""
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
        """All images, page by page as the iterator proceeds; drafts are not among them.

        ``sort_order`` is ``asc`` or ``desc`` by upload; ``creator=""`` finds images without one. ``meta``
        are up to five conditions on metadata: ``{"token": "x"}`` is equality, another operator stands in
        the key: ``{"size[gte:number]": 10}``.
        """
        conditions = dict(_condition(key, value) for key, value in (meta or {}).items())
        query = {"per_page": str(per_page), **given({"sort_order": sort_order, "creator": creator})}
        seen: set[str] = set()
        token = ""
        while True:
            page = query | conditions | ({"continuation_token": token} if token else {})
            images, token = self._call("GET", "images/v2", image_page, params=page)
            yield from images
            if not token:
                return
            if token in seen:
                raise CloudflareUnavailableError("Cloudflare's list of images goes round in a circle.")
            seen.add(token)

    # Permission for others

    def create_direct_upload(
        self,
        *,
        image_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        require_signed_urls: bool = False,
        creator: str | None = None,
        expires_at: datetime | None = None,
    ) -> DirectUpload:
        """Reserve an ID and get the address to which someone without a token may post one file.

        ``expires_at`` is 2 minutes to 6 hours away, half an hour by default; without a time zone it is
        local time.
        """
        fields = self._fields(image_id, metadata, require_signed_urls=require_signed_urls, creator=creator)
        if expires_at is not None:
            fields["expiry"] = expiry_text(expires_at)
        # A lost answer leaves an empty draft behind; with an ID of ours that draft would be in the way.
        path, repeatable = "images/v2/direct_upload", image_id is None
        return self._call("POST", path, DirectUpload.from_json, fields=fields, repeatable=repeatable)

    # How calls are made

    def _fields(
        self, image_id: str | None, metadata: Mapping[str, Any] | None, **others: Any
    ) -> dict[str, str]:
        if image_id is not None:
            check_new_id(image_id)
            if others["require_signed_urls"]:
                raise ImageRejectedError(
                    f"{image_id[:80]!r} cannot require signed URLs: Cloudflare gives private images no custom"
                    " IDs. Leave image_id out, and keep the ID of the answer."
                )
        return image_fields(image_id=image_id, metadata=metadata, **others)

    def _create(self, fields: dict[str, str], file: FilePart | None) -> Image:
        image_id = fields.get("id")

        def created(result: Any) -> Image:
            image = Image.from_json(result)
            if image_id not in (None, image.id):
                raise ValueError("another image")
            return image

        request = self._request("POST", "images/v1", fields=fields, file=file)
        call = Call(request=request, read=created, repeatable=image_id is not None)
        try:
            return self._run(call)
        except ImageExistsError as error:
            if image_id is None or not call.unclear:
                raise
            taken = error
        return self._settle(image_id, json.loads(fields.get("metadata", "{}")), taken, call.began)

    def _settle(self, image_id: str, metadata: Any, taken: ImageExistsError, began: float) -> Image:
        """The ID is taken after an attempt whose answer was lost: by us, if it has what we sent."""
        question = self._details(image_id)
        question.began = began
        try:
            image = self._run(question)
        except ImageNotFoundError:  # new images may flicker for minutes
            image = None
        if image is None:
            raise CloudflareUnavailableError(
                "Whether the upload succeeded is unclear: the ID is taken, but not to be found.",
                request=taken.request,
            )
        if image.draft or image.metadata != metadata:
            raise taken
        return image

    def _details(self, image_id: str) -> Call[Image]:
        request = self._request("GET", image_path(image_id))
        return Call(request=request, read=Image.from_json, repeatable=True)


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
