"""IDs and variants' names as parts of API paths: one percent-encoded segment that cannot lead elsewhere.

``DELETE …/images/v1/`` is not an image, ``…/v1/variants/public`` is the account's variant, and dots climb.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from cf_images.exceptions import ImageNotFoundError, InvalidNameError, InvalidVariantError

_MAX_ID_LENGTH = 1024  # "Upload via custom path" (Cloudflare Images docs)
# Below /images/v1/ these are no images: "Images" (Cloudflare API reference).
_API_WORDS = frozenset({"variants", "keys", "stats", "batch_token", "config", "direct_upload"})

_KEY_NAME = re.compile(r"[A-Za-z0-9]{1,20}")


def image_path(image_id: str) -> str:
    """Where an image is; ``ImageNotFoundError`` for an ID that none can have."""
    flaw = _id_flaw(image_id)
    if flaw:
        raise ImageNotFoundError(flaw)
    return f"images/v1/{quote(image_id, safe='')}"


def check_new_id(image_id: str) -> None:
    """``InvalidNameError`` for an ID under which an image could not be reached."""
    flaw = _id_flaw(image_id)
    if flaw:
        raise InvalidNameError(flaw)


def variant_path(name: str) -> str:
    """Where a named variant is; ``InvalidVariantError`` for a name that none can have."""
    if not name or _leads_elsewhere(name):
        raise InvalidVariantError(f"{name!r} is no variant's name: letters and digits.")
    return f"images/v1/variants/{quote(name, safe='')}"


def key_path(name: str) -> str:
    """Where a signing key is; ``ValueError`` for a name that none can have ("Keys", API schema)."""
    if not _KEY_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no signing key's name: 1 to 20 letters and digits.")
    return f"images/v1/keys/{name}"


def _id_flaw(image_id: str) -> str:
    """Why no image can have this ID, or a path with it would lead elsewhere."""
    shown = repr(image_id if len(image_id) <= 80 else f"{image_id[:79]}…")
    if not image_id:
        return "The empty ID is no image's."
    if image_id in _API_WORDS:
        return f"{shown} is a word of Cloudflare's API and no image's ID."
    if len(image_id) > _MAX_ID_LENGTH:
        return f"{shown} has {len(image_id)} characters; an image's ID has at most {_MAX_ID_LENGTH}."
    return f"{shown} is no image's ID." if _leads_elsewhere(image_id) else ""


def _leads_elsewhere(segment: str) -> bool:
    """Dots climb up in a path even when they are percent-encoded; a lone surrogate cannot be encoded."""
    try:
        segment.encode()
    except UnicodeEncodeError:
        return True
    return not {".", ".."}.isdisjoint(segment.split("/"))
