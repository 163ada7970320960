"""``manage.py cf_images doctor`` against the emulator: healthy, and broken in every way that it detects."""

from __future__ import annotations

import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.utils import timezone
from huey.contrib.djhuey import HUEY

from cf_images import conf
from cf_images.accounts import find_account
from cf_images.background import circuit_breaker, timing, upload_from_file
from cf_images.client.api import CloudflareImagesClient
from cf_images.doctor import access, probes, shared_accounts, uploads, variants
from cf_images.emulator import Emulator
from cf_images.emulator.errors import (
    AUTHENTICATION,
    IMAGE_NOT_FOUND,
    NO_ROUTE,
    NOT_ENABLED,
    WRONG_ACCOUNT,
    ApiError,
    DeliveryError,
)
from cf_images.emulator.limits import Limits
from cf_images.exceptions import CloudflareUnavailableError
from cf_images.models import State, Upload
from tests.conftest import point_at
from tests.pictures import picture

pytestmark = pytest.mark.django_db

AVATAR = {"avatar": {"width": 240, "height": 240, "fit": "cover"}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one call printed, and its exit status."""

    out: str
    status: int

    @property
    def document(self) -> dict[str, Any]:
        return dict(json.loads(self.out))

    def findings(self, level: str) -> dict[str, dict[str, Any]]:
        return {found["name"]: found for found in self.document["findings"] if found["level"] == level}


@pytest.fixture(autouse=True)
def _quiet(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence the checks about the emulator and about the renditions of other apps; do not sleep."""
    settings.SILENCED_SYSTEM_CHECKS = ["cf_images.E011", "cf_images.E017"]
    monkeypatch.setattr(probes, "_PAUSE", 0)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Run]:
    """Run the command, and check that it prints no secret."""

    def call(*arguments: str) -> Run:
        status, out, err = 0, io.StringIO(), io.StringIO()
        with watched_secrets() as secrets:
            try:
                call_command("cf_images", "doctor", *arguments, stdout=out, stderr=err)
            except SystemExit as ended:
                status = int(str(ended.code))
        printed = capsys.readouterr()
        everything = out.getvalue() + err.getvalue() + printed.out + printed.err
        for secret in [*secrets, *known_secrets()]:
            assert secret not in everything
        assert "Traceback" not in everything
        assert "sig=" not in everything
        return Run(out=out.getvalue(), status=status)

    return call


class watched_secrets:  # noqa: N801  # a context manager
    """Collects the upload URLs and signing keys that the client receives."""

    def __enter__(self) -> list[str]:
        self.seen: list[str] = []
        self._reserve = CloudflareImagesClient.create_direct_upload
        self._keys = CloudflareImagesClient.signing_keys

        def reserve(client: Any, **given: Any) -> Any:
            draft = self._reserve(client, **given)
            self.seen.append(draft.upload_url)
            return draft

        def keys(client: Any) -> Any:
            found = self._keys(client)
            self.seen += [key.value for key in found]
            return found

        CloudflareImagesClient.create_direct_upload = reserve  # type: ignore[method-assign]
        CloudflareImagesClient.signing_keys = keys  # type: ignore[method-assign]
        return self.seen

    def __exit__(self, *_: object) -> None:
        CloudflareImagesClient.create_direct_upload = self._reserve  # type: ignore[method-assign]
        CloudflareImagesClient.signing_keys = self._keys  # type: ignore[method-assign]


def known_secrets() -> list[str]:
    try:
        options = conf.StorageOptions({})
        token, signing = options.api_token, options.signing_keys
    except Exception:  # noqa: BLE001  # settings that are wrong on purpose
        return []
    return [secret for secret in (token, *signing) if secret and len(secret) >= 8]


def left(emulator: Any) -> int:
    """Return the number of images and drafts."""
    return int(emulator.app.state._database.row("SELECT COUNT(*) AS number FROM image")["number"])


def let_fail(emulator: Any, path: str, method: str, error: Exception) -> None:
    """Let one request of the API fail."""

    def refuse(*_: Any) -> Any:
        raise error

    emulator.app.api._routes[path] = {**emulator.app.api._routes[path], method: refuse}


