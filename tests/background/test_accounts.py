"""A row belongs to an account: workers with other credentials leave it alone, and say so."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cf_images.accounts import find_account
from cf_images.background import delete, destinations, status, worker
from cf_images.models import Chunk, State, Upload
from tests.background.conftest import ALIAS, Clock, use_background_storage, work

pytestmark = pytest.mark.django_db

Accept = Callable[..., Upload]


@pytest.fixture(autouse=True)
def _nothing_is_reported() -> Iterator[None]:
    destinations._reported.clear()
    yield
    destinations._reported.clear()


def key_of(alias: str = ALIAS) -> str:
    account = find_account(alias)
    assert account is not None
    return account.key


@pytest.mark.parametrize("other", [{"account_id": "f" * 32}, {"api_url": "http://127.0.0.1:9/client/v4"}])
def test_row_of_another_account_or_api_is_left_alone(
    accept: Accept,
    cloudflare: Any,
    settings: Any,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    other: dict[str, str],
) -> None:
    """Also with the same alias: two sites, or two environments, share a database."""
    row = accept()
    mine = key_of()
    use_background_storage(settings, cloudflare, **other)
    for _ in range(3):
        worker.sweep()
        assert work() == 0
        assert worker.process(row.pk).rows == 0, "nor by a message with its number"
        clock.advance(hours=1)
    assert not cloudflare.requests
    row.refresh_from_db()
    assert (row.state, row.account, row.attempts) == (State.PENDING, mine, 0)
    assert Chunk.objects.filter(upload=row).exists()
    assert worker.next_due() is None
    found = status()
    assert (found.other_accounts, found.unknown_storages) == ((ALIAS,), ())
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert mine in errors[0]
    assert repr(ALIAS) in errors[0]
    use_background_storage(settings, cloudflare)
    assert work() == 1
    assert list(cloudflare.images) == [row.name]
    assert status().other_accounts == ()


def test_deletion_of_an_image_of_another_account_waits_for_it(
    accept: Accept, cloudflare: Any, settings: Any
) -> None:
    row = accept()
    work()
    use_background_storage(settings, cloudflare, account_id="f" * 32)
    delete(row.name, ALIAS)
    assert work() == 0
    assert row.name in cloudflare.images
    use_background_storage(settings, cloudflare)
    work()
    assert not cloudflare.images


def test_row_of_an_alias_that_is_gone_is_processed_by_another_of_the_same_account(
    accept: Accept, cloudflare: Any, settings: Any
) -> None:
    use_background_storage(settings, cloudflare, "second")
    row = accept(storage="second")
    settings.STORAGES = {alias: given for alias, given in settings.STORAGES.items() if alias != "second"}
    assert status().unknown_storages == ()
    assert work() == 1
    assert list(cloudflare.images) == [row.name]


def test_aliases_of_one_account_share_rows_and_destination(
    accept: Accept, cloudflare: Any, settings: Any
) -> None:
    use_background_storage(settings, cloudflare, "private", require_signed_urls=True)
    rows = [accept(), accept(storage="private")]
    assert {row.account for row in rows} == {key_of()} == {key_of("private")}
    (shared,) = [found for found in destinations.destinations() if found.account_key == key_of()]
    assert {ALIAS, "private"} <= set(shared.accounts)
    assert work() == 2
    assert len(cloudflare.images) == 2


@pytest.mark.parametrize("worker_is_running", [False, True])
def test_row_that_was_accepted_without_an_account_id_is_adopted(
    accept: Accept,
    cloudflare: Any,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    *,
    worker_is_running: bool,
) -> None:
    """The account ID was missing where the image was accepted; the worker may have started before that."""
    use_background_storage(settings, cloudflare)
    if worker_is_running:
        assert work() == 0
    running = destinations._adopted
    complete = settings.STORAGES
    use_background_storage(settings, cloudflare, account_id=None)
    monkeypatch.delattr(settings, "CF_ACCT_ID")
    row = accept()
    assert row.account.endswith(f"/accounts/{ALIAS}")
    if not worker_is_running:
        work()
    assert not cloudflare.requests
    settings.STORAGES = complete
    if worker_is_running:  # as in its process, whose settings have not changed
        from cf_images import conf

        assert running is not None
        monkeypatch.setattr(destinations, "_adopted", conf.generation())
        assert work() == 0
        worker.sweep()
    assert work() == 1
    assert list(cloudflare.images) == [row.name]
    row.refresh_from_db()
    assert row.account == key_of()


def test_row_of_local_files_is_processed_only_where_its_storage_is(
    accept: Accept, cloudflare: Any, settings: Any
) -> None:
    row = accept()
    Upload.objects.update(account=destinations.LOCAL, storage="gone", source_url="https://example.com/a.png")
    assert worker.process(row.pk).rows == 0
    assert status().unknown_storages == ("gone",)
