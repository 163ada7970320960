"""Each page about a check: the mistake on it gives the message on it, and the correction does away with it.

``CF_IMAGES_WRITE_DOCS=1`` writes the messages into the pages instead.
"""

from __future__ import annotations

import copy
import os
import re
import sys
import textwrap
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.apps import apps
from django.core.checks import CheckMessage, run_checks
from django.core.files.storage import storages
from django.db import connections, models
from django.test.utils import isolate_apps
from django.urls import include, path

from cf_images import conf, image_fields, links
from cf_images.background import queue_notifier
from cf_images.storage import CloudflareImagesStorage, select_storage
from tests.docs import pages

pytestmark = pytest.mark.django_db  # Django's own checks, which run, too, ask the database what it supports

PAGES = [page for page in pages.all_pages() if page.startswith("checks/")]
MISTAKES = ("# settings.py", "# urls.py", "# models.py")
CORRECTIONS = ("# settings.py, corrected", "# urls.py, corrected", "# models.py, corrected")
CREDENTIALS = ("CF_ACCT_ID", "CF_ACCOUNT_ID", "CF_IMG_TOKEN", "CF_API_TOKEN", "CF_IMG_HASH")
PREDEFINED = ("STORAGES", "MIDDLEWARE", "INSTALLED_APPS", "DEBUG")
_numbers = count()


@pytest.fixture(autouse=True)
def project(settings: Any, monkeypatch: pytest.MonkeyPatch, no_test_run: None, tmp_path: Path) -> None:
    """A project in production without mistakes, and without the credentials of this machine."""
    settings.STORAGES = {
        "default": {"BACKEND": "cf_images.storage.LocalImagesStorage"},
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
        "cloudflare_images": {"BACKEND": "cf_images.storage.CloudflareImagesStorage"},
    }
    settings.CF_IMAGES = {}
    for name in CREDENTIALS:
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "defaults"
    folder.mkdir()
    (folder / "person.png").touch()


@pytest.mark.parametrize("page", PAGES)
def test_the_mistake_gives_the_message(page: str, settings: Any, monkeypatch: Any, tmp_path: Path) -> None:
    check_id = prepare(page, settings, monkeypatch, tmp_path)
    blocks = [block for block in pages.blocks(page, "python") if first_line(block) in MISTAKES]
    (message, *_) = [each for each in messages_of(blocks, settings, monkeypatch) if each.id == check_id]
    assert str(message.hint).endswith(links.check_page(check_id))
    assert not str(message.hint).endswith(f" See {links.check_page(check_id)}.")
    shown = str(message).replace("\n\tHINT:", "\nHINT:").replace("?: ", "").replace("app.", "shop.")
    if os.environ.get("CF_IMAGES_WRITE_DOCS"):
        write(page, shown)
    (seen,) = pages.blocks(page, "text")
    assert words(seen.text) == words(shown)


@pytest.mark.parametrize("page", PAGES)
def test_the_correction_does_away_with_it(page: str, settings: Any, monkeypatch: Any, tmp_path: Path) -> None:
    check_id = prepare(page, settings, monkeypatch, tmp_path)
    for name in (*CREDENTIALS, "CF_IMG_SIGNING_KEYS"):
        monkeypatch.setenv(name, f"of-the-environment-{name}")
    blocks = pages.blocks(page, "python")
    corrected = {name.partition(",")[0] for name in map(first_line, blocks) if name in CORRECTIONS}
    assert corrected
    # What is not corrected stays as it is.
    chosen = [block for block in blocks if first_line(block) not in corrected]
    found = messages_of(chosen, settings, monkeypatch)
    assert check_id not in [message.id for message in found]


def prepare(page: str, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Return the ID of a page, after what the page cannot show."""
    check_id = f"cf_images.{Path(page).stem}"
    if check_id == "cf_images.W028":  # the static file is there
        settings.STATICFILES_DIRS = [tmp_path]
    if check_id == "cf_images.W032":  # Wagtail itself is not in the tests
        installed = apps.is_installed
        monkeypatch.setattr(apps, "is_installed", lambda name: name == "wagtail.images" or installed(name))
    if check_id == "cf_images.W104":  # the check of SQLite asks for a database that is not there
        monkeypatch.setattr(conf, "is_local", lambda: True)
    return check_id


def messages_of(
    blocks: list[pages.Block], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> list[CheckMessage]:
    """Return what the checks say about a project with these settings, URLs and models."""
    for block in blocks:
        if first_line(block).startswith("# settings.py"):
            apply_settings(block, settings, monkeypatch)
        elif first_line(block).startswith("# urls.py"):
            settings.ROOT_URLCONF = url_module(block, monkeypatch)
    with isolate_apps("tests.app") as isolated:
        fields = [block for block in blocks if first_line(block).startswith("# models.py")]
        for block in fields:
            names = {
                "models": models,
                "storages": storages,
                "select_storage": select_storage,
                "CloudflareImagesStorage": CloudflareImagesStorage,
                "__name__": "tests.app.models",
            }
            block.run(names)
            monkeypatch.setattr(image_fields, "apps", isolated)
        found = run_checks(tags=["cf_images"])
    return [message for message in found if not message.is_silenced()]


def apply_settings(block: pages.Block, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[str, Any] = {name: copy.deepcopy(getattr(settings, name)) for name in PREDEFINED}
    names |= {"os": os, "BASE_DIR": Path("/srv/site")}
    before = {name: copy.deepcopy(names[name]) for name in PREDEFINED}
    replace(block, text=block.text.replace('"shop"', '"app"')).run(names)
    for name, value in names.items():
        if not name.isupper() or name == "BASE_DIR" or before.get(name, names) == value:
            continue
        if name == "HUEY":  # huey reads its settings when it is imported
            monkeypatch.setattr(queue_notifier, "is_inline", lambda: names["HUEY"]["immediate"])
        elif name == "DATABASES":  # and Django connects to the database of the tests
            declared = connections["default"].settings_dict
            monkeypatch.setitem(declared, "OPTIONS", value["default"].get("OPTIONS", {}))
        else:
            setattr(settings, name, value)


def url_module(block: pages.Block, monkeypatch: pytest.MonkeyPatch) -> str:
    module = ModuleType(f"tests.docs.urls_of_a_page_{next(_numbers)}")
    vars(module).update(path=path, include=include)
    block.run(vars(module))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module.__name__


def first_line(block: pages.Block) -> str:
    return block.text.partition("\n")[0].strip()


def words(message: str) -> list[str]:
    return message.split()


def write(page: str, message: str) -> None:
    """Put a message into a page, in lines of a readable length."""
    lines = [
        line
        for part in message.splitlines()
        for line in textwrap.wrap(part, 110, break_long_words=False, break_on_hyphens=False)
    ]
    source = (pages.DOCS / page).read_text(encoding="utf-8")
    block = "```text\n" + "\n".join(lines) + "\n```"
    changed = re.sub(r"```text\n.*?\n```", lambda _: block, source, flags=re.S)
    (pages.DOCS / page).write_text(changed, encoding="utf-8")


def test_every_page_has_a_mistake_a_message_and_a_correction() -> None:
    for page in PAGES:
        firsts = {first_line(block) for block in pages.blocks(page, "python")}
        assert firsts <= {*MISTAKES, *CORRECTIONS}, page
        assert len(pages.blocks(page, "text")) == 1, page
