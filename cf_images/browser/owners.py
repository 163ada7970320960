"""Who uploads: a digest of the user, or of what the session of a visitor who is not logged in has."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.http import HttpRequest

_IN_SESSION = "cf_images_uploader"
ANONYMOUS = "s"  # what their owners begin with; those of users are hexadecimal

_current: ContextVar[HttpRequest | None] = ContextVar("cf_images_request", default=None)


@contextmanager
def acting_for(request: HttpRequest) -> Iterator[None]:
    """Let forms know whose uploads they may take: those of ``request``. The middleware does this."""
    token = _current.set(request)
    try:
        yield
    finally:
        _current.reset(token)


def current_request() -> HttpRequest | None:
    """Return the request that is being answered; ``None`` outside of requests, and without the middleware."""
    return _current.get()


def owner_of(request: Any, *, create: bool = False) -> str | None:
    """Return the owner of uploads in a request; ``None`` for a visitor without a session.

    With ``create``, for visitors who may upload, a session begins where there is none. Its key would not do:
    that of signed cookies changes with what the session has.
    """
    user = getattr(request, "user", None)
    if user is not None and user.is_authenticated:
        return _digest("user", user._meta.label, str(user.pk))
    session = getattr(request, "session", None)
    if session is None:
        return None
    uploader = session.get(_IN_SESSION)
    if not uploader and create:
        uploader = session[_IN_SESSION] = secrets.token_hex(16)
    return f"{ANONYMOUS}{_digest('session', str(uploader))[1:]}" if uploader else None


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
