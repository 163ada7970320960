"""The README is the manual: its code runs, and what it names exists. So does what CONTRIBUTING.md names."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
import tomllib
import unittest
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import get_commands

from cf_images import conf, exceptions
from tests.app.models import Profile
from tests.pictures import picture
from tests.test_architecture import LAYERS

ROOT = Path(__file__).parent.parent
PACKAGE = Path(conf.__file__).parent  # where it is installed
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
PLACES = CONTRIBUTING.partition("| look in |")[2].partition("\n\n")[0]  # the table of what belongs where
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
PYTHON = [block for language, block in BLOCKS if language == "python"]

BEFORE_THE_SETTINGS = """
import os
from pathlib import Path
BASE_DIR = Path(__file__).parent
SECRET_KEY, DEBUG, ROOT_URLCONF = "x", True, "urls"
SQLITE = {"init_command": "PRAGMA journal_mode=WAL", "transaction_mode": "IMMEDIATE"}
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3", "OPTIONS": SQLITE}
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
"""
BEFORE_THE_URLS = """
from django.conf import settings
from django.conf.urls.static import static
from django.urls import include, path
urlpatterns = []
"""
AFTER_THE_SETTINGS = """
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "people", *INSTALLED_APPS[1:]]
"""
USE = """
from pathlib import Path
import django; django.setup()
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.template import Context, Template
from django.test import Client
from people.models import Profile
call_command("makemigrations", "people", verbosity=0)
call_command("migrate", verbosity=0)
call_command("check", fail_level="WARNING")
profile = Profile()
exec(Path("background.py").read_text())
print("background:", profile.image.name)
profile = Profile.objects.create(image=ContentFile(Path("jane.png").read_bytes(), name="jane.png"))
print(Template(Path("template.html").read_text()).render(Context({"profile": profile})))
print("original:", Client(SERVER_NAME="localhost").get(profile.image.url).status_code)
print(Path("people/migrations/0001_initial.py").read_text())
"""


def block(beginning: str) -> str:
    """Return the Python block that begins with this text; there must be exactly one."""
    (found,) = [text for text in PYTHON if text.startswith(beginning)]
    return found


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Run a project that consists of the README's first screen, with ENV_NAME=dev; return its output."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "people/migrations").mkdir(parents=True)
    (folder / "people/migrations/__init__.py").touch()
    (folder / "jane.png").write_bytes(picture())
    (folder / "settings.py").write_text(BEFORE_THE_SETTINGS + block("# settings.py") + AFTER_THE_SETTINGS)
    (folder / "people/models.py").write_text("from django.db import models\n" + block("# models.py"))
    (folder / "urls.py").write_text(BEFORE_THE_URLS + block("# urls.py"))
    (folder / "background.py").write_text(block("# anywhere: background uploads"))
    (folder / "template.html").write_text(next(text for language, text in BLOCKS if language == "django"))
    (folder / "use.py").write_text(USE)
    secrets = {name for option in conf.STORAGE_OPTIONS.values() for name in option.names}
    environment = {name: value for name, value in os.environ.items() if name not in {*secrets, "ENV_NAME"}}
    environment |= {"DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "use.py"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_first_screen_is_a_project_without_warnings(project: str) -> None:
    assert "System check identified no issues" in project


def test_the_template_of_the_first_screen_shows_both_variants(project: str) -> None:
    name = r"avatars/jane-[0-9a-z]{6}-[0-9a-z]{16}\.png"
    assert re.search(rf'<img src="/cf-images/local/avatar/{name}">', project)
    assert re.search(rf'<img src="/cf-images/local/w=200/{name}">', project)


def test_the_original_opens_without_anything_that_the_first_screen_leaves_out(project: str) -> None:
    assert "original: 200" in project


def test_the_background_upload_of_the_first_screen_gives_a_final_name(project: str) -> None:
    assert re.search(r"background: avatars/jane-[0-9a-z]{6}-[0-9a-z]{16}\.jpg", project)


def test_the_migration_holds_nothing_but_the_path(project: str) -> None:
    assert "storage=cf_images.storage.select_storage" in project


@pytest.mark.parametrize("code", PYTHON, ids=[text.splitlines()[0] for text in PYTHON])
def test_every_block_is_python_whose_imports_exist(code: str) -> None:
    for statement in ast.walk(ast.parse(code)):
        if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith("cf_images"):
            module = __import__(statement.module or "", fromlist=["x"])
            assert all(hasattr(module, alias.name) for alias in statement.names)


def test_the_client_does_what_the_readme_shows(
    cf_images_emulator: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("jane.jpg").write_bytes(picture("JPEG"))
    code = block("from cf_images.client").replace(
        "CloudflareImagesClient(account_id, api_token)",
        "CloudflareImagesClient(account_id, api_token, api_url=api_url)",
    )
    emulator = cf_images_emulator
    known = {"account_id": emulator.account_id, "api_token": emulator.api_token, "api_url": emulator.api_url}
    exec(code, known)
    assert list(emulator.images) == ["people/jane.jpg"]


def test_the_test_cases_of_the_readme_pass(transactional_db: None) -> None:
    names: dict[str, Any] = {"PNG": picture(), "__name__": __name__}
    exec(block("# tests.py").replace("myproject.models", "tests.app.models"), names)
    cases = [names["ProfileTests"], type("Fast", (names["FastTests"], names["ProfileTests"]), {})]
    result = unittest.TestResult()
    unittest.TestSuite(map(unittest.defaultTestLoader.loadTestsFromTestCase, cases)).run(result)
    assert (result.testsRun, result.failures, result.errors) == (2, [], [])


def test_the_forms_of_the_readme_show_the_reason() -> None:
    names: dict[str, Any] = {"Profile": Profile, "__name__": __name__}
    exec(block("# forms.py"), names)
    for form, field in (("UploadForm", "picture"), ("ProfileForm", "image")):
        bound = names[form]({}, {field: SimpleUploadedFile("a.tiff", picture("TIFF"))})
        assert "TIFF" in bound.errors[field][0]


@pytest.mark.django_db
@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("environment", ["dev", "production"])
def test_the_test_of_the_readme_passes(
    cf_images_settings: Any, cf_images_storage: Any, settings: Any, background: bool, environment: str
) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "BACKGROUND": background}
    settings.ENV_NAME = environment
    cf_images_storage("default" if environment == "dev" else "cloudflare_images")  # as at import
    names: dict[str, Any] = {"PNG": picture()}
    exec(block("from django.core.files.base").replace("myproject.models", "tests.app.models"), names)
    names["test_an_image_is_stored"](cf_images_settings, cf_images_storage, None)


def test_every_setting_is_a_heading_and_every_heading_a_setting() -> None:
    section = README.partition("\n## Settings\n")[2].partition("\n## ")[0]
    headings = [
        name for line in re.findall(r"^### (.*)$", section, re.M) for name in re.findall(r"`(\w+)`", line)
    ]
    assert sorted(headings) == sorted([*conf.STORAGE_OPTIONS, *conf.PACKAGE_OPTIONS])


def test_every_flat_name_is_in_the_readme() -> None:
    for option in conf.STORAGE_OPTIONS.values():
        assert all(f"`{name}`" in README for name in option.names)


def test_the_checks_in_the_readme_are_those_of_the_code() -> None:
    sources = "".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    described = set(re.findall(r"`(cf_images\.[EWI]\d{3})`", README))
    assert described == set(re.findall(r'"(cf_images\.[EWI]\d{3})"', sources))


def test_every_error_is_in_the_readme_with_its_status() -> None:
    for name, error in inspect.getmembers(exceptions, inspect.isclass):
        if name == "CloudflareImagesError":
            continue
        row = next(line for line in README.splitlines() if line.startswith(f"| `{name}` |"))
        assert str(error.http_status) in row
        assert all(
            base.__name__ in row for base in (FileNotFoundError, FileExistsError) if issubclass(error, base)
        )


def test_every_command_exists() -> None:
    assert "cf_images" in get_commands()
    for subcommand in re.findall(r"manage\.py cf_images (\w+)", README):
        assert (PACKAGE / f"management/subcommands/{subcommand}.py").exists(), subcommand


def test_the_two_commands_are_those_of_dev_py() -> None:
    known = set(re.findall(r"^    python3 dev\.py (\w+)", (ROOT / "dev.py").read_text(), re.M))
    assert set(re.findall(r"python3 dev\.py (\w+)", README)) <= known


def test_every_option_of_a_command_in_the_readme_exists() -> None:
    sources = "".join(path.read_text() for path in (PACKAGE / "management").rglob("*.py"))
    in_blocks = re.findall(r"^python manage\.py cf_images (.*?)(?:#|$)", README, re.M)
    in_prose = re.findall(r"`(?:python manage\.py cf_images (.*?)|(--.*?))`", README)
    named = set(re.findall(r"--[a-z-]+", " ".join([*in_blocks, *("".join(found) for found in in_prose)])))
    assert {"--apply", "--loop", "--max-age", "--reveal"} <= named
    for option in named - {
        "--data",
        "--allow-host",
        "--host",
        "--skip-checks",
    }:  # the emulator's, and Django's
        assert f'"{option}"' in sources, option


def test_every_path_in_contributing_exists() -> None:
    paths = re.findall(r"`((?:\w+/)+(?:\w+\.py)?|\w+\.py)`", PLACES)
    assert len(paths) > 30
    for path in paths:
        assert (PACKAGE / path).exists(), path


def test_every_part_of_the_package_has_a_place_in_contributing() -> None:
    for part in {part for parts in LAYERS for part in parts} - {"exceptions", "tasks", "apps"}:
        assert re.search(rf"`{part}(?:/|\.py)", PLACES), part


def test_the_layers_in_contributing_are_those_of_the_tests() -> None:
    lines = re.findall(
        r"^\d+\. (.*)$", CONTRIBUTING.partition("earlier layer")[2].partition("\n## ")[0], re.M
    )
    assert [tuple(re.findall(r"`(\w+)`", line)) for line in lines] == list(LAYERS)


# The test extra without what are tools, and no packages that a project combines with this one.
TOOLS = {
    *(
        "django-cf-images",
        "cloudflare",
        "hypothesis",
        "jinja2",
        "psycopg",
        "pymysql",
        "redis",
        "respx",
        "socksio",
    ),
    *("pytest", "pytest-cov", "pytest-django", "pytest-timeout", "pytest-xdist"),
}


def test_the_other_packages_that_it_names_are_exactly_those_of_the_tests() -> None:
    named = re.search(r"Our tests run with the real packages: ([^.]+)\.", README)
    assert named
    readme = {name.strip().lower() for name in named[1].replace("\n", " ").split(",")}
    readme = {"djangorestframework" if name == "django rest framework" else name for name in readme}
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["test"]
    in_extra = {re.split(r"[\[>=<~!]", requirement)[0] for requirement in extra}
    assert readme == in_extra - TOOLS
    sources = [*(ROOT / "tests").glob("test_neighbors*.py"), ROOT / "tests/settings.py"]
    sources += (ROOT / "tests/neighbors").rglob("*.py")
    text = "".join(path.read_text(encoding="utf-8") for path in sources)
    modules = metadata.packages_distributions()
    modules = {module: found for module, found in modules.items() if module != "tests"}  # some bring theirs
    for name in readme:
        own = [module for module, found in modules.items() if name in [item.lower() for item in found]]
        assert any(re.search(rf"\b{module}\b", text) for module in own), f"no test uses {name}"
