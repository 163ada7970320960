"""Find the template files of the project; ``template_uses`` reads them."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateFile:
    """One file, and the engine that may load it."""

    path: Path
    engine: Engine

    @property
    def label(self) -> str:
        """The path for messages: relative to the working directory where the file is below it."""
        here = Path.cwd()
        return str(self.path.relative_to(here) if self.path.is_relative_to(here) else self.path)


def template_files() -> Iterator[TemplateFile]:
    """Yield each file in ``DIRS`` and in the template folders of apps that are not installed packages."""
    seen: set[Path] = set()
    for engine in [backend.engine for backend in engines.all() if isinstance(backend, DjangoTemplates)]:
        for path in _paths(engine):
            if (resolved := path.resolve()) not in seen:
                seen.add(resolved)
                yield TemplateFile(path=path.absolute(), engine=engine)


def _paths(engine: Engine) -> Iterator[Path]:
    for folder in dict.fromkeys(_folders(engine)):
        for parent, folders, names in os.walk(folder):
            folders.sort()
            yield from (path for name in sorted(names) if (path := Path(parent, name)).is_file())


def _folders(engine: Engine) -> Iterator[Path]:
    """Yield ``DIRS`` wherever they are, and those folders of the loaders that belong to the project."""
    yield from map(Path, engine.dirs)
    packages = _package_folders()
    for loader in engine.template_loaders:
        for folder in map(Path, getattr(loader, "get_dirs", list)()):
            if not any(folder.resolve().is_relative_to(installed) for installed in packages):
                yield folder


def _package_folders() -> list[Path]:
    """Return the folders where the interpreter keeps installed packages."""
    known = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), site.getusersitepackages()]
    return [Path(folder).resolve() for folder in {*known, *site.getsitepackages()}]
