"""Claims and leases: which worker may work on a row, and which may still write to it."""

from __future__ import annotations

import io
import socket
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.storage import storages
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from cf_images.background import chunks, delete, leases, outcomes, retry, timing, upload_from_file, worker
from cf_images.background.leases import Backlog, Claim, LeaseLostError, fix_wrong_times
from cf_images.client import CloudflareImagesClient
from cf_images.exceptions import CloudflareUnavailableError, ImageRejectedError
from cf_images.models import Chunk, State, Upload
from tests.background.conftest import (
    ALIAS,
    Clock,
    claim,
    destination_of,
    is_due,
    use_background_storage,
    work,
)
from tests.pictures import picture

pytestmark = pytest.mark.django_db

Accept = Callable[..., Upload]


def claimed(row: Upload) -> Claim[Upload]:
    taken = claim(row.pk)
    assert taken is not None
    return taken


def test_row_is_claimed_once(accept: Accept) -> None:
    row = accept()
    assert claim(row.pk)
    assert claim(row.pk) is None
    assert not is_due(ALIAS)


@pytest.mark.parametrize("state", [State.STORED, State.REJECTED])
def test_row_with_an_outcome_is_not_claimed(accept: Accept, clock: Clock, state: State) -> None:
    row = accept()
    taken = claimed(row)
    if state == State.STORED:
        outcomes.stored(outcomes.Stored(taken, row.name))
    else:
        outcomes.rejected(taken, ImageRejectedError("no"))
    for days in (0, 1, 365):
        clock.advance(days=days)
        fix_wrong_times()
        assert claim(row.pk) is None
        assert not is_due(ALIAS)
    row.refresh_from_db()
    assert (row.state, row.lease, row.next_attempt_at) == (state, "", None)


def test_row_with_an_expired_lease_is_taken_over_and_its_first_worker_cannot_write(
    accept: Accept, clock: Clock
) -> None:
    row = accept()
    first = claimed(row)
    clock.advance(seconds=49)
    assert claim(row.pk) is None
    clock.advance(seconds=2)
    second = claimed(row)
    for write in (
        lambda: first.write(remote_id="x"),
        lambda: first.renew(),
        lambda: outcomes.stored(outcomes.Stored(first, "x")),
        lambda: outcomes.rejected(first, ImageRejectedError("no")),
        lambda: outcomes.retry_later(first, CloudflareUnavailableError("no")),
        lambda: outcomes.retry_when_resumed(first, CloudflareUnavailableError("no")),
    ):
        with pytest.raises(LeaseLostError):
            write()
    outcomes.deleted(first)
    row.refresh_from_db()
    assert (row.state, row.remote_id, row.lease) == (State.PENDING, row.name, second.row.lease)
    assert Chunk.objects.filter(upload=row).exists()


def test_lease_from_before_the_clock_was_set_back_does_not_block_the_row(
    accept: Accept, clock: Clock
) -> None:
    row = accept()
    assert claim(row.pk)
    clock.advance(seconds=-50)  # as much as two machines may differ
    assert claim(row.pk) is None
    clock.advance(hours=-1, minutes=-5)
    fix_wrong_times()
    assert claim(row.pk)


def test_writing_renews_the_lease(accept: Accept, clock: Clock) -> None:
    row = accept()
    taken = claimed(row)
    for _ in range(3):
        clock.advance(seconds=45)
        taken.renew()
        assert claim(row.pk) is None


