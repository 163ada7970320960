"""``docs/how-to/leave.md``: without this package, a project's old migrations load."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.docs.pages import block

PAGE = "how-to/leave.md"

SETTINGS = """
SECRET_KEY = "x"
INSTALLED_APPS = {apps!r}
DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STORAGES = {{
    "default": {{"BACKEND": "django.core.files.storage.FileSystemStorage"}},
    "staticfiles": {{"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}},
    {more}
}}
"""
BEFORE = """
from django.core.files.storage import storages
from django.db import models
from cf_images.storage import CloudflareImagesStorage, LocalImagesStorage, select_storage

def cloudflare():
    return storages["cloudflare_images"]

class Profile(models.Model):
    image = models.ImageField(upload_to="avatars/", storage=select_storage)
    by_alias = models.ImageField(storage=storages["cloudflare_images"])
    by_hand = models.ImageField(storage=CloudflareImagesStorage(variant="avatar"))
    local = models.ImageField(storage=LocalImagesStorage(location="elsewhere"))
"""
# Behind the field of the page's model.
OTHERS = """
    by_alias = models.ImageField()
    by_hand = models.ImageField()
    local = models.ImageField()
"""


def shim() -> str:
    """The file that the page shows."""
    return block(PAGE, '"""For migrations from before django-cf-images was uninstalled."""').text


def test_old_migrations_load_without_the_package(tmp_path: Path) -> None:
    (tmp_path / "shop/migrations").mkdir(parents=True)
    for package in ("shop", "shop/migrations"):
        (tmp_path / package / "__init__.py").touch()

    def manage(*arguments: str) -> str:
        environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-m", "django", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    alias = '"cloudflare_images": {"BACKEND": "cf_images.storage.CloudflareImagesStorage"},'
    settings = SETTINGS.format(apps=["cf_images", "shop"], more=alias)
    (tmp_path / "settings.py").write_text(settings)
    (tmp_path / "shop/models.py").write_text(BEFORE)
    manage("makemigrations", "shop", "-v0", "--skip-checks")
    manage("migrate", "-v0", "--skip-checks")
    written = (tmp_path / "shop/migrations/0001_initial.py").read_text()
    for name in ("select_storage", "named", "CloudflareImagesStorage", "LocalImagesStorage"):
        assert f"cf_images.storage.{name}" in written

    manage("migrate", "cf_images", "zero", "-v0", "--skip-checks")
    (tmp_path / "settings.py").write_text(SETTINGS.format(apps=["shop"], more=""))
    (tmp_path / "shop/models.py").write_text(block(PAGE, "# shop/models.py").text + OTHERS)
    (tmp_path / "cf_images").mkdir()
    (tmp_path / "cf_images/__init__.py").touch()
    (tmp_path / "cf_images/storage.py").write_text(shim())

    manage("makemigrations", "shop", "-v0")
    manage("migrate", "-v0")
    manage("makemigrations", "--check", "--dry-run")
    (tmp_path / "db.sqlite3").unlink()
    manage("migrate", "-v0")
    assert "cf_images" not in manage("showmigrations")
    loaded = manage("shell", "-v0", "-c", "import cf_images.storage, sys; print(cf_images.__file__)")
    assert str(tmp_path) in loaded


def test_the_file_has_six_lines() -> None:
    assert len([line for line in shim().splitlines() if line]) <= 6
