"""The page about incidents: each one is brought about, says what the page quotes, and ends as it says."""

from __future__ import annotations

import errno
import io
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import storages
from django.core.management import call_command
from django.utils import timezone

from cf_images.background import heartbeat, retry, tables, upload_from_url
from cf_images.background.rows import uploads
from cf_images.models import Chunk, State, Upload
from tests.background import conftest as background
from tests.background import databases
from tests.background.conftest import Clock, use_background_storage, work
from tests.docs import pages
from tests.docs.alerts import firing

PAGE = "how-to/incidents.md"
needs_database = pytest.mark.django_db(transaction=True)

Accept = Callable[..., Upload]
# The fixtures of background uploads.
accept, cloudflare, fresh_process = background.accept, background.cloudflare, background.fresh_process
clock, source = background.clock, background.source


def is_quoted(beginning: str, text: str) -> bool:
    """Return whether ``text`` has the block of the page that begins so; ``…`` stands for anything."""
    quoted = pages.block(PAGE, beginning).text.rstrip("\n")
    return bool(re.search(".*?".join(map(re.escape, quoted.split("…"))), text, re.S))


def said(caplog: pytest.LogCaptureFixture) -> str:
    """Return the warnings and errors of the log, one a line."""
    return "\n".join(record.message for record in caplog.records if record.levelno >= logging.WARNING)


def command(*arguments: str) -> tuple[str, str, int]:
    """Return what a command prints, its problems, and its exit status."""
    out, problems, status = io.StringIO(), io.StringIO(), 0
    try:
        call_command("cf_images", *arguments, stdout=out, stderr=problems)
    except SystemExit as stopped:
        status = int(stopped.code or 0)
    return out.getvalue(), problems.getvalue(), status


def test_every_quoted_message_is_brought_about_here() -> None:
    tests = Path(__file__).read_text(encoding="utf-8")
    for block in pages.blocks(PAGE, "text"):
        assert f'"{block.text.rstrip()[:20]}' in tests, block.text


