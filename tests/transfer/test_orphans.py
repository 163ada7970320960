"""``manage.py cf_images orphans``: what it finds, what it deletes, and everything that it leaves alone."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.utils import timezone

from cf_images import conf
from cf_images.background.tables import MissingTablesError
from cf_images.images import metadata
from cf_images.images.metadata import with_quarantine
from cf_images.models import State, Transfer, Upload
from cf_images.transfer import listing, orphans, references
from cf_images.transfer.pacing import PacedRequests
from tests.app.models import Album, Note, Photo
from tests.transfer.accounts import DAY, fill, own

pytestmark = pytest.mark.django_db

UUID = "083eb7b2-5392-4565-b69e-aff66acddd00"
ORPHAN = "avatars/jane-t9f2k0-5p2kd0qj3m8v7x1c.jpg"
USED = "photos/2026/joe-t9f2k0-7x1c5p2kd0qj3m8v.jpg"
ALIAS = "cloudflare_images"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one call printed, and its exit status."""

    out: str
    problems: str
    status: int


def once(_: Any, attempt: Callable[[], Any]) -> Any:
    """Send a request once, instead of stamina."""
    return attempt()


@pytest.fixture(autouse=True)
def _unlimited(cloudflare: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_RATE": None}
    monkeypatch.setattr("cf_images.transfer.orphans.time.sleep", lambda _: None)


@pytest.fixture(autouse=True)
def answers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The answers to questions; without one, a question is a failure."""
    given: list[str] = []
    monkeypatch.setattr("builtins.input", lambda _: given.pop())
    return given


def run(*arguments: str, storage: str | None = ALIAS) -> Run:
    out, problems, status = io.StringIO(), io.StringIO(), 0
    chosen = ("--storage", storage) if storage else ()
    try:
        call_command("cf_images", "orphans", *chosen, *arguments, stdout=out, stderr=problems)
    except SystemExit as stopped:
        status = int(stopped.code or 0)
    except CommandError as error:
        problems.write(str(error))
        status = error.returncode
    return Run(out=out.getvalue(), problems=problems.getvalue(), status=status)


def photo(name: str) -> Photo:
    """Insert a row without opening its image."""
    return Photo.objects.bulk_create([Photo(file=name, width=1, height=1)])[0]


def requested(cloudflare: Any, method: str) -> list[str]:
    return [logged.path for logged in cloudflare.requests if logged.method == method]


@pytest.mark.parametrize("path", ["photos/old/../a1.jpg", "photos/./a1.jpg", "./photos/a1.jpg"])
def test_an_image_that_a_row_names_by_another_path_is_in_use(cloudflare: Any, path: str) -> None:
    fill(cloudflare, [("photos/a1.jpg", own())])
    photo(path)
    found = run("--delete", "--noinput", "--max-delete", "100", "--no-text-scan")
    assert (found.status, list(cloudflare.images)) == (0, ["photos/a1.jpg"])


def test_an_account_in_which_all_is_in_use_is_clean(cloudflare: Any) -> None:
    fill(cloudflare, [(USED, own())])
    photo(USED)
    found = run()
    assert (found.status, found.problems) == (0, "")
    assert found.out == (
        "cloudflare_images, site tests/test: 1 image listed, 1 in use, 0 not in use and younger than 7 days, "
        "0 orphans.\n"
    )


def test_a_list_that_may_be_incomplete_is_not_clean(cloudflare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MAX_LISTED", 3)
    for number in range(4):
        fill(cloudflare, [(f"{number}.jpg", own(uploaded=1_700_000_000))])
        photo(f"{number}.jpg")
    found = run()
    assert "The list may be incomplete" in found.out
    assert found.status == 1


def test_orphans_and_rows_without_an_image_are_listed_and_nothing_is_changed(cloudflare: Any) -> None:
    fill(cloudflare, [(USED, own()), (ORPHAN, own()), ("new.jpg", own(days=6.9))])
    fill(cloudflare, [("theirs", own(site="tests/prod")), ("foreign", {})])
    row = photo("photos/gone.jpg")
    photo("photos/gone.jpg")
    photo(USED)
    found = run()
    assert found.status == 1
    assert "3 images listed, 1 in use, 1 not in use and younger than 7 days, 1 orphan." in found.out
    assert "2 other images of the account" in found.out
    assert f"orphan: {ORPHAN} (uploaded 20" in found.out
    assert (
        f"missing: photos/gone.jpg (app.Photo.file, row {row.pk} and 1 more): Cloudflare has no such image\n"
        in found.out
    )
    assert {logged.method for logged in cloudflare.requests} == {"GET"}


def test_default_age_is_a_week_and_another_can_be_given(cloudflare: Any) -> None:
    fill(cloudflare, [(ORPHAN, own(days=2))])
    assert run().status == 0
    assert run("--older-than", "3").status == 0
    assert run("--older-than", "1d").status == 1
    assert run("--older-than", "47h").status == 1


def test_the_time_of_the_upload_is_also_cloudflares(cloudflare: Any) -> None:
    fill(cloudflare, [(ORPHAN, own())])
    cloudflare.images._database.rows("UPDATE image SET uploaded = ?", time.time())
    assert run().status == 0  # accepted long ago, and sent today


@pytest.mark.parametrize("age", ["0", "59m", "-1", "1.5", "", "week", "99999999999"])
def test_wrong_age_is_named(age: str) -> None:
    found = run(f"--older-than={age}")
    assert found.status in (1, 2)
    assert repr(age) in found.problems


@pytest.mark.parametrize("percent", ["-1", "101", "nan", "half"])
def test_wrong_percentage_is_named(percent: str) -> None:
    assert repr(percent) in run(f"--max-delete={percent}").problems


def used_by_upload(name: str, state: State = State.PENDING) -> None:
    Upload.objects.create(name=name, remote_id=name, state=state, created_at=timezone.now())


def used_by_transfer(name: str) -> None:
    Transfer.objects.create(
        key=name, name=name, storage=ALIAS, source="default", source_name="x", created_at=timezone.now()
    )


USES: dict[str, Callable[[], object]] = {
    "a file field": lambda: photo(ORPHAN),
    "a file field of another storage": lambda: Album.objects.create(cover=ORPHAN),
    "its URL in a file field": lambda: photo(f"https://imagedelivery.net/hash/{ORPHAN}/public"),
    "an upload": lambda: used_by_upload(ORPHAN),
    "a deletion that a worker carries out": lambda: used_by_upload(ORPHAN, State.DELETING),
    "a transfer": lambda: used_by_transfer(ORPHAN),
    "a name in a text": lambda: Note.objects.create(title=f"({ORPHAN})"),
    "a URL in rich text": lambda: Note.objects.create(
        text=f'<img src="https://img.example.com/cdn-cgi/imagedelivery/h/{ORPHAN}/w=1,h=2?a=1&amp;b=2">'
    ),
    "an escaped URL in a text": lambda: Note.objects.create(
        text=json.dumps({"url": f"https://imagedelivery.net/h/{ORPHAN}/public"}).replace("/", "\\/")
    ),
    "an encoded URL in JSON": lambda: Note.objects.create(data=[{"href": ORPHAN.replace("/", "%2F")}]),
}


@pytest.mark.parametrize("use", USES)
def test_no_image_in_use_is_an_orphan(cloudflare: Any, use: str) -> None:
    fill(cloudflare, [(ORPHAN, own())])
    assert run().status == 1
    USES[use]()
    found = run("--delete", "--noinput", "--max-delete", "100")
    assert "orphan:" not in found.out
    assert ORPHAN in cloudflare.images


def test_private_images_are_in_use_by_their_ids_and_by_their_names(cloudflare: Any) -> None:
    in_row = "avatars/jane-t9f2k0~5p2kd0qj3m8v7x1c.jpg"
    fill(cloudflare, [(UUID, own(name="avatars/jane.jpg")), (UUID.replace("0", "1"), own(name=in_row))])
    photo(f"avatars/jane~{UUID}.jpg")
    photo(in_row)
    found = run()
    assert "2 images listed, 2 in use" in found.out
    assert found.status == 0


def test_texts_are_not_read_on_request(cloudflare: Any) -> None:
    fill(cloudflare, [(ORPHAN, own())])
    Note.objects.create(text=ORPHAN)
    assert run().status == 0
    assert run("--no-text-scan").status == 1


def test_default_images_of_fields_are_in_use(cloudflare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(cloudflare, [("defaults/nobody.png", own())])
    assert run().status == 1
    monkeypatch.setattr(Photo._meta.get_field("file"), "get_default", lambda: "defaults/nobody.png")
    assert run().status == 0


def test_deletes_after_a_confirmation_and_only_orphans(cloudflare: Any, answers: list[str]) -> None:
    fill(cloudflare, [(ORPHAN, own()), (USED, own()), ("new", own(days=1)), ("theirs", own(site="x"))])
    photo(USED)
    answers[:] = ["n"]
    found = run("--delete", "--max-delete", "50")
    assert (found.status, found.problems) == (1, "Nothing is deleted.\n")
    assert len(cloudflare.images) == 4
    answers[:] = ["y"]
    found = run("--delete", "--max-delete", "50")
    assert found.status == 0
    assert f"deleted: {ORPHAN}\n1 deleted.\n" in found.out
    assert set(cloudflare.images) == {USED, "new", "theirs"}


def test_nothing_is_deleted_without_a_person_at_the_keyboard(
    cloudflare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_terminal(_: str) -> str:
        raise EOFError

    fill(cloudflare, [(ORPHAN, own())])
    monkeypatch.setattr("builtins.input", no_terminal)
    assert run("--delete", "--max-delete", "100").status == 1
    assert ORPHAN in cloudflare.images


def test_nothing_is_deleted_above_the_allowed_share(cloudflare: Any) -> None:
    fill(cloudflare, [(f"orphan-{number}", own()) for number in range(6)])
    fill(cloudflare, [(f"used-{number}", own()) for number in range(94)])
    for number in range(94):
        photo(f"used-{number}")
    found = run("--delete", "--noinput")
    assert found.status == 1
    assert "6 images would be 6.00 % of those listed, and --max-delete is 5." in found.problems
    assert len(cloudflare.images) == 100
    assert run("--delete", "--noinput", "--max-delete", "6").status == 0
    assert len(cloudflare.images) == 94


def test_an_image_that_is_used_after_the_search_is_not_deleted(cloudflare: Any, answers: list[str]) -> None:
    class Late(list[str]):
        def pop(self, *_: Any) -> str:
            Note.objects.create(text=f"now in use: {ORPHAN}")
            return "y"

    fill(cloudflare, [(ORPHAN, own())])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("builtins.input", lambda _: Late().pop())
        found = run("--delete", "--max-delete", "100")
    assert f"left: {ORPHAN}: it is in use by now\n" in found.out
    assert found.status == 1
    assert ORPHAN in cloudflare.images


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (own(site="tests/prod"), "it belongs to another site"),
        (own(days=1), "it was uploaded again"),
        (with_quarantine(own(), 5), "another run has changed its tag"),
        ({}, "this package has not stored it"),
    ],
)
def test_each_image_is_confirmed_again_right_before_it_is_deleted(
    cloudflare: Any, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any], reason: str
) -> None:
    fill(cloudflare, [(ORPHAN, own())])

    def change(_: str) -> str:
        cloudflare.images.update(ORPHAN, metadata=changed)
        return "y"

    monkeypatch.setattr("builtins.input", change)
    found = run("--delete", "--max-delete", "100")
    assert f"left: {ORPHAN}: {reason}\n" in found.out
    assert ORPHAN in cloudflare.images


def test_what_is_listed_and_not_there_is_no_orphan(cloudflare: Any) -> None:
    fill(cloudflare, [(ORPHAN, own())])
    cloudflare.faults.set(stale_seconds=10**9)
    cloudflare.faults.plan("stale")
    assert run().status == 0
    assert run().status == 1


def test_a_row_is_missing_its_image_only_after_two_responses(
    cloudflare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    fill(cloudflare, [("foreign.jpg", {})])
    photo("foreign.jpg")
    monkeypatch.setattr("cf_images.transfer.orphans.time.sleep", slept.append)
    cloudflare.faults.set(stale_seconds=10**9)
    cloudflare.faults.plan("stale")
    assert run().status == 0
    assert slept == [orphans.SECOND_LOOK_SECONDS]


def test_rows_of_images_without_metadata_are_found_by_one_list(cloudflare: Any) -> None:
    fill(cloudflare, [(f"foreign/{number}.jpg", {}) for number in range(30)])
    for number in range(31):
        photo(f"foreign/{number}.jpg")
    found = run()
    assert found.out.count("missing:") == 1
    assert "missing: foreign/30.jpg" in found.out
    assert len(cloudflare.requests) < 10


def test_pending_and_foreign_images_are_not_missing(cloudflare: Any) -> None:
    for state in (State.PENDING, State.REJECTED):
        used_by_upload(f"{state}.jpg", state)
        photo(f"{state}.jpg")
    photo("https://images.example.com/hash/x.jpg/public")
    assert run().status == 0


def test_unfinished_direct_upload_and_impossible_name_are_missing_images(images: Any) -> None:
    images.client.create_direct_upload(image_id="draft.jpg")
    photo("draft.jpg")
    photo("/etc/passwd")
    found = run().out
    assert "missing: draft.jpg (app.Photo.file, row 1): its upload was never finished\n" in found
    assert "missing: /etc/passwd (app.Photo.file, row 2): it can be no image's name\n" in found


def test_quarantine_tags_first_and_deletes_later(cloudflare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {**own(filename="jäne.jpg"), "project": {"a": 1}}
    fill(cloudflare, [(ORPHAN, before)])
    chosen = ("--delete", "--quarantine", "--noinput", "--max-delete", "100")
    found = run(*chosen)
    assert found.status == 1
    assert f"quarantined: {ORPHAN}\n1 quarantined.\n" in found.out
    tagged = cloudflare.images[ORPHAN].metadata
    assert metadata.quarantined_of(tagged)
    assert with_quarantine(tagged, None) == before
    found = run(*chosen)
    assert ", quarantined 20" in found.out
    assert cloudflare.images[ORPHAN].metadata == tagged
    cloudflare.images.update(
        ORPHAN, metadata=with_quarantine(tagged, int(datetime.now(UTC).timestamp()) - 8 * DAY)
    )
    assert run("--quarantine").status == 1  # without --delete
    assert ORPHAN in cloudflare.images
    assert run(*chosen).status == 0
    assert ORPHAN not in cloudflare.images


def test_an_image_in_use_again_loses_its_tag(cloudflare: Any) -> None:
    before = own(filename="jane.jpg")
    fill(cloudflare, [(ORPHAN, with_quarantine(before, 5))])
    photo(ORPHAN)
    assert run().status == 0
    assert metadata.quarantined_of(cloudflare.images[ORPHAN].metadata) == 5
    found = run("--quarantine")
    assert f"released: {ORPHAN}\n1 released.\n" in found.out
    assert found.status == 0
    assert cloudflare.images[ORPHAN].metadata == before


def test_metadata_without_room_for_a_tag_are_left_alone(cloudflare: Any) -> None:
    full = {**own(), "text": ""}
    full["text"] = "x" * (1024 - len(metadata.encode(full).encode()))
    fill(cloudflare, [(ORPHAN, full)])
    found = run("--quarantine")
    assert f"left: {ORPHAN}: Its metadata leave no room for a tag" in found.out
    assert cloudflare.images[ORPHAN].metadata == full


def fail(*_: Any, **__: Any) -> None:
    raise OperationalError("the server is\ndown")


def test_nothing_is_deleted_where_a_table_cannot_be_read(
    cloudflare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(cloudflare, [(ORPHAN, own())])
    monkeypatch.setattr(references, "_text", fail)
    photo(USED)
    found = run("--delete", "--noinput", "--max-delete", "100")
    assert found.status == 2
    assert found.problems.endswith("(database default) cannot be read: the server is down")
    assert ORPHAN in cloudflare.images


def test_nothing_is_deleted_where_a_table_is_missing(cloudflare: Any) -> None:
    fill(cloudflare, [(ORPHAN, own())])
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE app_note")
    found = run("--delete", "--noinput", "--max-delete", "100")
    assert found.status == 2
    assert "app.Note cannot be read: the database default has no table app_note." in found.problems
    assert ORPHAN in cloudflare.images


def test_missing_tables_of_this_package_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_for(*_: Any) -> None:
        raise MissingTablesError("run manage.py migrate")

    monkeypatch.setattr(PacedRequests, "send", fail_for)
    found = run()
    assert (found.status, found.problems) == (2, "run manage.py migrate")


def test_refused_credentials_end_the_search(settings: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_TOKEN": "wrong"}
    found = run()
    assert found.status == 2
    assert "10000" in found.problems
    assert "wrong" not in found.problems


def test_an_error_about_one_image_is_a_line_and_the_others_go_on(
    cloudflare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cf_images.client.base.RETRYING", once)
    fill(cloudflare, [("orphan-1", own()), ("orphan-2", own())])

    def break_first(_: str) -> str:
        cloudflare.faults.plan("500")
        return "y"

    monkeypatch.setattr("builtins.input", break_first)
    found = run("--delete", "--max-delete", "100")
    assert "left: orphan-1: " in found.out
    assert "deleted: orphan-2\n" in found.out
    assert found.status == 1


def test_sites_of_all_aliases_of_an_account_are_searched(cloudflare: Any, settings: Any) -> None:
    settings.STORAGES = {
        **settings.STORAGES,
        "renditions": {
            "BACKEND": "cf_images.storage.CloudflareImagesStorage",
            "OPTIONS": {"site": "tests/renditions"},
        },
    }
    conf.clear_cache()
    fill(cloudflare, [("a", own()), ("b", own(site="tests/renditions"))])
    assert "2 images listed" in run(storage=None).out
    assert "cloudflare_images, site tests/test: 1 image listed" in run(storage=ALIAS).out


@pytest.mark.parametrize("extension", ["csv", "jsonl"])
def test_report_has_all_findings_and_outcomes(cloudflare: Any, tmp_path: Path, extension: str) -> None:
    hostile = "=HYPERLINK(1)\n.jpg"
    fill(cloudflare, [(f"orphan-{number}", own()) for number in range(25)] + [(hostile, own())])
    photo("gone.jpg")
    path = tmp_path / f"report.{extension}"
    found = run("--delete", "--noinput", "--max-delete", "100", "--report", str(path))
    assert "orphan: … and 6 more; --report FILE lists all.\n" in found.out
    text = path.read_text(encoding="utf-8")
    if extension == "csv":
        records: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(text)))
        assert {record["image"] for record in records} >= {f"'{hostile}"}
    else:
        records = [json.loads(line) for line in text.splitlines()]
    kinds = [record["kind"] for record in records]
    assert (kinds.count("orphan"), kinds.count("missing"), kinds.count("deleted")) == (26, 1, 26)


@pytest.mark.parametrize("path", ["report.pdf", "no/such/folder/report.csv"])
def test_a_report_that_cannot_be_written_is_said_before_anything_is_done(
    cloudflare: Any, tmp_path: Path, path: str
) -> None:
    fill(cloudflare, [(ORPHAN, own())])
    found = run("--delete", "--noinput", "--max-delete", "100", "--report", str(tmp_path / path))
    assert found.status == 2
    assert path in found.problems
    assert cloudflare.requests == []


def test_json_is_one_document(cloudflare: Any) -> None:
    fill(cloudflare, [(ORPHAN, own())])
    document = json.loads(run("--json").out)
    (account,) = document["accounts"]
    assert account["storage"] == ALIAS
    assert account["listed"] == 1
    assert account["orphans"][0]["image_id"] == ORPHAN
    assert run("--json", "--delete").status == 2


def test_an_alias_that_is_no_storage_of_cloudflare_is_named() -> None:
    assert "default" in run(storage="default").problems


def test_a_second_run_at_the_same_time_does_no_harm(cloudflare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(cloudflare, [(ORPHAN, own())])

    def other_run(_: str) -> str:
        cloudflare.images._database.rows("DELETE FROM image WHERE image_id = ?", ORPHAN)
        return "y"

    monkeypatch.setattr("builtins.input", other_run)
    assert run("--delete", "--max-delete", "100").status == 0
    assert requested(cloudflare, "DELETE") == []


def test_databases_that_cannot_be_read_again_end_the_deletion(
    cloudflare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(cloudflare, [(ORPHAN, own())])
    photo(USED)

    def lose_the_database(_: str) -> str:
        monkeypatch.setattr(references, "_text", fail)
        return "y"

    monkeypatch.setattr("builtins.input", lose_the_database)
    found = run("--delete", "--max-delete", "100")
    assert found.status == 2
    assert "cannot be read: the server is down" in found.problems
    assert ORPHAN in cloudflare.images


def test_a_default_that_cannot_be_called_ends_the_search(
    cloudflare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Photo._meta.get_field("file"), "get_default", fail)
    found = run()
    assert found.status == 2
    assert "The default of an image field cannot be read: the server is down" in found.problems


def test_an_interruption_ends_in_one_line(cloudflare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: str) -> str:
        raise KeyboardInterrupt

    fill(cloudflare, [(ORPHAN, own())])
    monkeypatch.setattr("builtins.input", interrupt)
    found = run("--delete", "--max-delete", "100")
    assert (found.status, found.problems) == (1, "Stopped. The same command goes on.")


def test_a_missing_credential_is_named(settings: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "ACCOUNT_ID": None}
    settings.CF_ACCT_ID = None
    found = run()
    assert found.status == 2
    assert "CF_ACCT_ID" in found.problems


def test_a_storage_without_a_site_is_refused(
    cloudflare: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE")
    settings.ROOT_URLCONF, settings.ENV_NAME = "", ""
    found = run("--delete", "--noinput")
    assert found.status == 2
    assert "cloudflare_images has no site" in found.problems
    assert cloudflare.requests == []


def test_an_outage_ends_the_search(cloudflare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cf_images.client.base.RETRYING", once)
    monkeypatch.setattr("cf_images.transfer.pacing._MAX_FAILURES", 2)
    fill(cloudflare, [(f"orphan-{number}", own()) for number in range(5)])
    cloudflare.faults.set(rates={"500": 1.0})
    assert run().status == 2
    cloudflare.faults.set(rates={})

    def begin_outage(_: str) -> str:
        cloudflare.faults.set(rates={"500": 1.0})
        return "y"

    monkeypatch.setattr("builtins.input", begin_outage)
    found = run("--delete", "--max-delete", "100")
    assert found.status == 1
    assert "left: orphan-0: " in found.out
    assert "The rest is left: " in found.problems
    assert len(cloudflare.images) == 5


def test_an_image_without_a_clear_response_is_neither_an_orphan_nor_missing(
    cloudflare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cf_images.client.base.RETRYING", once)
    fill(cloudflare, [(ORPHAN, own())])
    photo("gone.jpg")
    counted = orphans.Search._count_others

    def fail_next(search: Any, found: Any) -> Any:
        others = counted(search, found)
        cloudflare.faults.plan("500", times=2)
        return others

    monkeypatch.setattr(orphans.Search, "_count_others", fail_next)
    found = run("--delete", "--noinput")
    assert found.status == 1
    assert f"unclear: {ORPHAN}: " in found.out
    assert "unclear: gone.jpg: " in found.out
    assert "missing:" not in found.out
    assert ORPHAN in cloudflare.images


def test_requests_keep_the_pace_of_the_account(cloudflare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    slots: list[str] = []
    monkeypatch.setattr(
        "cf_images.background.pace.Pace.acquire", lambda pace, **_: slots.append(pace._account_key) or 0.0
    )
    fill(cloudflare, [(ORPHAN, own())])
    run("--delete", "--noinput", "--max-delete", "100")
    assert len(slots) == len(cloudflare.requests) == 5
