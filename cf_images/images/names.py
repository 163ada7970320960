"""Choose, clean and parse the names of images.

The name that a field stores is what Cloudflare calls the image ID. A unique name is, for example,
``avatars/jane-t9f2k0-5p2kd0qj3m8v7x1c.jpg``: folder, shortened stem, the second of its creation in base 36,
80 random bits, extension; where a field is short, 40 random bits right behind the second. A private image
has an ID of Cloudflare's, kept behind a ``~``: ``avatars/jane~083eb7b2-5392-4565-b69e-aff66acddd00.jpg``. So
has a public one that a browser has uploaded, behind two: ``avatars/jane~~083eb7b2-….jpg``. Any other ``~`` is
a letter of a public name: ``photos/holiday~2019.jpg``.
"""

from __future__ import annotations

import posixpath
import re
import secrets
import unicodedata

from anyascii import anyascii

from cf_images.exceptions import InvalidNameError

# "Upload images with a custom ID" (Cloudflare Images docs): no slash at either end, not shaped like a UUID.
MAX_ID_LENGTH = 1024
_UUID_SHAPE = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
# Words of the API below /images/v1/ ("Images", Cloudflare API reference): no request could reach such an
# image.
RESERVED_IDS = frozenset({"variants", "keys", "stats", "batch_token", "config", "direct_upload"})

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_RANDOM_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # 32 letters, five bits each, no i, l, o, u to misread
_RANDOM_LENGTH = 16
# Of 1,000 names that are chosen in one second, two are the same in one of two million cases; then the second
# save is an error, and no image is lost.
_SHORT_RANDOM_LENGTH = 8
_STEM_LENGTH = 40
_SECOND = "[0-9a-z]{6,7}"
_RECENT_SECOND = "(?:[s-z][0-9a-z]{5}|1[0-9a-z]{6})"  # since 2024; a date such as 20240131123456 is none
_TAIL = (
    rf"(?:(?P<second>{_SECOND})[-~][{_RANDOM_ALPHABET}]{{{_RANDOM_LENGTH}}}"
    rf"|(?P<recent>{_RECENT_SECOND})~?[{_RANDOM_ALPHABET}]{{{_SHORT_RANDOM_LENGTH}}})"
)
_CREATED = re.compile(rf"(?:^|[-/]){_TAIL}(?:\.[a-z0-9]{{1,5}})?\Z")
_CREATED_LENGTH = 31  # characters that the pattern matches at most; every url() searches for it
# What Cloudflare generates is shaped like a UUID. Its version says nothing, and a sample of its documentation
# is a digit short ("Direct creator upload").
_REMOTE_ID = r"(?i:[0-9a-f]{7,9}(?:-[0-9a-f]{3,5}){3}-[0-9a-f]{10,13})"
REMOTE_ID = re.compile(rf"\b{_REMOTE_ID}\b")  # in a text
_REMOTE_ID_LENGTH = 36
_ADDED = re.compile(rf"(?:(?:^|-){_TAIL}|~{{1,2}}{_REMOTE_ID})\Z")
_RANDOM = rf"[{_RANDOM_ALPHABET}]{{{_RANDOM_LENGTH}}}|[{_RANDOM_ALPHABET}]{{{_SHORT_RANDOM_LENGTH}}}"
# Behind the last "~"; the random part of a name only behind its second.
_PRIVATE_TAIL = re.compile(rf"(?:(?P<remote_id>{_REMOTE_ID})|(?P<random>{_RANDOM}))(?:\.[a-z0-9]{{1,4}})?")
_MAX_READ = 10 * _STEM_LENGTH  # characters of a stem; its letters may follow many that have no equivalent
_EXTENSION_LENGTH = len(".webp")  # the longest of an image: the detected format may be another
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def unique_name(name: str, *, seconds: int, max_length: int | None = None, is_private: bool = False) -> str:
    """Return a name like ``name`` that no other image has, had or will have; ``seconds`` since 1970 are now.

    In that of a private image, whose ID only its row has, a ``~`` stands before the random part. Raise
    ``InvalidNameError`` when folder, time and the shortest random part do not fit into ``max_length``.
    """
    folder, stem, extension = _parts(name)
    second, mark = _base36(seconds), "~" if is_private else ""
    tail = f"{second}{mark or '-'}{_random(_RANDOM_LENGTH)}"
    if len(folder) + len(tail) + _EXTENSION_LENGTH > _allowed(max_length):
        tail = f"{second}{mark}{_random(_SHORT_RANDOM_LENGTH)}"
    return _joined(folder, stem, tail, extension, max_length=max_length)


