"""Image IDs and names as parts of API paths: one percent-encoded segment that cannot lead elsewhere.

``DELETE …/images/v1/`` is no image, ``…/v1/variants/public`` is the account's variant, and ``..`` goes up.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from cf_images.exceptions import ImageNotFoundError, InvalidNameError, InvalidVariantError
from cf_images.images.names import MAX_ID_LENGTH, RESERVED_IDS

_KEY_NAME = re.compile(r"[A-Za-z0-9]{1,20}")


def image_path(image_id: str) -> str:
    """Return the path of an image; raise ``ImageNotFoundError`` for an impossible ID."""
    problem = _id_problem(image_id)
    if problem:
        raise ImageNotFoundError(problem)
    return f"images/v1/{quote(image_id, safe='')}"


def check_new_id(image_id: str) -> None:
    """Raise ``InvalidNameError`` for an ID under which an image could not be reached."""
    problem = _id_problem(image_id)
    if problem:
        raise InvalidNameError(problem)


def variant_path(name: str) -> str:
    """Return the path of a named variant; raise ``InvalidVariantError`` for an impossible name."""
    if not name or _leads_elsewhere(name):
        raise InvalidVariantError(f"{name!r} is not a valid variant name. Use letters and digits.")
    return f"images/v1/variants/{quote(name, safe='')}"


def key_path(name: str) -> str:
    """Return the path of a signing key; raise ``ValueError`` for an impossible name ("Keys", API schema)."""
    if not _KEY_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a valid name of a signing key. Use 1 to 20 letters and digits.")
    return f"images/v1/keys/{name}"


def _id_problem(image_id: str) -> str:
    """Return why no image can have this ID, or why a path with it would lead elsewhere."""
    short = repr(image_id if len(image_id) <= 80 else f"{image_id[:79]}…")
    if not image_id:
        return "An image ID cannot be empty."
    if image_id in RESERVED_IDS:
        return f"{short} is a reserved word of Cloudflare's API and cannot be an image ID."
    if len(image_id) > MAX_ID_LENGTH:
        return f"{short} has {len(image_id)} characters; an image ID has at most {MAX_ID_LENGTH}."
    return f"{short} is not a valid image ID." if _leads_elsewhere(image_id) else ""


def _leads_elsewhere(segment: str) -> bool:
    """Return whether a server could read another path: dots go up even if percent-encoded."""
    try:
        segment.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return True
    return not {".", ".."}.isdisjoint(segment.split("/"))
