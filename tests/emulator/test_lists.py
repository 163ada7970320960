"""Lists: pages by token and by number, order, creator, filters on metadata."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.emulator.conftest import Account, api_error


def names(account: Account, path: str) -> list[str]:
    """Return the IDs that one request lists."""
    response = account("GET", path)
    assert response.status_code == 200, response.text
    return [image["id"] for image in response.json()["result"]["images"]]


def fill(account: Account, count: int) -> list[str]:
    """Upload some images and return their IDs, newest first."""
    return [account.upload(id=f"image-{number}")["id"] for number in range(count)][::-1]


@pytest.mark.parametrize("order", ["desc", "asc"])
def test_pages_of_v2_follow_each_other_without_gap_or_repetition(account: Account, order: str) -> None:
    expected = fill(account, 5)
    found: list[str] = []
    token, pages = "", 0
    while token is not None:
        query = {"per_page": "2", "sort_order": order, "continuation_token": token}
        result = account("GET", "v2", params=query).json()["result"]
        found += [image["id"] for image in result["images"]]
        token, pages = result["continuation_token"], pages + 1
        assert token is None or len(token) <= 32
    assert pages == 3
    assert found == (expected if order == "desc" else expected[::-1])


def test_a_page_that_ends_with_the_last_image_has_no_token(account: Account) -> None:
    fill(account, 2)
    assert account("GET", "v2", params={"per_page": "2"}).json()["result"]["continuation_token"] is None


def test_images_with_the_same_time_are_all_listed(account_of: Callable[..., Account]) -> None:
    account = account_of(clock=lambda: 1_800_000_000.0)
    expected = fill(account, 3)
    first = account("GET", "v2", params={"per_page": "2"}).json()["result"]
    rest = names(account, f"v2?continuation_token={first['continuation_token']}")
    assert [image["id"] for image in first["images"]] + rest == expected


def test_deleting_between_pages_skips_nothing(account: Account) -> None:
    expected = fill(account, 4)
    first = account("GET", "v2", params={"per_page": "2"}).json()["result"]
    for image in first["images"]:
        account("DELETE", f"v1/{image['id']}")
    assert names(account, f"v2?continuation_token={first['continuation_token']}") == expected[2:]


@pytest.mark.parametrize("per_page", ["0", "-5", "99999999", "1e400", "10.0", ""])
def test_a_page_size_out_of_range_is_replaced_by_the_nearest(account: Account, per_page: str) -> None:
    expected = fill(account, 2)
    listed = names(account, f"v2?per_page={per_page}")
    assert listed == (expected[:1] if per_page in ("0", "-5") else expected)


@pytest.mark.parametrize("query", ["per_page=many", "per_page=nan", "sort_order=up", "continuation_token=x"])
def test_an_invalid_query_is_an_error(account: Account, query: str) -> None:
    assert api_error(account("GET", f"v2?{query}")) == (400, 5400)


def test_v1_numbers_its_pages(account: Account) -> None:
    expected = fill(account, 3)
    response = account("GET", "v1", params={"page": "2", "per_page": "2"}).json()
    assert [image["id"] for image in response["result"]["images"]] == expected[2:]
    assert response["result_info"] == {"count": 1, "page": 2, "per_page": 2, "total_count": 3}


@pytest.mark.parametrize("path", ["v1", "v2"])
def test_the_creator_filters(account: Account, path: str) -> None:
    for image_id, creator in [("a", "jane"), ("b", "joe"), ("c", "")]:
        account.upload(id=image_id, creator=creator)
    account.upload(id="d")
    assert names(account, f"{path}?creator=jane") == ["a"]
    assert names(account, f"{path}?creator=") == ["d", "c"]


def every_page(account: Account, per_page: int) -> list[str]:
    found: list[str] = []
    token = ""
    while token is not None:
        query = {"per_page": str(per_page), "continuation_token": token}
        result = account("GET", "v2", params=query).json()["result"]
        found += [image["id"] for image in result["images"]]
        token = result["continuation_token"]
    return found


def test_a_list_that_is_too_long_skips_and_repeats_images_if_a_fault_asks_for_it(account: Account) -> None:
    expected = fill(account, 5)
    account.emulator.faults.set(unstable_lists=5)
    assert every_page(account, 2) == expected
    account.emulator.faults.set(unstable_lists=4)
    found = every_page(account, 2)
    assert len(found) == 5
    assert set(found) < set(expected)


METADATA: dict[str, dict[str, Any]] = {
    "text": {"status": "active", "size": "2", "flag": "true"},
    "numbers": {"size": 2, "score": 1.5, "deep": {"a": {"b": {"c": {"d": 1}}}}},
    "truth": {"flag": True, "size": True, "status": ["active"]},
}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("meta.status[eq]=active", {"text"}),
        ("meta.status[eq:string]=active", {"text"}),
        ("meta.status%5Beq%5D=active", {"text"}),
        ("meta.size[eq]=2", {"text", "numbers"}),
        ("meta.size[eq:number]=2", {"numbers"}),
        ("meta.size[eq%3Anumber]=2.0", {"numbers"}),
        ("meta.size[eq:string]=2", {"text"}),
        ("meta.flag[eq]=true", {"text", "truth"}),
        ("meta.flag[eq:boolean]=true", {"truth"}),
        ("meta.flag[eq:boolean]=false", set()),
        ("meta.size[gt]=1", {"numbers"}),
        ("meta.size[gte:number]=2", {"numbers"}),
        ("meta.size[lt]=2", set()),
        ("meta.size[lte]=2", {"numbers"}),
        ("meta.status[in]=archived|active", {"text"}),
        ("meta.status[in:string]=archived%7Cactive", {"text"}),
        ("meta.size[in:number]=1|2", {"numbers"}),
        ("meta.deep.a.b.c[eq:number]=1", set()),
        ("meta.missing[eq]=", set()),
        ("meta.size[gt]=1&meta.size[lt]=1", set()),
        ("meta.size[gt]=1&meta.score[lt]=2&creator=jane", {"numbers"}),
    ],
)
def test_metadata_filters(account: Account, query: str, expected: set[str]) -> None:
    for image_id, metadata in METADATA.items():
        account.upload(id=image_id, metadata=json.dumps(metadata), creator="jane")
    assert set(names(account, f"v2?{query}")) == expected


@pytest.mark.parametrize(
    "query",
    [
        "meta.a[like]=x",
        "meta.a[gt:string]=x",
        "meta.a[in:boolean]=true",
        "meta.a[gt]=high",
        "meta.a[eq:boolean]=yes",
        "meta.a=x",
        "meta[a]=x",
        "meta.a-b[eq]=x",
        "meta.[eq]=x",
        f"meta.{'a' * 101}[eq]=x",
        "meta.a.b.c.d.e.f[eq]=x",
        "meta.a[in]=" + "|".join(map(str, range(11))),
        "&".join(f"meta.a[eq]={number}" for number in range(6)),
    ],
)
def test_an_unsupported_filter_is_an_error(account: Account, query: str) -> None:
    assert api_error(account("GET", f"v2?{query}")) == (400, 5400)


def test_filtered_pages_are_full(account: Account) -> None:
    for number in range(6):
        account.upload(id=f"image-{number}", metadata=json.dumps({"odd": number % 2}))
    first = account("GET", "v2?meta.odd[eq:number]=1&per_page=2").json()["result"]
    assert [image["id"] for image in first["images"]] == ["image-5", "image-3"]
    rest = names(account, f"v2?meta.odd[eq:number]=1&continuation_token={first['continuation_token']}")
    assert rest == ["image-1"]
