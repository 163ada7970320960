"""Transfers through Cloudflare's batch host, which has a token and a limit of its own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cf_images.accounts import batch_tokens, find_account
from cf_images.background import circuit_breaker
from cf_images.background.pace import batch_key
from cf_images.background.transfers import new_row
from cf_images.client.values import BatchToken
from cf_images.models import CircuitBreaker, State, Transfer
from tests.background.conftest import ALIAS, Clock, use_background_storage, work
from tests.pictures import picture

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def no_tokens() -> Iterator[None]:
    batch_tokens.clear_cache()
    yield
    batch_tokens.clear_cache()


@pytest.fixture
def batch(cloudflare: Any, settings: Any) -> Any:
    use_background_storage(settings, cloudflare, batch_url=cloudflare.api_url.partition("/client")[0])
    return cloudflare


def enqueue(folder: Path, *, private: bool = False) -> Transfer:
    (folder / "a.png").write_bytes(picture())
    account = find_account(ALIAS)
    assert account is not None
    row = new_row(source=str(folder), target=ALIAS, source_name="a.png", name=None if private else "a.png")
    row.account = batch_key(account.key)
    row.save()
    return row


def settled(row: Transfer) -> Transfer:
    work()
    row.refresh_from_db()
    return row


@pytest.mark.parametrize("private", [False, True])
def test_image_goes_through_the_batch_host_with_one_token(
    tmp_path: Path, batch: Any, settings: Any, *, private: bool
) -> None:
    url = batch.api_url.partition("/client")[0]
    use_background_storage(settings, batch, batch_url=url, require_signed_urls=private, background=False)
    row = settled(enqueue(tmp_path, private=private))
    assert row.state == State.STORED
    paths = [request.path for request in batch.requests]
    assert [path for path in paths if path.startswith("/client")] == [
        f"/client/v4/accounts/{batch.account_id}/images/v1/batch_token"
    ]
    assert [path for path in paths if path.startswith("/images/")]


def test_refused_batch_token_is_replaced_once(tmp_path: Path, batch: Any, clock: Clock) -> None:
    account = find_account(ALIAS)
    assert account is not None
    old = BatchToken(token="expired", expires_at=None)
    ago = datetime.now(UTC) - timedelta(minutes=10)
    batch_tokens._tokens[account.key] = (old, ago, ago + timedelta(hours=1))
    row = settled(enqueue(tmp_path))
    assert row.state == State.STORED
    assert not circuit_breaker.pauses({})


def test_fresh_token_that_is_refused_pauses_the_batch_host_alone(tmp_path: Path, batch: Any) -> None:
    """Not a request for a token after the other."""
    account = find_account(ALIAS)
    assert account is not None
    now = datetime.now(UTC)
    refused = BatchToken(token="refused", expires_at=None)
    batch_tokens._tokens[account.key] = (refused, now, now + timedelta(hours=1))
    row = settled(enqueue(tmp_path))
    assert (row.state, row.attempts) == (State.PENDING, 1)
    assert CircuitBreaker.objects.get().account_key == batch_key(account.key)


def test_token_is_requested_again_before_it_expires() -> None:
    made: list[BatchToken] = []

    def fetch() -> BatchToken:
        expires_at = datetime.now(UTC) + timedelta(minutes=5 if len(made) == 0 else 60)
        made.append(BatchToken(token=f"token {len(made)}", expires_at=expires_at))
        return made[-1]

    assert [batch_tokens.token_of("key", fetch) for _ in range(3)] == ["token 0", "token 1", "token 1"]


def test_batch_token_is_in_no_repr(batch: Any) -> None:
    account = find_account(ALIAS)
    assert account is not None
    client = account.batch_client()
    token = batch_tokens._tokens[account.key][0].token
    assert token not in repr(batch_tokens._tokens)
    assert token not in repr(client)
