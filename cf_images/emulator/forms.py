"""Request bodies: multipart forms, whose files are spooled, and JSON; parse them and validate each field."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import IO, Any, cast

from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge
from werkzeug.formparser import FormDataParser
from werkzeug.wrappers import Request

from cf_images.emulator.assumptions import BAD_INPUT, guess
from cf_images.emulator.bodies import Bodies, Spool
from cf_images.emulator.errors import (
    CUSTOM_ID_IS_PUBLIC,
    NOT_MULTIPART,
    TOO_LARGE,
    UNSUPPORTED_TYPE,
    ApiError,
)
from cf_images.emulator.flattened import is_flattened, unflatten
from cf_images.emulator.limits import (
    CREATOR_LENGTH,
    CUSTOM_ID_LENGTH,
    FILENAME_LENGTH,
    FORM_PARTS,
    FORM_TEXT_BYTES,
    IMAGE_TYPES,
    JSON_BYTES,
    Limits,
)

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)


@dataclass(slots=True, kw_only=True)
class Form:
    """A parsed form: text fields, and spooled files that were not inspected yet."""

    text: MultiDict[str, str] = field(default_factory=MultiDict)
    files: MultiDict[str, FileStorage] = field(default_factory=MultiDict)

    @property
    def image(self) -> FileStorage | None:
        """The part named ``file``, if any; raise :class:`ApiError` with 5455 for one that is not an image."""
        if "file" in self.text:
            raise ApiError(UNSUPPORTED_TYPE, "the part 'file' has no file name")
        part = self.files.get("file")
        if part is not None and part.mimetype not in IMAGE_TYPES:
            raise ApiError(UNSUPPORTED_TYPE, f"not {part.mimetype or 'a part without a type'}")
        return part


def spool(part: FileStorage) -> Spool:
    """Return the spooled bytes of a part."""
    return cast("Spool", part.stream)


def filename(part: FileStorage) -> str:
    """Return the file name of a part, cut to 255 characters."""
    return (part.filename or "")[:FILENAME_LENGTH]


@contextmanager
def read_form(request: Request, bodies: Bodies, *, limits: Limits) -> Iterator[Form]:
    """Read a multipart form; the files that were not kept are deleted at the end.

    Raise :class:`ApiError` with 5415 for any other encoding, 5413 for a file above the limit.
    """
    if request.mimetype != "multipart/form-data":
        raise ApiError(NOT_MULTIPART)
    spools: list[Spool] = []

    def new_spool(*_: object, **__: object) -> IO[bytes]:
        spools.append(Spool(bodies, limit=limits.upload_bytes))
        return cast("IO[bytes]", spools[-1])

    try:
        yield _parse(request, new_spool)
    finally:
        for opened in spools:
            opened.close()


def _parse(request: Request, new_spool: Any) -> Form:
    parser = FormDataParser(
        stream_factory=new_spool,
        max_form_memory_size=FORM_TEXT_BYTES,
        max_form_parts=FORM_PARTS,
        silent=False,
    )
    try:
        _, text, files = parser.parse(
            request.stream, request.mimetype, request.content_length, dict(request.mimetype_params)
        )
    except RequestEntityTooLarge as error:
        raise ApiError(TOO_LARGE, "too many parts, or too much text in one") from error
    except (ClientDisconnected, OSError) as error:
        raise ApiError(BAD_INPUT, "the body is shorter than its Content-Length") from error
    except ValueError as error:
        raise ApiError(BAD_INPUT, "the multipart form cannot be read") from error
    return Form(text=text, files=files)


def custom_id(text: Mapping[str, str], *, signed: bool) -> str | None:
    """Return the valid custom ID, or ``None`` without one; raise :class:`ApiError` ("Custom IDs")."""
    image_id = text.get("id", "")
    if not image_id:
        return None
    if len(image_id) > CUSTOM_ID_LENGTH:
        raise ApiError(BAD_INPUT, f"the maximum length of a custom ID is {CUSTOM_ID_LENGTH:,} characters")
    if image_id.startswith("/") or image_id.endswith("/"):
        raise ApiError(BAD_INPUT, "a custom ID must not begin or end with a slash")
    if UUID.fullmatch(image_id):
        raise ApiError(BAD_INPUT, "a custom ID must not look like a UUID")
    if not _is_text(image_id):
        raise ApiError(BAD_INPUT, "a custom ID must be text")
    if signed:
        raise ApiError(CUSTOM_ID_IS_PUBLIC)
    return image_id


def boolean(text: Mapping[str, str], name: str) -> bool:
    """Return the field as a boolean, false if it is missing; raise :class:`ApiError` for other text."""
    value = text.get(name, "false").lower()
    if value not in ("true", "false"):
        raise ApiError(BAD_INPUT, f"{name} must be true or false")
    return value == "true"


def creator(value: object) -> str | None:
    """Return the creator, a text of at most 1,024 characters; raise :class:`ApiError` for anything else."""
    if value is None:
        return None
    if not isinstance(value, str) or not _is_text(value):
        raise ApiError(BAD_INPUT, "creator must be a string")
    if len(value) > CREATOR_LENGTH:
        raise ApiError(BAD_INPUT, f"the maximum length of creator is {CREATOR_LENGTH:,} characters")
    return value


def _is_text(value: str) -> bool:
    """Return whether a JSON string has neither NUL nor lone surrogates, which UTF-8 cannot encode."""
    return "\0" not in value and not any("\ud800" <= character <= "\udfff" for character in value)


def form_metadata(text: MultiDict[str, str], *, limits: Limits) -> dict[str, Any]:
    """Return the field ``metadata``, JSON as text, or the fields that an SDK has made of it; ``{}`` without
    any; raise :class:`ApiError`.
    """
    fields = [field for field in text.items(multi=True) if is_flattened(field[0])]
    if fields and text.get("metadata"):
        raise ApiError(BAD_INPUT, "metadata is given twice: as JSON, and in fields of its own")
    if fields:
        guess("metadata in fields of its own (%s) is taken for an object of texts", fields[0][0][:80])
        return metadata(unflatten(fields), limits=limits)
    try:
        return metadata(json.loads(text.get("metadata") or "{}"), limits=limits)
    except (ValueError, RecursionError) as error:
        raise ApiError(BAD_INPUT, "metadata is not JSON") from error


def metadata(value: object, *, limits: Limits) -> dict[str, Any]:
    """Return valid metadata, a JSON object of at most ``limits.metadata_bytes``; raise :class:`ApiError`."""
    if not isinstance(value, dict):
        raise ApiError(BAD_INPUT, "metadata must be a JSON object")
    try:
        size = len(json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode())
    except ValueError as error:
        raise ApiError(BAD_INPUT, "metadata is not JSON") from error
    if size > limits.metadata_bytes:
        raise ApiError(BAD_INPUT, f"metadata has {size:,} bytes, the maximum is {limits.metadata_bytes:,}")
    return value


def expiry(text: Mapping[str, str]) -> datetime | None:
    """Return the field ``expiry``, an RFC 3339 date, if any; raise :class:`ApiError`."""
    if not text.get("expiry"):
        return None
    try:
        expires = datetime.fromisoformat(text["expiry"])
    except ValueError as error:
        raise ApiError(BAD_INPUT, "expiry is not an RFC 3339 date") from error
    return expires if expires.tzinfo else expires.replace(tzinfo=UTC)


def json_body(request: Request) -> dict[str, Any]:
    """Return the JSON object of a request with any content type; raise :class:`ApiError` with 5400."""
    request.max_content_length = JSON_BYTES
    try:
        body = json.loads(request.get_data())
    except RequestEntityTooLarge as error:
        raise ApiError(BAD_INPUT, f"the body is longer than {JSON_BYTES:,} bytes") from error
    except (ClientDisconnected, OSError) as error:
        raise ApiError(BAD_INPUT, "the body is shorter than its Content-Length") from error
    except (ValueError, RecursionError) as error:
        raise ApiError(BAD_INPUT, "the body is not JSON") from error
    if not isinstance(body, dict):
        raise ApiError(BAD_INPUT, "the body must be a JSON object")
    return body
