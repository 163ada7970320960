"""``manage.py cf_images process``: the worker of a site without a queue."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError, InterfaceError, OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from cf_images import background as uploads
from cf_images.background import upload_from_file, wording
from cf_images.background.worker import Batch, Tried, process_some
from cf_images.management.subcommands import process
from cf_images.models import State, Upload
from tests.background import conftest as background
from tests.background import databases
from tests.background.conftest import ALIAS, use_background_storage
from tests.chaos import servers
from tests.chaos.processes import Site
from tests.pictures import picture

pytestmark = pytest.mark.django_db(transaction=True)

Accept = Callable[..., Upload]
# The fixtures of background uploads.
accept, cloudflare, fresh_process = background.accept, background.cloudflare, background.fresh_process


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one call printed, and its exit status."""

    out: str
    problems: str
    status: int


def run(*arguments: str) -> Run:
    out, problems, status = io.StringIO(), io.StringIO(), 0
    try:
        call_command("cf_images", "process", *arguments, stdout=out, stderr=problems)
    except SystemExit as stopped:
        status = int(stopped.code or 0)
    return Run(out=out.getvalue(), problems=problems.getvalue(), status=status)


def test_processes_what_is_due_says_so_and_stops(accept: Accept, cloudflare: Any) -> None:
    rows = [accept() for _ in range(3)]
    assert run() == Run(out="3 images stored.\n", problems="", status=0)
    assert set(cloudflare.images) == {row.name for row in rows}
    uploads.delete(rows[0].name, ALIAS)
    assert run() == Run(out="0 images stored, 1 deleted.\n", problems="", status=0)
    assert run("-v0") == Run(out="", problems="", status=0)


