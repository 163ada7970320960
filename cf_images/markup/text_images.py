"""Images that a template holds as text: a URL, or a bare name.

``.values("image")``, history tables and serializers give names. A name is one of the storage that
``select_storage`` chooses, whatever its shape: imported images keep theirs. Names may come from visitors:
they are quoted, what only looks like a name is refused, and no text is a permission to see a private image.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from django.core.files.storage import Storage
from django.utils.functional import Promise

from cf_images import conf
from cf_images.accounts import cloudflare_alias, find_account
from cf_images.delivery.urls import leads_elsewhere
from cf_images.exceptions import InvalidNameError
from cf_images.images.names import MAX_ID_LENGTH, is_private
from cf_images.markup.source_image import has_scheme, is_displayable, is_field_file
from cf_images.storage import select_storage
from cf_images.variants.values import abbreviate

logger = logging.getLogger(__name__)

_URL_BEGINNINGS = ("https://", "http://", "/")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_PRIVATE = "images are private here, and a text may be a visitor's: only a field file or storage.url() signs"
_MAX_REPORTED = 1000  # different values in the log of one process; they may come from visitors
_reported: set[str] = set()


@dataclass(frozen=True, slots=True)
class NamedImage:
    """An image of which only the name is known."""

    name: str
    storage: Storage

    @property
    def url(self) -> str:
        """The URL that the storage gives."""
        return self.storage.url(self.name)


def image_of(image: Any) -> Any:
    """Return a field file, a URL, or a ``NamedImage``; ``None`` for an empty field.

    What can be none of these is an ``InvalidNameError`` while ``DEBUG`` is on, else ``None`` and a line in
    the log.
    """
    if is_field_file(image):
        return image
    if not image:
        return None
    text = _text_of(image)
    if text is None:  # its repr may hold what no log may show, such as signed URLs
        return _refused(f"A value of the type {type(image).__name__}", "it is no text, and has no URL")
    if not text or text.startswith(_URL_BEGINNINGS):
        return text
    if problem := text_problem(text):
        return _refused(abbreviate(text), problem)
    if _is_url(text):
        return text
    if is_private(text) or _are_images_private():
        return _refused(abbreviate(text), _PRIVATE)
    return NamedImage(text, select_storage())


def text_problem(text: str) -> str:
    """Return why a text can be neither the URL nor the name of an image; an empty string if it can."""
    if _is_url(text):
        return ""
    if has_scheme(text):
        return "no image has a URL that begins like this"
    if not text.strip() or _CONTROL.search(text):
        return "it is blank, or has control characters"
    if text[0] in "\\?#" or text.endswith("/") or leads_elsewhere(text):
        return "it is not a relative path to a file, or leaves its folder"
    return f"it has more than {MAX_ID_LENGTH:,} characters" if len(text) > MAX_ID_LENGTH else ""


def _is_url(text: str) -> bool:
    return text.lstrip().startswith("/") or (has_scheme(text) and is_displayable(text))


@conf.cached
def _are_images_private() -> bool:
    """Return whether images are private in production, where the same template must work."""
    account = find_account(cloudflare_alias())
    return account is not None and account.options.require_signed_urls


def _text_of(image: Any) -> str | None:
    """Return the text in whatever a template has as text, or the URL of another package's image."""
    if isinstance(image, PurePath):
        return image.as_posix()
    if isinstance(image, str | Promise):
        return str(image)
    url = getattr(image, "url", None)
    return str(url) if isinstance(url, str | Promise) else None


def _refused(shown: str, problem: str) -> None:
    message = (
        f"{shown} can be neither the name of an image nor its URL: {problem}. Give a field file, a URL, or a "
        f"name of the storage that select_storage chooses."
    )
    if conf.project_setting("DEBUG"):
        raise InvalidNameError(message)
    if shown not in _reported and len(_reported) < _MAX_REPORTED:
        _reported.add(shown)
        logger.error("A page shows no image: %s", message)
