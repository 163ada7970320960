"""Delivery: a variant of an image, by name or by options, in the format that the browser can take.

Both URL forms come here: ``/<hash>/<id>/<variant>`` and the same behind ``/cdn-cgi/imagedelivery``. The ID is
everything between the first and the last segment, percent-decoded once.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from os import cpu_count
from typing import BinaryIO, cast
from urllib.parse import unquote

from werkzeug.wrappers import Request, Response

from cf_images import rendering
from cf_images.emulator import answers, choices, signing, svg
from cf_images.emulator.errors import (
    ACCESS_DENIED,
    DECODING_FAILED,
    IMAGE_NOT_FOUND,
    INVALID_OPTIONS,
    INVALID_TEXT,
    MALFORMED,
    METHOD_NOT_ALLOWED,
    NO_FLEXIBLE_VARIANTS,
    WRONG_HASH,
    DeliveryError,
    Refusal,
)
from cf_images.emulator.images import StoredImage
from cf_images.emulator.limits import Limits
from cf_images.emulator.renditions import Rendition, Renditions
from cf_images.emulator.state import State, Variant

OPTIONS_LENGTH = 2_048
STALE_SECONDS = 7_200
SAFETY = {
    "Content-Security-Policy": "default-src 'none'; navigate-to 'none'; form-action 'none'; img-src data:;"
    " style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}
SVG = "image/svg+xml"
NEGOTIATED = ("image/avif", "image/webp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One delivery URL, taken apart; ``path`` is what signatures cover. Only ``image_id`` is decoded."""

    path: str
    account_hash: str
    image_id: str
    variant: str


