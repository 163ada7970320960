"""The reference names everything that there is, and nothing that there is not."""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core import checks
from django.dispatch import Signal
from django.urls import include, path

import cf_images
from cf_images import conf, exceptions, links, middleware, pytest_plugin, signals, urls
from cf_images.management.commands.cf_images import SUBCOMMANDS
from cf_images.markup.attributes import ATTRIBUTES, OWN
from cf_images.models import LeasedRow, State
from cf_images.templatetags.cf_images import register
from cf_images.test import CloudflareImagesTestMixin
from tests.docs import pages, tables

PACKAGE = Path(cf_images.__file__).parent
SOURCES = {each: each.read_text(encoding="utf-8") for each in PACKAGE.rglob("*.py")}
# What a module exports for the other modules of this package.
INTERNAL = {
    "cf_images.background": {
        *("MAX_NAME_LENGTH", "database", "delete", "deleting_names", "enqueue_file", "enqueue_url", "find"),
        *("has_row", "is_assumed_pending", "is_deleting", "is_pending", "known_remote_id", "open_pending"),
        *("pending_names", "pending_row", "pending_size", "refresh_names", "remote_id", "saved_names"),
    },
    "cf_images.client": {"DEFAULT_API_URL"},
    "cf_images.contrib.admin": {"DirectThumbnailFileWidget", "ThumbnailFileWidget"},
    "cf_images.storage.ImageStorage": {
        *("delete", "exists", "final_url", "get_valid_name", "listdir", "open", "path", "save", "size"),
    },
}


def text(page: str) -> str:
    return (pages.DOCS / page).read_text(encoding="utf-8")


def section(page: str, heading: str) -> str:
    """Return what stands below a heading, up to the next one of its level or above."""
    level = heading.partition(" ")[0]
    found = re.search(rf"^{re.escape(heading)}\n(.*?)(?=^#{{1,{len(level)}}} |\Z)", text(page), re.M | re.S)
    assert found, f"{page} has no {heading!r}"
    return found[1]


def rows(part: str) -> Iterator[list[str]]:
    """Yield the cells of each row of the tables in a text, without their heads."""
    for table in re.findall(r"(?:^\|.*\|$\n?)+", part, re.M):
        for line in table.splitlines()[2:]:
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line[1:-1])]


def names_in(table: str, *, column: int = 0) -> list[str]:
    """Return all names in backquotes in a column of the tables in a text."""
    return [name for cells in rows(table) for name in re.findall(r"`([^`]+)`", cells[column])]


@pytest.mark.parametrize("page", [page for page in pages.all_pages() if tables.directives(page)])
def test_tables_are_those_of_the_code(page: str) -> None:
    assert tables.written(page) == text(page), "run: .venv/bin/python -m tests.docs.tables"


# Settings

DECLARED = {**conf.STORAGE_OPTIONS, **conf.PACKAGE_OPTIONS}


def test_every_setting_has_a_section() -> None:
    assert sorted(re.findall(r"^### `(\w+)`$", text("reference/settings.md"), re.M)) == sorted(DECLARED)


@pytest.mark.parametrize("name", DECLARED)
def test_section_of_a_setting_has_its_default_and_its_other_names(name: str) -> None:
    option, first = (
        DECLARED[name],
        section("reference/settings.md", f"### `{name}`").strip().partition("\n")[0],
    )
    default = re.search(r"default `([^`]+)`", first)
    assert (ast.literal_eval(default[1]) if default else None) == option.default
    assert default or "no default" in first or "required" in first
    assert ("required" in first) is (name in conf.CREDENTIALS)
    assert ("Secret" in first) is option.secret
    assert re.findall(r"`(CF_\w+)`", first) == list(option.names)