@pytest.fixture
def own(settings: Any) -> Iterator[Callable[..., Emulator]]:
    """Start an emulator for one test, which may break it."""
    started: list[Emulator] = []

    def start(*, options: dict[str, Any] | None = None, **given: Any) -> Emulator:
        emulator = Emulator(variants=AVATAR, **given).start()
        started.append(emulator)
        point_at(settings, emulator, **(options or {}))
        return emulator

    yield start
    for emulator in started:
        emulator.close()


class TestHealthy:
    def test_it_reports_no_failure_and_exits_with_0(self, run: Any, cloudflare: Any) -> None:
        done = run()
        assert done.status == 0
        assert "✗" not in done.out
        assert "✓ The token is valid and may edit images." in done.out
        assert "✓ Account ID and account hash belong together." in done.out
        assert "0 failures" in done.out

    @pytest.mark.parametrize("private", [False, True])
    def test_a_probe_is_shown_and_deleted(self, run: Any, own: Any, private: bool) -> None:
        emulator = own(options={"require_signed_urls": private, "unique_names": True})
        done = run("--probe", "--storage", "cloudflare_images", "--json")
        assert done.status == 0
        assert ("private-probe" if private else "probe") in done.findings("ok")
        assert left(emulator) == 0

    def test_an_upload_of_a_browser_is_tried_where_they_are_on(
        self, run: Any, own: Any, settings: Any
    ) -> None:
        emulator = own()
        assert "browser-probe" not in run("--probe", "--json").findings("ok")
        settings.CF_IMAGES = {**settings.CF_IMAGES, "DIRECT_UPLOADS": True}
        done = run("--probe", "--json")
        assert "www.example.com" in done.findings("ok")["browser-probe"]["message"]
        assert any(request.method == "OPTIONS" for request in emulator.requests)
        assert left(emulator) == 0

    def test_an_upload_url_that_is_closed_to_pages_is_a_warning(
        self, run: Any, own: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        emulator = own()
        settings.CF_IMAGES = {**settings.CF_IMAGES, "DIRECT_UPLOADS": True}
        monkeypatch.setattr("cf_images.emulator.app.CORS", {})
        found = run("--probe", "--json").findings("warning")["browser-probe"]
        assert "does not let pages" in found["message"]
        assert left(emulator) == 0

    def test_nothing_is_uploaded_without_probe(self, run: Any, own: Any) -> None:
        emulator = own()
        assert run().status == 0
        assert left(emulator) == 0
        assert not [request for request in emulator.requests if request.path.endswith("images/v1")]

    def test_each_account_is_examined_once(self, run: Any, own: Any) -> None:
        emulator = own()
        assert "cloudflare_images, renditions:" in run().out
        posts = [request for request in emulator.requests if request.method == "POST"]
        assert len(posts) == 1

    def test_another_account_has_findings_of_its_own(self, run: Any, own: Any, settings: Any) -> None:
        own()
        backend = "cf_images.storage.CloudflareImagesStorage"
        other = {"BACKEND": backend, "OPTIONS": {"api_token": "another-token-entirely"}}
        settings.STORAGES = {**settings.STORAGES, "other": other}
        done = run("--json")
        assert done.findings("failure")["token"]["storages"] == ["other"]
        assert done.findings("ok")["token"]["storages"] == ["cloudflare_images", "renditions"]
        assert run("--storage", "cloudflare_images").status == 0

    def test_stdout_has_only_json(self, run: Any, cloudflare: Any) -> None:
        document = run("--json").document
        assert document["healthy"] is True
        assert document["environment"] == "test"
        assert document["counts"]["failure"] == 0
        assert sum(document["counts"].values()) == len(document["findings"])
        assert set(document["findings"][0]) == {"name", "level", "message", "hint", "storages"}

    def test_it_runs_where_images_stay_local_and_reports_that(
        self, run: Any, cloudflare: Any, settings: Any
    ) -> None:
        settings.ENV_NAME = "dev"
        done = run()
        assert "ENV_NAME is 'dev'" in done.out
        assert "The token is valid" in done.out

    def test_warnings_fail_only_on_request(self, run: Any, own: Any) -> None:
        own(clock=lambda: time.time() - 60)
        assert run().status == 0
        assert run("--fail-on-warning").status == 1

    def test_a_stream_without_unicode_gets_ascii_marks(self, cloudflare: Any, settings: Any) -> None:
        settings.ENV_NAME = "zürich"
        raw = io.BytesIO()
        out = io.TextIOWrapper(raw, encoding="ascii")
        call_command("cf_images", "doctor", stdout=out)
        out.flush()
        assert b"+ The token is valid" in raw.getvalue()
        assert b"ENV_NAME is 'z?rich'" in raw.getvalue()

    def test_an_unknown_alias_is_refused(self, cloudflare: Any) -> None:
        with pytest.raises(CommandError, match="nowhere in STORAGES is not a CloudflareImagesStorage"):
            call_command("cf_images", "doctor", "--storage", "nowhere")

    def test_an_info_of_the_checks_is_no_warning(self, run: Any, own: Any, settings: Any) -> None:
        own(options={"require_signed_urls": True})
        settings.SILENCED_SYSTEM_CHECKS = [*settings.SILENCED_SYSTEM_CHECKS, "cf_images.W102"]
        found = {message.id for message in run_checks(tags=["cf_images"]) if not message.is_silenced()}
        assert found == {"cf_images.I018"}
        assert "checks of this app have no warnings" in run().out

    def test_it_runs_although_checks_fail(self, cloudflare: Any) -> None:
        from cf_images.management.commands.cf_images import Command

        options = Command().create_parser("manage.py", "cf_images").parse_args(["doctor"])
        assert options.skip_checks is True


# What is broken, and the finding that reports it.


def bad_token(own: Any, **_: Any) -> None:
    own(options={"api_token": "this-is-another-token"})


def token_that_may_not_edit(own: Any, **_: Any) -> None:
    let_fail(own(), "images/v2/direct_upload", "POST", ApiError(WRONG_ACCOUNT))


def wrong_account(own: Any, **_: Any) -> None:
    own(options={"account_id": "f" * 32})


def unknown_account(own: Any, **_: Any) -> None:
    let_fail(own(), "images/v1/stats", "GET", ApiError(NO_ROUTE))


def wrong_hash(own: Any, **_: Any) -> None:
    own(options={"account_hash": "AnotherAccountsHash_22"})


def no_subscription(own: Any, **_: Any) -> None:
    own(subscribed=False)


def full(own: Any, **_: Any) -> None:
    storage_with(own(limits=Limits(images=1)), 1)


def nearly_full(own: Any, **_: Any) -> None:
    storage_with(own(limits=Limits(images=10)), 9)


def storage_with(_: Any, images: int) -> None:
    for _number in range(images):
        storages["cloudflare_images"].save("jane.png", ContentFile(picture()))


def flexible_off(own: Any, settings: Any, **_: Any) -> None:
    own(flexible_variants=False)
    settings.CF_IMAGES = {**settings.CF_IMAGES, "FLEXIBLE_VARIANTS": True}


def flexible_off_in_templates(own: Any, settings: Any, tmp_path: Path, **_: Any) -> None:
    own(flexible_variants=False)
    (tmp_path / "page.html").write_text("{% load cf_images %}{{ image|variant:'w=200' }}")
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]


