"""``cf_images export``: originals come back byte for byte, under the names that they had."""

from __future__ import annotations

import errno
import io
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import storages
from django.core.management import CommandError, call_command
from django.db import connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from cf_images.background import pace, timing, worker, writing
from cf_images.background.transfers import new_row, transfers
from cf_images.management import watching
from cf_images.management.subcommands import export
from cf_images.models import State, Transfer
from cf_images.transfer import fields
from cf_images.transfer.exporting import Export, can_be_file
from cf_images.transfer.report import Problems
from tests.app.models import Album, Profile
from tests.background import databases
from tests.conftest import point_at
from tests.transfer.site import ALIAS, LOCAL, body_of, copied, names_in_rows, profile

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def ledger(
    tmp_path_factory: Any, monkeypatch: pytest.MonkeyPatch, django_db_blocker: Any, transactional_db: None
) -> Iterator[None]:
    """A ledger in a file: threads lock the tables of a database in memory."""
    with (
        django_db_blocker.unblock(),
        databases.sqlite(tmp_path_factory.mktemp("ledger")) as chosen,
        databases.use(chosen, monkeypatch),
    ):
        yield


@pytest.fixture(autouse=True)
def emulator(cf_images_emulator: Any, settings: Any, tmp_path: Path) -> Any:
    """An account without a pace, and a folder of local files."""
    point_at(settings, cf_images_emulator)
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_RATE": None, "QUEUE": "none"}
    settings.MEDIA_ROOT = tmp_path / "media"
    pace.clear_cache()
    return cf_images_emulator


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def run(capsys: Any) -> Callable[..., tuple[int, str]]:
    """Run a subcommand; return its exit status and what it printed."""

    def run_command(*arguments: Any) -> tuple[int, str]:
        capsys.readouterr()
        try:
            call_command("cf_images", *map(str, arguments))
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        except CommandError as error:
            captured = capsys.readouterr()
            return error.returncode, f"{captured.out}{captured.err}{error}"
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    return run_command


def stored_at_cloudflare(name: str, body: bytes | None = None) -> str:
    """An image that was saved at Cloudflare, without a row in the ledger."""
    storages[ALIAS].client.upload(io.BytesIO(body or body_of()), image_id=name)
    Profile.objects.create(image=name)
    return name


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() or path.is_symlink()
    }


def test_what_was_saved_at_cloudflare_comes_back_after_an_import_that_had_no_file_of_it(
    run: Any, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "FIRST_PAUSE", timedelta(0))
    stored_at_cloudflare("saved.png")
    Profile.objects.create(image="lost.png")
    assert run("import", "app.Profile.image")[0] == 1
    status, text = run("export", "--directory", out)
    assert status == 1, text
    assert "1 file is in the target" in text
    reason = "It is not at Cloudflare, its import is rejected: There is no file of this name."
    assert f"'lost.png' (app.Profile.image): {reason}" in text
    assert files_in(out) == {"saved.png": body_of()}


def test_originals_come_back_under_the_names_of_the_rows(run: Any, out: Path) -> None:
    for number in range(5):
        stored_at_cloudflare(f"photos/{number} ü %.png", body_of(number))
    status, text = run("export", "--directory", out)
    assert status == 0, text
    assert "5 files are in the target" in text
    assert files_in(out) == {f"photos/{number} ü %.png": body_of(number) for number in range(5)}
    assert run("verify", "--directory", out)[0] == 0


def test_out_and_back_a_folder_is_the_same(run: Any, out: Path) -> None:
    """Also where names could not be kept, before and after rows were switched."""
    profile("kept.png", body=body_of(1))
    copied("a/jane~2019.png", name="a/new-jane.png", body=body_of(2))
    profile("a/jane~2019.png", transfer=False)
    copied("b.png", name="new-b.png", body=body_of(3))
    profile("new-b.png", transfer=False)
    assert run("export", "--directory", out)[0] == 0
    assert files_in(out) == {"kept.png": body_of(1), "a/jane~2019.png": body_of(2), "b.png": body_of(3)}


def test_files_with_another_name_than_rows_are_said_and_switched(run: Any, out: Path) -> None:
    copied("a.png", name="new-a.png")
    profile("new-a.png", transfer=False)
    status, text = run("export", "--directory", out)
    assert status == 0
    assert f"cf_images switch --directory {out}" in text
    assert run("switch", "--directory", out, "--noinput")[0] == 0
    assert names_in_rows() == ["a.png"]
    assert run("verify", "--directory", out)[0] == 0
    status, text = run("export", "--directory", out)
    assert (status, "switch" in text) == (0, False)
    assert run("revert", "--directory", out, "--noinput")[0] == 0
    assert names_in_rows() == ["new-a.png"]


