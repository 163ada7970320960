"""``cf_images.test``: a Cloudflare for the tests of a project, under Django's runner and under pytest."""

from __future__ import annotations

import os
import subprocess
import sys
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.test import override_settings

from cf_images import conf
from cf_images.background import process, upload_from_url
from cf_images.client import CloudflareImagesClient, guard
from cf_images.exceptions import (
    CloudflareUnavailableError,
    ImageExistsError,
    ImageNotFoundError,
    ImageRejectedError,
)
from cf_images.models import State, Upload
from cf_images.storage import CloudflareImagesStorage
from cf_images.test import (
    CloudflareImagesTestMixin,
    emulated,
    fields_stored_in,
    in_memory,
    real_account,
)
from tests.app.models import Profile
from tests.pictures import picture

ROOT = Path(__file__).parents[1]
PNG = picture()
Run = Callable[..., subprocess.CompletedProcess[str]]

SETTINGS = """
import os, socket
from pathlib import Path

BASE_DIR = Path(__file__).parent
SECRET_KEY, DEBUG, ENV_NAME = "x", False, "production"
ALLOWED_HOSTS = ["shop.example.com"]
ROOT_URLCONF, DEFAULT_AUTO_FIELD = "urls", "django.db.models.BigAutoField"
INSTALLED_APPS = ["huey.contrib.djhuey", "cf_images", "shop"]
HUEY = {"huey_class": "huey.MemoryHuey", "immediate": True}
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3"}}
STORAGES = {
    "default": {"BACKEND": "cf_images.storage.LocalImagesStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    "cloudflare_images": {
        "BACKEND": "cf_images.storage.CloudflareImagesStorage",
        "OPTIONS": {"account_id": "real-account", "api_token": "real-token", "account_hash": "real-hash"},
    },
}

_addresses = socket.getaddrinfo

def getaddrinfo(host, *arguments, **options):
    if host not in ("127.0.0.1", "localhost"):
        with open(BASE_DIR / "resolved.txt", "a") as file:
            print(host, file=file)
        raise OSError("no network here")
    return _addresses(host, *arguments, **options)

socket.getaddrinfo = getaddrinfo
"""
MODELS = """
from django.db import models
from cf_images.storage import select_storage

class Product(models.Model):
    image = models.ImageField(storage=select_storage)
"""
TESTS = f"""
import threading
from unittest import TestCase as PlainTestCase
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.management import call_command
from django.test import SimpleTestCase, TestCase, override_settings
from cf_images.client import CloudflareImagesClient
from cf_images.test import CloudflareImagesTestMixin, in_memory, real_account
from shop.models import Product

PNG = {PNG!r}

def save():
    return Product.objects.create(image=ContentFile(PNG, name="a.png")).image.name

class Unprepared(TestCase):
    def test_a_save(self):
        save()

    def test_a_save_that_hides_errors(self):
        try:
            save()
        except Exception:
            pass

class Prepared(CloudflareImagesTestMixin, TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.stored = save()

    def test_images_are_in_an_account_of_its_own(self):
        self.assertEqual(list(self.cloudflare.images), [self.stored])
        second = save()
        self.assertEqual(set(self.cloudflare.images), {{self.stored, second}})

    def test_images_of_other_tests_are_gone(self):
        self.assertEqual(list(self.cloudflare.images), [self.stored])
        save()

    def test_a_thread_that_reaches_for_the_real_account(self):
        def ask():
            try:
                CloudflareImagesClient("real-account", "real-token").stats()
            except BaseException:
                pass
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()

@override_settings(CF_IMAGES={{"ACCOUNT_ID": "other"}})
class InMemory(CloudflareImagesTestMixin, TestCase):
    cloudflare_service = staticmethod(in_memory)

    def test_images_are_in_memory(self):
        name = save()
        self.assertEqual(list(self.cloudflare.images), [name])
        self.assertEqual(storages["cloudflare_images"].open(name).read(), PNG)

class Allowed(SimpleTestCase):
    def test_an_allowed_request(self):
        with real_account(), self.assertRaisesRegex(Exception, "reached"):
            CloudflareImagesClient("real-account", "real-token", retry=False).stats()

class Checks(TestCase):
    @override_settings(ENV_NAME="dev")
    def test_they_are_silent(self):
        call_command("check", fail_level="WARNING")
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run the tests of a project with the settings of production."""
    (tmp_path / "shop").mkdir()
    for name, text in {
        "settings.py": SETTINGS,
        "urls.py": "from django.urls import include, path\n"
        "urlpatterns = [path('images/', include('cf_images.urls'))]\n",
        "shop/__init__.py": "",
        "shop/models.py": MODELS,
        "shop/tests.py": TESTS,
        "manage.py": "import sys\nfrom django.core.management import execute_from_command_line\n"
        "execute_from_command_line(sys.argv)\n",
    }.items():
        (tmp_path / name).write_text(text)
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CF_", "COVERAGE", "PYTEST", "ENV_NAME"))
        and not name.lower().endswith("_proxy")
    }
    environment |= {"DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": f"{tmp_path}:{ROOT}"}

    def run(*arguments: str, lines: str = "", before: tuple[str, ...] = ("manage.py", "test")) -> Any:
        (tmp_path / "settings.py").write_text(SETTINGS + lines)
        command = [sys.executable, "-W", "ignore::ResourceWarning", *before, *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100, check=False
        )
        done.stdout += done.stderr
        return done

    return run