def shortest(upload_to: str, *, seconds: int, is_private: bool = False, has_id: bool = False) -> int:
    """Return how long the shortest unique name below a folder is.

    ``has_id``: that of a private image that has its ID in the name.
    """
    folder, _, _ = _parts(posixpath.join(upload_to, "x"))
    if has_id:
        return len(folder) + len("x~") + _REMOTE_ID_LENGTH + _EXTENSION_LENGTH
    return len(folder) + len(_base36(seconds)) + is_private + _SHORT_RANDOM_LENGTH + _EXTENSION_LENGTH


def shortest_direct(upload_to: str) -> int:
    """Return how long the shortest name of a public image is whose ID Cloudflare has chosen."""
    return shortest(upload_to, seconds=0, has_id=True) + len("~")


def private_stem(name: str, *, max_length: int | None = None) -> str:
    """Return ``name`` cleaned and shortened so that ``with_remote_id`` still fits into ``max_length``."""
    return _stem_before_id(name, "~", max_length=max_length)


def direct_stem(name: str, *, max_length: int | None = None) -> str:
    """Return the same for ``with_direct_id``."""
    return _stem_before_id(name, "~~", max_length=max_length)


def _stem_before_id(name: str, mark: str, *, max_length: int | None) -> str:
    folder, stem, extension = _parts(name)
    reserve = len(mark) + _REMOTE_ID_LENGTH
    return _joined(folder, stem or "image", "", extension, max_length=max_length, reserve=reserve)


def with_remote_id(name: str, image_id: str) -> str:
    """Return ``avatars/jane.jpg`` with Cloudflare's ID in it: ``avatars/jane~<image_id>.jpg``."""
    root, extension = posixpath.splitext(name)
    return f"{root}~{image_id}{extension}"


def with_direct_id(name: str, image_id: str) -> str:
    """Return the name of a public image whose ID Cloudflare has chosen: ``avatars/jane~~<image_id>.jpg``."""
    root, extension = posixpath.splitext(name)
    return f"{root}~~{image_id}{extension}"


def is_url(name: str) -> bool:
    """Return whether the name is a URL, as older recipes stored it."""
    return name.startswith(("https://", "http://"))


def is_private(name: str) -> bool:
    """Return whether the name is that of a private image, which only a signed URL shows."""
    return not is_url(name) and private_id(name) is not None


def has_id_in_row(name: str) -> bool:
    """Return whether the name is that of a private image whose ID only its row has: see ``unique_name``."""
    found = private_id(name)
    return found is not None and len(found) <= _RANDOM_LENGTH


def requested_name(name: str) -> str:
    """Return ``name`` as it may have been requested: without time, random part and Cloudflare's ID."""
    folder, filename = posixpath.split(name)
    stem, extension = posixpath.splitext(filename)
    plain = _ADDED.sub("", stem)
    return posixpath.join(folder, f"{plain or 'image'}{extension}")


def with_extension(name: str, extension: str) -> str:
    """Return ``name`` with the extension of the detected format, given without a dot."""
    return f"{posixpath.splitext(name)[0]}.{extension}"


def image_id(name: str) -> str:
    """Return Cloudflare's ID of the image: the name itself, or what follows a ``~``."""
    return _id_in(name) or name


def has_id(name: str) -> bool:
    """Return whether the name has an ID, or a place for one, that is not the name itself."""
    return _id_in(name) is not None


def private_id(name: str) -> str | None:
    """Return what follows the ``~`` in the name of a private image, ``None`` for any other name.

    A file may have been called ``holiday~2019.jpg`` before it came here: only an ID counts.
    """
    return None if name.rpartition("~")[0].endswith("~") else _id_in(name)


def _id_in(name: str) -> str | None:
    _, mark, tail = name.rpartition("~")
    found = _PRIVATE_TAIL.fullmatch(tail) if mark else None
    if found is None or (found["random"] and created_at(name) is None):
        return None
    return found["remote_id"] or found["random"]


def created_at(name: str) -> int | None:
    """Return the second since 1970 in which ``unique_name`` chose this name, ``None`` for any other name."""
    found = _CREATED.search(name, max(0, len(name) - _CREATED_LENGTH))
    return int(found["second"] or found["recent"], 36) if found else None


