"""Read which variants a template asks for, without compiling or rendering it.

Django's parser splits the source, loads tag libraries and skips comments; other tags are read as text.
Compiling them would lose the uses in templates with an error or a missing library, in tags with a grammar of
their own, and in a ``{% cf_image %}`` after its first mistake. It would also run the code of other packages.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from django.template.base import Lexer, Parser, Token, TokenType
from django.template.exceptions import TemplateSyntaxError
from django.template.library import Library, import_library
from django.utils.text import smart_split, unescape_string_literal

from cf_images.doctor.template_files import TemplateFile

FILTERS, TAG = ("variant", "final_variant"), "cf_image"

_LITERAL = r""""[^"\\]*(?:\\.[^"\\]*)*"|'[^'\\]*(?:\\.[^'\\]*)*'"""
# A literal matches as a whole, so that a filter inside it does not count.
_FILTERED = re.compile(
    rf"{_LITERAL}|(?:\||^filter\s)\s*(?P<filter>{'|'.join(FILTERS)}):(?P<argument>{_LITERAL}|[^\s|}}]+)"
)
_CONSTANT = re.compile(rf"{_LITERAL}|-?\d+(\.\d+)?|True|False|None")
_KEYWORD = re.compile(r"(?:(\w+)=)?(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A filter or tag of this package in a template.

    ``variant`` is ``None`` where none is given, or where it is a variable: then ``is_known`` is false.
    ``image`` is an image that is a literal, ``None`` any other. ``keywords`` are those of the tag; ``None``
    stands for a variable.
    """

    place: str
    variant: str | None
    is_known: bool
    is_tag: bool = False
    image: str | None = None
    keywords: dict[str, str | None] = field(default_factory=dict)


def uses_in(file: TemplateFile) -> Iterator[Use]:
    """Yield the uses in a file; raises ``OSError``, and ``UnicodeError`` for what is not text."""
    content = file.path.read_bytes()
    if FILTERS[0].encode() not in content and TAG.encode() not in content:
        return
    engine, label = file.engine, file.label
    package = import_library("cf_images.templatetags.cf_images")
    # A library that is not installed counts as empty, so that those loaded with it still count.
    libraries = defaultdict(Library, engine.template_libraries)
    tokens = Lexer(content.decode(engine.file_charset)).tokenize()
    parser = Parser(tokens, libraries, engine.template_builtins)
    while parser.tokens:
        token = parser.next_token()
        place = f"{label}:{token.lineno}"
        bits = list(smart_split(token.contents)) if token.token_type is TokenType.BLOCK else []
        if bits[:1] in (["load"], ["comment"]):
            _run(bits, parser, token)
        elif token.token_type in (TokenType.VAR, TokenType.BLOCK):
            yield from _filters(
                token.contents,
                place,
                ours={name for name in FILTERS if parser.filters.get(name) is package.filters[name]},
            )
            if bits[:1] == [TAG] and parser.tags.get(TAG) is package.tags[TAG]:
                yield _tag(bits[1:], place)


def _run(bits: list[str], parser: Parser, token: Token) -> None:
    """Let Django load tag libraries, or skip a comment."""
    try:
        parser.tags[bits[0]](parser, token)
    except TemplateSyntaxError:  # the library lacks one of the names: load all of it
        parser.add_library(parser.libraries[bits[-1]])
    except IndexError:
        pass  # a comment without an end: nothing follows


def _filters(source: str, place: str, ours: set[str]) -> Iterator[Use]:
    before: re.Match[str] | None = None
    for match in _FILTERED.finditer(source):
        if match["filter"] in ours:
            argument = match["argument"]
            variant = _constant(argument)
            image = _constant(before[0]) if before and _is_value_of(match, before) else None
            yield Use(place=place, variant=variant, is_known=variant is not None, image=image)
        before = match


def _is_value_of(filter_: re.Match[str], literal: re.Match[str]) -> bool:
    """Return whether the filter stands behind the literal, which is no argument of another filter."""
    source = filter_.string
    is_argument = source[literal.start() - 1 : literal.start()] == ":"
    return not is_argument and not source[literal.end() : filter_.start()].strip()


def _tag(bits: list[str], place: str) -> Use:
    """Read ``image "avatar" alt="…" as name``: the second argument without a keyword is the variant."""
    if bits[-2:-1] == ["as"]:
        bits = bits[:-2]
    pairs = [_KEYWORD.findall(bit)[0] for bit in bits]
    positional = [value for name, value in pairs if not name]
    keywords = {name: value for name, value in pairs if name}
    image = keywords.pop("image", positional[0] if positional else "None")
    source = positional[1] if len(positional) > 1 else keywords.pop("variant", "None")
    variant = None if source == "None" else _constant(source)
    return Use(
        place=place,
        variant=variant,
        is_known=source == "None" or variant is not None,
        is_tag=True,
        image=_constant(image) if image[:1] in ("'", '"') else None,
        keywords={name: _constant(value) for name, value in keywords.items()},
    )


def _constant(source: str) -> str | None:
    """Return the text of a literal, number or constant; ``None`` for a variable, or a value with filters."""
    if not _CONSTANT.fullmatch(source):
        return None
    return unescape_string_literal(source) if source[0] in "\"'" else source
