"""Seeing how it goes: admin, commands, figures, checks."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import include, path

from cf_images.background import bell, checks, gate, prune, status, views
from cf_images.models import Gate, State, Upload
from tests.background.conftest import ALIAS, Clock, deliver_to, work
from tests.urls import urlpatterns as project_urls

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]

Accept = Callable[..., Upload]

_waiting = ([path("<variant>/<path:name>", views.pending_image, name="waiting")], "cf_images")
urlpatterns = [*(url for url in project_urls if "cf-images" not in str(url)), path("w/", include(_waiting))]

CHANGE_LIST = "/admin/cf_images/upload/"


def printed(*arguments: str) -> str:
    out = io.StringIO()
    call_command("cf_images", *arguments, stdout=out, stderr=out)
    return out.getvalue()


class TestStatus:
    def test_counts_and_the_oldest(self, accept: Accept, clock: Clock) -> None:
        accept()
        clock.advance(hours=1)
        accept()
        Upload.objects.filter(pk=accept().pk).update(state=State.REJECTED)
        found = status()
        assert (found.pending, found.rejected, found.stored, found.doomed) == (2, 1, 0, 0)
        assert timedelta(hours=1) <= found.oldest_pending_age < timedelta(hours=1, minutes=1)
        assert found.gates == ()
        assert found.stranded == ()

    def test_names_the_gate_by_its_storages(self, accept: Accept, cloudflare: Any) -> None:
        gate.refused(gate.passage(cloudflare.account_id), "Authentication error (10000)")
        (shut,) = status().gates
        assert ALIAS in shut.aliases
        assert shut.reason == "Authentication error (10000)"

    def test_nothing_waits(self, cloudflare: Any) -> None:
        assert status().oldest_pending_age is None


class TestUploadsCommand:
    def test_prints_the_figures(self, accept: Accept, cloudflare: Any) -> None:
        accept()
        gate.rate_limited(gate.passage(cloudflare.account_id), retry_after=30)
        text = printed("uploads")
        assert "pending            1  oldest: " in text
        assert "too many requests" in text
        assert cloudflare.account_id not in text

    @pytest.mark.parametrize(
        ("threshold", "words"),
        [("--max-age=60", "3,600 s old"), ("--max-pending=0", "1 images"), ("--max-rejected=0", "1 images")],
    )
    def test_exits_1_beyond_a_threshold(
        self, accept: Accept, clock: Clock, threshold: str, words: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        Upload.objects.filter(pk=accept().pk).update(state=State.REJECTED)
        accept()
        clock.advance(hours=1)
        printed("uploads", "--max-age=9999", "--max-pending=5", "--max-rejected=5")
        out = io.StringIO()
        with pytest.raises(SystemExit) as stopped:
            call_command("cf_images", "uploads", threshold, stdout=out, stderr=out)
        assert stopped.value.code == 1
        assert words in out.getvalue()

    def test_storage_that_is_missing_is_a_problem(
        self, accept: Accept, settings: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        accept()
        settings.STORAGES = {"default": settings.STORAGES["default"]}
        with pytest.raises(SystemExit):
            printed("uploads")


def test_unknown_subcommand_is_refused() -> None:
    with pytest.raises(CommandError, match="deliver"):
        call_command("cf_images", "nonsense")


class TestPrune:
    def test_forgets_old_public_rows_and_nothing_else(
        self, accept: Accept, cloudflare: Any, clock: Clock
    ) -> None:
        public, private = accept(), accept(require_signed_urls=True)
        work()
        waiting = accept()
        clock.advance(days=100)
        fresh = accept()
        Upload.objects.filter(pk=fresh.pk).update(state=State.STORED, stored_at=clock.now())
        assert "1 rows deleted." in printed("prune", "--days", "30")
        assert set(Upload.objects.values_list("pk", flat=True)) == {private.pk, waiting.pk, fresh.pk}
        assert public.name in cloudflare.images

    def test_works_in_batches(self, accept: Accept, monkeypatch: pytest.MonkeyPatch) -> None:
        for _ in range(5):
            accept()
        work()
        monkeypatch.setattr("cf_images.background.repairs._BATCH", 2)
        assert prune(timedelta()) == 5


class TestAdmin:
    @pytest.fixture
    def user(self) -> User:
        user = User.objects.create_user("clerk", is_staff=True)
        user.user_permissions.add(Permission.objects.get(codename="view_upload"))
        return user

    @pytest.fixture
    def browser(self, user: User) -> Iterator[Client]:
        client = Client()
        client.force_login(user)
        return client

    def allow(self, user: User, codename: str) -> None:
        user.user_permissions.add(Permission.objects.get(codename=codename))

    def act(self, browser: Client, action: str, row: Upload) -> str:
        answer = browser.post(CHANGE_LIST, {"action": action, "_selected_action": [row.pk]}, follow=True)
        return answer.content.decode()

    def test_list_says_what_is_wrong_without_a_query_per_row(
        self, accept: Accept, browser: Client, cloudflare: Any
    ) -> None:
        row = accept()
        Upload.objects.update(last_error="no <answer>", last_code=5550)
        with CaptureQueriesContext(
            connection,
        ) as one:
            text = browser.get(CHANGE_LIST).content.decode()
        assert row.name in text
        assert "no &lt;answer&gt; (5550)" in text
        assert f'<img src="/w/public/{row.name}"' in text
        for _ in range(5):
            accept()
        with CaptureQueriesContext(connection) as six:
            browser.get(CHANGE_LIST)
        assert len(six) == len(one)

    def test_row_can_be_looked_at_but_not_changed(self, accept: Accept, browser: Client) -> None:
        row = accept(require_signed_urls=True)
        Upload.objects.update(upload_url="https://upload.example.com/secret")
        text = browser.get(f"{CHANGE_LIST}{row.pk}/change/").content.decode()
        assert row.name in text
        assert "secret" not in text
        assert row.token not in text
        assert browser.get(f"{CHANGE_LIST}add/").status_code == 403
        assert browser.post(f"{CHANGE_LIST}{row.pk}/delete/", {"post": "yes"}).status_code == 403

    @pytest.mark.parametrize("action", ["retry", "discard", "delete_selected"])
    def test_actions_need_their_own_permission(self, accept: Accept, browser: Client, action: str) -> None:
        row = accept()
        Upload.objects.update(state=State.REJECTED)
        self.act(browser, action, row)
        row.refresh_from_db()
        assert row.state == State.REJECTED

    def test_retry_lets_a_rejected_image_arrive(
        self, accept: Accept, browser: Client, user: User, cloudflare: Any
    ) -> None:
        self.allow(user, "retry_upload")
        row = accept()
        Upload.objects.update(state=State.REJECTED, attempts=6, refusals=6)
        assert "1 image is tried again." in self.act(browser, "retry", row)
        work()
        assert row.name in cloudflare.images

    def test_retry_hurries_a_waiting_image(
        self, accept: Accept, browser: Client, user: User, clock: Clock
    ) -> None:
        self.allow(user, "retry_upload")
        row = accept()
        Upload.objects.update(attempts=1, next_attempt_at=clock.now() + timedelta(minutes=30))
        self.act(browser, "retry", row)
        assert work() == 1

    def test_discard_deletes_at_cloudflare_too(
        self, accept: Accept, browser: Client, user: User, cloudflare: Any
    ) -> None:
        self.allow(user, "discard_upload")
        row = accept()
        work()
        assert "1 image is deleted." in self.act(browser, "discard", row)
        work()
        assert not cloudflare.images


def ids(check: Callable[[], Any]) -> list[str]:
    return [message.id.removeprefix("cf_images.") for message in check()]


class TestChecks:
    @pytest.mark.parametrize(
        ("queue", "found"),
        [
            (None, []),
            ("huey", []),
            ("none", []),
            ("cf_images.background.deliver", []),
            ("cf_images.background.nonsense", ["E101"]),
            ("nonsense", ["E101"]),
            ("cf_images.models.MOVING", ["E101"]),
        ],
    )
    def test_queue_that_leads_nowhere(self, settings: Any, queue: str | None, found: list[str]) -> None:
        settings.CF_IMAGES = {"QUEUE": queue}
        assert ids(checks.queue) == found

    def test_huey_that_is_not_installed(self, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        settings.CF_IMAGES = {"QUEUE": "huey"}
        monkeypatch.setattr("django.apps.apps.is_installed", lambda _: False)
        assert ids(checks.queue) == ["E101"]
        assert not bell.ring()

    def test_immediate_mode_outside_of_development(self, settings: Any) -> None:
        assert ids(checks.immediate) == ["W102"]
        settings.DEBUG = True
        assert ids(checks.immediate) == []
        settings.DEBUG = False
        settings.CF_IMAGES = {"QUEUE": "none"}
        assert ids(checks.immediate) == []

    def test_view_that_is_not_mounted(self, cloudflare: Any, settings: Any) -> None:
        assert ids(checks.view) == []
        settings.ROOT_URLCONF = "tests.background.no_urls"
        assert ids(checks.view) == ["W103"]
        deliver_to(settings, cloudflare, background=False)
        assert ids(checks.view) == []

    def test_model_in_another_database(self, cloudflare: Any, settings: Any) -> None:
        settings.CF_IMAGES = {**settings.CF_IMAGES, "BACKGROUND": True}
        assert ids(checks.databases) == []
        settings.DATABASE_ROUTERS = ["tests.background.test_seeing.Elsewhere"]
        assert set(ids(checks.databases)) == {"W104"}

    def test_sqlite_without_write_ahead_log(self, cloudflare: Any, monkeypatch: Any, tmp_path: Any) -> None:
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

    def test_sqlite_is_nothing_to_mention_where_images_stay_local(
        self, cloudflare: Any, settings: Any, monkeypatch: Any
    ) -> None:
        declared = {"ENGINE": "django.db.backends.sqlite3", "NAME": "db", "OPTIONS": {}}
        monkeypatch.setattr(connections["default"], "settings_dict", declared)
        assert ids(checks.sqlite) == ["I105"]
        settings.ENV_NAME = "dev"
        assert ids(checks.sqlite) == []

    def test_manage_py_check_runs_all_of_them(self, cloudflare: Any, settings: Any) -> None:
        settings.CF_IMAGES = {**settings.CF_IMAGES, "BACKGROUND": True, "QUEUE": "nonsense"}
        settings.ROOT_URLCONF = "tests.background.no_urls"
        settings.DATABASE_ROUTERS = ["tests.background.test_seeing.Elsewhere"]
        found = {message.id for message in run_checks()}
        settings.CF_IMAGES = {**settings.CF_IMAGES, "QUEUE": "huey"}
        found |= {message.id for message in run_checks()}
        expected = {f"cf_images.{number}" for number in ("E101", "W102", "W103", "W104", "I105")}
        assert found >= expected


class Elsewhere:
    """Routes the models of the test app to another database."""

    def db_for_write(self, model: Any, **_: Any) -> str | None:
        return "other" if model._meta.app_label == "app" else None


def test_gate_row_is_shown_in_words() -> None:
    assert str(Gate(account_id="a", reason="no answer")) == "a: no answer"
    assert str(Gate(account_id="a")) == "a: open"