def test_every_environment_variable_is_in_the_table() -> None:
    found = set(names_in(section("reference/settings.md", "## Environment variables")))
    flat = {name for option in DECLARED.values() for name in option.names}
    client = "".join(SOURCES[PACKAGE / f"client/{name}.py"] for name in ("pool", "proxies"))
    others = set(re.findall(r"\b(?:SSL_CERT_FILE|SSL_CERT_DIR|SSLKEYLOGFILE|NO_PROXY)\b", client))
    schemes = {f"{scheme}_PROXY" for scheme in ("HTTP", "HTTPS", "ALL")}
    assert found == {*flat, *others, *schemes, "ENV_NAME"}


def test_the_settings_on_the_page_are_right(settings: Any) -> None:
    names: dict[str, Any] = {}
    pages.block("reference/settings.md", "# settings.py").run(names)
    settings.STORAGES, settings.CF_IMAGES = names["STORAGES"], names["CF_IMAGES"]
    messages = checks.run_checks(tags=["cf_images"])
    assert [message.id for message in messages if message.is_serious(checks.ERROR)] == []


# Tags and filters


def test_every_tag_and_filter_has_a_section() -> None:
    known = [*register.tags, *register.filters]
    assert sorted(re.findall(r"^## `(\w+)`$", text("reference/templates.md"), re.M)) == sorted(known)


def test_every_keyword_of_the_tag_is_on_the_page() -> None:
    tag = section("reference/templates.md", "## `cf_image`")
    assert set(names_in(tag)) == set(OWN)
    others = tag.partition("All other keywords are attributes:")[2].partition("whose `_`")[0]
    assert set(re.findall(r"`([a-z]+)`", others)) == set(ATTRIBUTES)


# Commands


def test_every_subcommand_has_a_section() -> None:
    found = re.findall(r"^## `([\w-]+)`$", text("reference/commands.md"), re.M)
    assert found == sorted(SUBCOMMANDS)


# Python


def public_names(module: str) -> set[str]:
    found = import_module(module)
    own = {
        name
        for name, value in vars(found).items()
        if getattr(value, "__module__", "") == module and not name.startswith("_")
    }
    return set(getattr(found, "__all__", own))


def described() -> Iterator[tuple[str, set[str]]]:
    for page in ("reference/python.md", "reference/testing.md"):
        for kind, *words in tables.directives(page):
            if kind == "python":
                yield words[0], set(words[1:])


@pytest.mark.parametrize(("module", "names"), list(described()))
def test_every_public_name_is_described(module: str, names: set[str]) -> None:
    assert names == public_names(module) - INTERNAL.get(module, set())


@pytest.mark.parametrize("module", INTERNAL)
def test_what_is_internal_still_exists(module: str) -> None:
    parent, _, name = module.rpartition(".")
    found = getattr(import_module(parent), name) if name[0].isupper() else import_module(module)
    assert not [each for each in INTERNAL[module] if not hasattr(found, each)]


def test_every_public_module_is_named() -> None:
    found = set(re.findall(r"`(cf_images(?:\.\w+)+)", text("reference/python.md")))
    contrib = {f"cf_images.contrib.{each.stem}" for each in (PACKAGE / "contrib").glob("[a-z]*.py")}
    contrib -= {"cf_images.contrib.admin_errors"}  # a part of cf_images.contrib.admin
    assert contrib <= found


def test_every_method_of_the_client_is_described() -> None:
    (words,) = [
        each for each in tables.directives("reference/python.md") if "CloudflareImagesClient" in each[1]
    ]
    client = import_module("cf_images.client").CloudflareImagesClient
    public = {name for name, _ in inspect.getmembers(client, inspect.isfunction) if not name.startswith("_")}
    assert set(words[2:]) == public


# Signals, views, tables


def test_every_signal_is_in_the_table() -> None:
    known = [name for name, value in vars(signals).items() if isinstance(value, Signal)]
    assert names_in(text("reference/signals.md")) == known


