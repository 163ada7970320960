"""Authentication, paths, and rate limits."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from cf_images.emulator.limits import Limits
from tests.emulator.conftest import PNG, Account, api_error
from tests.emulator.test_direct_uploads import Clock

UPLOAD = {"file": ("a.png", PNG, "image/png")}


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, (401, 10000)),
        ("Bearer wrong", (401, 10000)),
        ("Bearer ümläut", (401, 10000)),
        ("Bearer", (400, 6003)),
        ("Basic dXNlcjpwYXNz", (400, 6003)),
    ],
)
def test_a_request_needs_the_token(account: Account, header: str | None, expected: tuple[int, int]) -> None:
    url = f"{account.emulator.api_url}/accounts/{account.emulator.account_id}/images/v1/stats"
    headers = {} if header is None else {"Authorization": header.encode()}
    assert api_error(account.http.get(url, headers=headers)) == expected


def test_the_authentication_scheme_is_case_insensitive(account: Account) -> None:
    headers = {"Authorization": f"bearer {account.emulator.api_token}"}
    assert account("GET", "v1/stats", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/accounts/other/images/v1/stats", (403, 10000)),
        ("/accounts/{}/images/v3", (404, 7003)),
        ("/accounts/{}/images", (404, 7003)),
        ("/accounts/{}/images/v1//blob", (404, 7003)),
        ("/accounts/{}/images/v1/a/b/c/d", (404, 7003)),
        ("/accounts/{}", (404, 7003)),
        ("/zones/x/settings", (404, 7003)),
    ],
)
def test_other_accounts_and_unknown_paths_fail(
    account: Account, path: str, expected: tuple[int, int]
) -> None:
    headers = {"Authorization": f"Bearer {account.emulator.api_token}"}
    url = account.emulator.api_url + path.format(account.emulator.account_id)
    assert api_error(account.http.get(url, headers=headers)) == expected


def test_a_wrong_method_is_an_error(account: Account) -> None:
    assert api_error(account("PUT", "v1")) == (405, 7001)
    assert api_error(account("DELETE", "v2")) == (405, 7001)
    assert account("HEAD", "v1/stats").status_code == 200


class Batch:
    """A client for the batch host."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.response = account("GET", "v1/batch_token").json()["result"]

    def __call__(self, method: str, path: str, **options: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.response['token']}"}
        return self.account.http.request(
            method, f"{self.account.emulator.url}/images/{path}", headers=headers, **options
        )


def test_a_batch_token_works_for_the_endpoints_of_the_batch_host(account: Account) -> None:
    batch = Batch(account)
    image = batch("POST", "v1", files=UPLOAD).json()["result"]
    assert batch("GET", f"v1/{image['id']}").json()["result"] == image
    assert batch("PATCH", f"v1/{image['id']}", json={"creator": "jane"}).status_code == 200
    assert len(batch("GET", "v1").json()["result"]["images"]) == 1
    assert len(batch("GET", "v2").json()["result"]["images"]) == 1
    assert batch("POST", "v2/direct_upload").status_code == 200
    assert batch("DELETE", f"v1/{image['id']}").status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "v1/stats"),
        ("GET", "v1/variants"),
        ("GET", "v1/keys"),
        ("GET", "v1/a/blob"),
        ("GET", "v1/config"),
    ],
)
def test_a_batch_token_works_for_no_other_endpoint(account: Account, method: str, path: str) -> None:
    assert api_error(Batch(account)(method, path)) == (404, 7003)


def test_batch_tokens_and_api_tokens_are_not_interchangeable(account: Account) -> None:
    token = Batch(account).response["token"]
    assert api_error(account("GET", "v1/stats", headers={"Authorization": f"Bearer {token}"})) == (401, 10000)
    headers = {"Authorization": f"Bearer {account.emulator.api_token}"}
    assert api_error(account.http.get(f"{account.emulator.url}/images/v1", headers=headers)) == (401, 10000)


def test_a_batch_token_expires_after_an_hour(account_of: Callable[..., Account]) -> None:
    clock = Clock()
    batch = Batch(account_of(clock=clock))
    expires = batch.response["expiresAt"]
    assert datetime.fromisoformat(expires[:26] + "+00:00").timestamp() == clock.now + 3_600
    assert len(expires) == len("2026-01-01T00:00:00.123456789Z")
    clock.now += 3_600
    assert api_error(batch("GET", "v1")) == (401, 10000)


def test_a_request_above_the_rate_limit_blocks_for_another_window(account_of: Callable[..., Account]) -> None:
    clock = Clock()
    account = account_of(clock=clock, limits=Limits(api_rate=2, api_window=300))
    first, second = account("GET", "v1/stats"), account("GET", "v1/stats")
    assert first.headers["x-ratelimit-limit"] == "2"
    assert [response.headers["x-ratelimit-remaining"] for response in (first, second)] == ["1", "0"]
    assert second.headers["x-ratelimit-reset"] == "300"
    clock.now += 200
    third = account("GET", "v1/stats")
    assert api_error(third) == (429, 971)
    assert third.headers["retry-after"] == "300"
    clock.now += 299
    assert api_error(account("GET", "v1/stats")) == (429, 971)
    clock.now += 1
    assert account("GET", "v1/stats").status_code == 200


def test_delivery_and_batch_requests_do_not_count_toward_the_rate_limit(
    account_of: Callable[..., Account],
) -> None:
    account = account_of(limits=Limits(api_rate=2))
    image, batch = account.upload(), Batch(account)
    assert account.deliver(image).status_code == 200
    assert batch("GET", "v1").status_code == 200
    assert api_error(account("GET", "v1/stats")) == (429, 971)


def test_each_batch_token_has_its_own_rate(account_of: Callable[..., Account]) -> None:
    clock = Clock()
    account = account_of(clock=clock, limits=Limits(batch_rate=1))
    batch, other = Batch(account), Batch(account)
    assert [batch("GET", "v1").status_code, other("GET", "v1").status_code] == [200, 200]
    blocked = batch("GET", "v1")
    assert api_error(blocked) == (429, 971)
    assert blocked.headers["retry-after"] == "1"
    account.emulator.reset()
    batch = Batch(account)
    assert batch("GET", "v1").status_code == 200
