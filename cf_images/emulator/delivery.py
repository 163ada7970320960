"""Delivery: a named or flexible variant of an image, in the best format that the browser accepts.

Both URL forms arrive here: ``/<hash>/<id>/<variant>`` and the same behind ``/cdn-cgi/imagedelivery``. The ID
is everything between the first and the last segment, percent-decoded once.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from os import cpu_count
from typing import BinaryIO, cast
from urllib.parse import unquote

from werkzeug.wrappers import Request, Response

from cf_images import rendering
from cf_images.emulator import assumptions, signing, svg
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
    ErrorCode,
)
from cf_images.emulator.images import StoredImage
from cf_images.emulator.limits import Limits
from cf_images.emulator.renditions import Rendition, Renditions
from cf_images.emulator.state import State, Variant

OPTIONS_LENGTH = 2_048
STALE_WHILE_REVALIDATE = 7_200
"""Seconds."""
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; navigate-to 'none'; form-action 'none'; img-src data:;"
    " style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}
SVG = "image/svg+xml"
NEGOTIATED = ("image/avif", "image/webp")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryPath:
    """The parts of a delivery URL; signatures cover ``path``. Only ``image_id`` is percent-decoded."""

    path: str
    account_hash: str
    image_id: str
    variant: str


class Delivery:
    """Delivery of the images in :mod:`.state`, rendered by ``cf_images.rendering``."""

    def __init__(self, state: State, *, renditions: Renditions, account_hash: str, limits: Limits) -> None:
        self._state = state
        self._renditions = renditions
        self._hash = account_hash
        self._limits = limits
        # Rendering a large image needs hundreds of megabytes.
        self._busy = threading.Semaphore(cpu_count() or 1)

    def __call__(self, request: Request, path: str) -> Response:
        """Respond to a request for ``/<hash>/<id>/<variant>``, percent-encoded."""
        if request.method not in ("GET", "HEAD"):
            raise DeliveryError(METHOD_NOT_ALLOWED)
        parts = parse_path(path)
        if parts.account_hash != self._hash:
            raise DeliveryError(WRONG_HASH)
        named = self._state.variant(parts.variant)
        if named is None and "=" not in (name := unquote(parts.variant)):
            raise DeliveryError(ACCESS_DENIED, f"the account has no variant named {name[:99]!r}")
        if named is None and not self._state.settings()["flexible_variants"]:
            raise DeliveryError(NO_FLEXIBLE_VARIANTS)
        image = self._state.images.find(parts.image_id)
        if image is None or image.draft:
            raise DeliveryError(IMAGE_NOT_FOUND)
        expires = self._check_access(image, named, parts, query=request.query_string.decode("latin-1"))
        transform = self.transform(named, parts.variant)
        rendition = self.render(image, transform, accept=request.headers.get("Accept", ""))
        return self._response(rendition, request, image, max_age=self._max_age(named, expires))

    def _check_access(
        self, image: StoredImage, named: Variant | None, parts: DeliveryPath, *, query: str
    ) -> float | None:
        """Return when a private image's URL expires, or ``None`` for public access."""
        if not image.require_signed_urls or (named and named.never_require_signed_urls):
            return None
        if named is None:
            raise DeliveryError(ACCESS_DENIED, "flexible variants cannot show private images")
        expires = signing.expiry(parts.path, query, keys=self._state.signing_keys().values())
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
        return int(min(max_age, assumptions.PRIVATE_MAX_AGE, expires - self._state.clock()))

    def transform(self, named: Variant | None, options: str) -> rendering.Transform:
        """Return the transform of a named or flexible variant; raise :class:`DeliveryError` with 9401."""
        try:
            if named is None:
                return rendering.Transform.parse(options)
            given = {name: value for name, value in named.options.items() if name != "browser_ttl"}
            return rendering.Transform.from_options(given)
        except rendering.InvalidVariantError as error:
            raise DeliveryError(INVALID_OPTIONS, error.message) from error

    def render(self, image: StoredImage, transform: rendering.Transform, *, accept: str) -> Rendition:
        """Return the rendition of an image, from the cache if possible; raise :class:`DeliveryError`."""
        body_key = str(image.body_key)
        variant_key = " ".join([repr(transform), *(name for name in NEGOTIATED if name in accept)])
        rendition = self._renditions.get(body_key, variant_key)
        if rendition is None:
            rendition = self._render(image, transform, accept=accept)
            self._renditions.put(body_key, variant_key, rendition)
        return rendition

    def _render(self, image: StoredImage, transform: rendering.Transform, *, accept: str) -> Rendition:
        try:
            if image.content_type == SVG:
                return Rendition(body=svg.sanitize(image.body), content_type=SVG)
            with self._busy, image.open() as source:
                rendered = rendering.render(
                    cast("BinaryIO", source), transform, accept=accept, max_pixels=self._limits.area
                )
        except FileNotFoundError as error:
            raise DeliveryError(IMAGE_NOT_FOUND) from error
        except rendering.RenderingError as error:
            fallback = DECODING_FAILED
            code = ErrorCode(error.status or fallback.status, error.code or fallback.code, error.message)
            raise DeliveryError(code) from error
        return Rendition(
            body=rendered.body, content_type=rendered.content_type, warnings=tuple(rendered.warnings)
        )

    def _response(
        self, rendition: Rendition, request: Request, image: StoredImage, *, max_age: int
    ) -> Response:
        response = Response(rendition.body, mimetype=rendition.content_type)
        response.headers["Cache-Control"] = (
            f"{'private' if image.require_signed_urls else 'public'}, max-age={max_age},"
            f" stale-while-revalidate={min(STALE_WHILE_REVALIDATE, max_age)}"
        )
        response.headers.update(SECURITY_HEADERS)
        response.headers["Vary"] = "Accept"
        response.headers["Cf-Images"] = f"internal=ok/m q=0 n=0+0 c=0+0 v=emulator l={len(rendition.body)}"
        for warning in rendition.warnings:
            response.headers.add("Warning", warning)
        response.set_etag(f"cf{rendition.etag[:12]}:{rendition.etag[12:]}")
        response.last_modified = image.uploaded_at
        return response.make_conditional(request.environ)


def parse_path(path: str) -> DeliveryPath:
    """Parse ``/<hash>/<id>/<variant>``; raise :class:`DeliveryError` with 9424 or 9426."""
    account_hash, _, rest = path.removeprefix("/").partition("/")
    image_id, _, variant = rest.rpartition("/")
    if not account_hash or not image_id or not variant:
        raise DeliveryError(MALFORMED, "expected /<account_hash>/<image_id>/<variant>")
    if len(variant) > OPTIONS_LENGTH:
        raise DeliveryError(INVALID_TEXT, f"the maximum length of options is {OPTIONS_LENGTH:,} characters")
    return DeliveryPath(path=path, account_hash=account_hash, image_id=unquote(image_id), variant=variant)