def test_several_workers_count_together(
    tmp_path: Path, cloudflare: Any, django_db_blocker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a file: SQLite does not wait for the lock of a database in memory."""
    with (
        django_db_blocker.unblock(),
        databases.sqlite(tmp_path) as chosen,
        databases.use(chosen, monkeypatch),
    ):
        upload_from_file(io.BytesIO(picture()), filename="a.png")
        assert run("--workers=2").out == "1 image stored.\n"


def test_rejected_image_is_counted_and_exits_1(accept: Accept, cloudflare: Any) -> None:
    accept()
    Upload.objects.filter(pk=accept().pk).update(metadata={"x": "y" * 2000})
    found = run()
    assert (found.out, found.status) == ("1 image stored, 1 rejected.\n", 1)
    assert "cf_images uploads prints why" in found.problems


def test_failure_exits_1_with_its_reason_and_the_next_attempt(accept: Accept, cloudflare: Any) -> None:
    accept()
    cloudflare.faults.rates = {"500": 1.0}
    found = run()
    row = Upload.objects.get()
    moment = wording.moment(row.next_attempt_at)
    assert (found.out, found.status) == (f"0 images stored, 1 failed, 1 not due until {moment}.\n", 1)
    assert found.problems == f"1 image is not processed yet: {row.last_error}\n"


def test_image_that_is_not_due_is_no_failure(accept: Accept, cloudflare: Any) -> None:
    accept()
    later = timezone.now() + timedelta(minutes=30)
    Upload.objects.update(attempts=1, next_attempt_at=later, last_error="no response")
    expected = f"0 images stored, 1 not due until {wording.moment(later)}.\n"
    assert run() == Run(out=expected, problems="", status=0)


def test_paused_account_exits_1_with_the_reason(accept: Accept, cloudflare: Any, settings: Any) -> None:
    accept()
    accept()
    use_background_storage(settings, cloudflare, api_token="revoked")
    for failed in (1, 0):
        found = run()
        assert found.out == f"0 images stored{', 1 failed' if failed else ''}.\n"
        assert found.status == 1
        assert f"Uploads to {ALIAS} are paused until " in found.problems
        assert "Authentication error" in found.problems
        assert "2 images are pending." in found.problems
    assert cloudflare.account_id not in found.problems


def test_storage_that_is_not_in_the_settings_exits_1(accept: Accept, settings: Any, cloudflare: Any) -> None:
    accept()
    settings.STORAGES = {"default": settings.STORAGES["default"]}
    found = run()
    assert found.status == 1
    assert "'cloudflare_images', which is not in STORAGES" in found.problems


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_shown_on_a_terminal(
    accept: Accept, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, terminal: bool
) -> None:
    for _ in range(3):
        accept()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    with CaptureQueriesContext(connection) as captured:
        call_command("cf_images", "process", verbosity=0)
    assert ("3/3" in capsys.readouterr().err) is terminal
    is_counted = any("COUNT(" in query["sql"] for query in captured.captured_queries)
    assert is_counted is terminal, "to count a large backlog takes time"


def test_loop_waits_for_more_finishes_when_interrupted_and_says_what_was_done(
    accept: Accept, cloudflare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept()
    idle = threading.Event()
    monkeypatch.setattr(process, "_IDLE", 0.01)

    def attempt(batch: Batch) -> Tried:
        tried = process_some(batch)
        if not tried.rows:
            idle.set()
        return tried

    monkeypatch.setattr(process, "process_some", attempt)

    def interrupted(_: Any) -> None:
        assert idle.wait(60)
        raise KeyboardInterrupt

    monkeypatch.setattr(process, "wait", interrupted)
    found = run("--loop")
    assert "Finishing" in found.problems
    assert (found.out, found.status) == ("1 image stored.\n", 0)


@pytest.mark.parametrize("loop", [True, False])
def test_sigterm_finishes_the_current_image_and_says_what_was_done(tmp_path: Path, *, loop: bool) -> None:
    """As systemd, Docker and Kubernetes end a service. By cron, what is left is a problem."""
    huey = {"huey_class": "huey.MemoryHuey"}
    with Site(tmp_path, database=servers.sqlite(tmp_path), huey=huey) as site:
        site.run("visitors", "1", "2")
        site.set_faults(latency=1)
        command = ("cf_images", "process", "-v1", *(["--loop"] if loop else []))
        worker = site.start(*command, output=subprocess.PIPE)
        site.wait_for("A request", lambda: site.ask("pending")["leased"], seconds=60)
        worker.terminate()
        assert worker.stdout
        assert worker.stdout.read() == "1 image stored.\n"
        assert worker.wait(60) == (0 if loop else 1)
        assert site.counters()["images"] == 1
        assert site.ask("pending") == {"pending": 1, "leased": 0}


class ConnectionGoneError(Exception):
    """As a driver raises it, not Django."""


@pytest.mark.parametrize("kind", [DatabaseError, ConnectionGoneError])
def test_database_that_is_away_ends_a_run(kind: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_: Batch) -> Tried:
        raise kind

    monkeypatch.setattr(process, "process_some", away)
    with pytest.raises(kind):
        run()


@pytest.mark.parametrize("kind", [DatabaseError, ConnectionGoneError])
def test_database_that_is_away_ends_no_service_and_leaves_two_lines(
    kind: type[Exception], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failures = iter([kind() for _ in range(20)])
    noted, lock = list[Exception](), threading.Lock()
    over, back = threading.Event(), threading.Event()
    began = process._Trouble.began

    def note(trouble: process._Trouble, error: Exception) -> None:
        assert isinstance(error, kind)  # none of the database itself, which two threads share here
        began(trouble, error)
        with lock:
            noted.append(error)
            if len(noted) == 20:
                over.set()

    def away(_: Batch) -> Tried:
        if error := next(failures, None):
            raise error
        assert over.wait(60)  # the other worker may be about to note its last failure
        back.set()
        return Tried()

    monkeypatch.setattr(process._Trouble, "began", note)

    def interrupted(_: Any) -> None:
        assert back.wait(60)
        raise KeyboardInterrupt

    monkeypatch.setattr(process, "_IDLE", 0.01)
    monkeypatch.setattr(process.heartbeat, "start", lambda: None)
    monkeypatch.setattr(process, "sweep", lambda: None)
    monkeypatch.setattr(process, "process_some", away)
    monkeypatch.setattr(process, "wait", interrupted)
    assert run("--loop", "--workers=2").status == 0
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == [
        "The database does not respond; trying again each second.",
        "The database responds again.",
    ]


class RawDriverError(Exception):
    """What a driver or a pooler raises, and Django does not translate."""


FAILURES = [InterfaceError, OperationalError, DatabaseError, RawDriverError]


@pytest.mark.parametrize("failure", FAILURES)
def test_failure_of_the_database_ends_a_run_with_an_error(
    cloudflare: Any, monkeypatch: pytest.MonkeyPatch, failure: type[Exception]
) -> None:
    def away(_: Batch) -> Tried:
        raise failure("connection already closed")

    monkeypatch.setattr(process, "process_some", away)
    with pytest.raises(failure):
        call_command("cf_images", "process")


@pytest.mark.parametrize("place", ["process_some", "close_old_connections", "sweep"])
@pytest.mark.parametrize("failure", FAILURES)
def test_all_workers_of_a_service_go_on_after_a_failure(
    cloudflare: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    failure: type[Exception],
    place: str,
) -> None:
    """Wherever the database fails; the first attempt of each worker does."""
    workers, rounds = 3, 3
    failed, attempts = set[int](), Counter[int]()
    lock, done = threading.Lock(), threading.Event()

    def fail_once(*_: Any) -> bool:
        thread = threading.get_ident()
        with lock:
            is_first = thread not in failed
            failed.add(thread)
        if is_first:
            raise failure("connection already closed")
        return False

    def attempt(_: Batch) -> Tried:
        if place == "process_some":
            fail_once()
        with lock:
            attempts[threading.get_ident()] += 1
            if len(attempts) == workers and min(attempts.values()) >= rounds:
                done.set()
        return Tried()

    def interrupted(_: Any) -> None:
        reached = done.wait(30)
        if not reached:
            pytest.fail(f"only {len(attempts)} of {workers} workers go on")
        raise KeyboardInterrupt

    monkeypatch.setattr(process, "_IDLE", 0.01)
    monkeypatch.setattr(process, "_SWEEP_SECONDS", 0)
    monkeypatch.setattr(process, "process_some", attempt)
    if place != "process_some":
        monkeypatch.setattr(process, place, fail_once)
    monkeypatch.setattr(process, "wait", interrupted)
    call_command("cf_images", "process", "--loop", "--workers", str(workers))
    assert len(failed) == workers
    assert "trying again" in caplog.text


@pytest.mark.parametrize("kind", [databases.POSTGRESQL, databases.MARIADB])
def test_service_goes_on_after_a_failover(
    kind: databases.Database,
    tmp_path: Path,
    cloudflare: Any,
    django_db_blocker: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server ends all connections of the workers, while they are idle and while they work."""
    monkeypatch.setattr(process, "_IDLE", 0.05)
    with (
        django_db_blocker.unblock(),
        kind(tmp_path) as chosen,
        databases.use({**chosen, "CONN_MAX_AGE": None}, monkeypatch) as connection,
    ):

        def is_stored(count: int) -> bool:
            return bool(Upload.objects.using(databases.ALIAS).filter(state=State.STORED).count() == count)

        def interrupted(_: Any) -> None:
            for number in range(1, 4):
                for _ in range(4):
                    upload_from_file(io.BytesIO(picture()), filename="a.png")
                if number == 2:
                    databases.end_other_connections(connection)
                ends_at = time.monotonic() + 120  # a lease of a broken connection ends after 50
                while not is_stored(4 * number):
                    assert time.monotonic() < ends_at
                    time.sleep(0.05)
                assert databases.end_other_connections(connection) >= 1
            raise KeyboardInterrupt

        monkeypatch.setattr(process, "wait", interrupted)
        call_command("cf_images", "process", "--loop", "--workers", "3")
        assert len(cloudflare.images) == 12


def test_service_sweeps_each_minute(accept: Accept, cloudflare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does what huey's periodic task does elsewhere: here a clock that was set back."""
    row = accept()
    Upload.objects.update(next_attempt_at=timezone.now() + timedelta(days=1))
    call_command("cf_images", "process")
    assert row.name in cloudflare.images
    sweeps = process._Sweeps()
    calls: list[bool] = []
    monkeypatch.setattr(process, "sweep", lambda: calls.append(True))
    for _ in range(3):
        sweeps.run()
    assert calls == [True]
