"""The results of the API as values; each ``from_json`` raises for a result that it cannot read.

Each checks the types: IDs, counts and URLs go on into databases, pages and further requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cf_images.images.names import MAX_ID_LENGTH

_MAX_COUNT = 2**63 - 1
_MAX_URL_LENGTH = 4096
_MAX_CHOSEN_ID_LENGTH = 255  # what a database column holds; Cloudflare's own IDs are UUIDs


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One hosted image. A ``draft`` is an upload URL not used yet; ``variants`` are delivery URLs."""

    id: str
    filename: str | None = None
    uploaded_at: datetime | None = None
    require_signed_urls: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)
    creator: str | None = None
    variants: tuple[str, ...] = ()
    draft: bool = False

    @classmethod
    def from_json(cls, result: Any) -> Image:
        return cls(
            id=_id(result["id"]),
            filename=_optional_text(result.get("filename")),
            uploaded_at=_moment(result.get("uploaded")),
            require_signed_urls=_flag(result.get("requireSignedURLs")),
            # Requests call it metadata, responses meta; old responses metadata, too.
            metadata=_object(result.get("meta") or result.get("metadata") or {}),
            creator=_optional_text(result.get("creator")),
            variants=tuple(map(_text, _list(result.get("variants") or []))),
            draft=_flag(result.get("draft")),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """The number of images of the account (``current``), and its quota (``allowed``)."""

    current: int
    allowed: int

    @classmethod
    def from_json(cls, result: Any) -> Stats:
        count = result["count"]
        return cls(current=_count(count["current"]), allowed=_count(count["allowed"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A named variant; ``options`` in Cloudflare's words: ``fit``, ``width``, ``height``, ``metadata`` …"""

    id: str
    options: Mapping[str, Any]
    never_require_signed_urls: bool = False

    @classmethod
    def from_json(cls, variant: Any) -> Variant:
        return cls(
            id=_text(variant["id"]),
            options=_object(variant.get("options") or {}),
            never_require_signed_urls=_flag(variant.get("neverRequireSignedURLs")),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectUpload:
    """A reserved ID, and the URL to which its file may be uploaded: a secret, not in ``repr``."""

    id: str
    upload_url: str = field(repr=False)

    @classmethod
    def from_json(cls, result: Any) -> DirectUpload:
        return cls(id=_id(result["id"]), upload_url=_url(result["uploadURL"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchToken:
    """A token for the batch host, ``batch.imagedelivery.net``: a secret, not in ``repr``."""

    token: str = field(repr=False)
    expires_at: datetime | None

    @classmethod
    def from_json(cls, result: Any) -> BatchToken:
        return cls(token=_ascii(result["token"]), expires_at=_moment(result.get("expiresAt")))


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A key for signing delivery URLs; ``value`` is a secret, not in ``repr``."""

    name: str
    value: str = field(repr=False)

    @classmethod
    def from_json(cls, key: Any) -> SigningKey:
        return cls(name=_text(key["name"]), value=_text(key["value"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The account's settings, ``None`` where Cloudflare does not say; ``browser_ttl`` in seconds."""

    flexible_variants: bool | None = None
    browser_ttl: int | None = None
    preserve_content_credentials: bool | None = None

    @classmethod
    def from_json(cls, result: Any) -> Config:
        browser_ttl = result.get("browser_ttl")
        return cls(
            flexible_variants=_optional_flag(result.get("flexible_variants")),
            browser_ttl=None if browser_ttl is None else _count(browser_ttl),
            preserve_content_credentials=_optional_flag(result.get("preserve_content_credentials")),
        )


def signing_keys_of(result: Any) -> tuple[SigningKey, ...]:
    """Return all signing keys, in Cloudflare's order."""
    return tuple(SigningKey.from_json(key) for key in _list(result["keys"]))


def image_page(result: Any) -> tuple[list[Image], str]:
    """Return one page of a list, and the token of the next page or ``""``."""
    token = result.get("continuation_token")
    return [Image.from_json(image) for image in _list(result["images"])], _text(token) if token else ""


def variant_of(result: Any) -> Variant:
    """Return the variant in a response about one."""
    return Variant.from_json(result["variant"])


def variants_of(result: Any) -> dict[str, Variant]:
    """Return the variants in a response about all of them, by name."""
    return {name: Variant.from_json(variant) for name, variant in _object(result["variants"]).items()}


def check_id(image_id: str, *, asked: str | None) -> None:
    """Raise ``ValueError`` for another ID than the one of the request.

    Where Cloudflare chooses the ID (``asked`` is ``None``), it must fit into a column of a database.
    """
    if asked is None:
        is_right = len(image_id) <= _MAX_CHOSEN_ID_LENGTH and image_id.isprintable()
    else:
        is_right = image_id == asked
    if not is_right:
        raise ValueError("another image")


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("not a text")
    return value


def _id(value: Any) -> str:
    if len(_text(value)) > MAX_ID_LENGTH:
        raise ValueError("not an image ID")
    return str(value)


def _ascii(value: Any) -> str:
    """Return a text that may be in a header or a URL."""
    if not _text(value).isascii() or not value.isprintable() or " " in value:
        raise ValueError("a character that cannot be sent")
    return str(value)


def _url(value: Any) -> str:
    if not _ascii(value).startswith(("https://", "http://")) or len(value) > _MAX_URL_LENGTH:
        raise ValueError("not a URL")
    return str(value)


def _optional_text(value: Any) -> str | None:
    """Return a text that was given by whoever uploaded the image, without the NUL that databases refuse."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError("not a text")
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _flag(value: Any) -> bool:
    return _optional_flag(value) or False


def _optional_flag(value: Any) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise ValueError("not a boolean")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= _MAX_COUNT:  # True is no number
        raise ValueError("not a count")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("not a list")
    return value


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def _moment(value: Any) -> datetime | None:
    """Return an RFC 3339 moment in UTC, cut to microseconds; ``None`` for anything else."""
    try:
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (TypeError, ValueError, OverflowError):
        return None
