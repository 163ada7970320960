"""``cf_images verify``: what is missing or different is found, and nothing else."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import signal
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connections
from django.utils import timezone
from PIL import Image

from cf_images.accounts import find_account
from cf_images.background import pace, timing, worker
from cf_images.background.transfers import new_row
from cf_images.models import State, Transfer
from cf_images.transfer import comparison, fields, verification
from tests.app.models import Photo
from tests.conftest import point_at
from tests.pictures import encoded
from tests.transfer.site import ALIAS, body_of, copied, profile, write_local

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def emulator(cf_images_emulator: Any, settings: Any, tmp_path: Path) -> Any:
    """An account without a pace, and a folder of local files."""
    point_at(settings, cf_images_emulator)
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_RATE": None}
    settings.MEDIA_ROOT = tmp_path / "media"
    pace.clear_cache()
    return cf_images_emulator


@pytest.fixture
def verify(capsys: Any) -> Callable[..., tuple[int, str]]:
    """Run the command; return its exit status and what it printed."""

    def run(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        try:
            call_command("cf_images", "verify", *arguments)
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        except CommandError as error:
            return error.returncode, f"{capsys.readouterr().out}{error}"
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    return run


def client() -> Any:
    account = find_account(ALIAS)
    assert account is not None
    return account.client()


def test_equal_files_are_equal(verify: Any) -> None:
    for number in range(5):
        profile(f"{number}.png", body=body_of(number))
    status, text = verify()
    assert (status, text) == (0, "5 files equal, as the ledger has them.\n")
    assert verify("--bytes") == (0, "5 files equal, byte for byte.\n")


def test_without_rows_there_is_nothing_to_compare(verify: Any) -> None:
    assert verify("--bytes") == (0, "0 files equal, byte for byte.\n")


def test_rows_that_share_a_file_cost_one_request(verify: Any, emulator: Any) -> None:
    profile("a.png")
    for _ in range(4):
        profile("a.png", transfer=False)
    Photo.objects.bulk_create([Photo(file="a.png")])
    before = len(emulator.requests)
    assert verify() == (0, "1 file equal, as the ledger has them.\n")
    assert len(emulator.requests) == before + 1


def test_switched_rows_are_equal_as_well(verify: Any) -> None:
    copied("old.png", name="new.png")
    profile("new.png", transfer=False)
    assert verify("--bytes")[0] == 0


def test_a_missing_image_is_found(verify: Any) -> None:
    profile("a.png")
    profile("b.png", body=body_of(2))
    client().delete("a.png")
    status, text = verify()
    assert status == 1
    assert "1 file missing, different or not in the ledger:" in text
    assert "'a.png' (app.Profile.image): Cloudflare has no image 'a.png'." in text
    assert "b.png" not in text


@pytest.mark.parametrize("private", [False, True])
def test_what_is_missing_is_copied_again_on_request(
    verify: Any, emulator: Any, settings: Any, tmp_path: Path, *, private: bool
) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "REQUIRE_SIGNED_URLS": private}
    for number in range(3):
        name = f"{number}.png"
        profile(name, body=body_of(number))
        write_local(tmp_path / "media", name, body_of(number))
    gone = Transfer.objects.get(source_name="1.png")
    client().delete(gone.remote_id)
    assert "copied again" not in verify()[1]
    status, text = verify("--repair")
    assert status == 1, text
    assert "1 file to be copied again: run the import or export." in text
    assert Transfer.objects.filter(state=State.STORED).count() == 2
    while worker.process_one():
        pass
    assert verify("--bytes") == (0, "3 files equal, byte for byte.\n")
    assert len(emulator.images) == 3
    assert (Transfer.objects.get(pk=gone.pk).remote_id == gone.remote_id) is not private


def test_private_image_that_rows_name_by_its_id_is_not_copied_again(
    verify: Any, settings: Any, emulator: Any
) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "REQUIRE_SIGNED_URLS": True}
    transfer = copied("a.png")
    profile(str(transfer.name), transfer=False)
    client().delete(transfer.remote_id)
    status, text = verify("--repair")
    assert status == 1, text
    assert "0 files to be copied again" in text
    assert Transfer.objects.get().name == transfer.name


def test_a_new_image_that_is_not_found_at_times_is_not_missing(
    verify: Any, emulator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "SECOND_LOOK", timedelta(seconds=0.3))
    profile("a.png", stored_at=timezone.now())
    emulator.faults.plan("stale")
    assert verify() == (0, "1 file equal, as the ledger has them.\n")
    client().delete("a.png")
    assert verify()[0] == 1


def test_a_row_without_an_entry_in_the_ledger_is_found(verify: Any) -> None:
    profile("a.png")
    profile("never.png", transfer=False)
    status, text = verify()
    assert status == 1
    assert "'never.png' (app.Profile.image): It is not in the ledger: it was saved at Cloudflare, or" in text


@pytest.mark.parametrize(
    ("state", "words"), [(State.PENDING, "pending"), (State.REJECTED, "rejected: It is no image.")]
)
def test_a_file_that_is_not_copied_yet_is_found(verify: Any, state: str, words: str) -> None:
    profile("a.png", state=state, last_error="It is no image." if state == State.REJECTED else "")
    status, text = verify()
    assert status == 1
    assert f"Its copy is {words}" in text


def test_a_draft_is_found(verify: Any) -> None:
    profile("a.png")
    client().delete("a.png")
    client().create_direct_upload(image_id="a.png")
    status, text = verify()
    assert status == 1
    assert "It is a draft at Cloudflare" in text


def test_another_size_is_found(verify: Any) -> None:
    transfer = copied("a.png")
    profile("a.png", transfer=False)
    Transfer.objects.filter(pk=transfer.pk).update(size=(transfer.size or 0) + 1)
    status, text = verify()
    assert status == 1
    assert f"It has {transfer.size:,} bytes at Cloudflare, and {(transfer.size or 0) + 1:,} in the" in text


def test_the_size_of_an_image_without_our_metadata_is_that_of_its_original(verify: Any) -> None:
    transfer = copied("a.png")
    profile("a.png", transfer=False)
    client().update("a.png", metadata={})
    assert verify()[0] == 0
    Transfer.objects.filter(pk=transfer.pk).update(size=1)
    assert verify()[0] == 1


def test_a_flipped_byte_is_found_by_its_hash_alone(verify: Any, emulator: Any) -> None:
    body = bytearray(body_of())
    profile("a.png", body=bytes(body))
    body[-20] ^= 1
    replace_bytes("a.png", bytes(body))
    assert verify()[0] == 0
    status, text = verify("--bytes")
    assert status == 1
    assert f"'a.png' (app.Profile.image): Its {len(body):,} bytes are others than those that were" in text


def replace_bytes(name: str, body: bytes) -> None:
    """Give an image other bytes, and let its metadata say what they said before."""
    before = client().details(name)
    client().delete(name)
    client().upload(io.BytesIO(body), image_id=name, metadata=before.metadata)


def large(**options: Any) -> bytes:
    """A picture of more than 25 megapixels, of few bytes."""
    return encoded(Image.new("L", (5200, 5200), 128), "JPEG", quality=30, **options)


def test_a_very_large_image_that_is_encoded_anew_is_no_damage(verify: Any) -> None:
    profile("big.jpg", body=large())
    replace_bytes("big.jpg", large(comment=b"encoded anew"))
    status, text = verify("--bytes")
    assert status == 0
    assert "1 very large image with other bytes than were sent, as Cloudflare may return such images:" in text
    assert "'big.jpg' (app.Profile.image)" in text


@pytest.mark.parametrize("damage", ["flipped", "cut", "other size", "small"])
def test_damage_of_a_very_large_image_is_damage(verify: Any, damage: str) -> None:
    body = large()
    profile("big.jpg", body=body if damage != "small" else body_of())
    changed = {
        "flipped": body[:-20] + bytes([body[-20] ^ 1]) + body[-19:],
        "cut": body[: len(body) // 2],
        "other size": encoded(Image.new("L", (5300, 5200), 128), "JPEG", quality=30),
        "small": body_of(2),
    }[damage]
    replace_bytes("big.jpg", changed)
    status, text = verify("--bytes")
    assert status == 1
    assert "encoded anew" not in text
    assert "could not be checked" not in text


def test_private_images_are_verified_by_their_ids(verify: Any, settings: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "REQUIRE_SIGNED_URLS": True}
    transfer = copied("photos/jane.png")
    profile("photos/jane.png", transfer=False)
    profile(transfer.name or "", transfer=False)
    assert verify("--bytes") == (0, "1 file equal, byte for byte.\n")
    client().update(transfer.remote_id, require_signed_urls=False)
    status, text = verify()
    assert status == 1
    assert "It is public at Cloudflare." in text


def test_a_url_of_this_account_needs_no_entry(verify: Any, emulator: Any) -> None:
    client().upload(io.BytesIO(body_of()), image_id="old.png")
    profile(f"{emulator.delivery_url}/{emulator.account_hash}/old.png/public", transfer=False)
    there = "1 file there, by URL, and not in the ledger: nothing to compare.\n"
    assert verify("--bytes") == (0, f"0 files equal, byte for byte.\n{there}")
    client().delete("old.png")
    assert verify()[0] == 1


def test_a_url_of_another_site_is_said(verify: Any) -> None:
    profile("https://example.com/a.png", transfer=False)
    status, text = verify()
    assert status == 1
    assert "It is the URL of an image elsewhere" in text


def test_hostile_names_are_on_one_line_each(verify: Any) -> None:
    profile("a\nb\x1b[31m.png", transfer=False)
    status, text = verify()
    assert status == 1
    assert "\x1b" not in text
    assert sum("Profile.image" in line for line in text.splitlines()) == 1


def test_two_names_that_differ_only_in_case_are_two(verify: Any) -> None:
    profile("jane.png")
    profile("JANE.png", body=body_of(2))
    client().delete("JANE.png")
    status, text = verify("--bytes")
    assert status == 1
    assert "'JANE.png'" in text
    assert "'jane.png'" not in text


def test_fields_can_be_named(verify: Any) -> None:
    profile("never.png", transfer=False)
    assert verify("app.Photo.file")[0] == 0
    assert verify("app.Profile.image")[0] == 1
    status, text = verify("app.Profile.nothing")
    assert status == 2
    assert "'app.Profile.nothing' is no file field" in text


def test_all_that_is_different_is_in_the_report(verify: Any, tmp_path: Path) -> None:
    for number in range(25):
        profile(f"={number}.png", transfer=False)
    status, text = verify("--report", str(tmp_path / "report.csv"))
    assert status == 1
    assert "… and 5 more" in text
    with (tmp_path / "report.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert len(found) == 25
    verify("--report", str(tmp_path / "report.jsonl"))
    lines = (tmp_path / "report.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[0])["name"] == "=0.png"


# Files, after an export


def exported(folder: Path, name: str, body: bytes, *, source_name: str | None = None) -> Transfer:
    """A file that was exported, and its row in the ledger."""
    row = new_row(
        source=ALIAS,
        target=str(folder),
        source_name=source_name or name,
        name=name,
        field="app.Profile.image",
    )
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(body)
    row.size, row.sha256, row.state = len(body), hashlib.sha256(body).hexdigest(), State.STORED
    row.save()
    return row


def test_exported_files_are_read_and_hashed(verify: Any, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    exported(folder, "a/b.png", body_of())
    profile("a/b.png", transfer=False)
    assert verify() == (0, "1 file equal, as the ledger has them.\n")
    (folder / "a/b.png").write_bytes(body_of()[:-1] + b"x")
    status, text = verify()
    assert status == 1
    assert "bytes are others than those that were copied" in text
    (folder / "a/b.png").unlink()
    status, text = verify("--directory", str(folder))
    assert status == 1
    assert "There is no file of this name." in text


def test_after_an_import_and_an_export_both_sides_are_verified(verify: Any, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    profile("a.png")
    exported(folder, "a.png", body_of())
    assert verify() == (0, "2 files equal, as the ledger has them.\n")
    assert verify("--to", ALIAS) == (0, "1 file equal, as the ledger has them.\n")
    assert verify("--directory", str(folder)) == (0, "1 file equal, as the ledger has them.\n")
    (folder / "a.png").write_bytes(b"x")
    assert verify()[0] == 1
    assert verify("--to", ALIAS)[0] == 0


def test_a_link_in_place_of_an_exported_file_is_no_file_of_the_folder(verify: Any, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    exported(folder, "a.png", body_of())
    profile("a.png", transfer=False)
    (tmp_path / "elsewhere.png").write_bytes(body_of())
    (folder / "a.png").unlink()
    (folder / "a.png").symlink_to(tmp_path / "elsewhere.png")
    status, text = verify()
    assert status == 1
    assert "symbolic link" in text


# Faults


@pytest.mark.parametrize("kind", ["500", "html_502", "reset_before", "cut", "429"])
def test_a_failure_that_passes_is_repeated(verify: Any, emulator: Any, kind: str) -> None:
    for number in range(6):
        profile(f"{number}.png", body=body_of(number))
    emulator.faults.plan(kind, times=2)
    assert verify("--bytes") == (0, "6 files equal, byte for byte.\n")


def test_a_failure_that_lasts_is_said(verify: Any, emulator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "_ATTEMPTS", 2)
    profile("a.png")
    emulator.faults.set(rates={"500": 1.0})
    status, text = verify()
    assert status == 1
    assert "'a.png' (app.Profile.image): It could not be checked:" in text


def test_the_text_of_a_foreign_error_is_not_told(verify: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As botocore has it, with an access key in it."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise RuntimeError("AccessDenied for AKIA-secret")

    monkeypatch.setattr(verification, "_ATTEMPTS", 1)
    monkeypatch.setattr("cf_images.transfer.targets.compare_image", refuse)
    profile("a.png")
    status, printed = verify()
    assert (status, "It could not be checked: RuntimeError" in printed) == (1, True)
    assert "AKIA" not in printed


def test_an_outage_ends_the_verification(verify: Any, emulator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "_ATTEMPTS", 1)
    for number in range(40):
        profile(f"{number}.png")
    emulator.faults.set(rates={"500": 1.0})
    status, text = verify()
    assert status == 2
    assert "20 files in a row could not be checked" in text


def test_a_token_without_permission_ends_the_verification(verify: Any, settings: Any) -> None:
    profile("a.png")
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_TOKEN": "another-token"}
    status, text = verify()
    assert status == 2
    assert "another-token" not in text
    assert "10000" in text


def test_a_database_that_fails_is_one_line(verify: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OperationalError("the disk is\nfull")

    monkeypatch.setattr(fields, "batches", fail)
    assert verify() == (2, "The database fails: the disk is full")


def test_ctrl_c_ends_it_and_says_so(verify: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(verification.Verification, "_take", interrupted)
    profile("a.png")
    status, text = verify()
    assert status == 1
    assert "Stopped before the end; nothing was changed." in text


def test_the_rate_is_kept(verify: Any) -> None:
    for number in range(10):
        profile(f"{number}.png", body=body_of(number))
    began = time.monotonic()
    verify("--rate", "20", "--threads", "8")
    assert time.monotonic() - began >= 9 / 20


def test_wrong_numbers_are_refused(verify: Any) -> None:
    for arguments in (["--rate", "0"], ["--rate", "fast"], ["--threads", "0"], ["--threads", "9999"]):
        status, _ = verify(*arguments)
        assert status in (1, 2)


def test_requests_keep_the_pace_of_the_account(verify: Any, settings: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_RATE": (60, 3)}
    for number in range(14):
        profile(f"{number}.png", body=body_of(number))
    pace.clear_cache()
    began = time.monotonic()
    assert verify("--threads", "8")[0] == 0
    assert time.monotonic() - began >= 0.4  # 20 a second times the share of background requests


def test_workers_touch_no_database(verify: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    main = threading.current_thread()

    def compare(*arguments: Any, **options: Any) -> Any:
        assert threading.current_thread() is not main
        assert not connections.all(initialized_only=True)
        result = comparison.compare_image(*arguments, **options)
        assert not connections.all(initialized_only=True)
        return result

    monkeypatch.setattr("cf_images.transfer.targets.compare_image", compare)
    profile("a.png")
    assert verify("--bytes")[0] == 0