def flexible_on(own: Any, settings: Any, **_: Any) -> None:
    own()
    settings.CF_IMAGES = {**settings.CF_IMAGES, "FLEXIBLE_VARIANTS": False}


def variant_missing(own: Any, settings: Any, **_: Any) -> None:
    own()
    settings.CF_IMAGES = {**settings.CF_IMAGES, "VARIANTS": {**AVATAR, "hero": {"width": 1920}}}


def variant_changed(own: Any, settings: Any, **_: Any) -> None:
    own()
    settings.CF_IMAGES = {**settings.CF_IMAGES, "VARIANTS": {"avatar": {"width": 1}}}


def variant_refused(own: Any, settings: Any, **_: Any) -> None:
    own()
    settings.CF_IMAGES = {**settings.CF_IMAGES, "VARIANTS": {"a-b": {"width": 1}}}


def key_replaced(own: Any, **_: Any) -> None:
    own(options={"require_signed_urls": True, "signing_keys": ["a-key-that-has-gone"]})


def older_key_gone(own: Any, settings: Any, **_: Any) -> None:
    (key,) = own(options={"require_signed_urls": True}).signing_keys.values()
    settings.CF_IMAGES = {**settings.CF_IMAGES, "SIGNING_KEYS": ["a-key-that-has-gone", key]}


def no_key(own: Any, **_: Any) -> None:
    emulator = own(options={"require_signed_urls": True})
    emulator.app.state._database.rows("DELETE FROM signing_key")