def resolved(tmp_path: Path) -> str:
    file = tmp_path / "resolved.txt"
    return file.read_text() if file.exists() else ""


@pytest.mark.parametrize("parallel", [(), ("--parallel", "2")], ids=["", "parallel"])
def test_no_request_leaves_a_test_run_with_the_settings_of_production(
    run: Run, tmp_path: Path, parallel: tuple[str, ...]
) -> None:
    done = run("shop.tests.Unprepared", *parallel)
    assert "Ran 2 tests" in done.stdout, done.stdout
    assert "FAILED (errors=2)" in done.stdout, done.stdout
    assert "RealAccountError: This test sends a request to api.cloudflare.com" in done.stdout
    assert "cf_images.test" in done.stdout
    assert "real-token" not in done.stdout
    assert not resolved(tmp_path)


@pytest.mark.parametrize(
    ("case", "lines"),
    [
        ("Prepared", ""),
        ("InMemory", ""),
        ("Checks", ""),
        (
            "Checks",
            'CF_IMAGES = {"API_URL": "http://localhost:1/"}; del STORAGES["cloudflare_images"]["OPTIONS"]',
        ),
    ],
)
def test_a_project_is_tested_without_an_account(run: Run, tmp_path: Path, case: str, lines: str) -> None:
    done = run(f"shop.tests.{case}", lines=lines)
    failures = "FAILED (failures=1)" if case == "Prepared" else "OK"
    assert failures in done.stdout, done.stdout
    if case == "Prepared":
        assert "FAIL: test_a_thread_that_reaches_for_the_real_account" in done.stdout
    assert not resolved(tmp_path)


def test_a_test_that_is_meant_for_the_real_account_may_ask_for_it(run: Run, tmp_path: Path) -> None:
    run("shop.tests.Allowed")
    assert set(resolved(tmp_path).split()) == {"api.cloudflare.com"}


def test_another_runner_is_guarded_too(run: Run, tmp_path: Path) -> None:
    (tmp_path / "runner.py").write_text(
        "from django.test.runner import DiscoverRunner\nclass Runner(DiscoverRunner):\n    pass\n"
    )
    done = run("shop.tests.Unprepared", lines='TEST_RUNNER = "runner.Runner"')
    assert "FAILED (errors=2)" in done.stdout, done.stdout
    assert not resolved(tmp_path)


