"""The URL of this package's view of a pending image. It stays valid: once stored, it redirects to Cloudflare.

That of a private image is signed with the site's ``SECRET_KEY``: for one image, one variant, and until a
moment. That of a flexible variant of a public one is signed, too, always the same: the view renders what a
template has requested, and nothing that a visitor makes up.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from urllib.parse import urlencode

from django.core.exceptions import SynchronousOnlyOperation
from django.core.signing import BadSignature, Signer
from django.db import Error
from django.urls import NoReverseMatch, reverse

from cf_images import conf
from cf_images.variants import grammar

logger = logging.getLogger(__name__)

VIEW = "cf_images:pending"
_EXPIRY, _SIGNATURE, _REQUESTED = "exp", "key", "by"
_SALT, _REQUESTED_SALT = "cf_images.pending", "cf_images.requested_variant"


def pending_url(name: str, variant: str, *, expires_at: int | None = None) -> str | None:
    """Return the view's URL of ``variant``, without a host; ``None`` if the view is not mounted.

    Signed until ``expires_at``, in seconds since 1970, which a private image needs.
    """
    if not conf.has_urls():
        return None
    try:
        path = reverse(VIEW, args=[variant, name])
    except NoReverseMatch:
        return None
    if expires_at is None:
        return with_query(path, requested_query(name, variant))
    signature = _signer().signature(_message(name, variant, expires_at))
    return with_query(path, {_EXPIRY: str(expires_at), _SIGNATURE: signature})


def site_url() -> str:
    """Return ``conf.site_url()``; ``""`` where a callable needs the database and cannot query it.

    A URL without a host is right in every page; elsewhere an image is missing, and the log says why.
    """
    try:
        return conf.site_url()
    except (SynchronousOnlyOperation, Error) as error:
        logger.warning('CF_IMAGES["SITE_URL"] failed, and the URL of a pending image has no host: %s', error)
        return ""


def requested_query(name: str, variant: str) -> dict[str, str]:
    """Return the query by which ``is_requested`` knows a flexible variant; none for a named one."""
    if not grammar.is_flexible(variant):
        return {}
    return {_REQUESTED: Signer(salt=_REQUESTED_SALT).signature(f"{variant}:{name}")}


def is_requested(name: str, variant: str, query: Mapping[str, str]) -> bool:
    """Return whether this site's own code has requested a flexible variant of the image."""
    return _is_valid(Signer(salt=_REQUESTED_SALT), f"{variant}:{name}", query.get(_REQUESTED, ""))


def without_request(query: Mapping[str, str]) -> dict[str, str]:
    """Return a query without what ``requested_query`` has added."""
    return {key: value for key, value in query.items() if key != _REQUESTED}


def with_query(path: str, query: Mapping[str, str]) -> str:
    """Return ``path`` with the query."""
    return f"{path}?{urlencode(query)}" if query else path


def signed_until(name: str, variant: str, query: Mapping[str, str]) -> int | None:
    """Return when a URL with this query expires, if this site signed it for the image and variant; else
    ``None``.
    """
    expiry, signature = query.get(_EXPIRY, ""), query.get(_SIGNATURE, "")
    if not (expiry.isascii() and expiry.isdigit() and len(expiry) < 15):
        return None
    return int(expiry) if _is_valid(_signer(), _message(name, variant, int(expiry)), signature) else None


def is_signed(query: Mapping[str, str]) -> bool:
    """Return whether a URL with this query has a signature, valid or not."""
    return _SIGNATURE in query


def _is_valid(signer: Signer, message: str, signature: str) -> bool:
    if not signature or ":" in signature:
        return False  # what stands before it would count as the end of the name
    try:
        signer.unsign(f"{message}:{signature}")
    except BadSignature:
        return False
    return True


def _message(name: str, variant: str, expires_at: int) -> str:
    return f"{expires_at}:{variant}:{name}"


def _signer() -> Signer:
    return Signer(salt=_SALT)