def clock_behind(own: Any, **_: Any) -> None:
    own(clock=lambda: time.time() + 60)


def clock_ahead_by_far(own: Any, **_: Any) -> None:
    own(clock=lambda: time.time() - 303)


def unreachable(own: Any, **_: Any) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own(options={"api_url": f"http://127.0.0.1:{port}"})


def without_name(own: Any, monkeypatch: pytest.MonkeyPatch, **_: Any) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    own(options={"api_url": "http://api.example.com"})
    monkeypatch.setattr(socket, "getaddrinfo", unknown)


def without_tls(own: Any, settings: Any, **_: Any) -> None:
    emulator = own()
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_URL": emulator.api_url.replace("http:", "https:")}


def hanging(own: Any, monkeypatch: pytest.MonkeyPatch, **_: Any) -> None:
    monkeypatch.setattr(shared_accounts, "MAX_TIMEOUT", 0.2)
    own().latency = 5


def web_page(own: Any, **_: Any) -> None:
    own().faults.set(rates={"html_502": 1})


def throttled(own: Any, **_: Any) -> None:
    own().faults.set(rates={"429": 1}, retry_after=300)


def paused(own: Any, **_: Any) -> None:
    own(options={"background": True, "queue": "none"})
    account = find_account("cloudflare_images")
    assert account
    admission = circuit_breaker.admit(account.key)
    assert admission
    circuit_breaker.credentials_refused(admission, "The token was revoked")


def pending(age: timedelta) -> Callable[..., None]:
    def old(own: Any, **_: Any) -> None:
        own(options={"background": True, "queue": "none"})
        upload_from_file(io.BytesIO(picture()), upload_to="x/", storage="cloudflare_images")
        Upload.objects.update(created_at=timezone.now() - age, next_attempt_at=timezone.now())

    return old


def rejected(own: Any, **_: Any) -> None:
    pending(timedelta())(own)
    Upload.objects.update(state=State.REJECTED)


def unknown_storage(own: Any, **_: Any) -> None:
    pending(timedelta())(own)
    Upload.objects.update(storage="gone", account="https://api.example.com/accounts/gone")


def other_account(own: Any, **_: Any) -> None:
    pending(timedelta())(own)
    Upload.objects.update(account="https://api.example.com/accounts/other")


def no_view(own: Any, settings: Any, **_: Any) -> None:
    own(options={"background": True, "queue": "none"})
    settings.ROOT_URLCONF = "tests.background.no_urls"


def no_queue(own: Any, **_: Any) -> None:
    own(options={"background": True, "queue": "nowhere.to_be_found"})


def no_credentials(own: Any, settings: Any, **_: Any) -> None:
    own(options={"account_hash": ""})
    settings.CF_IMG_HASH = ""


def unresolved(own: Any, **_: Any) -> None:
    own(options={"api_token": "op://vault/cloudflare/token"})


def no_dictionary(own: Any, settings: Any, **_: Any) -> None:
    own()
    settings.CF_IMAGES = "avatar"


def no_table(own: Any, monkeypatch: pytest.MonkeyPatch, **_: Any) -> None:
    def refuse() -> Any:
        raise OperationalError("no such table: cf_images_upload")

    own(options={"background": True, "queue": "none"})
    monkeypatch.setattr(uploads, "status", refuse)


def queue_down(own: Any, monkeypatch: pytest.MonkeyPatch, **_: Any) -> None:
    def refuse() -> Any:
        raise ConnectionError("redis://:pr1vate-w0rds@127.0.0.1")

    own(options={"background": True})
    monkeypatch.setattr(HUEY, "pending_count", refuse)


def queue_hanging(own: Any, monkeypatch: pytest.MonkeyPatch, **_: Any) -> None:
    own(options={"background": True})
    monkeypatch.setattr(timing, "NOTIFY_SECONDS", 0.1)
    monkeypatch.setattr(HUEY, "pending_count", threading.Event().wait)


def options_in_a_list(own: Any, settings: Any, **_: Any) -> None:
    own()
    backend = {"BACKEND": "cf_images.storage.CloudflareImagesStorage", "OPTIONS": [("background", True)]}
    settings.STORAGES = {**settings.STORAGES, "other": backend}


def unknown_option(own: Any, settings: Any, **_: Any) -> None:
    own()
    backend = {"BACKEND": "cf_images.storage.CloudflareImagesStorage", "OPTIONS": {"bucket": "x"}}
    settings.STORAGES = {**settings.STORAGES, "other": backend}