@needs_database
def test_cloudflare_is_down(
    accept: Accept, cloudflare: Any, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        accept()
    cloudflare.faults.rates = {"500": 1.0}
    for _ in range(60):
        work()
        clock.advance(seconds=5)
        if said(caplog):
            break
    assert is_quoted("Uploads to cloudflare_images are paused until …: Internal", said(caplog))
    assert command("uploads")[2] == 1
    assert firing() == {"Unavailable"}
    before = len(cloudflare.requests)
    clock.advance(seconds=121)
    work()
    assert len(cloudflare.requests) == before + 1, "a single request finds out"
    cloudflare.faults.rates = {}
    clock.advance(seconds=121)
    work()
    assert is_quoted("Uploads to cloudflare_images resume after", said(caplog))
    clock.advance(minutes=60)
    work()
    assert len(cloudflare.images) == 3
    assert command("uploads")[2] == 0
    assert firing() == set()


@needs_database
def test_token_is_refused(
    accept: Accept, cloudflare: Any, settings: Any, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    row = accept()
    use_background_storage(settings, cloudflare, api_token="revoked")
    work()
    assert is_quoted("Uploads to cloudflare_images are paused until …: Authentication", said(caplog))
    assert firing() == {"TokenRefused"}
    row.refresh_from_db()
    assert row.state == State.PENDING
    out, _, status = command("resume")
    assert is_quoted("Uploads to cloudflare_images are paused until … (since", out)
    assert status == 0
    work()
    assert firing() == {"TokenRefused"}, "the token is still that one"
    use_background_storage(settings, cloudflare)
    work()
    assert list(cloudflare.images) == [row.name], "another token is tried at once"
    clock.advance(minutes=10)
    work()
    assert firing() == set()


@needs_database
def test_rate_is_limited(
    accept: Accept, cloudflare: Any, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    row = accept()
    cloudflare.faults.retry_after = 60
    cloudflare.faults.plan("429")
    work()
    assert is_quoted("Uploads to cloudflare_images are paused until …: Cloudflare asks", said(caplog))
    assert firing() == {"RateLimited"}
    clock.advance(seconds=61)
    work()
    assert list(cloudflare.images) == [row.name]
    assert firing() == set()


@needs_database
def test_no_worker_is_active(accept: Accept, cloudflare: Any, clock: Clock) -> None:
    accept()
    clock.advance(minutes=6)
    _, problems, status = command("uploads")
    assert is_quoted("No worker has processed anything since", problems.replace(" yet,", " since ever,"))
    assert status == 1
    assert firing() == {"NoWorker"}
    out, _, status = command("process")
    assert is_quoted("1 image stored.", out)
    assert (status, command("uploads")[2]) == (0, 0)
    assert firing() == set()


@needs_database
def test_a_backlog_grows(accept: Accept, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    accept()
    monkeypatch.setattr(heartbeat, "last_seen", clock.now)
    clock.advance(minutes=11)
    _, problems, status = command("uploads")
    assert is_quoted("The oldest pending image is … old", problems)
    assert (problems.count("\n"), status) == (1, 1), "and nothing else"
    assert firing() == set()
    clock.advance(hours=1)
    assert firing() == {"Backlog"}


@needs_database
def test_cloudflare_refuses_an_image(
    accept: Accept, cloudflare: Any, caplog: pytest.LogCaptureFixture
) -> None:
    row = accept()
    Upload.objects.filter(pk=row.pk).update(metadata={"x": "y" * 2000})
    work()
    assert is_quoted("Cloudflare rejects the image avatars/….png", said(caplog))
    out, problems, status = command("uploads")
    assert is_quoted("Rejected; the bytes are still here", out)
    assert (problems, status) == ("1 image is rejected; the limit is 0.\n", 1)
    assert firing() == {"Rejected"}
    Upload.objects.update(metadata=row.metadata)  # what was wrong
    assert retry(Upload.objects.all()) == 1
    work()
    assert list(cloudflare.images) == [row.name]
    assert firing() == set()


@needs_database
def test_images_of_another_account(accept: Accept, cloudflare: Any, settings: Any) -> None:
    row = accept()
    before = settings.STORAGES
    use_background_storage(settings, cloudflare, account_id="another")
    work()
    assert not cloudflare.requests
    assert is_quoted(
        "Images are pending for the storage 'cloudflare_images' that belong", command("uploads")[1]
    )
    assert firing() == {"Unprocessable"}
    settings.STORAGES = {"default": before["default"]}
    assert is_quoted("Images are pending for the storage 'cloudflare_images', which", command("uploads")[1])
    settings.STORAGES = before
    work()
    assert list(cloudflare.images) == [row.name]
    assert firing() == set()


@needs_database
def test_a_disk_of_local_files_is_full(
    cloudflare: Any, settings: Any, source: str, clock: Clock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings.MEDIA_ROOT = tmp_path
    allowed = {"UPLOAD_URL_SCHEMES": ["http"], "UPLOAD_URL_LOCAL_HOSTS": ["127.0.0.1"]}
    settings.CF_IMAGES = {**settings.CF_IMAGES, **allowed}
    name = upload_from_url(source, storage="default")

    def full(*_: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(type(storages["default"]), "save_exactly", full)
        work()
    assert is_quoted("  ….png (default): for …", command("uploads")[0])
    assert list(tmp_path.iterdir()) == []
    assert command("resume")[2] == 0
    work()
    assert (tmp_path / name).exists()


def test_tables_are_missing(
    tmp_path: Path,
    django_db_blocker: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    @tables.reported
    def task() -> None:
        uploads().count()

    with (
        django_db_blocker.unblock(),
        databases.sqlite(tmp_path) as chosen,
        databases.use(chosen, monkeypatch),
    ):
        call_command("migrate", "cf_images", "zero", database=databases.ALIAS, verbosity=0)
        task()
        assert firing() == {"FiguresMissing"}
    assert is_quoted("No image is uploaded. The database", said(caplog).replace("'other'", "'default'"))
    assert is_quoted("The figures of Cloudflare Images cannot", said(caplog))


@needs_database
def test_a_backup_is_restored_and_a_public_image_is_recognized(accept: Accept, cloudflare: Any) -> None:
    row = accept()
    chunk = Chunk.objects.get(upload=row)
    work()
    Upload.objects.filter(pk=row.pk).delete()  # and the backup, in which it is pending
    row.save(force_insert=True)
    chunk.save(force_insert=True)
    work()
    row.refresh_from_db()
    assert row.state == State.STORED
    assert list(cloudflare.images) == [row.name]
    assert row.stored_at
    assert row.stored_at <= timezone.now()
