"""Run Django's tests in one mode: ``python -m tests.django_suite.one_mode MODE FOLDER [PATTERN …]``.

``FOLDER`` has the packages of the tests; the patterns are those of unittest's ``-k``. A process of its own,
since settings and models are of one mode.
"""

# ruff: noqa: T201 - it talks to a person

from __future__ import annotations

import sys
import tempfile
import unittest
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.core.files import storage as django_storage
from django.core.files.storage import filesystem
from django.test import SimpleTestCase
from django.test.runner import DiscoverRunner

from cf_images import conf
from cf_images.emulator import Emulator
from tests.django_suite import APPS, MODULES, storages
from tests.django_suite.modes import MODES
from tests.django_suite.result import Excuses, Result, is_left_out


def main(mode: str, folder: str, *patterns: str) -> int:
    """Run the tests; return the exit status."""
    sys.path.insert(0, folder)
    with ExitStack() as stack:
        emulator = stack.enter_context(Emulator())
        tempfile.tempdir = stack.enter_context(tempfile.TemporaryDirectory(prefix="cf-images-django-"))
        configure(mode, emulator, Path(tempfile.tempdir))
        replace_storages(mode)
        django.setup()
        return Runner(mode, emulator, patterns).run()


def configure(mode: str, emulator: Emulator, folder: Path) -> None:
    """Configure the project that the tests run in."""
    account = {
        "API_URL": emulator.api_url,
        "DELIVERY_URL": emulator.delivery_url,
        "ACCOUNT_ID": emulator.account_id,
        "API_TOKEN": emulator.api_token,
        "ACCOUNT_HASH": emulator.account_hash,
    }
    database = {
        "ENGINE": "django.db.backends.sqlite3",
        "OPTIONS": {"init_command": "PRAGMA synchronous=OFF"},
        "TEST": {"NAME": folder / "db.sqlite3"},  # a thread must see it, too
    }
    settings.configure(
        SECRET_KEY="only-for-tests",
        USE_TZ=False,  # as in Django's own settings for these tests
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        DATABASES={"default": database},
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "cf_images", *APPS],
        MIGRATION_MODULES={"auth": None, "contenttypes": None},
        ROOT_URLCONF="tests.django_suite.urls",
        STATIC_URL="static/",
        MEDIA_ROOT=folder / "media",
        STORAGES={storages.ALIAS: {"BACKEND": f"{storages.__name__}.{MODES[mode].storage}"}},
        CF_IMAGES={**MODES[mode].options, **account},
    )


def replace_storages(mode: str) -> None:
    """Put the storage of the mode in Django's place, before models and tests import it."""
    storage = getattr(storages, MODES[mode].storage)
    django_storage.FileSystemStorage = filesystem.FileSystemStorage = storage  # type: ignore[misc]
    if MODES[mode].background:
        SimpleTestCase.databases = {"default"}  # pending images are there


class Runner(DiscoverRunner):
    """Django's runner, with an empty account before each test, and with the list of expected failures."""

    def __init__(self, mode: str, emulator: Emulator, patterns: Sequence[str]) -> None:
        super().__init__(interactive=False, test_name_patterns=list(patterns) or None)
        self.mode, self.emulator, self.is_complete = MODES[mode], emulator, not patterns
        self.excuses = Excuses(mode)

    def run(self) -> int:
        """Run the tests; return the exit status."""
        failed = bool(self.run_tests(list(MODULES)))
        for unused in self.excuses.unused() if self.is_complete else ():
            print(f"EXCUSES NOTHING: {unused}", file=sys.stderr)
            failed = True
        return int(failed)

    def run_checks(self, databases: set[str]) -> None:
        """Check nothing: the models of the tests do what no project should."""

    def build_suite(self, *arguments: Any, **keywords: Any) -> unittest.TestSuite:
        """Leave out what is no test of a storage."""
        tests = tests_of(super().build_suite(*arguments, **keywords))
        return unittest.TestSuite(test for test in tests if not is_left_out(test.id()))

    def get_resultclass(self) -> Any:
        """Return what makes a result."""
        return partial(Result, excuses=self.excuses, before_each=self.empty_account)

    def empty_account(self) -> None:
        """Forget all images, also pending ones."""
        self.emulator.reset()
        conf.clear_cache()
        if self.mode.background:
            from cf_images.models import Upload  # loads after setup()

            Upload.objects.all().delete()


def tests_of(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    """Return all tests of a suite, in their order."""
    for test in suite:
        if isinstance(test, unittest.TestCase):
            yield test
        else:
            yield from tests_of(test)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