def test_private_images_come_back_as_well(run: Any, out: Path, settings: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "REQUIRE_SIGNED_URLS": True}
    name = storages[ALIAS].save("jane.png", io.BytesIO(body_of()))
    Profile.objects.create(image=name)
    assert run("export", "--directory", out)[0] == 0
    assert files_in(out) == {name: body_of()}


def test_a_storage_can_be_the_target(run: Any) -> None:
    stored_at_cloudflare("a/b.png")
    assert run("export", "--to", LOCAL)[0] == 0
    with storages[LOCAL].open("a/b.png") as file:
        assert file.read() == body_of()
    memory = storages["renditions_elsewhere"]
    try:
        assert run("export", "--to", "renditions_elsewhere")[0] == 0
        with memory.open("a/b.png") as file:
            assert file.read() == body_of()
        assert run("verify", "--to", "renditions_elsewhere", "--bytes")[0] == 0
    finally:
        memory.delete("a/b.png")


def test_twice_is_once(run: Any, out: Path, emulator: Any) -> None:
    stored_at_cloudflare("a.png")
    assert run("export", "--directory", out)[0] == 0
    before = len(emulator.requests)
    assert run("export", "--directory", out)[0] == 0
    assert len(emulator.requests) == before


def test_a_file_that_has_gone_since_is_copied_again(run: Any, out: Path) -> None:
    stored_at_cloudflare("a.png")
    run("export", "--directory", out)
    (out / "a.png").unlink()
    assert run("export", "--directory", out)[0] == 0
    assert files_in(out) == {"a.png": body_of()}


def test_what_has_failed_for_long_is_tried_at_once(run: Any, out: Path) -> None:
    stored_at_cloudflare("a.png")
    run("export", "--directory", out)
    (out / "a.png").unlink()
    later = timezone.now() + timedelta(minutes=30)
    transfers().update(state=State.PENDING, next_attempt_at=later, attempts=30)
    assert run("export", "--directory", out)[0] == 0
    assert files_in(out) == {"a.png": body_of()}


def test_rows_that_share_an_image_are_one_file(run: Any, out: Path) -> None:
    stored_at_cloudflare("a.png")
    Profile.objects.create(image="a.png")
    Album.objects.create(cover="a.png")
    assert run("export", "--directory", out)[0] == 0
    assert transfers().count() == 1


def test_a_file_that_is_there_is_compared_and_never_replaced(run: Any, out: Path) -> None:
    stored_at_cloudflare("same.png")
    stored_at_cloudflare("other.png")
    out.mkdir()
    (out / "same.png").write_bytes(body_of())
    (out / "other.png").write_bytes(b"mine")
    status, text = run("export", "--directory", out)
    assert status == 1
    assert "'other.png' (app.Profile.image): Another file is named 'other.png' in the target" in text
    assert files_in(out) == {"same.png": body_of(), "other.png": b"mine"}


def test_names_that_no_file_can_have_get_new_ones(run: Any, out: Path) -> None:
    hostile = ["/etc/passwd.png", "../outside.png", f"{'ü' * 150}.png", "a/../b.png"]
    for number, name in enumerate(hostile):
        copied(f"at-cloudflare-{number}.png", body=body_of(number))
        Transfer.objects.filter(name=f"at-cloudflare-{number}.png").update(source_name=name)
        Profile.objects.create(image=f"at-cloudflare-{number}.png")
    status, text = run("export", "--directory", out)
    assert status == 0, text
    assert "4 files with another name than rows have" in text
    assert sorted(files_in(out).values()) == sorted(body_of(number) for number in range(4))
    assert os.listdir(out.parent) == ["out"]
    assert run("switch", "--directory", out, "--noinput")[0] == 0
    assert sorted(names_in_rows()) == sorted(files_in(out))


@pytest.mark.parametrize(
    ("name", "can"),
    [
        *(("a.png", True), ("a/b~c %.png", True), ("..a", True), ("a" * 255, True), ("ü/" * 120 + "a", True)),
        *(("", False), (" ", False), ("/a", False), ("a/", False), ("a/../b", False), ("..", False)),
        *(("a" * 256, False), ("ü" * 128, False), ("nul\0", False), ("half\ud800", False)),
    ],
)
def test_which_names_files_can_have(name: str, can: bool) -> None:
    assert can_be_file(name) is can


def test_two_images_that_had_one_name_are_two_files(run: Any, out: Path) -> None:
    copied("a.png", body=body_of(1))
    copied("a.png", name="second.png", source="renditions_elsewhere", body=body_of(2))
    Profile.objects.create(image="second.png")
    Profile.objects.create(image="a.png")
    assert run("export", "--directory", out)[0] == 0
    assert sorted(files_in(out).values()) == sorted([body_of(1), body_of(2)])
    assert run("switch", "--directory", out, "--noinput")[0] == 0
    second, first = names_in_rows()
    assert (out / first).read_bytes() == body_of(1)
    assert (out / second).read_bytes() == body_of(2)