def test_request_of_a_worker_ends_before_its_lease(
    accept: Accept, cloudflare: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever timeout the settings give to the requests of visitors."""
    monkeypatch.setattr(timing, "REQUEST_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        use_background_storage(settings, cloudflare, timeout=3600, api_url=url)
        row = accept()
        assert work() == 1
    row.refresh_from_db()
    assert (row.state, row.lease) == (State.PENDING, "")
    assert storages[ALIAS].client._timeout == 3600


def test_worker_that_lost_its_lease_changes_nothing(
    accept: Accept, clock: Clock, cloudflare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sleeps through its lease, another worker stores the image, it wakes up."""
    row = accept()
    send = CloudflareImagesClient.upload
    sent: list[int] = []

    def slow(client: Any, *args: Any, **options: Any) -> Any:
        sent.append(len(sent))
        if len(sent) == 1:
            clock.advance(seconds=200)
            assert work() == 1
        return send(client, *args, **options)

    monkeypatch.setattr(CloudflareImagesClient, "upload", slow)
    work()
    row.refresh_from_db()
    assert row.state == State.STORED
    assert sent == [0, 1]
    assert list(cloudflare.images) == [row.name]


def test_worker_whose_image_was_stored_by_another_continues(
    accept: Accept, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It sleeps through its lease before it reads the bytes."""
    row = accept()
    copy = chunks.copy

    def slow(upload: Upload, *, using: str) -> Any:
        monkeypatch.setattr(chunks, "copy", copy)
        clock.advance(seconds=200)
        assert work() == 1
        return copy(upload, using=using)

    monkeypatch.setattr(chunks, "copy", slow)
    assert worker.process_one()
    row.refresh_from_db()
    assert row.state == State.STORED
    assert "ERROR" not in [record.levelname for record in caplog.records]


def test_image_deleted_while_its_upload_is_in_flight_does_not_survive(
    accept: Accept, clock: Clock, cloudflare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = accept()
    send = CloudflareImagesClient.upload

    def overtaken(client: Any, *args: Any, **options: Any) -> Any:
        delete(row.name, ALIAS)
        assert work() == 0, "the deletion must not overtake the upload"
        return send(client, *args, **options)

    monkeypatch.setattr(CloudflareImagesClient, "upload", overtaken)
    assert worker.process_one()
    assert row.name in cloudflare.images
    work()
    assert not cloudflare.images
    assert not Upload.objects.exists()


@pytest.mark.parametrize("private", [False, True])
def test_image_deleted_after_its_worker_was_killed_does_not_survive(
    accept: Accept, clock: Clock, cloudflare: Any, monkeypatch: pytest.MonkeyPatch, *, private: bool
) -> None:
    row = accept(require_signed_urls=private)

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(outcomes, "stored", killed)
        with pytest.raises(KeyboardInterrupt):
            work()
    assert len(cloudflare.images) == 1
    delete(row.name, ALIAS)
    assert work() == 0
    clock.advance(seconds=51)
    work()
    assert not cloudflare.images


def test_first_404_does_not_count_where_an_upload_was_tried(
    accept: Accept, clock: Clock, cloudflare: Any
) -> None:
    """The upload timed out, the row was deleted, Cloudflare finishes the upload later."""
    row = accept()
    cloudflare.faults.plan("reset_before")
    work()
    delete(row.name, ALIAS)
    work()
    assert Upload.objects.filter(state=State.DELETING).exists()
    storages[ALIAS].client.upload(io.BytesIO(picture()), image_id=row.name)
    clock.advance(minutes=4)
    assert work() == 0
    clock.advance(minutes=2)
    work()
    assert not cloudflare.images
    assert not Upload.objects.exists()


def test_second_404_deletes_the_row(accept: Accept, clock: Clock, cloudflare: Any) -> None:
    row = accept()
    cloudflare.faults.plan("reset_before")
    work()
    delete(row.name, ALIAS)
    for _ in range(2):
        work()
        clock.advance(minutes=6)
    assert not Upload.objects.exists()


@pytest.mark.parametrize("fault", ["500", "429", "html_502", "reset_after", "cut"])
def test_failed_deletion_is_tried_until_it_is_done(
    accept: Accept, clock: Clock, cloudflare: Any, fault: str
) -> None:
    row = accept()
    work()
    delete(row.name, ALIAS)
    cloudflare.faults.plan(fault, times=3)
    for _ in range(8):
        work()
        clock.advance(minutes=6)
    assert not cloudflare.images
    assert not Upload.objects.exists()


def test_rate_limits_make_no_later_pause_longer(accept: Accept, clock: Clock, cloudflare: Any) -> None:
    """While one of ten requests is limited, an image may be limited many times, and is not at fault."""
    row = accept()
    cloudflare.faults.plan("429", times=20)
    for _ in range(20):
        work()
        clock.advance(minutes=2)
    row.refresh_from_db()
    assert (row.state, row.attempts) == (State.PENDING, 1)
    cloudflare.faults.plan("500")
    work()
    row.refresh_from_db()
    assert row.next_attempt_at - clock.now() <= timing.pause(2) * 2
    assert row.attempts == 2, "and the next attempt is not taken for the first"


def test_row_with_an_unforeseen_error_is_tried_later_and_does_not_block_others(
    accept: Accept, cloudflare: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    row, other = accept(), accept()
    send = CloudflareImagesClient.upload

    def fail_for_one(client: Any, *args: Any, **options: Any) -> Any:
        if options["image_id"] == row.name:
            raise ZeroDivisionError("with the token in its message")
        return send(client, *args, **options)

    monkeypatch.setattr(CloudflareImagesClient, "upload", fail_for_one)
    assert work() == 2
    row.refresh_from_db()
    assert (row.state, row.last_error, row.lease) == (State.PENDING, "ZeroDivisionError", "")
    assert other.name in cloudflare.images


def test_row_without_its_bytes_sends_nothing_and_says_why(accept: Accept, cloudflare: Any) -> None:
    row = accept()
    Chunk.objects.all().delete()
    work()
    row.refresh_from_db()
    assert (row.state, row.last_error) == (State.PENDING, "BytesGoneError")
    assert not cloudflare.requests


def test_database_that_refuses_the_bytes_accepts_nothing(
    cloudflare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> str:
        raise DatabaseError("too large a packet")

    monkeypatch.setattr(chunks, "write", refuse)
    with pytest.raises(DatabaseError), transaction.atomic():
        upload_from_file(io.BytesIO(picture()))
    assert not Upload.objects.exists()


def test_lease_outlasts_each_request_and_is_over_within_a_minute() -> None:
    assert timedelta(seconds=timing.REQUEST_SECONDS) < timing.LEASE <= timedelta(seconds=55)


@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize("request_number", [1, 2, 3])
def test_row_of_a_killed_worker_is_taken_over_within_a_minute(
    accept: Accept,
    clock: Clock,
    cloudflare: Any,
    monkeypatch: pytest.MonkeyPatch,
    request_number: int,
    *,
    private: bool,
) -> None:
    """At whatever request it was killed, and however long its earlier ones took."""
    row = accept(require_signed_urls=private)
    cloudflare.faults.places = ("upload",)
    cloudflare.faults.plan("500")  # of a private image: reserve, send, confirm
    renew, renewed = Claim.write, []

    def slow(taken: Claim, **fields: Any) -> None:
        clock.advance(seconds=timing.REQUEST_SECONDS)
        renew(taken, **fields)
        renewed.append(fields)
        if len(renewed) == request_number:
            raise KeyboardInterrupt  # after this it sends a request, and is killed

    with monkeypatch.context() as patch:
        patch.setattr(Claim, "write", slow)
        patch.setattr(Claim, "renew", slow)
        try:
            work()
        except KeyboardInterrupt:
            pass
    row.refresh_from_db()
    if len(renewed) < request_number:
        assert row.state == State.STORED, "a public image takes fewer requests"
        return
    assert row.lease
    assert work() == 0
    clock.advance(seconds=60)
    assert work() >= 1
    for _ in range(5):
        clock.advance(seconds=60)
        work()
    row.refresh_from_db()
    assert row.state == State.STORED
    assert list(cloudflare.images) == [row.remote_id]


def test_retry_of_a_row_in_work_leaves_it_to_its_worker(accept: Accept, cloudflare: Any) -> None:
    row = accept()
    taken = claimed(row)
    retry(Upload.objects.all())
    delete(row.name, ALIAS)
    assert claim(row.pk) is None
    assert not is_due(ALIAS)
    taken.renew()


def test_fresh_lease_outlasts_a_request_and_is_not_renewed(accept: Accept, clock: Clock) -> None:
    taken = claimed(accept())
    with CaptureQueriesContext(connection) as captured:
        taken.renew()
    assert not captured
    clock.advance(seconds=timing.LEASE_FRESH.total_seconds() + 1)
    taken.renew()
    left = taken.rows.get().next_attempt_at - clock.now()
    assert left > timedelta(seconds=timing.REQUEST_SECONDS + 5)


@pytest.mark.parametrize("seconds", [60, -60], ids=["suspended", "clock set back"])
def test_lease_is_renewed_after_a_leap_of_the_clock(accept: Accept, clock: Clock, seconds: int) -> None:
    """A machine that slept must not believe that its lease is fresh."""
    row = accept()
    taken = claimed(row)
    clock.advance(seconds=seconds)
    assert bool(claim(row.pk)) == (seconds > 0)
    if seconds > 0:
        with pytest.raises(LeaseLostError):
            taken.renew()
    else:
        taken.renew()
        assert taken.rows.get().next_attempt_at <= clock.now() + timing.LEASE


def backlog() -> Backlog:
    return Backlog(destination_of(ALIAS).rows)


def test_candidates_are_read_once_for_many_claims(accept: Accept) -> None:
    found, rows = backlog(), {accept().pk for _ in range(5)}
    with CaptureQueriesContext(connection) as captured:
        taken = {claimed.row.pk for _ in rows for claimed in found.take(1)}
    assert taken == rows
    reads = [query["sql"] for query in captured if "ORDER BY" in query["sql"]]
    assert len(reads) == 1


def test_candidates_that_are_gone_are_read_anew(accept: Accept) -> None:
    found, first = backlog(), accept()
    assert found.has_candidates()
    Upload.objects.filter(pk=first.pk).delete()
    second = accept()
    assert [claimed.row for claimed in found.take(1)] == [second]


def test_candidates_of_a_moment_ago_are_read_anew(accept: Accept, clock: Clock) -> None:
    found = backlog()
    for _ in range(3):
        accept()
    assert found.has_candidates()
    Upload.objects.all().delete()
    clock.advance(seconds=2)
    assert not found.has_candidates()


def test_thread_leaves_most_of_a_small_backlog_to_others(accept: Accept) -> None:
    found = backlog()
    for _ in range(16):
        accept()
    assert [len(found.take(10)) for _ in range(8)] == [2] * 8


def test_rows_claimed_together_are_given_back_without_an_attempt(accept: Accept) -> None:
    rows = [accept() for _ in range(3)]
    claims = leases.claim(Upload, [row.pk for row in rows])
    assert len(claims) == 3
    assert leases.claim(Upload, [row.pk for row in rows]) == []
    leases.release_untried(claims[1:])
    untried = Upload.objects.filter(lease="", attempts=0)
    assert {row.pk for row in untried} == {claimed.row.pk for claimed in claims[1:]}


def test_failure_gives_the_other_rows_back(accept: Accept, cloudflare: Any) -> None:
    """They are tried at once, by whichever worker comes first."""
    for _ in range(24):
        accept()
    batch = worker.Batch()
    batch.rows = 3
    cloudflare.faults.plan("500")
    assert worker.process_some(batch).rows == 1
    assert batch.rows == 1
    assert Upload.objects.filter(lease="").count() == 24
    assert Upload.objects.filter(attempts=0).count() == 23


def test_quick_rows_are_taken_together_and_share_a_transaction(accept: Accept, cloudflare: Any) -> None:
    for _ in range(32):
        accept()
    batch = worker.Batch()
    batch.rows = 4
    with CaptureQueriesContext(connection) as captured:
        assert worker.process_some(batch).rows == 4
    stored = [query["sql"] for query in captured if "\"state\" = 'stored'" in query["sql"]]
    assert len(stored) == 1
    assert Upload.objects.filter(state=State.STORED).count() == len(cloudflare.images) == 4
    assert Chunk.objects.count() == 28


def test_image_deleted_while_others_are_stored_with_it_is_deleted_there(
    accept: Accept, cloudflare: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [accept() for _ in range(24)]
    together = outcomes._stored_together

    def meanwhile(images: Any) -> set[int]:
        delete(Upload.objects.get(pk=next(iter(images))).name, ALIAS)
        return together(images)

    monkeypatch.setattr(outcomes, "_stored_together", meanwhile)
    batch = worker.Batch()
    batch.rows = 3
    assert worker.process_some(batch).rows == 3
    monkeypatch.undo()
    assert Upload.objects.filter(state=State.STORED).count() == 2
    for _ in range(3):
        work()
        clock.advance(minutes=6)
    assert len(cloudflare.images) == len(rows) - 1
    assert not Upload.objects.exclude(state=State.STORED).exists()


def test_image_costs_few_queries(accept: Accept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Claim, read, bytes, and a transaction of three that deletes them; the rest is known for a moment."""
    monkeypatch.setattr(worker, "_EMPTY_SECONDS", 60)
    for _ in range(12):
        accept()
    batch = worker.Batch(max_rows=1)
    for _ in range(6):  # by now, it has looked into all other backlogs
        worker.process_some(batch)
    with CaptureQueriesContext(connection) as captured:
        for _ in range(5):
            assert worker.process_some(batch).rows
    sql = [query["sql"] for query in captured if "SAVEPOINT" not in query["sql"]]
    assert len(sql) < 5 * 7