BROKEN = [
    (bad_token, "token", "does not accept the token", "make a new one"),
    (token_that_may_not_edit, "token", "may not edit", "Cloudflare Images: Edit"),
    (wrong_account, "token", "into this account", "account ID"),
    (unknown_account, "account", "no such account", "CF_ACCT_ID"),
    (wrong_hash, "hash", "that of another account", "Emu1atorAccountHash_22: set the environment variable"),
    (no_subscription, "subscription", "no subscription", "Images, Plans"),
    (full, "quota", "full: 1 of 1", "Buy more"),
    (flexible_off, "flexible", 'although CF_IMAGES["FLEXIBLE_VARIANTS"] is True', "Turn them on"),
    (flexible_off_in_templates, "flexible", "page.html:1 uses one", "Turn them on"),
    (variant_missing, "variants", "not have the declared variants hero", "--apply"),
    (variant_refused, "variants", "letters and digits", "Correct the declaration"),
    (key_replaced, "keys", "a rotation has replaced it", "keys --reveal"),
    (no_key, "keys", "no signing key", "keys --rotate"),
    (clock_ahead_by_far, "clock", "s ahead of", "NTP"),
    (unreachable, "unreachable", "refused", "Nothing listens"),
    (without_name, "unreachable", "Name or service not known", "check DNS"),
    (without_tls, "unreachable", "SSL", "TLS fails"),
    (hanging, "unreachable", "within 0.2 seconds", "firewall"),
    (web_page, "cloudflare", "502 Bad Gateway", "cloudflarestatus.com"),
    (throttled, "cloudflare", "asks to wait", "Wait some minutes"),
    (paused, "paused", "cloudflare_images, renditions are paused until", "nothing is lost"),
    (paused, "paused", "The token was revoked", "nothing is lost"),
    (pending(timedelta(hours=2)), "pending", "2 hours", "Is a worker running"),
    (unknown_storage, "unknown-storage", "'gone'", "delete"),
    (other_account, "other-account", "another account", "account ID"),
    (no_queue, "cf_images.E101", "cannot be imported", "dotted path"),
    (no_credentials, "settings", "no account_hash", "CF_IMG_HASH"),
    (unresolved, "settings", "1Password", "Correct it"),
    (unknown_option, "settings", "bucket", "Correct it"),
    (no_dictionary, "settings", "not a dictionary", "Correct it"),
    (options_in_a_list, "settings", 'STORAGES["other"]["OPTIONS"] is not a dictionary', "Correct it"),
    (no_table, "uploads", "no such table", "manage.py migrate"),
    (queue_down, "queue", "does not respond: ConnectionError.", "Redis"),
    (queue_hanging, "queue", "no response within 0.1 seconds", "Redis"),
]
DOUBTFUL = [
    (nearly_full, "quota", "9 of 10", "Buy more"),
    (flexible_on, "flexible", "full size", "--apply"),
    (variant_changed, "variants", "other options for the variants avatar", "--apply"),
    (older_key_gone, "keys", "1 signing key that the account does not have", "Take them out"),
    (clock_behind, "clock", "s behind", "NTP"),
    (pending(timedelta(minutes=11)), "pending", "11 minutes", "Is a worker running"),
    (rejected, "rejected", "1 image is rejected", "The admin shows why"),
    (no_view, "cf_images.W103", "not mounted", "urlpatterns"),
]


def named(cases: list[Any]) -> list[str]:
    return [f"{case[1]}-{case[0].__name__}" for case in cases]


@pytest.mark.parametrize(("damage", "name", "message", "hint"), BROKEN, ids=named(BROKEN))
def test_what_is_broken_is_a_failure_with_a_hint(
    run: Any,
    own: Any,
    settings: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: Any,
    name: str,
    message: str,
    hint: str,
) -> None:
    damage(own=own, settings=settings, tmp_path=tmp_path, monkeypatch=monkeypatch)
    done = run("--json")
    found = done.findings("failure")[name]
    assert message in found["message"]
    assert hint in found["hint"]
    assert done.status == 1
    printed = run()
    assert printed.status == 1
    assert hint in printed.out


