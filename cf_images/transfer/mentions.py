"""Find which of many names a text mentions: as they are, or in URLs, however those are encoded.

A text is not searched for each name. Of each name one run of letters and digits is kept, such as the random
part or a number, with its position; wherever a text has that run, the whole name is looked up around it.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from urllib.parse import unquote

_RUN = re.compile(r"[0-9A-Za-z]+")
_DIGIT = re.compile(r"[0-9]")
# "\/" and "\u00e9" in JSON and JavaScript, and the line breaks and tabs that would stick to a name.
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})|(.))", re.DOTALL)
_SPACES = frozenset("bfnrtv")
_MAX_FORMS = 16  # of one text: a URL in HTML in JSON has fewer
# Characters of a text that are searched at once, so that one of many megabytes takes no more memory; the
# overlap is more than the longest name has, encoded twice.
_WINDOW, _OVERLAP = 250_000, 30_000

Shape = tuple[int, int]  # where in the name its run begins, and how long the name is


class Mentions:
    """Names, each of which stands for an image; a text gives those that it mentions."""

    def __init__(self) -> None:
        self._images: dict[str, str] = {}
        self._shapes: dict[str, tuple[Shape, ...]] = {}
        self._same: dict[tuple[Shape, ...], tuple[Shape, ...]] = {}  # names have few shapes
        self._without_run: set[str] = set()

    def __contains__(self, name: object) -> bool:
        return name in self._images

    def __len__(self) -> int:
        return len(self._images)

    def add(self, name: str, image_id: str) -> None:
        """Let ``name`` stand for an image."""
        if not name or name in self._images:
            return
        self._images[name] = image_id
        found = _distinctive_run(name)
        if found is None:
            self._without_run.add(name)
            return
        known, shape = self._shapes.get(found[0], ()), (found.start(), len(name))
        if shape not in known:
            shapes = (*known, shape)
            self._shapes[found[0]] = self._same.setdefault(shapes, shapes)

    def find(self, text: str) -> Iterator[str]:
        """Yield the IDs of the images that ``text`` mentions; some more than once."""
        if text in self._images:
            yield self._images[text]
        for start in range(0, len(text), _WINDOW):
            for form in _forms(text[start : start + _WINDOW + _OVERLAP]):
                yield from self._find_in(form)

    def _find_in(self, text: str) -> Iterator[str]:
        for run in _RUN.finditer(text):
            for offset, length in self._shapes.get(run[0], ()):
                start = run.start() - offset
                if start >= 0 and (image_id := self._images.get(text[start : start + length])):
                    yield image_id
        for name in self._without_run:
            if name in text:
                yield self._images[name]


def _distinctive_run(name: str) -> re.Match[str] | None:
    """Return the run that few other names have: of the file's stem, the longest one with a digit."""
    folder_end = name.rfind("/") + 1
    dot = name.rfind(".")
    stem_end = dot if dot > folder_end else len(name)
    runs = list(_RUN.finditer(name, folder_end, stem_end)) or list(_RUN.finditer(name))
    return max(runs, key=lambda run: (bool(_DIGIT.search(run[0])), len(run[0]), run.start()), default=None)


def _forms(text: str) -> list[str]:
    """Return the text as it is, and as it reads once it is decoded in all ways that change it."""
    forms = [text]
    for form in forms:  # which grows meanwhile
        for sign, decode in _DECODERS:
            if sign in form and len(forms) < _MAX_FORMS and (decoded := decode(form)) not in forms:
                forms.append(decoded)
    return forms


def _unescape(text: str) -> str:
    decoded = _ESCAPE.sub(_unescaped, text)
    try:
        decoded.encode()
    except UnicodeEncodeError:  # JSON writes a character beyond U+FFFF as two
        return decoded.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return decoded


def _unescaped(escape: re.Match[str]) -> str:
    digits, character = escape[1] or escape[2], escape[3]
    if digits:
        return chr(int(digits, 16))
    return " " if character in _SPACES else character


_DECODERS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("%", unquote),
    ("&", html.unescape),
    ("\\", _unescape),
)
