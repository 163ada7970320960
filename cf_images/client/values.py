"""What the API answers with, as values; each ``from_json`` raises on what is not such an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One hosted image. ``draft`` is an upload URL nobody has used yet; ``variants`` are delivery URLs."""

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
            id=_text(result["id"]),
            filename=result.get("filename"),
            uploaded_at=_moment(result.get("uploaded")),
            require_signed_urls=bool(result.get("requireSignedURLs")),
            # Requests call it metadata, answers meta; old ones metadata, too.
            metadata=dict(result.get("meta") or result.get("metadata") or {}),
            creator=result.get("creator"),
            variants=tuple(result.get("variants") or ()),
            draft=bool(result.get("draft")),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """How many images the account has, and how many it has paid for."""

    current: int
    allowed: int

    @classmethod
    def from_json(cls, result: Any) -> Stats:
        count = result["count"]
        return cls(current=int(count["current"]), allowed=int(count["allowed"]))


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
            options=dict(variant.get("options") or {}),
            never_require_signed_urls=bool(variant.get("neverRequireSignedURLs")),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectUpload:
    """A reserved ID, and the address to which a file for it may be posted: a secret, not in ``repr``."""

    id: str
    upload_url: str = field(repr=False)

    @classmethod
    def from_json(cls, result: Any) -> DirectUpload:
        return cls(id=_text(result["id"]), upload_url=_text(result["uploadURL"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchToken:
    """A token for the batch host, ``batch.imagedelivery.net``: a secret, not in ``repr``."""

    token: str = field(repr=False)
    expires_at: datetime | None

    @classmethod
    def from_json(cls, result: Any) -> BatchToken:
        return cls(token=_text(result["token"]), expires_at=_moment(result.get("expiresAt")))


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
        return cls(**{name: result.get(name) for name in cls.__slots__})


def signing_keys_of(result: Any) -> tuple[SigningKey, ...]:
    """All signing keys, in Cloudflare's order."""
    return tuple(SigningKey.from_json(key) for key in result["keys"])


def image_page(result: Any) -> tuple[list[Image], str]:
    """One page of a list, and the token of the next or ``""``."""
    return [Image.from_json(image) for image in result["images"]], str(result.get("continuation_token") or "")


def variant_of(result: Any) -> Variant:
    """The variant in an answer about one."""
    return Variant.from_json(result["variant"])


def variants_of(result: Any) -> dict[str, Variant]:
    """All variants by name, from the answer about all."""
    return {name: Variant.from_json(variant) for name, variant in result["variants"].items()}


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("not a text")
    return value


def _moment(value: Any) -> datetime | None:
    """An RFC 3339 moment in UTC, nanoseconds cut to microseconds; ``None`` for anything else."""
    try:
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (TypeError, ValueError, OverflowError):
        return None