@pytest.mark.parametrize("name", ["image_stored", "image_rejected"])
def test_arguments_of_a_signal_are_those_that_are_sent(name: str) -> None:
    (cells,) = [cells for cells in rows(text("reference/signals.md")) if cells[0] == f"`{name}`"]
    (call,) = [
        node
        for node in ast.walk(ast.parse(SOURCES[PACKAGE / "background/outcomes.py"]))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == f"{name}.send_robust"
    ]
    sent = [keyword.arg for keyword in call.keywords if keyword.arg != "sender"]
    assert re.findall(r"`(\w+)`", cells[2]) == sent


@pytest.mark.django_db
def test_the_receiver_on_the_page_fills_the_dimensions() -> None:
    from tests.app.models import Photo

    names: dict[str, Any] = {"Photo": Photo}
    try:
        pages.block("reference/signals.md", "from django.dispatch import receiver").run(names)
        signals.image_stored.send(None, name="none.jpg", storage="a", size=1, width=2, height=3)
    finally:
        signals.image_stored.disconnect(names["fill_dimensions"])


def test_every_view_is_in_the_table() -> None:
    known = [(each.name, re.sub(r"<\w+:(\w+)>", r"<\1>", str(each.pattern))) for each in urls.urlpatterns]
    views = text("reference/views.md").partition("## Middleware")[0]
    assert [(cells[0].strip("`"), cells[1].strip("`")) for cells in rows(views)] == known


def test_the_urls_on_the_page_mount_the_views() -> None:
    names: dict[str, Any] = {"path": path, "include": include}
    pages.block("reference/views.md", "# urls.py").run(names)
    assert names["urlpatterns"][0].app_name == "cf_images"


def test_every_middleware_and_permission_is_in_the_tables() -> None:
    classes = [name for name, value in vars(middleware).items() if inspect.isclass(value)]
    own = [name for name in classes if getattr(middleware, name).__module__ == middleware.__name__]
    assert [cells[0].strip("`") for cells in rows(section("reference/views.md", "## Middleware"))] == own
    models = apps.get_app_config("cf_images").get_models()
    known = {f"cf_images.{code}" for model in models for code, _ in model._meta.permissions}
    assert set(names_in(section("reference/views.md", "## Permissions"))) == known


SHARED = [field.name for field in LeasedRow._meta.get_fields()]


def columns(part: str) -> dict[str, str]:
    """Return the types of the columns in a table, by name."""
    found = {}
    for cells in rows(part):
        found.update(dict.fromkeys(re.findall(r"`(\w+)`", cells[0]), cells[1].strip("`")))
    return found


@pytest.mark.parametrize(
    "model", list(apps.get_app_config("cf_images").get_models()), ids=lambda model: model.__name__
)
def test_every_column_is_in_the_tables(model: Any) -> None:
    shared = {}
    if issubclass(model, LeasedRow):
        part = section("reference/tables.md", "## Columns of uploads, transfers and reservations")
        shared = columns(part.partition("| state |")[0])
    own = columns(section("reference/tables.md", f"## `{model._meta.db_table}`"))
    fields = {field.name: field.get_internal_type() for field in model._meta.concrete_fields}
    assert {**shared, **own} == fields


def test_every_table_has_a_section() -> None:
    known = [model._meta.db_table for model in apps.get_app_config("cf_images").get_models()]
    assert sorted(re.findall(r"^## `(\w+)`$", text("reference/tables.md"), re.M)) == sorted(known)


def test_every_state_is_in_the_table() -> None:
    part = section("reference/tables.md", "## Columns of uploads, transfers and reservations")
    known = re.findall(r"^\| `(\w+)` \|", part.partition("| state |")[2], re.M)
    assert known == list(State.values)


# Tests, doctor, logs


def test_every_fixture_is_in_the_table() -> None:
    source = SOURCES[PACKAGE / "pytest_plugin.py"]
    known = re.findall(r"@pytest\.fixture.*\ndef (cf_\w+)", source)
    shown = [cells[0].strip("`") for cells in rows(section("reference/testing.md", "## pytest fixtures"))]
    assert sorted(shown) == sorted(known)
    assert f"pytest.mark.{pytest_plugin.MARKER}`" in text("reference/testing.md")


