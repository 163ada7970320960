"""What pages of the reference have from the code itself: options, functions, checks, errors.

``python -m tests.docs.tables`` writes it anew, between ``<!-- begin: … -->`` and ``<!-- end -->``;
``test_reference`` fails where that would change a page.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from typing import Any

import django

from tests.docs import pages

_PART = re.compile(r"(<!-- begin: (?P<what>[^>]+) -->\n).*?(<!-- end -->)", re.S)
_NO_DEFAULT = inspect.Parameter.empty


def written(page: str) -> str:
    """Return a page with all its tables as the code has them now."""
    text = (pages.DOCS / page).read_text(encoding="utf-8")
    return _PART.sub(lambda part: f"{part[1]}\n{_table(part['what'])}\n\n{part[3]}", text)


def directives(page: str) -> list[list[str]]:
    """Return what the tables of a page are about: the words after ``begin:``."""
    text = (pages.DOCS / page).read_text(encoding="utf-8")
    return [part["what"].split() for part in _PART.finditer(text)]


def _table(what: str) -> str:
    kind, *words = what.split()
    return "\n".join(_KINDS[kind](*words)).strip()


# Commands


def _commands() -> Iterator[str]:
    from cf_images.management.arguments import djangos_options
    from cf_images.management.commands.cf_images import SUBCOMMANDS

    djangos = {action.dest for action in djangos_options()._actions}
    parsers = subparsers()
    for name in sorted(SUBCOMMANDS):
        yield from [f"## `{name}`", "", SUBCOMMANDS[name].HELP, ""]
        actions = [action for action in parsers[name]._actions if action.dest not in {*djangos, "help"}]
        yield from [*_options(actions), ""]


def subparsers() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each subcommand."""
    from cf_images.management.commands.cf_images import Command

    parser = Command().create_parser("manage.py", "cf_images")
    (found,) = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(found.choices.items())


def _emulator() -> Iterator[str]:
    from cf_images.emulator.__main__ import parser

    yield from _options(action for action in parser()._actions if action.dest != "help")


def _options(actions: Iterable[argparse.Action]) -> Iterator[str]:
    yield from ["| option | meaning |", "|---|---|"]
    for action in actions:
        metavar = action.metavar if isinstance(action.metavar, str) else ""
        value = f" {metavar or action.dest.upper()}" if action.nargs != 0 else ""
        names = [f"`{name}{value}`" for name in action.option_strings] or [f"`{metavar or action.dest} …`"]
        words = (action.help or "") % {"default": action.default}
        yield f"| {', '.join(names)} | {_cell(words)} |"


# Python


def _python(module: str, *names: str) -> Iterator[str]:
    found = import_module(module)
    for name in names:
        yield from _described(name, getattr(found, name))


def _methods(path: str, *names: str) -> Iterator[str]:
    module, _, class_name = path.rpartition(".")
    found = getattr(import_module(module), class_name)
    for name in names:
        yield from _described(name, inspect.getattr_static(found, name))


def _described(name: str, value: Any) -> Iterator[str]:
    """Yield an item of a list: how it is called, and its docstring."""
    if isinstance(value, property):
        call, value = name, value.fget
    elif inspect.isclass(value):
        call = name + (_signature(value) if _has_own_arguments(value) else "")
    elif callable(value):
        call = name + _signature(value)
    else:  # a type alias
        yield f"- `{name}`: the type `{str(value).replace('typing.', '')}`"
        return
    first, *others = re.split(r"\n\n+", inspect.cleandoc(value.__doc__ or ""))
    yield f"- `{call}`: {_text(first)}"
    for paragraph in others:
        yield from ["", f"  {_text(paragraph)}"]


def _has_own_arguments(kind: type) -> bool:
    if dataclasses.is_dataclass(kind):
        return True
    owner = next(base for base in kind.__mro__ if "__init__" in vars(base))
    return owner.__module__.startswith("cf_images.")


def _signature(value: Callable[..., Any]) -> str:
    """Return the parameters with their defaults, without types."""
    parts: list[str] = []
    for parameter in inspect.signature(value).parameters.values():
        if parameter.name == "self" or parameter.name.startswith("_"):
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not any(part.startswith("*") for part in parts):
            parts.append("*")
        stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        default = "" if parameter.default is _NO_DEFAULT else f"={_default(parameter.default)}"
        parts.append(f"{stars}{parameter.name}{default}")
    return f"({', '.join(parts)})"


def _default(value: Any) -> str:
    if type(value) is object or repr(value).startswith("<"):
        return "…"  # a marker or a factory, whose text has an address
    return repr(value).replace("'", '"') if isinstance(value, str) else repr(value)


def _text(docstring: str) -> str:
    """Return a paragraph in Markdown, on one line."""
    text = re.sub(r":\w+:`([^`]+)`", r"`\1`", docstring.replace("``", "`"))
    return " ".join(text.split())


# Variants, checks, errors


def _variant(_options: str, kind: Any) -> Iterator[str]:
    from cf_images.variants.options import OPTIONS

    yield from ["| option | short | values |", "|---|---|---|"]
    for option in OPTIONS.values():
        if values := option.values(kind):
            short = ", ".join(f"`{alias}`" for alias in option.aliases)
            yield f"| `{option.field}` | {short} | {_cell(values.valid)} |"


def _checks() -> Iterator[str]:
    yield from ["| ID | meaning |", "|---|---|"]
    for check_id, title in sorted(titles("checks").items(), key=lambda item: item[0].rpartition(".")[2][1:]):
        page = check_id.rpartition(".")[2]
        yield f"| [{check_id}](../checks/{page}.md) | {title} |"


def _errors() -> Iterator[str]:
    from cf_images import exceptions

    yield from ["| error | meaning | also | `http_status` |", "|---|---|---|---|"]
    for name, error in _classes(exceptions):
        bases = [base.__name__ for base in error.__bases__ if base is not Exception]
        also = ", ".join(f"`{base}`" for base in bases if base != "CloudflareImagesError")
        yield f"| [{name}](../errors/{name}.md) | {titles('errors')[name]} | {also} | {error.http_status} |"


def _classes(module: Any) -> list[tuple[str, Any]]:
    """Return the classes that a module defines, in its order."""
    return [(name, value) for name, value in vars(module).items() if inspect.isclass(value)]


def titles(folder: str) -> dict[str, str]:
    """Return the titles of the pages in a folder, by what stands before the colon."""
    found = {}
    for path in sorted((pages.DOCS / folder).glob("*.md")):
        name, _, title = (
            path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ").partition(": ")
        )
        found[name] = title
    return found


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


_KINDS: dict[str, Callable[..., Iterator[str]]] = {
    "commands": _commands,
    "emulator": _emulator,
    "python": _python,
    "methods": _methods,
    "variant": _variant,
    "checks": _checks,
    "errors": _errors,
}


def main() -> None:
    """Write the tables of all pages anew."""
    django.setup()
    for page in pages.all_pages():
        text, path = written(page), pages.DOCS / page
        if text != path.read_text(encoding="utf-8"):
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"{page}\n")


if __name__ == "__main__":
    main()