def valid_filename(name: str) -> str:
    """Return a file name in ``[A-Za-z0-9._-]`` and with a stem."""
    _, stem, extension = _parts(posixpath.basename(name))
    return f"{stem or 'image'}{extension}"


def given_name(name: str, *, max_length: int | None = None) -> str:
    """Return ``name`` itself, without what no ID may have; ``InvalidNameError`` where that is not enough.

    For ``unique_names: False``: other apps look the file up by exactly this name.
    """
    cleaned = _normalized(name)
    if has_id(cleaned):
        cleaned = cleaned.replace("~", "-")
    if problem := _problem(cleaned, _allowed(max_length)):
        raise InvalidNameError(f"{_abbreviated(name)} cannot be the name of an image: {problem}.")
    return cleaned


def id_problem(name: str, *, max_length: int | None = None) -> str:
    """Return why ``name`` cannot be the ID of a public image exactly as it is; empty if it can."""
    if is_url(name):
        return "it is a URL"
    if has_id(name):
        kind = "a private image's" if private_id(name) else "that of an upload from a browser"
        return f"it has the form of {kind}"
    if problem := _problem(name, _allowed(max_length)):
        return problem
    return "" if _normalized(name) == name else "parts of its path are empty, dots or backslashes"


def _normalized(name: str) -> str:
    return posixpath.normpath(name.replace("\\", "/"))


def _problem(name: str, allowed: int) -> str:
    if name in ("", ".") or name.startswith("/") or ".." in name.split("/"):
        return "it is empty, absolute or leaves its folder"
    if _CONTROL.search(name):
        return "it contains control characters"
    if len(name) > allowed:
        return f"it has {len(name):,} characters; the limit is {allowed:,}"
    if _UUID_SHAPE.fullmatch(name):
        return "Cloudflare reserves names in the form of a UUID"
    if name in RESERVED_IDS:
        return "it is a reserved word of Cloudflare's API"
    return ""


def _parts(name: str) -> tuple[str, str, str]:
    """Return folder (with its slash), stem and extension (with its dot), all in ``[A-Za-z0-9._/-]``."""
    folder, filename = posixpath.split(name)
    stem, extension = posixpath.splitext(filename)
    segments = [_ascii(segment).strip("-.") for segment in folder.split("/")]
    prefix = "".join(f"{segment}/" for segment in segments if segment)
    # No dot in the stem: what follows one could be taken for the extension, and be replaced.
    stem = re.sub(r"[-.]+", "-", _ascii(stem[:_MAX_READ]))[:_STEM_LENGTH].strip("-")
    suffix = re.sub(r"[^a-z0-9]", "", extension.lower())
    # A longer one is not that of an image; the detected format gives another.
    return prefix, stem, f".{suffix}" if 0 < len(suffix) < _EXTENSION_LENGTH else ""


def _joined(
    folder: str, stem: str, tail: str, extension: str, *, max_length: int | None, reserve: int = 0
) -> str:
    allowed = _allowed(max_length)
    room = allowed - reserve - len(folder) - len(tail) - _EXTENSION_LENGTH
    shortened = stem[: max(room - bool(tail), 0)].rstrip("-")
    if room < 0 or not (shortened or tail):
        least = allowed - room + (not tail)
        raise InvalidNameError(
            f"{_abbreviated(f'{folder}{stem}{extension}')} leaves no room for a unique name in {allowed} "
            f"characters; raise the field's max_length to {least} or more, or shorten its upload_to."
        )
    return f"{folder}{shortened}{'-' if shortened and tail else ''}{tail}{extension}"


def _allowed(max_length: int | None) -> int:
    return MAX_ID_LENGTH if max_length is None else min(max_length, MAX_ID_LENGTH)


def _ascii(text: str) -> str:
    """Return ``text`` in ``[A-Za-z0-9._-]``: transliterated, everything else a hyphen."""
    plain = anyascii(unicodedata.normalize("NFKC", text))
    return re.sub(r"-{2,}", "-", re.sub(r"[^A-Za-z0-9._-]", "-", plain))


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits.rjust(6, "0")


def _random(length: int) -> str:
    return "".join(secrets.choice(_RANDOM_ALPHABET) for _ in range(length))


def _abbreviated(name: str) -> str:
    return repr(name if len(name) <= 80 else f"{name[:77]}…")
