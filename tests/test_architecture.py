"""The rules of the house, read from the source: which module may import which, and what stays outside.

A rule that is in the way of something good may change; then change it here, with the reason.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import cf_images

PACKAGE = Path(cf_images.__file__).parent
ROOT = Path(__file__).parent.parent

# From the bottom to the top: a module may import what stands above its line here, and its own folder.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("links", "sentences", "signals"),
    ("exceptions",),
    ("variants", "delivery", "images"),  # pure; they do not know each other
    ("client",),
    ("rendering",),
    ("conf", "translation"),
    ("accounts",),
    ("models",),
    ("background",),
    ("storage",),
    ("markup", "image_fields"),
    ("transfer", "browser"),
    ("admin", "checks", "error_messages", "tasks", "templatetags", "validators", "views"),
    ("forms", "middleware"),
    ("contrib", "doctor", "urls"),
    ("test",),
    ("apps", "management", "pytest_plugin"),
)
LEVELS = {part: level for level, parts in enumerate(LAYERS) for part in parts}
# Outside of the list: a second opinion shares no code with what it is to check, and no site imports it.
EMULATOR, EMULATOR_IMPORTS = "emulator", {"emulator", "rendering"}
IMPORT_EMULATOR = {"pytest_plugin", "test"}
# Written by Django, or read by it alone.
NO_PART = {"__init__", "migrations"}

KNOW_NO_DJANGO = {
    *("links", "sentences", "exceptions", "client", "variants", "delivery", "images", "rendering"),
    "emulator",
}
HTTP_CLIENTS = {"httpx", "httpcore"}
# Everything else gets settings and environment variables from conf.
READ_SETTINGS = {
    "conf",
    "client.pool",  # the variables of certificates, as OpenSSL reads them
    "client.proxies",  # the proxy variables, as every HTTP client reads them
    "doctor.failures",  # the names of the proxy variables that are set
    "emulator.__main__",
    "pytest_plugin",  # whether the project has settings at all
}
COLLECT_EVERYTHING = {"utils", "helpers", "services", "constants", "common", "misc"}

# Imports inside a function hide the architecture, except of packages that may be absent …
OPTIONAL = {"PIL", "huey", "werkzeug", "tqdm", "rest_framework", "django.tasks", "socksio", "pillow_heif"}
# … and of parts that bring httpx, Pillow or huey into a process that may never need them.
DEFERRED = {
    "accounts": {"client"},
    "storage": {"client", "rendering", "background"},
    "validators": {"background"},  # it has models, and apps import validators before models can load
    "browser": {"client"},
    "markup": {"rendering"},  # Pillow, for pages that show images of known dimensions
    # huey.contrib.djhuey connects and creates files when imported; only a worker sends anything.
    "background": {"background.huey_tasks", "background.worker"},
    # pytest loads it in every project that has the package.
    "pytest_plugin": {"accounts", "emulator", "test"},
    "test": {"emulator"},  # it needs the extra
}
# What the words of the project are instead: CONTRIBUTING.md.
BANNED_WORDS = (
    *("bell", "bells", "rung", "doomed", "doom", "gate", "gates", "passage", "door", "doors"),
    *(
        "stranded",
        "permitted",
        "undelivered",
        "flaw",
        "flaws",
        "complain",
        "complaint",
        "mend",
        "mends",
        "mended",
    ),
    *("born_at", "asked_name", "NoAnswer", "settling", "somebody", "nobody", "anybody"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """One imported name: by which module, where, and inside which function (``""``: at the top)."""

    module: str
    place: str
    target: str
    function: str

    @property
    def part(self) -> str:
        """The part of the house that imports."""
        return self.module.partition(".")[0]

    @property
    def own_target(self) -> str:
        """The module of this package that is imported; empty for other packages."""
        package, _, rest = self.target.partition(".")
        if package != PACKAGE.name:
            return ""
        parent = rest.rpartition(".")[0]
        return rest if rest in MODULES else parent if parent in MODULES else ""

    @property
    def own_part(self) -> str:
        """The part of the house that is imported; empty for other packages."""
        package, _, rest = self.target.partition(".")
        return rest.partition(".")[0] if package == PACKAGE.name else ""


def paths() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts)


def module_of(path: Path) -> str:
    """``background.leases``; a package has the name of its folder."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


MODULES = {module_of(path) for path in paths()}