def test_attributes_of_the_mixin_are_in_the_table() -> None:
    known = [name for name in CloudflareImagesTestMixin.__annotations__ if not name.startswith("_")]
    part = section("reference/testing.md", "## `cf_images.test`").partition("The mixin has")[2]
    assert sorted(cells[0].strip("`") for cells in rows(part)) == sorted(known)


def test_every_logger_is_in_the_table() -> None:
    known = set()
    for each, source in SOURCES.items():
        for name in re.findall(r"getLogger\(([^)]+)\)", source):
            module = ".".join(each.relative_to(PACKAGE.parent).with_suffix("").parts)
            known.add(module if name == "__name__" else name.strip('"'))
    assert {cells[0].strip("`") for cells in rows(text("reference/logs.md"))} == known


def test_every_name_of_a_finding_is_in_the_table() -> None:
    trees = [ast.parse(source) for each, source in SOURCES.items() if each.parent.name == "doctor"]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    constants = dict(pair for node in nodes if isinstance(node, ast.Assign) for pair in constants_of(node))
    known: set[str] = set()
    for node in nodes:
        # ok("clock", …), guarded(_PUBLIC, …), and ("clock", clock.clock)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in FINDING and node.args:
            first = node.args[0]
        elif isinstance(node, ast.Tuple) and len(node.elts) == 2 and isinstance(node.elts[1], ast.Attribute):
            first = node.elts[0]
        else:
            continue
        known.add(first.value if isinstance(first, ast.Constant) else constants.get(ast.unparse(first), ""))
    shown = [
        name for cells in rows(text("reference/doctor.md")) for name in re.findall(r"`([^`]+)`", cells[0])
    ]
    assert sorted(shown) == sorted(name for name in known if re.fullmatch("[a-z-]+", name))


FINDING = ("ok", "warning", "failure", "skipped", "guarded", "_finding")


def constants_of(node: ast.Assign) -> Iterator[tuple[str, Any]]:
    """Yield the names and values of an assignment of literals, or of several at once."""
    (target,) = node.targets
    pairs = [(target, node.value)]
    if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
        pairs = list(zip(target.elts, node.value.elts, strict=True))
    yield from ((ast.unparse(name), each.value) for name, each in pairs if isinstance(each, ast.Constant))


# Checks and errors: their pages

CHECK_IDS = sorted(set(re.findall(r'"cf_images\.([EWI]\d{3})"', "".join(SOURCES.values()))))


def test_every_check_has_a_page() -> None:
    assert sorted(each.stem for each in (pages.DOCS / "checks").glob("*.md")) == CHECK_IDS
    assert sorted(tables.titles("checks")) == sorted(f"cf_images.{check_id}" for check_id in CHECK_IDS)


def test_every_error_has_a_page() -> None:
    known = [name for name, _ in inspect.getmembers(exceptions, inspect.isclass)]
    assert sorted(each.stem for each in (pages.DOCS / "errors").glob("*.md")) == sorted(known)
    assert sorted(tables.titles("errors")) == sorted(known)


def test_links_lead_to_pages() -> None:
    for check_id in CHECK_IDS:
        assert page_of(links.check_page(f"cf_images.{check_id}")).exists()
    for name, _ in inspect.getmembers(exceptions, inspect.isclass):
        assert page_of(links.error_page(name)).exists()
    assert page_of(links.SETTINGS_PAGE).exists()


def test_the_documentation_is_where_the_project_says() -> None:
    project = tomllib.loads((pages.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project.get("urls", {}).get("Documentation", links.DOCUMENTATION) == links.DOCUMENTATION


def page_of(url: str) -> Path:
    """Return the file of which Read the Docs shows the page at a URL."""
    return pages.DOCS / url.removeprefix(f"{links.DOCUMENTATION}page/").replace(".html", ".md")
