"""Transfers as workers carry them out: to Cloudflare, from it, and between other storages."""

from __future__ import annotations

import errno
import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import storages

from cf_images.background import circuit_breaker, copying, places
from cf_images.background.copying import CopyOptions
from cf_images.background.transfers import new_row
from cf_images.images import names
from cf_images.models import CircuitBreaker, State, Transfer
from tests.background.conftest import ALIAS, Clock, refuse_credentials, use_background_storage, work
from tests.pictures import picture

pytestmark = pytest.mark.django_db


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "media"
    (found / "photos").mkdir(parents=True)
    return found


def transfer(source: Any, name: str, target: Any = ALIAS, **given: Any) -> Transfer:
    """A row that is due; without ``new_name`` the name is kept."""
    new_name = given.pop("new_name", name)
    row = new_row(source=str(source), target=str(target), source_name=name, name=new_name, **given)
    row.save()
    return row


def settled(row: Transfer) -> Transfer:
    work()
    row.refresh_from_db()
    return row


# To Cloudflare


def test_file_is_copied_under_its_name_and_the_ledger_says_what_it_is(folder: Path, cloudflare: Any) -> None:
    (folder / "photos/jane.png").write_bytes(picture())
    row = settled(transfer(folder, "photos/jane.png"))
    assert (row.state, row.lease, row.next_attempt_at, row.last_error) == (State.STORED, "", None, "")
    assert (row.name, row.remote_id) == ("photos/jane.png", "photos/jane.png")
    assert (row.size, row.width, row.height) == (len(picture()), 64, 48)
    assert row.sha256 == hashlib.sha256(picture()).hexdigest()
    (image,) = cloudflare.images.values()
    assert image.body == picture()
    assert image.metadata["cf_images"]["token"] == row.token
    assert (folder / "photos/jane.png").exists()


def test_private_image_gets_its_id_behind_the_stem(folder: Path, cloudflare: Any, settings: Any) -> None:
    use_background_storage(settings, cloudflare, "private", require_signed_urls=True, background=False)
    (folder / "photos/jane.jpg").write_bytes(picture())  # a PNG
    options = CopyOptions(max_length=100).as_json()
    row = settled(transfer(folder, "photos/jane.jpg", "private", new_name=None, options=options))
    assert row.state == State.STORED
    assert row.name == f"photos/jane~{row.remote_id}.png"
    assert names.is_private(row.name)
    assert storages["private"].open(row.name).read() == picture()


def test_image_that_is_there_already_with_the_same_bytes_counts(folder: Path, cloudflare: Any) -> None:
    """A ledger was lost, or a person has uploaded it by hand."""
    (folder / "a.png").write_bytes(picture())
    storages[ALIAS].client.upload(io.BytesIO(picture()), image_id="a.png")
    row = settled(transfer(folder, "a.png"))
    assert (row.state, row.sha256) == (State.STORED, hashlib.sha256(picture()).hexdigest())
    assert len(cloudflare.images) == 1


def test_another_image_with_the_id_is_left_and_said(folder: Path, cloudflare: Any) -> None:
    (folder / "a.png").write_bytes(picture())
    storages[ALIAS].client.upload(io.BytesIO(picture(seed=2)), image_id="a.png")
    row = settled(transfer(folder, "a.png"))
    assert row.state == State.REJECTED
    assert row.last_error == "Cloudflare has another image with the ID a.png."
    assert cloudflare.images["a.png"].body == picture(seed=2)


@pytest.mark.parametrize("fault", ["500", "reset_before", "reset_after", "cut", "429", "internal_5550"])
@pytest.mark.parametrize("private", [False, True])
def test_fault_costs_only_time(
    folder: Path, cloudflare: Any, settings: Any, clock: Clock, fault: str, *, private: bool
) -> None:
    use_background_storage(settings, cloudflare, "other", require_signed_urls=private, background=False)
    (folder / "a.png").write_bytes(picture())
    row = transfer(folder, "a.png", "other", new_name=None if private else "a.png")
    cloudflare.faults.plan(fault)
    for _ in range(5):
        work()
        clock.advance(minutes=2)
    row.refresh_from_db()
    assert row.state == State.STORED
    assert list(cloudflare.images) == [row.remote_id]


