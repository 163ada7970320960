"""Uploads: by file, by URL, and directly to an upload URL ("Direct creator upload")."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from werkzeug.wrappers import Request

from cf_images.emulator import assumptions, forms
from cf_images.emulator.assumptions import BAD_INPUT
from cf_images.emulator.bodies import Spool
from cf_images.emulator.database import AlreadyExistsError
from cf_images.emulator.errors import EXISTS, FROM_CLOUDFLARE, ApiError
from cf_images.emulator.fetching import Fetcher, split_url
from cf_images.emulator.images import NewBody, NewImage, StoredImage
from cf_images.emulator.inspection import inspect
from cf_images.emulator.limits import (
    DEFAULT_DIRECT_UPLOAD_SECONDS,
    DIRECT_UPLOAD_SECONDS,
    FILENAME_LENGTH,
    Limits,
)
from cf_images.emulator.state import State


class Uploads:
    """The uploads of one account."""

    def __init__(self, state: State, *, limits: Limits, fetcher: Fetcher) -> None:
        self._images = state.images
        self._clock = state.clock
        self._limits = limits
        self._fetcher = fetcher

    def upload(self, request: Request) -> StoredImage:
        """Store the image in the part ``file`` or at the URL in ``url``; raise :class:`ApiError`."""
        with forms.read_form(request, self._images.bodies, limits=self._limits) as form:
            part, url = form.image, form.text.get("url")
            if bool(part) == bool(url):
                raise ApiError(BAD_INPUT, "exactly one of file and url must be given")
            new = self._new_image(form)
            if part is not None:
                return self._store(new, forms.spool(part), filename=forms.filename(part))
            return self._fetch(new, str(url), own_host=request.host)

    def _new_image(self, form: forms.Form) -> NewImage:
        signed = forms.boolean(form.text, "requireSignedURLs")
        image_id = forms.custom_id(form.text, signed=signed)
        return NewImage(
            image_id=image_id or generate_id(),
            custom=image_id is not None,
            require_signed_urls=signed,
            metadata=forms.form_metadata(form.text, limits=self._limits),
            creator=forms.creator(form.text.get("creator")),
        )

    def _fetch(self, new: NewImage, url: str, *, own_host: str) -> StoredImage:
        parts = split_url(url)
        if parts.netloc.rpartition("@")[2] in (own_host, "imagedelivery.net"):
            raise ApiError(FROM_CLOUDFLARE)
        body = Spool(self._images.bodies, limit=self._limits.upload_bytes)
        try:
            self._fetcher.fetch(url, into=body)
            filename = unquote(parts.path.rpartition("/")[2])[:FILENAME_LENGTH]
            return self._store(new, body, filename=filename)
        finally:
            body.close()

    def _store(self, new: NewImage, spool: Spool, *, filename: str) -> StoredImage:
        try:
            return self._images.add(new, self._body(spool, filename=filename))
        except AlreadyExistsError as error:
            raise ApiError(EXISTS) from error

    def _body(self, spool: Spool, *, filename: str) -> NewBody:
        content_type = inspect(spool.stream, limits=self._limits)
        return NewBody(spool=spool, filename=filename, content_type=content_type)

    def direct_upload(self, request: Request) -> str:
        """Create a draft and return its ID; a request without a body or with an empty form is valid."""
        if not request.content_length and not request.mimetype:
            return self._draft(forms.Form())
        with forms.read_form(request, self._images.bodies, limits=self._limits) as form:
            if not form.text and not form.files:
                assumptions.guess("an empty form requests an upload URL without options")
            return self._draft(form)

    def _draft(self, form: forms.Form) -> str:
        new, now = self._new_image(form), self._clock()
        expiry = forms.expiry(form.text)
        seconds = expiry.timestamp() - now if expiry else DEFAULT_DIRECT_UPLOAD_SECONDS
        if not DIRECT_UPLOAD_SECONDS.start <= seconds < DIRECT_UPLOAD_SECONDS.stop:
            raise ApiError(BAD_INPUT, "expiry must be two minutes to six hours in the future")
        try:
            return self._images.add_draft(new, expires=now + seconds).image_id
        except AlreadyExistsError as error:
            raise ApiError(EXISTS) from error

    def complete(self, request: Request, image_id: str) -> StoredImage:
        """Store the bytes of a draft from the part ``file``; ignore other fields; raise :class:`ApiError`."""
        draft = self._images.find(image_id)
        if draft is None:
            raise ApiError(assumptions.EXPIRED_UPLOAD_URL)
        if not draft.draft:
            raise ApiError(assumptions.USED_UPLOAD_URL)
        with forms.read_form(request, self._images.bodies, limits=self._limits) as form:
            part = form.image
            if part is None:
                raise ApiError(BAD_INPUT, "the form has no part named file")
            body = self._body(forms.spool(part), filename=forms.filename(part))
            image = self._images.complete(image_id, body)
        if image is None:  # another request was faster
            raise ApiError(assumptions.USED_UPLOAD_URL)
        return image


def generate_id() -> str:
    """Return a random ID in the form of a UUID; like Cloudflare's, it is not a valid RFC 4122 UUID."""
    digits = secrets.token_hex(15) + "00"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def changes(body: Mapping[str, Any], *, limits: Limits) -> dict[str, Any]:
    """Return the validated changes of a PATCH request for an image; raise :class:`ApiError`."""
    signed = body.get("requireSignedURLs")
    if signed is not None and not isinstance(signed, bool):
        raise ApiError(BAD_INPUT, "requireSignedURLs must be true or false")
    given = body.get("metadata")
    return {
        "metadata": None if given is None else forms.metadata(given, limits=limits),
        "require_signed_urls": signed,
        "creator": forms.creator(body.get("creator")),
    }
