"""The checks of background uploads: the queue, the view, the database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.checks import run_checks
from django.db import connections

from cf_images.background import queue_notifier
from cf_images.checks import background as checks
from tests.background import conftest as background
from tests.background.conftest import ALIAS, use_background_storage

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_test_run")]

cloudflare = background.cloudflare


def ids(check: Callable[[], Any]) -> list[str]:
    """Return the IDs of the messages without the prefix."""
    return [message.id.removeprefix("cf_images.") for message in check()]


@pytest.mark.parametrize(
    ("queue", "found"),
    [
        (None, []),
        ("huey", []),
        ("none", []),
        ("cf_images.background.process", []),
        ("cf_images.background.nonsense", ["E101"]),
        ("nonsense", ["E101"]),
        ("cf_images.models.UNCONFIRMED", ["E101"]),
    ],
)
def test_queue_that_leads_nowhere(settings: Any, queue: str | None, found: list[str]) -> None:
    settings.CF_IMAGES = {"QUEUE": queue}
    assert ids(checks.queue) == found


def test_huey_that_is_not_installed(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.CF_IMAGES = {"QUEUE": "huey"}
    monkeypatch.setattr("django.apps.apps.is_installed", lambda _: False)
    assert ids(checks.queue) == ["E101"]
    assert not queue_notifier.notify()


def test_immediate_mode_outside_of_development(settings: Any) -> None:
    assert ids(checks.immediate) == ["W102"]
    settings.DEBUG = True
    assert ids(checks.immediate) == []
    settings.DEBUG = False
    settings.CF_IMAGES = {"QUEUE": "none"}
    assert ids(checks.immediate) == []


def test_view_that_is_not_mounted(cloudflare: Any, settings: Any) -> None:
    assert ids(checks.view) == []
    settings.ROOT_URLCONF = "tests.background.no_urls"
    assert ids(checks.view) == ["W103"]
    use_background_storage(settings, cloudflare, background=False)
    assert ids(checks.view) == []


def test_site_whose_pending_images_have_no_host(cloudflare: Any, settings: Any) -> None:
    assert ids(checks.site_url) == ["W019"]
    assert ALIAS in next(iter(checks.site_url())).msg
    for site_url in ("https://www.example.com", lambda: ""):
        settings.CF_IMAGES = {**settings.CF_IMAGES, "SITE_URL": site_url}
        assert ids(checks.site_url) == []
    settings.CF_IMAGES = {**settings.CF_IMAGES, "SITE_URL": ""}
    assert ids(checks.site_url) == ["W019"]


@pytest.mark.parametrize(
    "change",
    [
        {"ENV_NAME": "dev"},
        {"ROOT_URLCONF": "tests.background.no_urls"},
        {"ROOT_URLCONF": None},
    ],
    ids=str,
)
def test_site_whose_pending_images_need_no_host(cloudflare: Any, settings: Any, change: Any) -> None:
    ((name, value),) = change.items()
    setattr(settings, name, value)
    assert ids(checks.site_url) == []


def test_site_without_background_uploads_needs_no_host(cloudflare: Any, settings: Any) -> None:
    use_background_storage(settings, cloudflare, background=False)
    assert ids(checks.site_url) == []


def test_wrong_url_of_the_site_is_reported_by_check(cloudflare: Any, settings: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "SITE_URL": "no_such_module.site_url"}
    messages = [message for message in run_checks() if message.id == "cf_images.E001"]
    assert ["no_such_module.site_url" in message.msg for message in messages] == [True]


def test_model_in_another_database(cloudflare: Any, settings: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "BACKGROUND": True}
    assert ids(checks.databases) == []
    settings.DATABASE_ROUTERS = ["tests.checks.test_background.OtherDatabase"]
    assert set(ids(checks.databases)) == {"W104"}


def test_sqlite_without_write_ahead_log(cloudflare: Any, monkeypatch: Any, tmp_path: Any) -> None:
    declared = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "db"), "OPTIONS": {}}
    monkeypatch.setattr(connections["default"], "settings_dict", declared)
    assert ids(checks.sqlite) == ["I105"]
    (tmp_path / "db").write_bytes(b"SQLite format 3\x00\x10\x00\x02\x02")
    assert ids(checks.sqlite) == []
    (tmp_path / "db").write_bytes(b"SQLite format 3\x00\x10\x00\x01\x01")
    assert ids(checks.sqlite) == ["I105"]
    declared["OPTIONS"] = {"init_command": "PRAGMA journal_mode=WAL"}
    assert ids(checks.sqlite) == []
    declared["ENGINE"] = "django.db.backends.postgresql"
    declared["OPTIONS"] = {}
    assert ids(checks.sqlite) == []


def test_sqlite_is_not_mentioned_where_images_stay_local(
    cloudflare: Any, settings: Any, monkeypatch: Any
) -> None:
    declared = {"ENGINE": "django.db.backends.sqlite3", "NAME": "db", "OPTIONS": {}}
    monkeypatch.setattr(connections["default"], "settings_dict", declared)
    assert ids(checks.sqlite) == ["I105"]
    settings.ENV_NAME = "dev"
    assert ids(checks.sqlite) == []


def test_manage_py_check_runs_all_of_them(cloudflare: Any, settings: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "BACKGROUND": True, "QUEUE": "nonsense"}
    settings.ROOT_URLCONF = "tests.background.no_urls"
    settings.DATABASE_ROUTERS = ["tests.checks.test_background.OtherDatabase"]
    found = {message.id for message in run_checks()}
    settings.CF_IMAGES = {**settings.CF_IMAGES, "QUEUE": "huey"}
    found |= {message.id for message in run_checks()}
    settings.ROOT_URLCONF = "tests.urls"
    found |= {message.id for message in run_checks()}
    expected = {f"cf_images.{number}" for number in ("W019", "E101", "W102", "W103", "W104", "I105")}
    assert found >= expected


class OtherDatabase:
    """Routes the models of the test app to another database."""

    def db_for_write(self, model: Any, **_: Any) -> str | None:
        return "other" if model._meta.app_label == "app" else None