@pytest.mark.parametrize("private", [False, True])
def test_file_that_changes_between_two_attempts_is_sent_anew(
    folder: Path,
    cloudflare: Any,
    settings: Any,
    clock: Clock,
    later: Callable[[float], None],
    *,
    private: bool,
) -> None:
    """The first attempt has stored the old file, and was killed before it wrote that down."""
    use_background_storage(settings, cloudflare, "other", require_signed_urls=private, background=False)
    (folder / "a.png").write_bytes(picture())
    row = transfer(folder, "a.png", "other", new_name=None if private else "a.png")
    settled(row)
    pending = {"state": State.PENDING, "stored_at": None, "size": None, "sha256": ""}
    name = None if private else "a.png"
    Transfer.objects.update(**pending, name=name, next_attempt_at=clock.now(), attempts=1)
    (folder / "a.png").write_bytes(picture(seed=2))
    for _ in range(5):
        clock.advance(minutes=2)
        later(120)
        settled(row)
    ((image_id, image),) = cloudflare.images.items()
    assert (row.state, row.remote_id) == (State.STORED, image_id)
    assert image.body == picture(seed=2)
    assert row.sha256 == hashlib.sha256(image.body).hexdigest()


@pytest.mark.parametrize(
    ("body", "problem"),
    [(b"", "The file is empty."), (b"no image", "JPEG, PNG, GIF"), (None, "There is no file of this name.")],
)
def test_file_that_cannot_be_sent_is_rejected_without_a_request(
    folder: Path, cloudflare: Any, body: bytes | None, problem: str
) -> None:
    if body is not None:
        (folder / "a.png").write_bytes(body)
    row = settled(transfer(folder, "a.png"))
    assert row.state == State.REJECTED
    assert problem in row.last_error
    assert not cloudflare.requests


