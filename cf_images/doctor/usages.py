"""What a template asks of images, read from its source: nothing is imported, nothing is rendered."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from django.template.base import Lexer, Token, TokenType
from django.utils.text import smart_split, unescape_string_literal

from cf_images.doctor.template_files import TemplateFile

FILTER, TAG = "variant", "cf_image"

_LITERAL = r""""[^"\\]*(?:\\.[^"\\]*)*"|'[^'\\]*(?:\\.[^'\\]*)*'"""
# A text is read as a whole, so that a filter inside of one is none; what else follows the colon is a name.
_FILTERED = re.compile(rf"(?:{_LITERAL})|\|\s*{FILTER}:(?P<argument>{_LITERAL}|[^\s|}}]+)")
_WHOLE_LITERAL = re.compile(_LITERAL)
_KEYWORD = re.compile(r"(\w+)=(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One filter or tag. ``variant`` is its text, ``None`` where it is none or a variable (``is_known``).

    ``keywords`` are those of the tag: the text, or ``None`` for what only rendering knows.
    """

    place: str
    variant: str | None
    is_known: bool
    is_tag: bool = False
    keywords: dict[str, str | None] = field(default_factory=dict)


def uses_in(file: TemplateFile) -> Iterator[Use]:
    """All uses of our filter and our tag; raises ``OSError`` and ``UnicodeError`` for what is no text."""
    content = file.path.read_bytes()
    if FILTER.encode() not in content and TAG.encode() not in content:
        return
    is_loaded = file.is_builtin
    for token in _live(Lexer(content.decode(file.encoding)).tokenize()):
        bits = list(smart_split(token.contents)) if token.token_type is TokenType.BLOCK else []
        if bits[:1] == ["load"]:
            is_loaded = is_loaded or _loads(bits[1:], file.libraries)
        elif is_loaded:
            place = f"{file.shown}:{token.lineno}"
            yield from _filters(token, place)
            if bits[:1] == [TAG]:
                yield _tag(bits[1:], place)


def _live(tokens: list[Token]) -> Iterator[Token]:
    """Variables and tags, without what stands between ``{% comment %}`` and its end."""
    in_comment = False
    for token in tokens:
        word = token.contents.split(maxsplit=1)[:1] if token.token_type is TokenType.BLOCK else []
        if in_comment:
            in_comment = word != ["endcomment"]
        elif word == ["comment"]:
            in_comment = True
        elif token.token_type in (TokenType.VAR, TokenType.BLOCK):
            yield token


def _loads(bits: list[str], libraries: frozenset[str]) -> bool:
    """``{% load cf_images %}``, and ``{% load variant from cf_images %}``."""
    named = bits[-1:] if bits[-2:-1] == ["from"] else bits
    return bool(libraries.intersection(named))


def _filters(token: Token, place: str) -> Iterator[Use]:
    for match in _FILTERED.finditer(token.contents):
        if argument := match["argument"]:
            text = _text(argument)
            yield Use(place=place, variant=text, is_known=text is not None)


def _tag(bits: list[str], place: str) -> Use:
    """``image "avatar" alt="…" as name``: the second that is no keyword is the variant."""
    if bits[-2:-1] == ["as"]:
        bits = bits[:-2]
    pairs = {match[1]: match[2] for bit in bits if (match := _KEYWORD.fullmatch(bit))}
    positional = [bit for bit in bits if not _KEYWORD.fullmatch(bit)]
    asked = pairs.pop("variant", None) if len(positional) < 2 else positional[1]
    variant = None if asked in (None, "None") else _text(str(asked))
    keywords = {name: _text(value) for name, value in pairs.items() if name != "image"}
    is_known = asked in (None, "None") or variant is not None
    return Use(place=place, variant=variant, is_known=is_known, is_tag=True, keywords=keywords)


def _text(source: str) -> str | None:
    """What a literal says, also a number or ``True``; ``None`` for a variable or what is filtered."""
    if _WHOLE_LITERAL.fullmatch(source):
        return unescape_string_literal(source)
    return source if re.fullmatch(r"-?\d+(\.\d+)?|True|False|None", source) else None
