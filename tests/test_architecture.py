"""The rules of the house, read from the source: which room imports which, and what stays outside.

A rule that is in the way of something good may change; then change it here, with the reason.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import cf_images

PACKAGE = Path(cf_images.__file__).parent

# A module or folder of the package, and what it may import from the package.
ROOMS: dict[str, set[str]] = {
    "exceptions": set(),
    "conf": {"delivery", "signing"},  # what can be wrong with an address or a lifetime
    "models": set(),
    "signals": set(),
    "migrations": set(),
    "delivery": {"exceptions"},
    "signing": {"exceptions", "delivery"},
    "keys": {"exceptions", "conf", "client"},
    "waiting": set(),
    "replacing": {"naming"},
    "addresses": {"conf", "delivery", "flexible", "keys", "naming", "permitted", "signing"},
    "naming": {"exceptions"},
    "images": {"exceptions"},
    "options": {"exceptions"},
    "flexible": {"exceptions", "options"},
    "declared": {"exceptions", "options"},
    "difference": {"declared"},
    "permitted": {"exceptions", "conf", "delivery", "flexible"},
    "rendering": {"exceptions", "options"},
    "client": {"exceptions"},
    "files": {"exceptions", "images", "client"},
    "metadata": {"exceptions", "images"},
    "sources": {"conf"},
    "variants": {"exceptions", "conf", "delivery", "flexible", "keys", "permitted", "signing", "waiting"},
    "local": {
        *("exceptions", "conf", "delivery", "options", "flexible", "declared", "permitted", "rendering"),
        "replacing",
        *("naming", "background"),  # of an image that it has yet to fetch, only the row knows
    },
    "background": {
        *("exceptions", "conf", "delivery", "naming", "images", "client", "files", "metadata", "sources"),
        *("models", "permitted", "signals", "waiting"),
        *("declared", "rendering"),  # its own view shows what waits
    },
    "storage": {
        *("exceptions", "conf", "delivery", "naming", "images", "rendering", "client"),
        *("files", "local", "metadata", "background", "models", "addresses", "replacing"),
    },
    # It looks at everything that a project uses; only its command looks at it.
    "doctor": {
        *("exceptions", "conf", "delivery", "signing", "keys", "options", "flexible", "declared"),
        *("difference", "client", "markup", "background", "storage", "checks"),
    },
    "validators": {"exceptions", "conf", "images", "files", "local", "sources", "storage"},
    "markup": {
        *("exceptions", "conf", "delivery", "options", "flexible", "permitted", "variants"),
        "rendering",  # the arithmetic of fit, without pixels
    },
    "tasks": {"background"},
    "templatetags": {"markup", "variants"},
    # For other people's views, serializers and admins; one module for each package that may be absent.
    "contrib": {
        *("exceptions", "conf", "delivery", "flexible", "permitted", "markup", "validators", "variants"),
    },
    "emulator": {"rendering"},  # a second opinion: it shares no code with what it is to check
    "pytest_plugin": {"conf", "declared", "emulator", "keys", "storage"},
}

# Django's own places: each is thin and may import what it shows; the emulator is no part of a site.
SEAMS = {"admin", "apps", "checks", "management", "urls", "views"}
ROOMS |= {seam: {*ROOMS, *SEAMS} - {"emulator", "pytest_plugin", "tasks", "templatetags"} for seam in SEAMS}

KNOWS_NO_DJANGO = {
    "exceptions",
    "delivery",
    "signing",
    "naming",
    "images",
    "options",
    "flexible",
    "declared",
    "difference",
    "rendering",
    "client",
    "emulator",
}
HTTP_CLIENTS = {"httpx", "httpcore"}
COLLECTS_EVERYTHING = {"utils", "helpers", "services", "constants", "common", "misc"}

# Imports inside a function hide the architecture, except of packages that may be absent …
OPTIONAL = {"PIL", "huey", "werkzeug", "tqdm", "rest_framework", "django.tasks"}
# … and of rooms that bring httpx, Pillow, huey or werkzeug into a process that may never need them.
DEFERRED = {
    "storage": {"client", "rendering", "background"},
    "local": {"rendering", "background"},
    "keys": {"client"},
    "markup": {"rendering"},  # Pillow, for pages that show images of known dimensions
    # huey.contrib.djhuey connects and creates files when imported; only a worker sends anything.
    "background": {"background.huey_bell", "background.worker"},
    # pytest loads it in every project that has the package
    "pytest_plugin": {"conf", "declared", "emulator", "keys", "storage"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """One imported module: who imports it, where, and inside which function (``""``: at the top)."""

    room: str
    place: str
    target: str
    function: str

    @property
    def own_room(self) -> str:
        """The room of this package that is imported; empty for other packages."""
        package, _, rest = self.target.partition(".")
        return rest.partition(".")[0] if package == PACKAGE.name else ""


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts)


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports_of(path: Path) -> list[Import]:
    """Every import of a file, at any depth."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    package = [PACKAGE.name, *path.relative_to(PACKAGE).parent.parts]
    return [
        Import(
            room=room_of(path),
            place=f"{path.relative_to(PACKAGE.parent)}:{node.lineno}",
            target=target,
            function=function,
        )
        for node, function in statements(tree, "")
        for target in targets(node, package)
    ]