def test_images_that_are_not_at_cloudflare_are_left_and_said(
    run: Any, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cf_images.background.outcomes._MAX_UNKNOWN_ERRORS", 0)
    profile("pending.png", state=State.PENDING)
    Profile.objects.create(image="gone.png")
    Profile.objects.create(image="https://example.com/a.png")
    stored_at_cloudflare("a.png")
    status, text = run("export", "--directory", out)
    assert status == 1
    assert "'pending.png' (app.Profile.image): It is not at Cloudflare, its import is pending" in text
    assert "It is the URL of an image elsewhere" in text
    assert "'gone.png' (app.Profile.image): Image not found" in text
    assert files_in(out) == {"a.png": body_of()}


def test_an_image_that_was_deleted_on_both_sides_is_said(run: Any, out: Path) -> None:
    """By a mirror, whose rows stay for ever."""
    stored_at_cloudflare("a.png")
    run("export", "--directory", out)
    transfers().update(state=State.DELETED)
    status, text = run("export", "--directory", out)
    assert status == 1
    assert "It was deleted on both sides" in text


def test_a_url_of_this_account_becomes_a_file(run: Any, out: Path, emulator: Any) -> None:
    storages[ALIAS].client.upload(io.BytesIO(body_of()), image_id="old.png")
    url = f"{emulator.delivery_url}/{emulator.account_hash}/old.png/public"
    Profile.objects.create(image=url)
    assert run("export", "--directory", out)[0] == 0
    assert files_in(out) == {"old.png": body_of()}
    assert run("switch", "--directory", out, "--noinput")[0] == 0
    assert names_in_rows() == ["old.png"]
    assert run("revert", "--directory", out, "--noinput")[0] == 0
    assert names_in_rows() == [url]


def test_a_link_in_the_target_is_not_followed(run: Any, out: Path, tmp_path: Path) -> None:
    stored_at_cloudflare("link/a.png")
    out.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (out / "link").symlink_to(tmp_path / "elsewhere")
    status, text = run("export", "--directory", out)
    assert status == 1
    assert "a symbolic link leads outside of the folder" in text
    assert os.listdir(tmp_path / "elsewhere") == []


def test_a_dry_run_sends_and_writes_nothing(run: Any, out: Path, emulator: Any) -> None:
    profile("a.png")
    stored_at_cloudflare("b.png")
    Profile.objects.create(image="https://example.com/a.png")
    before = len(emulator.requests)
    status, text = run("export", "--directory", out, "--dry-run")
    assert status == 1
    assert f"2 files to copy ({len(body_of()) / 1024:.1f} KB known); 0 files are there already." in text
    assert "1 file would be left behind:" in text
    assert len(emulator.requests) == before
    assert not out.exists()
    assert not transfers().exclude(storage=ALIAS).exists()


def test_enqueued_files_are_copied_by_workers(run: Any, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored_at_cloudflare("a.png")

    def work(*_: Any, **__: Any) -> None:
        while worker.process_one():
            pass

    monkeypatch.setattr(watching, "watch", work)
    status, text = run("export", "--directory", out, "--enqueue")
    assert status == 0, text
    assert "There is no queue" in text
    assert files_in(out) == {"a.png": body_of()}


def test_a_full_disk_is_one_line_and_the_others_go_on(
    run: Any, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored_at_cloudflare("a.png", body_of(1))
    stored_at_cloudflare("big.png", body_of(2) * 2)
    real = writing.content_of

    def full(file: Any, copy: Any = None) -> Any:
        found = real(file, copy)
        if found.size > len(body_of(1)) * 1.5:
            raise OSError(errno.ENOSPC, "No space left on device")
        return found

    monkeypatch.setattr(writing, "content_of", full)
    monkeypatch.setattr("cf_images.background.outcomes._MAX_UNKNOWN_ERRORS", 0)
    status, text = run("export", "--directory", out)
    assert status == 1
    assert "'big.png' (app.Profile.image): The file cannot be written: No space left on device" in text
    assert files_in(out) == {"a.png": body_of(1)}
    monkeypatch.undo()


def test_a_folder_that_cannot_be_is_said_before_anything_is_done(run: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for arguments in (
        ["--directory", tmp_path / "file"],
        ["--directory", tmp_path / "file/below"],
        ["--directory", tmp_path / "file/below", "--dry-run"],
        [],
        ["--to", ALIAS],
        ["--to", "nowhere"],
        ["--to", LOCAL, "--from", LOCAL],
    ):
        status, text = run("export", *arguments)
        assert status == 2, (arguments, text)
        assert "\n" not in text


def test_a_token_without_permission_ends_it(run: Any, out: Path, settings: Any) -> None:
    stored_at_cloudflare("a.png")
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_TOKEN": "another-token"}
    status, text = run("export", "--directory", out)
    assert status == 2
    assert "another-token" not in text


def test_what_has_failed_and_is_tried_again_is_said(
    run: Any, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored_at_cloudflare("a.png")

    def fail(*_: Any, fill: Any) -> None:
        fill(bool)
        transfers().update(last_error="Cloudflare does not respond.")

    monkeypatch.setattr("cf_images.management.subcommands.export.carry_out", fail)
    status, text = run("export", "--directory", out)
    assert status == 1
    assert "1 file is left. The same command continues." in text
    assert "'a.png' (app.Profile.image): Cloudflare does not respond." in text


def test_what_a_mirror_adds_meanwhile_is_not_left_behind(
    run: Any, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored_at_cloudflare("a.png")
    real = export.carry_out

    def carry_out(*arguments: Any, **options: Any) -> Any:
        problem = real(*arguments, **options)
        stored_at_cloudflare("late.png")
        new_row(source=ALIAS, target=str(out), source_name="late.png", name="late.png").save()
        return problem

    monkeypatch.setattr(export, "carry_out", carry_out)
    status, text = run("export", "--directory", out)
    assert status == 0, text
    assert "1 file came meanwhile; the workers copy it." in text
    assert os.listdir(out) == ["a.png"]


def test_workers_have_a_rate_of_their_own(run: Any, out: Path) -> None:
    status, text = run("export", "--directory", out, "--enqueue", "--rate", "5")
    assert status == 2
    assert 'workers keep to CF_IMAGES["API_RATE"]' in text


def test_queries_grow_with_batches(run: Any, out: Path) -> None:
    Profile.objects.bulk_create([Profile(image=f"{number}.png") for number in range(1000)])
    export = Export(fields.to_place(Profile._meta.get_field("image"), str(out)))  # type: ignore[arg-type]
    with CaptureQueriesContext(connections[databases.ALIAS]) as queries:
        export.fill(is_enqueued=False)
        assert export.outcome(Problems()).pending == 1000
    assert transfers().count() == 1000
    assert len(queries) < 60  # SQLite takes 40 rows at a time


# Processes


_SETTINGS = """
from tests.settings import *
DEBUG = True
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": %r, "OPTIONS": {"timeout": 20,
    "transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=wal"}}}
CF_IMAGES = {**CF_IMAGES, "API_RATE": None, "QUEUE": "none", "API_URL": %r, "DELIVERY_URL": %r,
    "ACCOUNT_ID": %r, "API_TOKEN": %r, "ACCOUNT_HASH": %r}
"""


def test_what_is_killed_continues_and_loses_nothing(tmp_path: Path, emulator: Any, out: Path) -> None:
    (tmp_path / "settings_of_export.py").write_text(
        _SETTINGS
        % (
            *(str(tmp_path / "db.sqlite3"), emulator.api_url, emulator.delivery_url),
            *(emulator.account_id, emulator.api_token, emulator.account_hash),
        )
    )
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "settings_of_export",
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{Path.cwd()}",
    }

    def manage(*arguments: Any) -> list[str]:
        return [sys.executable, "-m", "django", *map(str, arguments)]

    def check(*arguments: Any) -> str:
        done = subprocess.run(
            manage(*arguments), env=environment, check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    check("migrate", "--run-syncdb", "-v0")
    names = [f"{number % 7}/{number}.png" for number in range(150)]
    for number, name in enumerate(names):
        storages[ALIAS].client.upload(io.BytesIO(body_of(number)), image_id=name)
    create = "from tests.app.models import Profile; import sys\n"
    create += f"Profile.objects.bulk_create([Profile(image=name) for name in {names!r}])"
    check("shell", "-v0", "-c", create)
    emulator.faults.set(latency=0.03)
    export = manage("cf_images", "export", "--directory", out, "--threads", 4)
    for files in (20, 60, 100):
        killed = subprocess.Popen(
            export, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while len(list(out.rglob("*.png"))) < files:
            time.sleep(0.01)
            assert killed.poll() is None
        killed.kill()
        killed.wait()
        with closing(sqlite3.connect(tmp_path / "db.sqlite3", isolation_level=None)) as database:
            # As if the leases had ended.
            late = "UPDATE cf_images_transfer SET next_attempt_at = '2020-01-01 00:00:00' WHERE lease <> ''"
            database.execute(late)
    both = [
        subprocess.Popen(export, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(2)
    ]
    for process in both:
        printed, _ = process.communicate(timeout=100)
        assert process.returncode == 0, printed
    assert files_in(out) == {name: body_of(number) for number, name in enumerate(names)}
    assert "150 files equal, byte for byte." in check("cf_images", "verify", "--directory", out, "--bytes")
