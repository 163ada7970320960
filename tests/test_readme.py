"""The README: its first screen is a project that runs, and what it names exists."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from PIL import Image

from cf_images import conf
from cf_images.management.commands.cf_images import SUBCOMMANDS
from tests import screenshots
from tests.pictures import picture

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BUILD = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
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


def test_every_command_exists() -> None:
    for subcommand in re.findall(r"manage\.py cf_images (\w+)", README):
        assert subcommand in SUBCOMMANDS


def test_the_commands_are_those_of_dev_py() -> None:
    known = set(re.findall(r"^    python3 dev\.py (\w+)", (ROOT / "dev.py").read_text(), re.M))
    assert {"run", "test"} <= set(re.findall(r"python3 dev\.py (\w+)", README)) <= known


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 150


def test_it_names_every_extra() -> None:
    extras = BUILD["project"]["optional-dependencies"]
    named = set(re.findall(r"django-cf-images\[(\w+)\]", README))
    assert {"emulator", "heic"} <= named <= set(extras)


def test_the_clone_is_that_of_the_build_file() -> None:
    (url,) = re.findall(r"git clone (\S+)", README)
    assert BUILD["project"].get("urls", {}).get("Source", url) == url


def test_the_screenshot_is_one_of_dev_py_and_small() -> None:
    (path,) = re.findall(r"^!\[[^\]]+\]\((\S+)\)$", README, re.M)
    file = ROOT / path
    assert file.stem in screenshots.PAGES
    assert file.stat().st_size <= screenshots.MAX_BYTES
    with Image.open(file) as image:
        assert image.size == screenshots.WINDOW
