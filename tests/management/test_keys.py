"""``cf_images keys``: a rotation during which every URL stays valid, and no value is printed."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.management import CommandError, call_command

from cf_images.accounts import signing_keys
from cf_images.client import fetch_delivery_url
from tests.conftest import point_at
from tests.pictures import picture


@pytest.fixture
def account(cf_images_emulator: Any, settings: Any) -> Any:
    point_at(settings, cf_images_emulator, require_signed_urls=True)
    return cf_images_emulator


def run(*arguments: str) -> str:
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command("cf_images", "keys", *arguments, stdout=out, stderr=err)
    finally:
        signing_keys.clear_cache()  # as in another process
    return out.getvalue() + err.getvalue()


def set_keys(settings: Any, *values: str) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "SIGNING_KEYS": list(values)}


def names(account: Any) -> list[str]:
    return list(account.signing_keys)


def test_keys_are_listed_without_their_values(account: Any) -> None:
    (value,) = account.signing_keys.values()
    listed = run()
    assert "default" in listed
    assert "fetched" in listed
    assert value not in listed


def test_values_are_printed_only_with_reveal(account: Any) -> None:
    (value,) = account.signing_keys.values()
    assert value in run("--reveal")


def test_a_rotation_invalidates_no_url(account: Any) -> None:
    storage = storages["cloudflare_images"]
    name = storage.save("jane.png", ContentFile(picture()))
    old = storage.url(name)
    printed = run("--rotate")
    assert "Both keys are valid now" in printed
    assert "--retire default" in printed
    new = storage.url(name)
    assert new != old
    assert fetch_delivery_url(old).is_image
    assert fetch_delivery_url(new).is_image
    assert "Deleted default" in run("--retire", "default", "--noinput")
    assert fetch_delivery_url(old).status == 403
    assert fetch_delivery_url(new).is_image


def test_an_account_without_keys_gets_its_first(account: Any) -> None:
    account.app.state._database.rows("DELETE FROM signing_key")
    assert "--retire" not in run("--rotate")
    assert len(names(account)) == 1


def test_a_rotation_prints_no_value(account: Any) -> None:
    printed = run("--rotate")
    for value in account.signing_keys.values():
        assert value not in printed


def test_with_keys_in_the_settings_it_says_where_the_new_one_goes(account: Any, settings: Any) -> None:
    set_keys(settings, *account.signing_keys.values())
    assert "end of signing_keys" in run("--rotate")


def test_a_third_key_is_not_requested(account: Any) -> None:
    run("--rotate")
    before = names(account)
    with pytest.raises(CommandError, match="--retire default"):
        run("--rotate")
    assert names(account) == before


def test_the_only_key_is_not_deleted(account: Any) -> None:
    with pytest.raises(CommandError, match="only key"):
        run("--retire", "default", "--noinput")


def test_a_key_that_is_not_there_is_named_with_those_that_are(account: Any) -> None:
    with pytest.raises(CommandError, match="no key 'other'; its keys are default"):
        run("--retire", "other", "--noinput")


def test_the_newest_key_which_processes_sign_with_is_not_deleted(account: Any) -> None:
    run("--rotate")
    (newest,) = set(names(account)) - {"default"}
    with pytest.raises(CommandError, match=f"sign with {newest}"):
        run("--retire", newest, "--noinput")
    assert newest in names(account)


def test_the_wait_counts_from_when_every_process_signs_with_the_new_key(account: Any, settings: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "EXPIRE": 60}
    assert "12 minutes" in run("--rotate"), "ten until every process has it, and one and a half"


def test_the_key_that_signs_is_not_deleted(account: Any, settings: Any) -> None:
    run("--rotate")
    set_keys(settings, account.signing_keys["default"])
    with pytest.raises(CommandError, match="settings sign with default"):
        run("--retire", "default", "--noinput")
    assert "default" in names(account)


@pytest.mark.parametrize("reply", ["", "n", "no"])
def test_it_asks_before_it_deletes(account: Any, monkeypatch: pytest.MonkeyPatch, reply: str) -> None:
    run("--rotate")
    monkeypatch.setattr("builtins.input", lambda _: reply)
    with pytest.raises(CommandError, match="Nothing was deleted"):
        run("--retire", "default")
    assert len(names(account)) == 2


def test_a_yes_deletes(account: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run("--rotate")
    monkeypatch.setattr("builtins.input", lambda _: "y")
    run("--retire", "default")
    assert "default" not in names(account)


def test_keys_of_the_settings_that_the_account_does_not_have_are_reported(
    account: Any, settings: Any
) -> None:
    set_keys(settings, "gone", *account.signing_keys.values())
    assert "The settings have 1 signing key that the account does not have." in run()
    set_keys(settings, "gone", "older", *account.signing_keys.values())
    assert "The settings have 2 signing keys that the account does not have." in run()
    set_keys(settings, *account.signing_keys.values(), "gone")
    with pytest.raises(CommandError, match="all signed URLs get a 403"):
        run()


def test_a_refusal_of_cloudflare_is_an_error_without_a_traceback(account: Any, settings: Any) -> None:
    point_at(settings, account, api_token="wrong")
    with pytest.raises(CommandError, match="code 10000"):
        run()


def test_another_account_is_chosen_by_its_alias(account: Any, settings: Any) -> None:
    backend = "cf_images.storage.CloudflareImagesStorage"
    settings.STORAGES = {
        **settings.STORAGES,
        "other": {"BACKEND": backend, "OPTIONS": {"api_token": "wrong"}},
    }
    with pytest.raises(CommandError, match="code 10000"):
        run("--storage", "other")
    with pytest.raises(CommandError, match="not a CloudflareImagesStorage"):
        run("--storage", "default")
    with pytest.raises(CommandError, match="nowhere in STORAGES"):
        run("--storage", "nowhere")


def test_a_missing_credential_is_an_error_without_a_traceback(account: Any, settings: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_TOKEN": None}
    settings.CF_IMG_TOKEN = None
    with pytest.raises(CommandError, match=r"has no api_token: set .*CF_IMG_TOKEN"):
        run()