def statements(node: ast.AST, function: str) -> Iterator[tuple[ast.Import | ast.ImportFrom, str]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, function
        inside = child.name if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else function
        yield from statements(child, inside)


def targets(node: ast.Import | ast.ImportFrom, package: list[str]) -> list[str]:
    """The dotted names of what is imported; ``from . import x`` and ``from a import b`` give both parts."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    base = package[: len(package) - node.level + 1] if node.level else []
    source = ".".join([*base, *([node.module] if node.module else [])])
    return [f"{source}.{alias.name}" for alias in node.names]


ALL_IMPORTS = [found for path in modules() for found in imports_of(path)]


def test_every_module_has_a_room() -> None:
    homeless = sorted({room_of(path) for path in modules()} - ROOMS.keys() - {"__init__"})
    assert not homeless, (
        f"{homeless} is new in {PACKAGE.name}/. Give it a line in ROOMS that says what it may import, "
        "and a line in CONTRIBUTING.md that says what belongs there."
    )


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_imports_point_one_way(room: str) -> None:
    allowed = ROOMS[room] | {room}
    wrong = [
        f"{found.place} imports {found.target}"
        for found in ALL_IMPORTS
        if found.room == room and found.own_room and found.own_room not in allowed
    ]
    assert not wrong, explain(
        wrong,
        f"`{room}` may import from this package: {', '.join(sorted(ROOMS[room])) or 'nothing'}. "
        "Pass the value in as an argument, or move the code to the room that has what it needs.",
    )


def test_the_rooms_form_no_circle() -> None:
    TopologicalSorter({room: ROOMS[room] for room in ROOMS.keys() - SEAMS}).prepare()


def test_only_the_client_speaks_http() -> None:
    wrong = [
        f"{found.place} imports {found.target}"
        for found in ALL_IMPORTS
        if found.target.partition(".")[0] in HTTP_CLIENTS and found.room != "client"
    ]
    assert not wrong, explain(wrong, "The client is the only door to the network: give it a method for this.")


def test_the_core_knows_no_django() -> None:
    wrong = [
        f"{found.place} imports {found.target}"
        for found in ALL_IMPORTS
        if found.target.partition(".")[0] == "django" and found.room in KNOWS_NO_DJANGO
    ]
    assert not wrong, explain(wrong, "These modules work without Django: let the caller pass it in.")


def test_no_import_hides_in_a_function() -> None:
    wrong = [
        f"{found.place} imports {found.target} in {found.function}()"
        for found in ALL_IMPORTS
        if found.function and not may_be_deferred(found)
    ]
    assert not wrong, explain(
        wrong,
        "Imports stand at the top. Exceptions: AppConfig.ready(), optional packages "
        f"({', '.join(sorted(OPTIONAL))}), and what DEFERRED lists.",
    )


def may_be_deferred(found: Import) -> bool:
    if found.room == "apps" and found.function == "ready":
        return True
    if any(within(found.target, name) for name in OPTIONAL):
        return True
    if found.room == "pytest_plugin" and within(found.target, "django"):
        return True  # pytest loads it in every project that has the package, with Django or not
    deferred = {f"{PACKAGE.name}.{name}" for name in DEFERRED.get(found.room, set())}
    return any(within(found.target, name) for name in deferred)


def within(target: str, name: str) -> bool:
    return f"{target}.".startswith(f"{name}.")


def test_importing_the_storage_loads_no_heavy_package() -> None:
    code = "import sys, cf_images.storage; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    heavy = {"httpx", "PIL", "huey", "stamina"} & set(loaded.split())
    assert not heavy, f"import cf_images.storage loads {heavy}: every process of a site would pay for it"


def test_the_package_itself_is_only_a_docstring() -> None:
    body = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8")).body
    assert len(body) == 1, "cf_images/__init__.py: importing the package must load nothing"
    assert isinstance(body[0], ast.Expr)
    assert isinstance(body[0].value, ast.Constant)


def test_modules_are_named_for_what_they_do() -> None:
    wrong = [str(path.relative_to(PACKAGE.parent)) for path in modules() if path.stem in COLLECTS_EVERYTHING]
    assert not wrong, explain(wrong, "Such a module collects everything. Name it for the one thing it does.")


def explain(wrong: list[str], remedy: str) -> str:
    return "\n  ".join(["", *wrong]) + f"\n{remedy}"
