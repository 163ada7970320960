"""Variants, signing keys and config of an account, and an account without a subscription."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cf_images.emulator import assumptions
from cf_images.emulator.limits import Limits
from tests.emulator.conftest import PNG, Account, api_error

PUBLIC = {
    "id": "public",
    "options": {"fit": "scale-down", "metadata": "none", "width": 1366, "height": 768},
    "neverRequireSignedURLs": False,
}
THUMB = {"id": "thumb", "options": {"fit": "cover", "width": 20, "height": 20, "metadata": "keep"}}


def test_variants_are_created_read_changed_and_deleted(account: Account) -> None:
    created = account("POST", "v1/variants", json=THUMB | {"neverRequireSignedURLs": True}).json()["result"]
    assert created == {"variant": THUMB | {"neverRequireSignedURLs": True}}
    assert account("GET", "v1/variants").json()["result"] == {
        "variants": {"public": PUBLIC, "thumb": created["variant"]}
    }
    changed = account("PATCH", "v1/variants/thumb", json={"options": {"width": 10}}).json()["result"][
        "variant"
    ]
    assert changed["options"] == {"fit": "scale-down", "metadata": "none", "width": 10}
    assert account("GET", "v1/variants/thumb").json()["result"] == {"variant": changed}
    assert account("DELETE", "v1/variants/thumb").json()["result"] == {}
    assert account("GET", "v1/variants").json()["result"] == {"variants": {"public": PUBLIC}}


def test_a_missing_variant_is_plain_text_to_get_and_an_envelope_otherwise(account: Account) -> None:
    response = account("GET", "v1/variants/none")
    assert (response.status_code, response.text) == (404, "ERROR 5401: Variant not found")
    assert api_error(account("PATCH", "v1/variants/none", json=THUMB)) == (404, 5401)
    assert api_error(account("DELETE", "v1/variants/none")) == (404, 5401)


def test_the_variant_public_cannot_be_deleted(account: Account) -> None:
    assert account("DELETE", "v1/variants/public").status_code == 200
    assert account("GET", "v1/variants/public").json()["result"] == {"variant": PUBLIC}


@pytest.mark.parametrize("name", ["with-hyphen", "under_score", "", "a" * 100, "ü", 7, None])
def test_the_name_of_a_variant_must_be_letters_and_digits(account: Account, name: object) -> None:
    assert api_error(account("POST", "v1/variants", json=THUMB | {"id": name})) == (400, 5400)


@pytest.mark.parametrize(
    "options",
    [
        *(
            {"fit": "squeeze"},
            {"fit": []},
            {"width": 0},
            {"width": 10_000},
            {"height": "20"},
            {"height": True},
        ),
        *({"metadata": "all"}, {"blur": 251}, {"browser_ttl": 60}, {"unknown": 1}, [], None),
    ],
    ids=str,
)
def test_the_options_of_a_variant_are_validated(account: Account, options: object) -> None:
    assert api_error(account("POST", "v1/variants", json={"id": "a", "options": options})) == (400, 5400)
    flag = {"id": "a", "options": {"width": 1}, "neverRequireSignedURLs": 1}
    assert api_error(account("POST", "v1/variants", json=flag)) == (400, 5400)


def test_a_variant_cannot_be_created_twice(account: Account) -> None:
    assert account("POST", "v1/variants", json=THUMB).status_code == 200
    assert api_error(account("POST", "v1/variants", json=THUMB)) == (409, 5409)


def test_of_two_concurrent_variants_one_is_created(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    state = account.emulator.app.state
    monkeypatch.setattr(state, "variant", lambda _: None)
    assert account("POST", "v1/variants", json=THUMB).status_code == 200
    assert api_error(account("POST", "v1/variants", json=THUMB)) == (409, 5409)


def test_the_101st_variant_is_an_error(account: Account) -> None:
    for number in range(99):
        assert account("POST", "v1/variants", json=THUMB | {"id": f"thumb{number}"}).status_code == 200
    assert api_error(account("POST", "v1/variants", json=THUMB)) == (400, 5400)


def keys(response: Any) -> dict[str, str]:
    """Return the values of the keys by name."""
    return {key["name"]: key["value"] for key in response.json()["result"]["keys"]}


def test_a_key_is_created_and_its_value_rotated(account: Account) -> None:
    first = keys(account("GET", "v1/keys"))
    assert list(first) == ["default"]
    both = keys(account("PUT", "v1/keys/second"))
    assert list(both) == ["default", "second"]
    rotated = keys(account("PUT", "v1/keys/default"))
    assert rotated["second"] == both["second"]
    assert rotated["default"] != first["default"]
    assert keys(account("DELETE", "v1/keys/default")) == {"second": both["second"]}


def test_a_third_key_is_an_error(account: Account) -> None:
    account("PUT", "v1/keys/second")
    assert api_error(account("PUT", "v1/keys/third")) == (400, 5400)
    assert account("PUT", "v1/keys/second").status_code == 200


def test_deleting_the_last_key_creates_a_new_one(account: Account) -> None:
    first = keys(account("GET", "v1/keys"))
    second = keys(account("DELETE", "v1/keys/default"))
    assert list(second) == ["default"]
    assert first != second


def test_the_last_key_stays_under_the_other_assumption(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assumptions, "KEEP_LAST_KEY", True)
    assert api_error(account("DELETE", "v1/keys/default")) == (400, 5400)


def test_keys_have_short_alphanumeric_names_and_must_exist(account: Account) -> None:
    assert api_error(account("PUT", "v1/keys/with-hyphen")) == (400, 5400)
    assert api_error(account("PUT", f"v1/keys/{'a' * 21}")) == (400, 5400)
    assert api_error(account("DELETE", "v1/keys/none")) == (404, 5404)


def test_config_is_read_and_changed(account: Account) -> None:
    changed = {"flexible_variants": False, "browser_ttl": 3_600, "preserve_content_credentials": True}
    assert account("PATCH", "v1/config", json=changed).json()["result"] == changed
    assert account("PATCH", "v1/config", json={"browser_ttl": 7_200}).status_code == 200
    assert account("GET", "v1/config").json()["result"] == changed | {"browser_ttl": 7_200}
    image = account.upload()
    assert account.deliver(image, "w=10").text.startswith("ERROR 9429")
    assert "max-age=7200" in account.deliver(image).headers["cache-control"]


@pytest.mark.parametrize(
    "body", [{"browser_ttl": 60}, {"browser_ttl": 31_536_001}, {"flexible_variants": 1}, {"x": 1}], ids=str
)
def test_config_is_validated(account: Account, body: dict[str, object]) -> None:
    assert api_error(account("PATCH", "v1/config", json=body)) == (400, 5400)


def test_a_long_body_is_an_error(account: Account) -> None:
    assert api_error(account("PATCH", "v1/config", json={"x": "y" * 300_000})) == (400, 5400)


def test_without_a_subscription_names_and_existence_are_checked_first(
    account_of: Callable[..., Account],
) -> None:
    account = account_of(subscribed=False, limits=Limits(images=0))
    upload = {"files": {"file": ("a.png", PNG, "image/png")}}
    assert api_error(account("POST", "v1/variants", json=THUMB | {"id": "a-b"})) == (400, 5400)
    assert api_error(account("POST", "v1/variants", json=THUMB | {"id": "public"})) == (409, 5409)
    assert api_error(account("DELETE", "v1/variants/none")) == (404, 5401)
    assert api_error(account("DELETE", "v1/keys/none")) == (404, 5404)
    assert api_error(account("GET", "v1/none")) == (404, 5404)
    failures = [
        account("POST", "v1/variants", json=THUMB),
        account("PATCH", "v1/variants/public", json=THUMB),
        account("DELETE", "v1/variants/public"),
        account("GET", "v1/keys"),
        account("PUT", "v1/keys/second"),
        account("DELETE", "v1/keys/default"),
        account("PATCH", "v1/config", json={"browser_ttl": 3_600}),
        account("POST", "v1", **upload),
    ]
    assert [api_error(response) for response in failures] == [(403, 5403)] * len(failures)
    reservation = account("POST", "v2/direct_upload").json()["result"]
    assert api_error(account.http.post(reservation["uploadURL"], **upload)) == (403, 5403)
    assert account("GET", "v1/stats").json()["result"] == {"count": {"current": 0, "allowed": 0}}
    assert account("GET", "v2").json()["result"]["images"] == []
