"""The project's own Django templates: where they are, without reading or loading any."""

from __future__ import annotations

import os
import site
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from django.template import engines
from django.template.backends.django import DjangoTemplates
from django.template.engine import Engine

_LIBRARY = "cf_images.templatetags.cf_images"


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateFile:
    """One file that an engine may load; ``libraries`` are the names under which it knows our tags.

    ``is_builtin``: they are there without ``{% load %}``.
    """

    path: Path
    encoding: str
    libraries: frozenset[str]
    is_builtin: bool

    @property
    def shown(self) -> str:
        """Its path as a person at the prompt would write it."""
        working = Path.cwd()
        return str(self.path.relative_to(working) if self.path.is_relative_to(working) else self.path)


def template_files() -> Iterator[TemplateFile]:
    """All files in DIRS and in the templates folders of apps that are no packages, each once."""
    seen: set[Path] = set()
    for backend in engines.all():
        if not isinstance(backend, DjangoTemplates):
            continue
        engine = backend.engine
        libraries = frozenset(name for name, path in engine.libraries.items() if path == _LIBRARY)
        for path in _paths(engine):
            if (resolved := path.resolve()) not in seen:
                seen.add(resolved)
                yield TemplateFile(
                    path=path.absolute(),
                    encoding=engine.file_charset,
                    libraries=libraries,
                    is_builtin=_LIBRARY in engine.builtins,
                )


def _paths(engine: Engine) -> Iterator[Path]:
    for folder in dict.fromkeys(_folders(engine)):
        for parent, folders, names in os.walk(folder):
            folders.sort()
            yield from (path for name in sorted(names) if (path := Path(parent, name)).is_file())


def _folders(engine: Engine) -> Iterator[Path]:
    """DIRS wherever they are; of the loaders' folders only those that are the project's own."""
    yield from map(Path, engine.dirs)
    packages = _packages()
    for loader in engine.template_loaders:
        for folder in map(Path, getattr(loader, "get_dirs", list)()):
            if not any(folder.resolve().is_relative_to(installed) for installed in packages):
                yield folder


def _packages() -> list[Path]:
    """Where the interpreter keeps packages that somebody else wrote."""
    known = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), site.getusersitepackages()]
    return [Path(place).resolve() for place in {*known, *site.getsitepackages()}]