def imports_of(path: Path) -> list[Import]:
    """Every import of a file, at any depth."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    package = [PACKAGE.name, *path.relative_to(PACKAGE).parent.parts]
    return [
        Import(
            module=module_of(path),
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


ALL_IMPORTS = [found for path in paths() for found in imports_of(path)]


def test_every_module_has_a_place() -> None:
    homeless = sorted({module.partition(".")[0] for module in MODULES} - LEVELS.keys() - NO_PART - {EMULATOR})
    assert not homeless, (
        f"{homeless} is new in {PACKAGE.name}/. Give it a line in LAYERS, above what it imports, and a line "
        "in CONTRIBUTING.md that says what belongs there."
    )


@pytest.mark.parametrize("part", sorted(LEVELS))
def test_imports_point_down_the_list(part: str) -> None:
    allowed = {lower for lower, level in LEVELS.items() if level < LEVELS[part]} | {part}
    if part in IMPORT_EMULATOR:
        allowed.add(EMULATOR)
    wrong = [
        f"{found.place} imports {found.target}"
        for found in ALL_IMPORTS
        if found.part == part and found.own_part and found.own_part not in allowed
    ]
    assert not wrong, explain(
        wrong,
        f"`{part}` may import from this package: {', '.join(sorted(allowed - {part})) or 'nothing'}. "
        "Pass the value in as an argument, or move the code to the part that has what it needs.",
    )


def test_the_emulator_is_a_second_opinion() -> None:
    wrong = [
        f"{found.place} imports {found.target}"
        for found in ALL_IMPORTS
        if found.part == EMULATOR and found.own_part and found.own_part not in EMULATOR_IMPORTS
    ]
    assert not wrong, explain(wrong, "The emulator shares only `rendering`: it must not repeat a mistake.")


def test_modules_form_no_cycle_deferred_imports_included() -> None:
    graph: dict[str, set[str]] = {module: set() for module in MODULES}
    for found in ALL_IMPORTS:
        if found.own_target and found.own_target != found.module:
            graph[found.module].add(found.own_target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        cycle = " → ".join(reversed(error.args[1]))
        pytest.fail(f"{cycle}. Return what the caller should do next, and let the caller do it.")


def test_only_the_client_sends_http_requests() -> None:
    wrong = [
        f"{found.place} imports {found.target}"
        for found in ALL_IMPORTS
        if found.target.partition(".")[0] in HTTP_CLIENTS and found.part != "client"
    ]
    assert not wrong, explain(wrong, "Only the client sends requests: give it a method for this.")


def test_no_private_part_of_httpx_or_httpcore_is_used() -> None:
    private = re.compile(r"\b(?:httpx|httpcore)\.(?:\w+\.)*_\w|(?<!self)\._pool\b|_optional_thread_lock")
    wrong = [
        f"{path.relative_to(PACKAGE.parent)}:{number}: {line.strip()}"
        for path in paths()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if private.search(line) and path.parent.name == "client"
    ]
    assert not wrong, explain(wrong, "A private name may change with any release of the other package.")


def test_only_conf_reads_settings_and_environment() -> None:
    wrong = [
        f"{found.place} imports {found.target}"
        for found in ALL_IMPORTS
        if found.target == "django.conf.settings" and found.module not in READ_SETTINGS
    ]
    wrong += [
        f"{path.relative_to(PACKAGE.parent)} reads os.environ"
        for path in paths()
        if re.search(r"\bos\.environ\b|\bgetenv\b", path.read_text(encoding="utf-8"))
        and module_of(path) not in READ_SETTINGS
    ]
    assert not wrong, explain(wrong, "Read it in conf.py, which keeps it until settings change.")


def test_the_core_knows_no_django() -> None:
    wrong = [
        f"{found.place} imports {found.target}"
        for found in ALL_IMPORTS
        if found.target.partition(".")[0] == "django" and found.part in KNOW_NO_DJANGO
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
    if found.part == "apps" and found.function == "ready":
        return True
    if any(is_within(found.target, name) for name in OPTIONAL):
        return True
    if found.part == "pytest_plugin" and is_within(found.target, "django"):
        return True  # pytest loads it in every project that has the package, with Django or not
    deferred = {f"{PACKAGE.name}.{name}" for name in DEFERRED.get(found.part, set())}
    return any(is_within(found.target, name) for name in deferred)


def is_within(target: str, name: str) -> bool:
    return f"{target}.".startswith(f"{name}.")


@pytest.mark.parametrize("module", ["storage", "markup", "conf", "accounts"])
def test_importing_what_pages_use_loads_no_heavy_package(module: str) -> None:
    code = f"import sys, cf_images.{module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    heavy = {"httpx", "httpcore", "PIL", "huey", "stamina"} & set(loaded.split())
    assert not heavy, f"import cf_images.{module} loads {heavy}: every process of a site would pay for it"


def test_the_package_itself_is_only_a_docstring() -> None:
    body = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8")).body
    assert len(body) == 1, "cf_images/__init__.py: importing the package must load nothing"
    assert isinstance(body[0], ast.Expr)
    assert isinstance(body[0].value, ast.Constant)


def test_modules_are_named_for_what_they_do() -> None:
    wrong = [str(path.relative_to(PACKAGE.parent)) for path in paths() if path.stem in COLLECT_EVERYTHING]
    assert not wrong, explain(wrong, "Such a module collects everything. Name it for the one thing it does.")


def test_the_words_are_those_of_the_field() -> None:
    banned = re.compile(rf"(?<![\w-])(?:{'|'.join(BANNED_WORDS)})(?![\w-])", re.IGNORECASE)
    texts = [
        *PACKAGE.rglob("*.py"),
        *PACKAGE.rglob("*.html"),
        *(ROOT / "example_project").rglob("*.py"),
        *(ROOT / "example_project").rglob("*.html"),
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "example_project/README.md")),
    ]
    wrong = [
        f"{path.name}:{number}: {line.strip()}"
        for path in texts
        if path.exists()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if banned.search(line)
    ]
    assert not wrong, explain(wrong, "CONTRIBUTING.md has the words of this project.")


def explain(wrong: list[str], hint: str) -> str:
    return "\n  ".join(["", *wrong]) + f"\n{hint}"
