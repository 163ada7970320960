"""What this package writes into an image's metadata at Cloudflare, beside what the project does."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

from cf_images.exceptions import ImageRejectedError
from cf_images.images import ImageInfo

# Our part of an image's metadata, below one key so that it cannot collide with the project's own.
FACTS = "cf_images"
_METADATA_BYTES = 1024  # "Limits" in Cloudflare's documentation


def described(
    info: ImageInfo, filename: str, metadata: Mapping[str, Any], *, name: str = ""
) -> dict[str, Any]:
    """``metadata`` with what is known of the image added, so that nobody must download it to learn it.

    ``name`` is that of a private image, which its ID at Cloudflare does not tell. The user's file name is
    shortened until all of it fits; raises ``ImageRejectedError`` when the project's own metadata leave no
    room for the rest.
    """
    facts: dict[str, Any] = {"size": info.size, "width": info.width, "height": info.height}
    # PostgreSQL's JSON takes no NUL, and nobody's JSON half a surrogate pair.
    printable = "".join(character for character in filename if character.isprintable())
    facts |= {"token": secrets.token_hex(8), **_named(name), "filename": printable[:255]}
    complete = {**metadata, FACTS: facts}
    while (excess := len(json.dumps(complete)) - _METADATA_BYTES) > 0:
        if not facts["filename"]:
            raise ImageRejectedError(
                f"The metadata are {excess:,} bytes too long: Cloudflare keeps {_METADATA_BYTES:,} bytes of "
                f"JSON for each image, and this package needs some of them for size and dimensions."
            )
        facts["filename"] = facts["filename"][: -max(1, excess // 12)]  # a sign takes up to 12 bytes of JSON
    return complete


def with_token(metadata: Mapping[str, Any], *, name: str = "") -> dict[str, Any]:
    """``metadata`` with a token, unless it has one: all that is known of an image nobody has seen yet."""
    facts = {"token": secrets.token_hex(8), **_named(name), **metadata.get(FACTS, {})}
    complete = {**metadata, FACTS: facts}
    if (size := len(json.dumps(complete))) > _METADATA_BYTES:
        raise ImageRejectedError(
            f"The metadata are {size:,} bytes of JSON; Cloudflare keeps {_METADATA_BYTES:,} for each image."
        )
    return complete


def name_of(metadata: Mapping[str, Any]) -> str:
    """The name that this package gave to a private image; empty for any other image."""
    facts = metadata.get(FACTS)
    return str(facts.get("name", "")) if isinstance(facts, dict) else ""


def _named(name: str) -> dict[str, str]:
    return {"name": name} if name else {}


def token_of(metadata: Mapping[str, Any]) -> str:
    """The token by which we know an image of ours again; empty for any other image."""
    facts = metadata.get(FACTS)
    return str(facts.get("token", "")) if isinstance(facts, dict) else ""
