"""Metadata that an SDK has flattened into one field for each value.

Cloudflare documents one field ``metadata`` with JSON. Its SDK for Python sends ``metadata.a.b`` and
``metadata.list[]``, the one for Node ``metadata[a][b]`` and ``metadata[list][]``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from cf_images.emulator.assumptions import BAD_INPUT
from cf_images.emulator.errors import ApiError

_NAME = re.compile(r"metadata((?:\.[^.\[\]]+|\[[^\[\]]*\])+)")
_STEP = re.compile(r"[^.\[\]]+|\[\]")
_LIST = "[]"
_MAX_DEPTH = 16  # of objects in objects; metadata has at most 1,024 bytes


def is_flattened(name: str | None) -> bool:
    """Return whether a field is one value of flattened metadata; in malformed forms, some have no name."""
    return name is not None and _NAME.fullmatch(name) is not None


def unflatten(fields: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return the object that these fields were made from, with all values as text.

    Raise :class:`ApiError` where two fields contradict each other, or for too many levels.
    """
    found: dict[str, Any] = {}
    for name, value in fields:
        if match := _NAME.fullmatch(name):
            _put(found, name, _STEP.findall(match[1]), value)
    return found


def _put(found: dict[str, Any], name: str, steps: list[str], value: str) -> None:
    if len(steps) > _MAX_DEPTH:
        raise ApiError(BAD_INPUT, f"metadata has more than {_MAX_DEPTH} levels")
    place: Any = found
    for step, following in pairwise(steps):
        place = _entered(place, name, step, [] if following == _LIST else {})
    last = steps[-1]
    if last == _LIST and isinstance(place, list):
        place.append(value)
    elif last != _LIST and isinstance(place, dict) and last not in place:
        place[last] = value
    else:
        raise _contradiction(name)


def _entered(place: Any, name: str, step: str, new: Any) -> Any:
    """Return the object or list at ``step``, a new one where there is none; a list gets one more object."""
    if step == _LIST and isinstance(place, list):
        place.append(new)
        return new
    inner = place.setdefault(step, new) if step != _LIST and isinstance(place, dict) else None
    if not isinstance(inner, type(new)):
        raise _contradiction(name)
    return inner


def _contradiction(name: str) -> ApiError:
    return ApiError(BAD_INPUT, f"the field {name[:80]!r} contradicts another field of metadata")