def test_file_that_cannot_be_read_now_is_tried_a_few_times(
    folder: Path, clock: Clock, cloudflare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> Any:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(copying, "open_source", away)
    row = transfer(folder, "a.png")
    for _ in range(6):
        assert row.state == State.PENDING
        settled(row)
        clock.advance(minutes=1)
    assert row.state == State.REJECTED
    assert row.last_error == "The file cannot be read: Input/output error."


def test_local_failure_does_not_end_the_pause_of_an_account(
    folder: Path, clock: Clock, cloudflare: Any
) -> None:
    """The attempt after the pause was to find out whether Cloudflare responds; it has asked nothing."""
    refuse_credentials()
    clock.advance(minutes=6)
    row = settled(transfer(folder, "missing.png"))
    assert row.state == State.REJECTED
    assert CircuitBreaker.objects.get().paused_until is not None
    account = places.account_of(ALIAS)
    assert account is not None
    admitted = circuit_breaker.admit(account.key, "")
    assert admitted
    assert admitted.probe


def test_refused_format_is_converted_on_request(folder: Path, cloudflare: Any) -> None:
    (folder / "a.bmp").write_bytes(picture("BMP"))
    options = CopyOptions(convert={"bmp": "png"}).as_json()
    row = settled(transfer(folder, "a.bmp", options=options))
    assert (row.state, row.name) == (State.STORED, "a.bmp")
    (image,) = cloudflare.images.values()
    assert image.body.startswith(b"\x89PNG")
    assert row.sha256 == hashlib.sha256(image.body).hexdigest()


def test_row_whose_storage_is_not_in_the_settings_stays_and_says_so(
    folder: Path, cloudflare: Any, caplog: pytest.LogCaptureFixture
) -> None:
    row = settled(transfer("gone", "a.png"))
    assert row.state == State.PENDING
    assert row.last_error.startswith("'gone' is no alias in STORAGES")
    assert not [record for record in caplog.records if record.exc_info]


def test_row_of_a_command_is_left_to_it(folder: Path, cloudflare: Any) -> None:
    (folder / "a.png").write_bytes(picture())
    row = settled(transfer(folder, "a.png", is_enqueued=False))
    assert (row.state, row.attempts) == (State.PENDING, 0)


# From Cloudflare, and between others


def test_original_is_written_under_the_name_of_the_row(tmp_path: Path, cloudflare: Any) -> None:
    name = storages[ALIAS].save("photos/jane.png", io.BytesIO(picture()))
    work()
    row = settled(transfer(ALIAS, name, tmp_path / "out", new_name="back/jane.png"))
    assert (row.state, row.sha256) == (State.STORED, hashlib.sha256(picture()).hexdigest())
    assert (tmp_path / "out/back/jane.png").read_bytes() == picture()
    assert (row.size, row.width, row.height) == (len(picture()), 64, 48)


def test_image_that_is_still_pending_is_read_from_the_database(cloudflare: Any) -> None:
    name = storages[ALIAS].save("photos/jane.png", io.BytesIO(picture()))
    with copying._original(storages[ALIAS], name, storages[ALIAS].client) as file:
        assert file.read() == picture()
    assert not cloudflare.requests


def test_missing_original_is_rejected_after_a_few_attempts(
    tmp_path: Path, clock: Clock, cloudflare: Any
) -> None:
    row = transfer(ALIAS, "no-such.png", tmp_path / "out", new_name="a.png")
    for _ in range(6):
        settled(row)
        clock.advance(minutes=1)
    assert row.state == State.REJECTED
    assert "not found" in row.last_error.lower()
    assert not (tmp_path / "out/a.png").exists()


def test_other_file_in_the_target_is_left(tmp_path: Path, folder: Path) -> None:
    (folder / "a.png").write_bytes(picture())
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.png").write_bytes(b"another")
    row = transfer(folder, "a.png", tmp_path / "out")
    claimed = copying.Claim(row)
    with pytest.raises(copying.ImageRejectedError, match="Another file"):
        copying.copy_file(claimed)
    assert (tmp_path / "out/a.png").read_bytes() == b"another"


def test_full_disk_is_said_and_may_pass(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a.png").write_bytes(picture())

    def full(*_: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(copying, "write_exactly", full)
    row = transfer(folder, "a.png", tmp_path / "out")
    with pytest.raises(copying.TransferError, match="cannot be written: No space left on device"):
        copying.copy_file(copying.Claim(row))


@pytest.mark.parametrize("at_cloudflare", [True, False])
def test_target_that_raises_anything_is_tried_a_few_times_and_its_text_is_not_told(
    folder: Path,
    cloudflare: Any,
    clock: Clock,
    settings: Any,
    caplog: Any,
    monkeypatch: pytest.MonkeyPatch,
    at_cloudflare: bool,
) -> None:
    class ClientError(Exception):
        """As botocore has it."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise ClientError("AccessDenied for AKIA-secret")

    settings.STORAGES = {
        **settings.STORAGES,
        "bucket": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    }
    monkeypatch.setattr(storages["bucket"], "save", refuse)
    (folder / "a.png").write_bytes(picture())
    if at_cloudflare:
        storages[ALIAS].client.upload(io.BytesIO(picture()), image_id="a.png")
    row = transfer(ALIAS if at_cloudflare else folder, "a.png", "bucket")
    for _ in range(8):
        settled(row)
        clock.advance(minutes=10)
    assert (row.state, row.last_error) == (State.REJECTED, "The file cannot be written: ClientError.")
    assert "AKIA" not in caplog.text


# Deletions


def test_copy_is_deleted_and_its_row_stays(folder: Path, clock: Clock, cloudflare: Any) -> None:
    (folder / "a.png").write_bytes(picture())
    row = settled(transfer(folder, "a.png"))
    Transfer.objects.update(state=State.DELETING, next_attempt_at=clock.now())
    for _ in range(3):
        settled(row)
        clock.advance(minutes=6)
    assert (row.state, row.next_attempt_at) == (State.DELETED, None)
    assert not cloudflare.images


def test_deletion_of_a_file_that_is_gone_is_done(tmp_path: Path, clock: Clock) -> None:
    row = transfer(tmp_path / "in", "a.png", tmp_path / "out")
    copying.delete_file(row)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.png").write_bytes(b"x")
    copying.delete_file(row)
    assert not (tmp_path / "out/a.png").exists()


def test_target_that_refuses_a_deletion_is_tried_again_later(
    settings: Any, clock: Clock, caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise RuntimeError("AKIA-secret")

    settings.STORAGES = {
        **settings.STORAGES,
        "bucket": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    }
    monkeypatch.setattr(storages["bucket"], "delete", refuse)
    row = transfer("/in", "a.png", "bucket")
    Transfer.objects.update(state=State.DELETING, attempts=1, next_attempt_at=clock.now())
    settled(row)
    assert (row.state, row.last_error) == (State.DELETING, "The file cannot be deleted: RuntimeError.")
    assert "AKIA" not in caplog.text
