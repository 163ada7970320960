"""System checks: each reports what would fail at run time, and nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core import checks as django_checks
from django.core.checks import CheckMessage
from django.core.files.storage import storages
from django.db import models
from django.test.utils import isolate_apps

from cf_images import checks, conf, image_fields
from cf_images.checks import project
from cf_images.storage import CloudflareImagesStorage, select_storage, selection

CLOUDFLARE = "cf_images.storage.CloudflareImagesStorage"
LOCAL = "cf_images.storage.LocalImagesStorage"
FILES = "django.core.files.storage.FileSystemStorage"
SECRET = "s3cret-token-that-must-not-appear"


def found() -> dict[str, CheckMessage]:
    """Return the messages of this package by ID; each ID at most once."""
    messages = all_messages()
    by_id = {str(message.id): message for message in messages}
    assert len(by_id) == len(messages)
    return by_id


def all_messages() -> list[CheckMessage]:
    """Return all messages of this package but those about the background, whose IDs begin with 1."""
    messages = django_checks.run_checks(tags=["cf_images"])
    return [message for message in messages if not re.fullmatch(r"cf_images\.[A-Z]1\d\d", str(message.id))]


def only(check_id: str) -> CheckMessage:
    """Return the only message."""
    messages = found()
    assert list(messages) == [check_id]
    return messages[check_id]


def storages_with(settings: Any, **aliases: dict[str, Any]) -> None:
    settings.STORAGES = {**settings.STORAGES, **aliases}


def no_credentials(settings: Any, *, but: tuple[str, ...] = ()) -> None:
    for name in {"CF_ACCT_ID", "CF_IMG_TOKEN", "CF_IMG_HASH"} - set(but):
        setattr(settings, name, None)


def private(settings: Any, **changes: Any) -> None:
    """Let every storage keep private images, with a key; ``changes`` are other settings."""
    settings.CF_IMAGES = {"REQUIRE_SIGNED_URLS": True, "SIGNING_KEYS": ["key"], **changes}


@pytest.fixture(autouse=True)
def bare(settings: Any, monkeypatch: pytest.MonkeyPatch, no_test_run: None) -> None:
    """Three aliases, no other apps, and no credential of the machine that runs the tests."""
    settings.STORAGES = {
        "default": {"BACKEND": LOCAL},
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
        "cloudflare_images": {"BACKEND": CLOUDFLARE},
    }
    settings.CF_IMAGES = {}
    monkeypatch.setattr(project, "_RENDITIONS", {})
    for name in ("CF_ACCT_ID", "CF_ACCOUNT_ID", "CF_IMG_TOKEN", "CF_API_TOKEN", "CF_IMG_HASH", "ENV_NAME"):
        monkeypatch.delenv(name, raising=False)


def test_a_project_without_mistakes_gets_no_message() -> None:
    assert found() == {}


def test_checks_are_registered_once_however_often_the_apps_get_ready(settings: Any) -> None:
    settings.DEFAULT_FILE_STORAGE = "a.b"
    settings.INSTALLED_APPS = ["cf_images"]
    assert list(found()) == ["cf_images.W005"]


# One mistake for each ID.
MISTAKES: dict[str, Callable[[Any], None]] = {
    "cf_images.E001": lambda settings: setattr(settings, "CF_IMAGES", {"VARAINTS": {}}),
    "cf_images.E002": lambda settings: setattr(settings, "CF_IMG_HASH", None),
    "cf_images.E003": lambda settings: setattr(settings, "CF_IMG_TOKEN", f"{SECRET}\n"),
    "cf_images.E004": lambda settings: setattr(settings, "CF_IMG_HASH", "0123456789abcdef" * 2),
    "cf_images.W005": lambda settings: setattr(settings, "DEFAULT_FILE_STORAGE", "a.b"),
    "cf_images.E006": lambda settings: setattr(settings, "CF_IMAGES", {"LOCAL_ALIAS": "disk"}),
    "cf_images.W007": lambda settings: setattr(settings, "ENV_NAME", "dev"),
    "cf_images.E008": lambda settings: storages_with(settings, staticfiles={"BACKEND": CLOUDFLARE}),
    "cf_images.E016": lambda settings: private(settings, VARIANT="w=200"),
    "cf_images.E017": lambda settings: private(settings, UNIQUE_NAMES=False),
    "cf_images.I018": lambda settings: private(settings, SIGNING_KEYS=None),
    "cf_images.E011": lambda settings: setattr(settings, "CF_IMAGES", {"API_URL": "http://localhost:8787/"}),
    "cf_images.E013": lambda settings: setattr(settings, "CF_IMAGES", {"VARIANTS": {"a-b": {"width": 1}}}),
}


LEVELS = {"E": django_checks.ERROR, "W": django_checks.WARNING, "I": django_checks.INFO}


@pytest.mark.parametrize("check_id", MISTAKES)
def test_a_mistake_gives_one_message_with_a_hint(check_id: str, settings: Any) -> None:
    MISTAKES[check_id](settings)
    message = only(check_id)
    assert message.hint
    assert message.level == LEVELS[check_id.partition(".")[2][0]]


# E001: wrong settings


@pytest.mark.parametrize(
    ("cf_images", "named"),
    [
        ({"VARAINTS": {}}, "Unknown key in CF_IMAGES: VARAINTS. The keys are "),
        (["VARIANTS"], "CF_IMAGES is a list"),
        ("VARIANTS", "CF_IMAGES is a str"),
        ({"VARIANTS": ["avatar"]}, 'CF_IMAGES["VARIANTS"] is a list; it must be a dict.'),
        ({"LOCAL_ENVS": "dev"}, 'CF_IMAGES["LOCAL_ENVS"] is a str'),
        ({"LOCAL_ALIAS": 1}, 'CF_IMAGES["LOCAL_ALIAS"] is a int'),
        ({"BACKGROUND": "yes"}, 'CF_IMAGES["BACKGROUND"] is a str'),
        ({"TIMEOUT": -1}, 'CF_IMAGES["TIMEOUT"] is -1'),
        ({"METADATA": "x"}, 'CF_IMAGES["METADATA"] is a str'),
        ({"API_URL": "api.cloudflare.com"}, 'CF_IMAGES["API_URL"] cannot be'),
        ({"API_URL": "http://["}, 'CF_IMAGES["API_URL"] cannot be'),
        ({"DELIVERY_URL": "ftp://imagedelivery.net"}, 'CF_IMAGES["DELIVERY_URL"] cannot be'),
        ({"DELIVERY_URL": 5}, 'CF_IMAGES["DELIVERY_URL"] is a int'),
        ({5: 6, None: 7}, "Unknown key in CF_IMAGES: 5, None."),
    ],
)
def test_a_wrong_setting_is_named(cf_images: Any, named: str, settings: Any) -> None:
    settings.CF_IMAGES = cf_images
    assert named in only("cf_images.E001").msg


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"acount_id": "a"}, "Unknown option of the Cloudflare Images storage: acount_id. The options are "),
        ({"unique_names": "no"}, 'OPTIONS["unique_names"] is a str'),
        ([("variant", "public")], 'STORAGES["cloudflare_images"]["OPTIONS"] is not a dictionary'),
        ("variant", 'STORAGES["cloudflare_images"]["OPTIONS"] is not a dictionary'),
    ],
)
def test_a_wrong_option_is_named(options: Any, named: str, settings: Any) -> None:
    storages_with(settings, cloudflare_images={"BACKEND": CLOUDFLARE, "OPTIONS": options})
    assert named in only("cf_images.E001").msg


@pytest.mark.parametrize(
    "backend", ["no.such.Storage", "nothing", 5, None, CloudflareImagesStorage, "os.sep"]
)
def test_a_wrong_backend_is_reported_by_django_alone(backend: Any, settings: Any) -> None:
    storages_with(settings, other={"BACKEND": backend}, empty={}, text="x")  # type: ignore[arg-type]
    settings.CF_IMAGES = {"LOCAL_ALIAS": "other"}
    assert found() == {}


# E002, E003, E004: credentials


@pytest.mark.parametrize("name", ["account_id", "api_token", "account_hash"])
def test_each_missing_credential_is_named_with_where_to_put_it(name: str, settings: Any) -> None:
    flat = {"account_id": "CF_ACCT_ID", "api_token": "CF_IMG_TOKEN", "account_hash": "CF_IMG_HASH"}[name]
    setattr(settings, flat, None)
    message = only("cf_images.E002")
    assert message.msg == f'STORAGES["cloudflare_images"] has no {name}.'
    assert flat in str(message.hint)
    assert f'CF_IMAGES["{name.upper()}"]' in str(message.hint)


def test_all_missing_credentials_are_named_at_once(settings: Any) -> None:
    no_credentials(settings)
    assert [message.id for message in all_messages()] == ["cf_images.E002"] * 3


def test_incomplete_credentials_of_a_second_account_are_found(settings: Any) -> None:
    no_credentials(settings)
    first = {"account_id": "a", "api_token": "b", "account_hash": "c"}
    storages_with(
        settings,
        cloudflare_images={"BACKEND": CLOUDFLARE, "OPTIONS": first},
        second={"BACKEND": CLOUDFLARE, "OPTIONS": {**first, "api_token": ""}},
    )
    assert only("cf_images.E002").msg == 'STORAGES["second"] has no api_token.'


def test_credentials_do_not_matter_where_images_stay_local(settings: Any) -> None:
    no_credentials(settings)
    settings.ENV_NAME = "dev"
    settings.DEBUG = True
    assert found() == {}
    settings.CF_IMG_TOKEN = f"{SECRET}\n"
    assert found() == {}


def test_credentials_do_not_matter_without_a_cloudflare_storage(settings: Any) -> None:
    no_credentials(settings)
    storages_with(settings, cloudflare_images={"BACKEND": FILES})
    assert found() == {}


def test_a_local_alias_at_cloudflare_needs_its_credentials(settings: Any) -> None:
    no_credentials(settings, but=("CF_ACCT_ID", "CF_IMG_TOKEN"))
    settings.ENV_NAME = "dev"
    settings.DEBUG = True
    settings.CF_IMAGES = {"LOCAL_ALIAS": "cloudflare_images"}
    assert only("cf_images.E002").msg == 'STORAGES["cloudflare_images"] has no account_hash.'


@pytest.mark.parametrize("bad", ["op://vault/item/token", f"{SECRET}\n", f"{SECRET} ", 5])
def test_a_credential_that_cannot_be_right_is_found_and_not_printed(bad: Any, settings: Any) -> None:
    settings.CF_IMG_TOKEN = bad
    message = only("cf_images.E003")
    assert "the setting CF_IMG_TOKEN" in message.msg
    assert SECRET not in str(message)
    assert "vault" not in str(message)


def test_an_unresolved_reference_gets_the_hint_op_run(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.CF_ACCT_ID = None
    monkeypatch.setenv("CF_ACCOUNT_ID", "op://vault/item/account")
    message = only("cf_images.E003")
    assert "the environment variable CF_ACCOUNT_ID is an unresolved 1Password reference" in message.msg
    assert "op run" in message.msg


def test_a_real_hash_is_no_account_id(settings: Any) -> None:
    settings.CF_IMG_HASH = "Vi7wi5KSItxGFsWRG2Us6Q"
    settings.CF_ACCT_ID = "0123456789abcdef" * 2
    assert found() == {}


# W005, E006, W007: the selection


def test_a_missing_alias_is_found_in_either_environment(settings: Any) -> None:
    settings.CF_IMAGES = {"CLOUDFLARE_ALIAS": "cloud"}
    message = only("cf_images.E006")
    assert message.msg == 'select_storage needs STORAGES["cloud"], which does not exist.'
    assert 'CF_IMAGES["CLOUDFLARE_ALIAS"]' in str(message.hint)


@pytest.mark.parametrize(
    ("env_name", "debug", "warned"),
    [("dev", False, True), ("dev", True, False), ("production", False, False), ("", False, False)],
)
def test_local_images_without_debug_are_a_forgotten_env_name(
    env_name: str, debug: bool, warned: bool, settings: Any
) -> None:
    settings.ENV_NAME, settings.DEBUG = env_name, debug
    assert ("cf_images.W007" in found()) is warned


@isolate_apps("tests.app")
def test_a_project_without_select_storage_may_lack_its_aliases(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Plain(models.Model):
        image = models.ImageField(storage=storages["default"])

        class Meta:
            app_label = "app"

    monkeypatch.setattr(image_fields, "apps", Plain._meta.apps)
    settings.CF_IMAGES = {"CLOUDFLARE_ALIAS": "cloud"}
    settings.ENV_NAME = "dev"
    assert found() == {}


# W009, E010: fields


@isolate_apps("tests.app")
def test_a_file_field_on_a_storage_of_images_gets_a_warning(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Papers(models.Model):
        document = models.FileField(storage=storages["cloudflare_images"])
        picture = models.ImageField(storage=storages["cloudflare_images"])
        elsewhere = models.FileField(storage=storages["default"])

        class Meta:
            app_label = "app"

    monkeypatch.setattr(image_fields, "apps", Papers._meta.apps)
    messages = found()
    assert messages["cf_images.W009"].obj is Papers._meta.get_field("document")
    assert "ImageField" in str(messages["cf_images.W009"].hint)
    assert messages["cf_images.W025"].obj is Papers._meta.get_field("elsewhere")
    assert "VALIDATE_LOCAL_FILES" in str(messages["cf_images.W025"].hint)
    settings.CF_IMAGES = {"VALIDATE_LOCAL_FILES": False}
    assert list(found()) == ["cf_images.W009"]


@pytest.mark.parametrize("mistake", ["cf_images.E002", "cf_images.W007", "cf_images.E011"])
def test_a_test_run_needs_no_account_and_no_environment(
    settings: Any, monkeypatch: pytest.MonkeyPatch, mistake: str
) -> None:
    MISTAKES[mistake](settings)
    assert mistake in found()
    monkeypatch.setattr(conf, "is_test_run", lambda: True)
    assert mistake not in found()


@isolate_apps("tests.app")
def test_a_file_field_on_select_storage_gets_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    class Papers(models.Model):
        document = models.FileField(storage=select_storage)

        class Meta:
            app_label = "app"

    monkeypatch.setattr(image_fields, "apps", Papers._meta.apps)
    assert only("cf_images.W009").obj is Papers._meta.get_field("document")


@isolate_apps("tests.app")
def test_a_secret_given_to_a_field_in_code_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Album(models.Model):
        secret = models.ImageField(storage=CloudflareImagesStorage(api_token=SECRET))
        harmless = models.ImageField(storage=CloudflareImagesStorage(variant="small"))

        class Meta:
            app_label = "app"

    monkeypatch.setattr(image_fields, "apps", Album._meta.apps)
    message = only("cf_images.E010")
    assert message.obj is Album._meta.get_field("secret")
    assert SECRET not in str(message)


@isolate_apps("tests.app")
def test_a_secret_in_the_settings_of_the_fields_alias_is_fine(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    storages_with(settings, other={"BACKEND": CLOUDFLARE, "OPTIONS": {"api_token": SECRET}})

    class Album(models.Model):
        image = models.ImageField(storage=storages["other"])

        class Meta:
            app_label = "app"

    monkeypatch.setattr(image_fields, "apps", Album._meta.apps)
    assert found() == {}


# E008, W012: other apps


RENDITIONS = dict(project._RENDITIONS)
SETTING_OF = {app: setting for app, (setting, _) in RENDITIONS.items()}


@pytest.fixture(params=sorted(RENDITIONS))
def app(request: pytest.FixtureRequest, settings: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """An app that makes renditions, installed, with its storage as it is by default."""
    monkeypatch.setattr(project, "_RENDITIONS", {request.param: RENDITIONS[request.param]})
    setattr(settings, SETTING_OF[request.param], None)
    settings.INSTALLED_APPS = ["cf_images", "django.contrib.contenttypes", request.param]
    return str(request.param)


def test_renditions_under_unique_names_get_a_warning(app: str, settings: Any) -> None:
    setting = SETTING_OF[app]
    assert found() == {}, "the default alias is local"
    setattr(settings, setting, "cloudflare_images")
    message = only("cf_images.W012")
    assert message.msg.startswith(f'{app} keeps its renditions in STORAGES["cloudflare_images"]')
    assert setting in str(message.hint)
    options = {"unique_names": False}
    storages_with(settings, cloudflare_images={"BACKEND": CLOUDFLARE, "OPTIONS": options})
    assert list(found()) == ["cf_images.W031"], "the next thing to correct"
    original = {"width": 9999, "height": 9999}
    settings.CF_IMAGES = {"VARIANTS": {"original": original}}
    options = {**options, "variant": "original"}
    storages_with(settings, cloudflare_images={"BACKEND": CLOUDFLARE, "OPTIONS": options})
    assert found() == {}


def test_renditions_in_the_default_alias_get_a_warning(app: str, settings: Any) -> None:
    storages_with(settings, default={"BACKEND": CLOUDFLARE})
    assert 'STORAGES["default"]' in only("cf_images.W012").msg


def test_renditions_in_a_storage_given_by_its_path_are_not_in_the_default_alias(
    app: str, settings: Any
) -> None:
    storages_with(settings, default={"BACKEND": CLOUDFLARE})
    setattr(settings, SETTING_OF[app], FILES)
    assert found() == {}


def test_an_app_that_is_not_installed_gets_no_warning(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "_RENDITIONS", RENDITIONS)
    settings.INSTALLED_APPS = ["cf_images"]
    storages_with(settings, default={"BACKEND": CLOUDFLARE})
    assert found() == {}


# E016, E017, I018: private images


def test_private_images_without_mistakes_are_fine(settings: Any) -> None:
    private(settings)
    assert found() == {}


def test_public_images_need_no_keys(settings: Any) -> None:
    settings.CF_IMAGES = {"VARIANT": "w=200", "UNIQUE_NAMES": False}
    assert found() == {}


def test_private_images_elsewhere_do_not_matter_where_images_stay_local(settings: Any) -> None:
    private(settings, SIGNING_KEYS=None, VARIANT="w=200")
    settings.ENV_NAME, settings.DEBUG = "dev", True
    assert not found().keys() & {"cf_images.E016", "cf_images.I018"}


# E011: an emulator in production


@pytest.mark.parametrize(
    "url", ["http://localhost:8787", "http://127.0.0.1:8787", "http://[::1]:8787", "https://0.0.0.0/x"]
)
@pytest.mark.parametrize("name", ["API_URL", "DELIVERY_URL"])
def test_an_emulator_is_refused_when_debug_is_off(name: str, url: str, settings: Any) -> None:
    settings.CF_IMAGES = {name: url}
    assert name.lower() in only("cf_images.E011").msg
    settings.DEBUG = True
    assert found() == {}


def test_an_emulator_does_not_matter_where_images_stay_local(settings: Any) -> None:
    settings.CF_IMAGES = {"API_URL": "http://localhost:8787"}
    settings.ENV_NAME = "dev"
    assert list(found()) == ["cf_images.W007"]


def test_a_custom_domain_is_no_emulator(settings: Any) -> None:
    settings.CF_IMAGES = {"DELIVERY_URL": "https://img.localhost.example/cdn-cgi/imagedelivery"}
    assert found() == {}


# E013: declared variants


@pytest.mark.parametrize(
    ("name", "declared", "named"),
    [
        ("a-b", {"width": 1}, "1 to 99 letters and digits"),
        ("", {"width": 1}, "1 to 99 letters and digits"),
        ("a" * 100, {"width": 1}, "1 to 99 letters and digits"),
        ("avatar\n", {"width": 1}, "1 to 99 letters and digits"),
        (None, 5, "1 to 99 letters and digits"),
        ("avatar", "width=1", "not a dictionary"),
        ("avatar", ["width"], "not a dictionary"),
        ("avatar", None, "not a dictionary"),
        ("avatar", {"widht": 1}, "unknown option 'widht'"),
        ("avatar", {"width": "wide"}, "width"),
        ("avatar", {"width": [1]}, "width"),
        ("avatar", {"width": None}, "width"),
        ("avatar", {"fit": 5}, "fit"),
        ("avatar", {"fit": "stretch"}, "fit"),
        ("avatar", {"background": object()}, "background"),
        ("avatar", {"gravity": {}}, "gravity"),
        ("avatar", {"trim": {"left": 1}}, "trim"),
        ("avatar", {5: 6}, "unknown option '5'"),
    ],
)
def test_a_variant_that_cloudflare_would_refuse_is_named(
    name: Any, declared: Any, named: str, settings: Any
) -> None:
    settings.CF_IMAGES = {"VARIANTS": {name: declared}}
    message = only("cf_images.E013")
    assert message.msg.startswith(f'CF_IMAGES["VARIANTS"][{name!r}]: ')
    assert named in message.msg


def test_each_bad_variant_gets_its_message(settings: Any) -> None:
    settings.CF_IMAGES = {"VARIANTS": {"a-b": {"width": 1}, "ok": {"width": 1}, "x": {"y": 1}}}
    assert [message.id for message in all_messages()] == ["cf_images.E013"] * 2


# W014: the view of local variants


def without_views() -> Any:
    return type("urls", (), {"urlpatterns": []})


def test_local_variants_without_their_view_get_a_warning(settings: Any) -> None:
    settings.ENV_NAME, settings.DEBUG = "dev", True
    settings.ROOT_URLCONF = without_views()
    assert "cf_images.urls" in str(only("cf_images.W014").hint)


@pytest.mark.parametrize(
    "change",
    [
        {"ENV_NAME": "production"},
        {"CF_IMAGES": {"SERVE_LOCAL_VARIANTS": False}},
        {"ROOT_URLCONF": None},
    ],
    ids=str,
)
def test_a_project_that_does_not_need_the_view_gets_no_warning(change: dict[str, Any], settings: Any) -> None:
    settings.ENV_NAME, settings.DEBUG = "dev", True
    settings.ROOT_URLCONF = without_views()
    for name, value in change.items():
        setattr(settings, name, value)
    assert found() == {}


def test_djangos_own_local_files_need_no_view(settings: Any) -> None:
    settings.ENV_NAME, settings.DEBUG = "dev", True
    settings.ROOT_URLCONF = without_views()
    storages_with(settings, default={"BACKEND": FILES})
    assert found() == {}


def test_a_mistake_elsewhere_hides_no_message_that_came_before_it(settings: Any) -> None:
    settings.DEFAULT_FILE_STORAGE = "a.b"
    settings.CF_IMAGES = {"LOCAL_ENVS": 5}
    assert set(found()) == {"cf_images.E001", "cf_images.W005"}


# W015: not installed


def test_the_storage_without_the_app_gets_a_warning(settings: Any) -> None:
    assert selection.check_installed() == []
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "cf_images"]
    (message,) = selection.check_installed()
    assert message.id == "cf_images.W015"
    assert "INSTALLED_APPS" in str(message.hint)


# Whole projects, each in a process of its own without a network

SETTINGS = """
import socket