@pytest.mark.parametrize(("damage", "name", "message", "hint"), DOUBTFUL, ids=named(DOUBTFUL))
def test_what_is_doubtful_is_a_warning_with_a_hint(
    run: Any, own: Any, settings: Any, damage: Any, name: str, message: str, hint: str
) -> None:
    damage(own=own, settings=settings)
    done = run("--json")
    found = done.findings("warning")[name]
    assert message in found["message"]
    assert hint in found["hint"]
    assert (done.status, done.findings("failure")) == (0, {})


def test_a_queue_that_responds_is_ok(run: Any, own: Any) -> None:
    own(options={"background": True})
    done = run("--json")
    assert done.findings("ok")["queue"]["message"] == "huey responds; messages in its queue: 0."


@pytest.mark.parametrize(("chosen", "words"), [("none", "must run"), ("builtins.print", "is not known here")])
def test_a_queue_that_cannot_be_examined_is_skipped(run: Any, own: Any, chosen: str, words: str) -> None:
    own(options={"background": True, "queue": chosen})
    assert words in run("--json").findings("skipped")["queue"]["message"]


def test_a_missing_subscription_at_the_reservation_is_not_about_the_token(run: Any, own: Any) -> None:
    let_fail(own(), "images/v2/direct_upload", "POST", ApiError(NOT_ENABLED))
    assert "subscription" in run("--json").findings("failure")


def test_a_missing_credential_is_reported_once(run: Any, own: Any, settings: Any) -> None:
    no_credentials(own, settings)
    done = run("--json")
    assert done.findings("failure").keys() == {"settings"}
    assert "settings" not in done.findings("ok")


def test_public_images_need_no_keys(run: Any, own: Any) -> None:
    own().app.state._database.rows("DELETE FROM signing_key")
    assert "keys" not in {found["name"] for found in run("--json").document["findings"]}


def test_a_refused_token_hides_nothing_else_of_the_project(run: Any, own: Any, settings: Any) -> None:
    bad_token(own)
    done = run("--json")
    assert list(done.findings("failure")) == ["token"]
    assert "clock" in done.findings("ok")
    assert "fix this first" in done.findings("skipped")["others"]["message"]


def test_one_lost_packet_is_no_finding(run: Any, own: Any) -> None:
    emulator = own()
    emulator.faults.plan("reset_before")
    assert run().status == 0
    assert emulator.faults.counts["reset_before"] == 1


