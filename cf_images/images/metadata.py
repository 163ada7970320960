"""What this package writes into an image's metadata at Cloudflare, beside what the project does."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from typing import Any

from cf_images.exceptions import ImageRejectedError
from cf_images.images import ImageInfo

# The package's part of an image's metadata, below one key so that it cannot collide with the project's own.
KEY = "cf_images"
MAX_METADATA_BYTES = 1024  # "Limits" (Cloudflare Images docs)
MAX_FILENAME_LENGTH = 255  # characters: the API's schema


def build(
    info: ImageInfo | None,
    filename: str,
    metadata: Mapping[str, Any],
    *,
    site: str,
    name: str = "",
    token: str = "",
) -> dict[str, Any]:
    """Return ``metadata`` with what the package adds, at most 1,024 bytes as JSON.

    That is a random token, by which an upload is recognized, or the given one; the project's ``site`` and the
    second of the upload, by which images are found and told apart in a shared account; size and dimensions,
    so that they need no download; and the ``name`` of a private image, which its ID does not tell.
    ``info`` is ``None`` for an image that Cloudflare has yet to fetch. The user's file name is shortened
    until everything fits.
    Raise ``ImageRejectedError`` when the project's own metadata leave no room for the rest.
    """
    # PostgreSQL's JSON takes no NUL, and no JSON takes half a surrogate pair.
    printable = "".join(character for character in filename if character.isprintable())
    own: dict[str, Any] = {
        **({"size": info.size, "width": info.width, "height": info.height} if info else {}),
        "token": token or secrets.token_hex(8),
        "site": site,
        "uploaded": int(time.time()),
        **({"name": name} if name else {}),
        **({"filename": printable[:MAX_FILENAME_LENGTH]} if info else {}),
    }
    complete = {**metadata, KEY: own}
    while (excess := len(encode(complete).encode()) - MAX_METADATA_BYTES) > 0:
        if not own.get("filename"):
            raise ImageRejectedError(
                f"The metadata is {excess:,} bytes too long: Cloudflare keeps {MAX_METADATA_BYTES:,} bytes "
                f"of JSON for each image, and this package needs some of them. Shorten the option metadata."
            )
        own["filename"] = own["filename"][: -max(1, excess // 4)]  # a character takes up to four bytes
    return complete


def encode(metadata: Mapping[str, Any]) -> str:
    """Return metadata as it is sent; ``ImageRejectedError`` for what is no JSON."""
    problem = ""
    try:
        text = json.dumps(dict(metadata), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        text.encode()  # half a surrogate pair cannot be sent
    except (TypeError, ValueError) as error:
        problem = str(error)
    else:
        return text
    # Outside the except block: the error must not carry another one with it.
    raise ImageRejectedError(f"The metadata cannot be written as JSON: {problem}.")


def name_of(metadata: Mapping[str, Any]) -> str:
    """Return the name that this package gave to a private image; empty for any other image."""
    return str(_own(metadata).get("name", ""))


def token_of(metadata: Mapping[str, Any]) -> str:
    """Return the token by which an upload of this package is recognized; empty for any other image."""
    return str(_own(metadata).get("token", ""))


def size_of(metadata: Mapping[str, Any]) -> int | None:
    """Return the bytes of the original; ``None`` for an image that this package did not store."""
    size = _own(metadata).get("size")
    return size if isinstance(size, int) else None


def site_of(metadata: Mapping[str, Any]) -> str:
    """Return the project that stored the image; empty for an image that this package did not store."""
    return str(_own(metadata).get("site", ""))


def uploaded_of(metadata: Mapping[str, Any]) -> int | None:
    """Return the second since 1970 of the upload; ``None`` for an image that this package did not store."""
    return _second(_own(metadata).get("uploaded"))


def quarantined_of(metadata: Mapping[str, Any]) -> int | None:
    """Return the second since 1970 in which the image was found to be an orphan and tagged, if it was."""
    return _second(_own(metadata).get("quarantined"))


def with_quarantine(metadata: Mapping[str, Any], second: int | None) -> dict[str, Any]:
    """Return complete metadata with that tag, or without one; ``ImageRejectedError`` where it has no room."""
    own = {name: value for name, value in _own(metadata).items() if name != "quarantined"}
    changed = {**metadata, KEY: own if second is None else {**own, "quarantined": second}}
    if len(encode(changed).encode()) > MAX_METADATA_BYTES:
        raise ImageRejectedError(
            f"Its metadata leave no room for a tag: Cloudflare keeps {MAX_METADATA_BYTES:,} bytes."
        )
    return changed


def _second(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None  # True is no number


def _own(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    own = metadata.get(KEY)
    return own if isinstance(own, dict) else {}