def refuse(*_):
    raise AssertionError("a check used the network")

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
SECRET_KEY = "x"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["cf_images", "shop"]
STORAGES = {
    "default": {"BACKEND": "cf_images.storage.LocalImagesStorage"},
    "cloudflare_images": {"BACKEND": "cf_images.storage.CloudflareImagesStorage"},
}
ENV_NAME = "production"
CF_ACCT_ID = CF_IMG_TOKEN = CF_IMG_HASH = "given"
"""
MODELS = """
from django.db import models
from cf_images.storage import select_storage

class Profile(models.Model):
    image = models.ImageField(upload_to="avatars/", storage=select_storage)
"""


@pytest.fixture
def check_project(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command in a new project whose settings end with the given lines."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").write_text("")
    (tmp_path / "shop" / "models.py").write_text(MODELS)

    def run(lines: str = "", *, command: str = "check") -> subprocess.CompletedProcess[str]:
        (tmp_path / "project_settings.py").write_text(SETTINGS + lines)
        environment = {name: os.environ[name] for name in os.environ if not name.startswith("CF_")}
        environment |= {"DJANGO_SETTINGS_MODULE": "project_settings", "PYTHONPATH": str(tmp_path)}
        arguments = [sys.executable, "-m", "django", *command.split()]
        return subprocess.run(
            arguments, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )

    return run


Run = Callable[..., "subprocess.CompletedProcess[str]"]


def test_a_project_without_urls_admin_and_static_files_is_fine(check_project: Run) -> None:
    checked = check_project()
    assert (checked.returncode, "no issues" in checked.stdout) == (0, True), checked.stderr


@pytest.mark.parametrize(
    ("lines", "check_id"),
    [
        ('CF_IMAGES = {"VARAINTS": {}}', "cf_images.E001"),
        ("CF_IMAGES = 5", "cf_images.E001"),
        ('CF_IMAGES = {"VALIDATE_FIELDS": "no"}', "cf_images.E001"),
        ('STORAGES["cloudflare_images"]["OPTIONS"] = {"tokn": "x"}', "cf_images.E001"),
        ('del STORAGES["cloudflare_images"]', "cf_images.E006"),
        ("CF_IMG_TOKEN = None", "cf_images.E002"),
        ('ENV_NAME = "dev"; del STORAGES["default"]', "cf_images.E006"),
    ],
)
def test_wrong_settings_give_a_message_and_no_traceback(
    lines: str, check_id: str, check_project: Run
) -> None:
    checked = check_project(lines)
    assert check_id in checked.stderr
    assert "Traceback" not in checked.stderr
    assert checked.returncode == 1


def test_a_project_that_did_not_install_the_app_gets_a_message_and_no_traceback(check_project: Run) -> None:
    checked = check_project('INSTALLED_APPS = ["shop"]')
    assert "cf_images.W015" in checked.stderr
    assert "Traceback" not in checked.stderr
    assert checked.returncode == 0


def test_migrations_hold_neither_settings_nor_validators(check_project: Run, tmp_path: Path) -> None:
    made = check_project(command="makemigrations shop")
    assert made.returncode == 0, made.stderr
    migration = (tmp_path / "shop" / "migrations" / "0001_initial.py").read_text()
    assert "storage=cf_images.storage.select_storage" in migration
    assert "validat" not in migration
    for lines in ('ENV_NAME = "dev"', 'CF_IMAGES = {"VARIANT": "small"}', 'CF_IMG_HASH = "other"'):
        again = check_project(lines, command="makemigrations --check --dry-run shop")
        assert again.returncode == 0, again.stdout


@pytest.mark.parametrize("module", ["storage", "conf", "validators", "variants"])
def test_importing_a_module_loads_no_httpx_pillow_huey_or_stamina(module: str) -> None:
    script = f"import sys, cf_images.{module}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    ).stdout.split()
    assert f"cf_images.{module}" in loaded
    assert not {"httpx", "PIL", "huey", "stamina", "httpcore", "werkzeug"} & set(loaded)


# E028, W028, W029: default images


@pytest.fixture
def static(tmp_path: Path, settings: Any) -> Path:
    """A static file of the project, and one of another name."""
    (tmp_path / "defaults").mkdir()
    (tmp_path / "defaults/anon.png").write_bytes(b"")
    settings.STATICFILES_DIRS = [tmp_path]
    return tmp_path


def default_of(monkeypatch: pytest.MonkeyPatch, **options: Any) -> Any:
    """Let the only model of the project have an image field with these options."""
    with isolate_apps("tests.app"):

        class Person(models.Model):
            image = models.ImageField(**options)

            class Meta:
                app_label = "app"

    monkeypatch.setattr(image_fields, "apps", Person._meta.apps)
    return Person._meta.get_field("image")


@pytest.mark.parametrize("env", ["dev", "production"])
@pytest.mark.parametrize("given", ["defaults/anon.png", Path("defaults/anon.png")])
@pytest.mark.parametrize("kind", ["default", "db_default"])
@pytest.mark.usefixtures("static")
def test_a_default_must_be_uploaded(
    settings: Any, monkeypatch: pytest.MonkeyPatch, env: str, given: Any, kind: str
) -> None:
    settings.ENV_NAME = env
    settings.DEBUG = True
    if kind == "db_default":
        given = str(given)
    field = default_of(monkeypatch, storage=select_storage, **{kind: given})
    message = only("cf_images.W028")
    assert message.obj is field
    assert (
        "'defaults/anon.png' must be in STORAGES[\"cloudflare_images\"] under exactly this name"
        in message.msg
    )
    assert "manage.py cf_images defaults" in str(message.hint)


@pytest.mark.usefixtures("static")
def test_a_default_that_is_no_static_file_is_uploaded_by_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    default_of(monkeypatch, storage=storages["cloudflare_images"], default="defaults/none.png")
    message = only("cf_images.W029")
    assert "'defaults/none.png' is no static file" in message.msg
    assert "static files" in str(message.hint)


@pytest.mark.parametrize(
    "name", ["/anon.png", "../anon.png", "a//b.png", "x" * 2000, "variants", "a\nb.png", "anon~x/.png"]
)
def test_a_default_that_is_no_name_at_cloudflare_is_an_error(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    default_of(monkeypatch, storage=select_storage, max_length=3000, default=name)
    if name == "anon~x/.png":
        assert "cf_images.E028" not in found()
        return
    assert "cannot be the name of an image" in only("cf_images.E028").msg


def test_a_default_cannot_be_private(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    private(settings)
    default_of(monkeypatch, storage=select_storage, default="defaults/anon.png")
    assert "require_signed_urls" in only("cf_images.E028").msg


@pytest.mark.parametrize(
    "options",
    [
        {"storage": select_storage},
        {"storage": select_storage, "default": ""},
        {"storage": select_storage, "default": None},
        {"storage": select_storage, "default": lambda: "a.png"},
        {"storage": select_storage, "default": "https://imagedelivery.net/hash/a/public"},
        {"storage": select_storage, "default": "a~083eb7b2-5392-4565-b69e-aff66acddd00.jpg"},
        {"storage": storages["default"], "default": "defaults/none.png"},
        {"storage": storages["staticfiles"], "default": "defaults/none.png"},
        {"default": "defaults/none.png"},
    ],
)
def test_other_defaults_are_left_alone(monkeypatch: pytest.MonkeyPatch, options: Any) -> None:
    default_of(monkeypatch, **options)
    assert found() == {}


def test_a_default_is_left_alone_where_production_is_no_cloudflare(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    storages_with(settings, cloudflare_images={"BACKEND": FILES})
    default_of(monkeypatch, storage=select_storage, default="defaults/none.png")
    assert found() == {}


def test_every_check_of_the_source_is_tested_here() -> None:
    package = Path(checks.__file__).parent
    modules = [*package.glob("*.py"), *package.with_name("storage").glob("*.py")]
    source = "".join(path.read_text(encoding="utf-8") for path in modules if path.name != "background.py")
    ids = set(re.findall(r'"(cf_images\.[A-Z]\d+)"', source))
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    assert len(ids) == 34
    assert {check_id for check_id in ids if check_id not in tests} == set()
