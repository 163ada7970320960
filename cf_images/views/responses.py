"""Responses that more than one view gives."""

from __future__ import annotations

from base64 import b64decode

from django.http import HttpResponse

# One light gray pixel. Not the source URL: it may be private, and its host may be forbidden by the site's
# policy.
_PIXEL = b64decode("R0lGODlhAQABAIAAAOXl5QAAACH5BAAAAAAALAAAAAABAAEAAAICRAEAOw==")


_RETRY_SECONDS = 1


def placeholder(*, busy: bool = False) -> HttpResponse:
    """Return a pixel in place of an image that is yet to be fetched, or that a variant must not show.

    Where the server is only too ``busy``, browsers do not keep it, and request the image again.
    """
    response = HttpResponse(_PIXEL, content_type="image/gif", headers={"Cache-Control": "no-cache"})
    if busy:
        response["Cache-Control"] = "no-store"
        response["Retry-After"] = str(_RETRY_SECONDS)
    return response