class Delivery:
    """Serves what :mod:`.state` holds, rendered by ``cf_images.rendering``."""

    def __init__(self, state: State, *, renditions: Renditions, account_hash: str, limits: Limits) -> None:
        self._state = state
        self._renditions = renditions
        self._hash = account_hash
        self._limits = limits
        self._busy = threading.Semaphore(cpu_count() or 1)  # a large image takes hundreds of megabytes

    def __call__(self, request: Request, path: str) -> Response:
        """Answer a request for the short, still encoded path."""
        if request.method not in ("GET", "HEAD"):
            raise DeliveryError(METHOD_NOT_ALLOWED)
        asked = take_apart(path)
        if asked.account_hash != self._hash:
            raise DeliveryError(WRONG_HASH)
        named = self._state.variant(asked.variant)
        if named is None and "=" not in (name := unquote(asked.variant)):
            raise DeliveryError(ACCESS_DENIED, f"the account has no variant named {name[:99]!r}")
        if named is None and not self._state.settings()["flexible_variants"]:
            raise DeliveryError(NO_FLEXIBLE_VARIANTS)
        image = self._state.images.find(asked.image_id)
        if image is None or image.draft:
            raise DeliveryError(IMAGE_NOT_FOUND)
        expires = self._check_access(image, named, asked, query=request.query_string.decode("latin-1"))
        transform = self.transform(named, asked.variant)
        rendition = self.render(image, transform, accept=request.headers.get("Accept", ""))
        return self._answer(rendition, request, image, max_age=self._max_age(named, expires))

    def _check_access(
        self, image: StoredImage, named: Variant | None, asked: Asked, *, query: str
    ) -> float | None:
        """When a private image's URL ends; ``None`` for what everybody may see."""
        if not image.require_signed_urls or (named and named.never_require_signed_urls):
            return None
        if named is None:
            raise DeliveryError(ACCESS_DENIED, "flexible variants cannot show private images")
        expires = signing.expiry(asked.path, query, keys=self._state.signing_keys().values())
        if expires is None:
            raise DeliveryError(ACCESS_DENIED, "the signature is missing or not valid")
        if expires <= self._state.clock():
            raise DeliveryError(ACCESS_DENIED, "the signature has expired")
        return expires

    def _max_age(self, named: Variant | None, expires: float | None) -> int:
        options = named.options if named else {}
        max_age = int(options.get("browser_ttl", self._state.settings()["browser_ttl"]))
        if expires is None:
            return max_age
        return int(min(max_age, choices.PRIVATE_MAX_AGE, expires - self._state.clock()))

    def transform(self, named: Variant | None, options: str) -> rendering.Transform:
        """What a variant or a string of options asks for; raises :class:`DeliveryError` with 9401."""
        try:
            if named is None:
                return rendering.Transform.parse(options)
            shown = {name: value for name, value in named.options.items() if name != "browser_ttl"}
            return rendering.Transform.from_options(shown)
        except rendering.InvalidVariantError as error:
            raise DeliveryError(INVALID_OPTIONS, error.message) from error

    def render(self, image: StoredImage, transform: rendering.Transform, *, accept: str) -> Rendition:
        """The rendition, from the cache when it was made before."""
        body_key = str(image.body_key)
        asked = " ".join([repr(transform), *(name for name in NEGOTIATED if name in accept)])
        found = self._renditions.get(body_key, asked)
        if found is None:
            found = self._render(image, transform, accept=accept)
            self._renditions.put(body_key, asked, found)
        return found

    def _render(self, image: StoredImage, transform: rendering.Transform, *, accept: str) -> Rendition:
        try:
            if image.content_type == SVG:
                return Rendition(body=svg.sanitized(image.body), content_type=SVG)
            with self._busy, image.open() as source:
                made = rendering.render(
                    cast("BinaryIO", source), transform, accept=accept, max_pixels=self._limits.area
                )
        except FileNotFoundError as error:
            raise DeliveryError(IMAGE_NOT_FOUND) from error
        except rendering.RenderingError as error:
            fallback = DECODING_FAILED
            refusal = Refusal(error.status or fallback.status, error.code or fallback.code, error.message)
            raise DeliveryError(refusal) from error
        return Rendition(body=made.body, content_type=made.content_type, warnings=tuple(made.warnings))

    def _answer(
        self, rendition: Rendition, request: Request, image: StoredImage, *, max_age: int
    ) -> Response:
        answer = Response(rendition.body, mimetype=rendition.content_type)
        answer.headers["Cache-Control"] = (
            f"{'private' if image.require_signed_urls else 'public'}, max-age={max_age},"
            f" stale-while-revalidate={min(STALE_SECONDS, max_age)}"
        )
        answer.headers.update(SAFETY)
        answer.headers["Vary"] = "Accept"
        answer.headers["Cf-Images"] = f"internal=ok/m q=0 n=0+0 c=0+0 v=emulator l={len(rendition.body)}"
        for warning in rendition.warnings:
            answer.headers.add("Warning", warning)
        answer.set_etag(f"cf{rendition.etag[:12]}:{rendition.etag[12:]}")
        answer.last_modified = image.uploaded_at
        return answer.make_conditional(request.environ)


def take_apart(path: str) -> Asked:
    """The parts of ``/<hash>/<id>/<variant>``; raises :class:`DeliveryError`."""
    account_hash, _, rest = path.removeprefix("/").partition("/")
    image_id, _, variant = rest.rpartition("/")
    if not account_hash or not image_id or not variant:
        raise DeliveryError(MALFORMED, "expected /<account_hash>/<image_id>/<variant>")
    if len(variant) > OPTIONS_LENGTH:
        raise DeliveryError(INVALID_TEXT, f"options may have {OPTIONS_LENGTH:,} characters")
    return Asked(path=path, account_hash=account_hash, image_id=unquote(image_id), variant=variant)


def refusal(error: DeliveryError) -> Response:
    """An error as delivery shows it."""
    answer = answers.plain_refusal(error)
    answer.headers["Cf-Images"] = f"err={error.refusal.code}"
    answer.headers["Cache-Control"] = "no-store"
    return answer