def test_the_same_tests_run_under_pytest(run: Run, tmp_path: Path) -> None:
    options = ("-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), "shop/tests.py", "-W", "ignore")
    done = run(*options, "-k", "Prepared or InMemory or Checks or Unprepared", before=("-m", "pytest"))
    assert "3 failed, 4 passed" in done.stdout, done.stdout
    assert not resolved(tmp_path)


def test_a_site_is_not_guarded(run: Run, tmp_path: Path) -> None:
    code = "import django; django.setup()\nfrom cf_images import conf\nfrom shop.models import Product\n"
    code += "from django.core.files.storage import storages\n"
    code += "print('test run:', conf.is_test_run())\nstorages['cloudflare_images'].exists('a.png')\n"
    done = run(before=("-c", code))
    assert "test run: False" in done.stdout
    assert set(resolved(tmp_path).split()) == {"api.cloudflare.com"}


def test_pytest_django_is_a_test_run() -> None:
    assert conf.is_test_run()


# The context managers


@pytest.fixture(params=["emulated", "in_memory"])
def account(request: Any, settings: Any) -> Any:
    """Both accounts, beside options and settings that lead elsewhere."""
    options = {"account_id": "real-account", "api_token": "real-token", "account_hash": "real-hash"}
    alias = {"BACKEND": "cf_images.storage.CloudflareImagesStorage", "OPTIONS": options}
    settings.STORAGES = {**settings.STORAGES, "cloudflare_images": alias}
    with {"emulated": emulated, "in_memory": in_memory}[request.param]() as cloudflare:
        yield cloudflare


@pytest.fixture
def storage(account: Any) -> Any:
    return storages["cloudflare_images"]


class TestBothAccounts:
    def test_an_image_is_stored_read_listed_and_deleted(self, account: Any, storage: Any) -> None:
        name = storage.save("people/a.png", ContentFile(PNG))
        assert account.images[name].body == PNG
        assert storage.exists(name)
        assert storage.size(name) == len(PNG)
        assert storage.get_created_time(name)
        assert storage.open(name).read() == PNG
        assert storage.listdir("people") == ([], [name.removeprefix("people/")])
        storage.delete(name)
        storage.delete(name)
        assert not storage.exists(name)
        with pytest.raises(ImageNotFoundError):
            storage.open(name)

    def test_what_is_refused_is_refused(self, account: Any, storage: Any, settings: Any) -> None:
        for body in (b"just a text", picture("AVIF"), b""):
            with pytest.raises(ImageRejectedError):
                storage.save("a.png", ContentFile(body))
        settings.CF_IMAGES = {"UNIQUE_NAMES": False}
        storage.save("a.png", ContentFile(PNG))
        with pytest.raises(ImageExistsError):
            storage.save("a.png", ContentFile(PNG))

    def test_private_images_are_signed(self, account: Any, storage: Any, settings: Any) -> None:
        settings.CF_IMAGES = {"REQUIRE_SIGNED_URLS": True, "SIGNING_KEYS": ["that-of-production"]}
        name = storage.save("a.png", ContentFile(PNG))
        assert "sig=" in storage.url(name)
        (image,) = [account.images[image_id] for image_id in account.images]
        assert image.require_signed_urls
        assert storage.open(name).read() == PNG

    @pytest.mark.django_db
    @pytest.mark.parametrize("private", [False, True])
    def test_background_uploads(self, account: Any, storage: Any, settings: Any, private: bool) -> None:
        settings.CF_IMAGES = {"BACKGROUND": True, "QUEUE": "none", "REQUIRE_SIGNED_URLS": private}
        name = storage.save("a.png", ContentFile(PNG))
        assert not account.images
        process()
        assert len(account.images) == 1
        assert Upload.objects.get(name=name).state == State.STORED
        storage.delete(name)
        process()
        assert not account.images

    def test_urls_are_of_that_account(self, account: Any, storage: Any) -> None:
        assert "real-hash" not in storage.url("a.png")

    def test_afterwards_the_settings_count_again(self) -> None:
        with in_memory():
            assert storages["cloudflare_images"].account.options.account_id == "in-memory"
        assert storages["cloudflare_images"].account.options.account_id == "test-account"


class TestInMemory:
    @pytest.mark.django_db
    def test_an_image_at_a_url(self, settings: Any) -> None:
        settings.CF_IMAGES = {"BACKGROUND": True, "QUEUE": "none"}
        with in_memory() as cloudflare:
            cloudflare.urls["https://example.com/a.png"] = PNG
            known = upload_from_url("https://example.com/a.png")
            unknown = upload_from_url("https://example.com/b.png")
            process()
        assert list(cloudflare.images) == [known]
        assert Upload.objects.get(name=unknown).state == State.REJECTED

    def test_failures_on_demand(self) -> None:
        storage = storages["cloudflare_images"]
        with in_memory() as cloudflare:
            cloudflare.error = CloudflareUnavailableError("away")
            for use in (storage.exists, storage.delete, lambda name: storage.save(name, ContentFile(PNG))):
                with pytest.raises(CloudflareUnavailableError):
                    use("a.png")
            cloudflare.reset_faults()
            assert not storage.exists("a.png")

    def test_an_upload_url_is_used_once(self) -> None:
        with in_memory():
            client = storages["cloudflare_images"].client
            reserved = client.create_direct_upload(metadata={"a": 1}, creator="jane")
            assert client.details(reserved.id).draft
            with pytest.raises(ImageNotFoundError):
                client.download(reserved.id)
            image = client.upload_direct(reserved.upload_url, ContentFile(PNG), filename="a.png")
            assert (image.id, image.metadata, image.creator) == (reserved.id, {"a": 1}, "jane")
            with pytest.raises(ImageExistsError):
                client.upload_direct(reserved.upload_url, ContentFile(PNG))
            assert [found.id for found in client.list_images(creator="jane", meta={"a": 1})] == [image.id]
            assert not list(client.list_images(meta={"a": 2}))
            assert [found.id for found in client.list_images(meta={"a[gte:number]": 1, "a[lt:number]": 2})]
            assert not list(client.list_images(meta={"a[gt:number]": 1}))
            assert not list(client.list_images(meta={"a[in]": "1|2"}))
            assert client.stats().current == 1

    def test_what_it_lacks_names_the_emulator(self) -> None:
        with in_memory(), pytest.raises(NotImplementedError, match=r"images/v1/variants.*emulated\(\)"):
            storages["cloudflare_images"].client.list_variants()

    def test_it_needs_no_extra(self) -> None:
        code = """
import sys; sys.modules["werkzeug"] = sys.modules["py_svg_hush"] = None
import os; os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
import django; django.setup()
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from cf_images.test import in_memory
with in_memory() as cloudflare:
    storages["cloudflare_images"].save("a.png", ContentFile(PNG))
    assert len(cloudflare.images) == 1
"""
        subprocess.run([sys.executable, "-W", "error", "-c", f"PNG = {PNG!r}\n{code}"], cwd=ROOT, check=True)


@pytest.mark.django_db
def test_fields_are_stored_where_a_test_says() -> None:
    field: Any = Profile._meta.get_field("image")
    with in_memory() as cloudflare, fields_stored_in("default") as storage:
        assert field.storage is storage is storages["default"]
        Profile.objects.create(image=ContentFile(PNG, name="a.png"))
        assert not cloudflare.images
    assert isinstance(field.storage, CloudflareImagesStorage)


def test_an_unknown_alias_changes_nothing() -> None:
    field: Any = Profile._meta.get_field("image")
    with pytest.raises(Exception, match="nonsense"), fields_stored_in("nonsense"):
        pass
    assert isinstance(field.storage, CloudflareImagesStorage)


def test_the_account_in_memory_is_a_fixture_too(cf_images_in_memory: Any) -> None:
    name = storages["cloudflare_images"].save("a.png", ContentFile(PNG))
    assert list(cf_images_in_memory.images) == [name]


def test_a_real_request_may_be_allowed_within_a_test() -> None:
    with real_account():
        guard.check("api.cloudflare.com")
    with pytest.raises(guard.HostRefusedError):
        guard.check("api.cloudflare.com")


def test_the_mixin_undoes_failures_and_settings_of_a_test() -> None:
    class Failing(CloudflareImagesTestMixin, unittest.TestCase):
        cloudflare_service = staticmethod(in_memory)

        def test_1_failure(self) -> None:
            self.cloudflare.error = CloudflareUnavailableError("away")

        @override_settings(CF_IMAGES={"VARIANT": "avatar"})
        def test_2_success(self) -> None:
            assert not storages["cloudflare_images"].exists("a.png")
            assert storages["cloudflare_images"].url("a.png").endswith("/avatar")

        def test_3_real_account(self) -> None:
            with pytest.raises(guard.RealAccountError):
                CloudflareImagesClient("account", "token").stats()

    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(Failing).run(result)
    assert (result.testsRun, result.failures, result.errors) == (3, [], [])


@pytest.mark.parametrize("service", [emulated, in_memory])
def test_a_test_finds_what_its_class_stored_and_nothing_of_other_tests(service: Any) -> None:
    class Changing(CloudflareImagesTestMixin, unittest.TestCase):
        cloudflare_service = staticmethod(service)
        name: str

        @classmethod
        def setUpClass(cls) -> None:
            super().setUpClass()
            cls.name = storages["cloudflare_images"].save("a.png", ContentFile(PNG))

        def change(self) -> None:
            storage: Any = storages["cloudflare_images"]
            assert list(self.cloudflare.images) == [self.name]
            assert storage.open(self.name).read() == PNG
            storage.client.create_direct_upload(image_id="reserved.png")
            storage.delete(self.name)
            with override_settings(CF_IMAGES={"UNIQUE_NAMES": False}):
                storage.save(self.name, ContentFile(picture(size=(9, 9))))
            storage.save("b.png", ContentFile(PNG))

        test_1 = test_2 = change

    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(Changing).run(result)
    assert (result.testsRun, result.failures, result.errors) == (2, [], [])
