"""Unusual conditions in projects, databases and queues: none of them loses bytes or loops."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import DatabaseError, connection, connections, transaction

from cf_images.background import destinations, process, upload_from_url, worker
from cf_images.client import CloudflareImagesClient
from cf_images.models import Chunk, State, Upload
from tests.background.conftest import use_background_storage, work
from tests.pictures import picture

Accept = Callable[..., Upload]


@pytest.mark.django_db(transaction=True)
def test_savepoint_that_is_rolled_back_takes_its_image_with_it(
    accept: Accept, cloudflare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages: list[int | None] = []
    monkeypatch.setattr("cf_images.background.enqueue.notify", messages.append)
    with transaction.atomic():
        kept = accept()
        with transaction.atomic():
            accept()
            transaction.set_rollback(True)
    assert messages == [kept.pk]
    assert [row.pk for row in Upload.objects.all()] == [kept.pk]
    assert {chunk.upload_id for chunk in Chunk.objects.all()} == {kept.pk}
    work()
    assert list(cloudflare.images) == [kept.name]


@pytest.fixture
def small_database() -> Iterator[None]:
    """A database that takes no values of more than 100 KB."""
    connection.ensure_connection()
    before = connection.connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 100_000)
    yield
    connection.connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, before)


@pytest.mark.django_db(transaction=True)
def test_database_that_refuses_the_bytes_takes_no_row_either(
    small_database: None, accept: Accept, cloudflare: Any
) -> None:
    with pytest.raises(DatabaseError, match="too big"):
        accept(picture("JPEG").ljust(200_000, b"\0"))
    assert not Upload.objects.exists()
    small = accept(picture("JPEG"))
    work()
    assert list(cloudflare.images) == [small.name]


@pytest.mark.django_db
def test_token_revoked_between_two_images_keeps_the_others(
    accept: Accept, cloudflare: Any, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [accept() for _ in range(3)]
    assert worker.process_one()
    use_background_storage(settings, cloudflare, api_token="revoked")
    work()
    assert Upload.objects.filter(state=State.PENDING).count() == 2
    assert [record.levelname for record in caplog.records].count("WARNING") == 1
    use_background_storage(settings, cloudflare)
    assert work() == 2, "another token resumes at once"
    assert sorted(cloudflare.images) == sorted(row.name for row in rows)


@pytest.mark.django_db(transaction=True)
def test_row_of_a_message_that_two_workers_get_is_processed_by_one(
    accept: Accept, cloudflare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = accept()
    uploading, finish = threading.Event(), threading.Event()
    send = CloudflareImagesClient.upload

    def slow(client: Any, *args: Any, **options: Any) -> Any:
        uploading.set()
        assert finish.wait(60)
        return send(client, *args, **options)

    def first() -> None:
        process(row.pk)
        connections.close_all()

    monkeypatch.setattr(CloudflareImagesClient, "upload", slow)
    thread = threading.Thread(target=first)
    thread.start()
    assert uploading.wait(60)
    tried = process(row.pk)
    finish.set()
    thread.join()
    assert tried == 0
    assert len(cloudflare.requests) == 1
    assert list(cloudflare.images) == [row.name]


@pytest.mark.django_db
def test_image_whose_head_cannot_be_read_back_is_stored_nevertheless(
    cloudflare: Any, source: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CF_IMAGES = {
        **settings.CF_IMAGES,
        "UPLOAD_URL_SCHEMES": ["http"],
        "UPLOAD_URL_LOCAL_HOSTS": ["127.0.0.1"],
    }
    download = CloudflareImagesClient.download

    def download_cut(client: Any, image_id: str) -> Any:
        cloudflare.faults.plan("cut")
        return download(client, image_id)

    monkeypatch.setattr(CloudflareImagesClient, "download", download_cut)
    name = upload_from_url(source)
    assert work() == 1
    row = Upload.objects.get(name=name)
    assert (row.state, row.size, row.last_error) == (State.STORED, None, "")


@pytest.mark.django_db
@pytest.mark.parametrize("used", [False, True])
def test_storage_that_cannot_be_made_is_reported_only_where_images_are_pending_for_it(
    accept: Accept, cloudflare: Any, settings: Any, caplog: pytest.LogCaptureFixture, *, used: bool
) -> None:
    row = accept()
    if used:
        Upload.objects.update(storage="broken", account="https://api.example.com/accounts/broken")
    settings.STORAGES = {**settings.STORAGES, "broken": {"BACKEND": "nowhere.Storage"}}
    destinations._reported.clear()
    for _ in range(2):
        worker.sweep()
        work()
    assert [record.levelname for record in caplog.records].count("ERROR") == used
    row.refresh_from_db()
    assert row.state == (State.PENDING if used else State.STORED)