def test_an_examination_that_breaks_is_a_finding_and_hides_no_other(
    run: Any, own: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator = own()

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError(f"with {emulator.api_token} in its words")

    monkeypatch.setattr(variants, "compare", broken)
    done = run("--json")
    assert "RuntimeError in test_doctor.py" in done.findings("failure")["variants"]["message"]
    assert done.findings("ok").keys() >= {"quota", "flexible"}
    assert done.status == 1


@pytest.mark.parametrize("status", [404, 405])
def test_a_config_that_cannot_be_read_is_no_failure(run: Any, own: Any, status: int) -> None:
    emulator = own()
    let_fail(emulator, "images/v1/config", "GET", ApiError(NO_ROUTE._replace(status=status, code=7001)))
    done = run("--json")
    assert done.status == 0
    assert done.findings("skipped")["flexible"]["message"].endswith("cannot be read from the account.")


@pytest.mark.parametrize(
    ("ahead", "level"),
    [(28, "ok"), (-28, "ok"), (33, "warning"), (-60, "warning"), (297, "warning"), (-303, "failure")],
)
def test_the_clock_is_compared_in_seconds_and_direction(run: Any, own: Any, ahead: int, level: str) -> None:
    own(clock=lambda: time.time() - ahead)
    message = run("--json").findings(level)["clock"]["message"]
    if level != "ok":
        assert abs(int(message.split()[4]) - abs(ahead)) <= 1
        assert ("ahead of" in message, "later" in message) == (ahead > 0, ahead > 0)


def test_the_clock_is_skipped_where_the_response_has_no_date(
    run: Any, own: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    own()
    monkeypatch.setattr(CloudflareImagesClient, "server_time", lambda _: None)
    assert "clock" in run("--json").findings("skipped")


def test_a_secret_in_the_message_of_a_proxy_is_hidden(
    run: Any, own: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator = own()

    def leak(*_: Any) -> Any:
        raise CloudflareUnavailableError(f"proxy says: Bearer {emulator.api_token}")

    monkeypatch.setattr(CloudflareImagesClient, "server_time", leak)
    assert "proxy says: Bearer [hidden]" in run().out


def test_the_proxy_is_named_and_its_password_is_not(
    run: Any, own: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreachable(own)
    monkeypatch.setenv("HTTPS_PROXY", "http://user:pr0xy-passw0rd@127.0.0.1:9")
    done = run()
    assert "proxy in HTTPS_PROXY" in done.out
    assert "pr0xy-passw0rd" not in done.out


def test_a_project_without_a_cloudflare_storage_gets_a_warning(run: Any, settings: Any) -> None:
    settings.STORAGES = {
        name: settings.STORAGES[name] for name in ("default", "staticfiles", "renditions_elsewhere")
    }
    assert "no account to examine" in run("--json").findings("warning")["accounts"]["message"]


def test_control_characters_are_not_printed(run: Any, own: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    own()

    def colored(*_: Any) -> Any:
        raise CloudflareUnavailableError("red \x1b[31m text")

    monkeypatch.setattr(CloudflareImagesClient, "server_time", colored)
    assert "\x1b" not in run().out


class TestProbe:
    """What only a real image proves; it is deleted whatever happens."""

    @pytest.mark.parametrize("private", [False, True])
    def test_a_custom_domain_is_tried(self, run: Any, own: Any, settings: Any, private: bool) -> None:
        emulator = own(options={"require_signed_urls": private})
        custom = f"{emulator.delivery_url}/cdn-cgi/imagedelivery"
        settings.CF_IMAGES = {**settings.CF_IMAGES, "DELIVERY_URL": custom}
        done = run("--probe", "--json", "--storage", "cloudflare_images")
        assert custom in done.findings("ok")["private-probe" if private else "probe"]["message"]
        assert left(emulator) == 0

    def test_a_proxy_that_leads_nowhere_is_found(self, run: Any, own: Any, settings: Any) -> None:
        emulator = own()
        template = f"{emulator.delivery_url}/pictures/{{variant}}/{{image_id}}"
        settings.CF_IMAGES = {**settings.CF_IMAGES, "DELIVERY_URL": template}
        done = run("--probe", "--json")
        assert done.status == 1
        assert template in done.findings("failure")["probe"]["message"]
        assert left(emulator) == 0

    def test_a_wrong_hash_is_found_there_too(self, run: Any, own: Any) -> None:
        emulator = own(options={"account_hash": "AnotherAccountsHash_22"})
        done = run("--probe", "--json")
        assert "9427" in done.findings("failure")["probe"]["message"]
        assert "CF_IMG_HASH" in done.findings("failure")["probe"]["hint"]
        assert left(emulator) == 0

    def test_a_variant_that_the_account_does_not_have_is_found(self, run: Any, own: Any) -> None:
        own(options={"variant": "hero"})
        assert "--apply" in run("--probe", "--json").findings("failure")["probe"]["hint"]

    def test_an_unreachable_delivery_host_is_found(self, run: Any, own: Any) -> None:
        emulator = own(options={"delivery_url": "http://127.0.0.1:1"})
        done = run("--probe", "--json")
        assert "Nothing listens" in done.findings("failure")["probe"]["hint"]
        assert left(emulator) == 0

    def test_a_page_instead_of_an_image_is_found(self, run: Any, own: Any) -> None:
        emulator = own()
        emulator.faults.set(rates={"html_502": 1}, places=["delivery"])
        assert "502 Bad Gateway" in run("--probe", "--json").findings("failure")["probe"]["message"]
        assert left(emulator) == 0

    def test_a_fresh_image_may_be_missing_at_first(
        self, run: Any, own: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        emulator = own()
        missing(emulator, monkeypatch, times=2)
        assert run("--probe").status == 0

    def test_one_that_stays_missing_is_found(
        self, run: Any, own: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        emulator = own()
        missing(emulator, monkeypatch, times=99)
        assert "9404" in run("--probe", "--json").findings("failure")["probe"]["message"]
        assert left(emulator) == 0

    def test_flexible_variants_are_tried_where_the_account_does_not_say(
        self, run: Any, own: Any, settings: Any
    ) -> None:
        emulator = own(flexible_variants=False)
        settings.CF_IMAGES = {**settings.CF_IMAGES, "FLEXIBLE_VARIANTS": True}
        let_fail(emulator, "images/v1/config", "GET", ApiError(NO_ROUTE._replace(code=7001)))
        assert "--probe" in run("--json").findings("skipped")["flexible"]["message"]
        found = run("--probe", "--json").findings("failure")["flexible-probe"]
        assert "9429" in found["message"]
        assert "Turn flexible variants on" in found["hint"]

    def test_a_replaced_key_shows_nothing(self, run: Any, own: Any) -> None:
        emulator = own()
        emulator.close()
        emulator = own(options={"require_signed_urls": True, "signing_keys": "a-key-that-has-gone"})
        found = run("--probe", "--json").findings("failure")
        assert found.keys() >= {"keys", "private-probe"}
        assert "cf_images keys" in found["private-probe"]["hint"]
        assert left(emulator) == 0

    def test_a_private_image_that_is_shown_without_a_signature_is_found(
        self, run: Any, own: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        emulator = own(options={"require_signed_urls": True})
        monkeypatch.setattr(emulator.app.delivery, "_check_access", lambda *_, **__: None)
        found = run("--probe", "--json").findings("failure")["private-probe"]
        assert "without a signature" in found["message"]
        assert left(emulator) == 0

    def test_variants_that_need_no_signature_are_not_tried(self, run: Any, own: Any) -> None:
        emulator = own(options={"require_signed_urls": True})
        client = storages["cloudflare_images"].client
        client.update_variant("public", options={"width": 9}, never_require_signed_urls=True)
        assert "as 'avatar', signed" in run("--probe", "--json").findings("ok")["private-probe"]["message"]
        client.update_variant("avatar", options={"width": 9}, never_require_signed_urls=True)
        assert "to everyone" in run("--probe", "--json").findings("warning")["private-probe"]["message"]
        assert left(emulator) == 0

    def test_the_variant_that_the_storage_serves_is_tried(self, run: Any, own: Any) -> None:
        own(options={"require_signed_urls": True, "variant": "avatar"})
        assert "as 'avatar', signed" in run("--probe", "--json").findings("ok")["private-probe"]["message"]

    def test_a_lost_response_to_the_upload_leaves_nothing(self, run: Any, own: Any) -> None:
        emulator = own()
        uploaded = emulator.app.api.upload

        def lost(request: Any) -> Any:
            uploaded(request)
            raise ApiError(AUTHENTICATION)

        emulator.app.api._routes["images/v1"] = {"POST": lost}
        assert run("--probe").status == 1
        assert left(emulator) == 0

    def test_an_interruption_leaves_nothing(self, own: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted(*_: Any, **__: Any) -> Any:
            raise KeyboardInterrupt

        emulator = own()
        monkeypatch.setattr(probes, "fetch_delivery_url", interrupted)
        with pytest.raises(KeyboardInterrupt):
            call_command("cf_images", "doctor", "--probe", stdout=io.StringIO())
        assert left(emulator) == 0

    def test_what_cannot_be_deleted_is_named(self, run: Any, own: Any) -> None:
        emulator = own()
        deleted = emulator.app.api.delete

        def refuse(request: Any, image_id: str) -> Any:
            if image_id.startswith(probes.PREFIX):
                raise ApiError(AUTHENTICATION)
            return deleted(request, image_id)

        emulator.app.api._routes["images/v1/{}"] = {"GET": emulator.app.api.details, "DELETE": refuse}
        (name,) = [
            found["message"].split()[2]
            for found in run("--probe", "--json").document["findings"]
            if found["name"] == "probe-left"
        ]
        assert name in emulator.images


def missing(emulator: Any, monkeypatch: pytest.MonkeyPatch, *, times: int) -> None:
    """Let delivery not find an image ``times`` times."""
    deliver, left_over = emulator.app.delivery.render, [None] * times

    def render(*given: Any, **others: Any) -> Any:
        if left_over:
            left_over.pop()
            raise DeliveryError(IMAGE_NOT_FOUND)
        return deliver(*given, **others)

    monkeypatch.setattr(emulator.app.delivery, "render", render)


def test_the_reservation_is_deleted_although_the_hash_is_wrong(run: Any, own: Any) -> None:
    emulator = own(options={"account_hash": "AnotherAccountsHash_22"})
    run()
    assert left(emulator) == 0


def test_a_text_that_is_no_hash_is_not_repeated() -> None:
    assert not access._HASH.fullmatch("secret/../upload?token=1")
