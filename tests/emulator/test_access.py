"""Who may ask, where, and how often."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from cf_images.emulator.limits import Limits
from tests.emulator.conftest import PNG, Account, refused
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
    assert refused(account.http.get(url, headers=headers)) == expected


def test_the_scheme_is_written_in_any_case(account: Account) -> None:
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
def test_other_accounts_and_paths_lead_nowhere(
    account: Account, path: str, expected: tuple[int, int]
) -> None:
    headers = {"Authorization": f"Bearer {account.emulator.api_token}"}
    url = account.emulator.api_url + path.format(account.emulator.account_id)
    assert refused(account.http.get(url, headers=headers)) == expected


def test_the_wrong_method_is_said(account: Account) -> None:
    assert refused(account("PUT", "v1")) == (405, 7001)
    assert refused(account("DELETE", "v2")) == (405, 7001)
    assert account("HEAD", "v1/stats").status_code == 200


class Batch:
    """The batch host."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.answer = account("GET", "v1/batch_token").json()["result"]

    def __call__(self, method: str, path: str, **options: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.answer['token']}"}
        return self.account.http.request(
            method, f"{self.account.emulator.url}/images/{path}", headers=headers, **options
        )


def test_a_batch_token_opens_the_mirrored_calls(account: Account) -> None:
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
def test_a_batch_token_opens_nothing_else(account: Account, method: str, path: str) -> None:
    assert refused(Batch(account)(method, path)) == (404, 7003)


def test_a_batch_token_is_no_api_token_and_the_other_way_round(account: Account) -> None:
    token = Batch(account).answer["token"]
    assert refused(account("GET", "v1/stats", headers={"Authorization": f"Bearer {token}"})) == (401, 10000)
    headers = {"Authorization": f"Bearer {account.emulator.api_token}"}
    assert refused(account.http.get(f"{account.emulator.url}/images/v1", headers=headers)) == (401, 10000)


def test_a_batch_token_ends_after_an_hour(account_of: Callable[..., Account]) -> None:
    clock = Clock()
    batch = Batch(account_of(clock=clock))
    expires = batch.answer["expiresAt"]
    assert datetime.fromisoformat(expires[:26] + "+00:00").timestamp() == clock.now + 3_600
    assert len(expires) == len("2026-01-01T00:00:00.123456789Z")
    clock.now += 3_600
    assert refused(batch("GET", "v1")) == (401, 10000)


def test_the_rate_limit_refuses_for_another_window(account_of: Callable[..., Account]) -> None:
    clock = Clock()
    account = account_of(clock=clock, limits=Limits(api_rate=2, api_window=300))
    first, second = account("GET", "v1/stats"), account("GET", "v1/stats")
    assert first.headers["x-ratelimit-limit"] == "2"
    assert [answer.headers["x-ratelimit-remaining"] for answer in (first, second)] == ["1", "0"]
    assert second.headers["x-ratelimit-reset"] == "300"
    clock.now += 200
    third = account("GET", "v1/stats")
    assert refused(third) == (429, 971)
    assert third.headers["retry-after"] == "300"
    clock.now += 299
    assert refused(account("GET", "v1/stats")) == (429, 971)
    clock.now += 1
    assert account("GET", "v1/stats").status_code == 200


def test_delivery_and_batch_calls_do_not_count_against_the_rate_limit(
    account_of: Callable[..., Account],
) -> None:
    account = account_of(limits=Limits(api_rate=2))
    image, batch = account.upload(), Batch(account)
    assert account.deliver(image).status_code == 200
    assert batch("GET", "v1").status_code == 200
    assert refused(account("GET", "v1/stats")) == (429, 971)


def test_each_batch_token_has_its_own_rate(account_of: Callable[..., Account]) -> None:
    clock = Clock()
    account = account_of(clock=clock, limits=Limits(batch_rate=1))
    batch, other = Batch(account), Batch(account)
    assert [batch("GET", "v1").status_code, other("GET", "v1").status_code] == [200, 200]
    refusal = batch("GET", "v1")
    assert refused(refusal) == (429, 971)
    assert refusal.headers["retry-after"] == "1"
    account.emulator.reset()
    batch = Batch(account)
    assert batch("GET", "v1").status_code == 200
