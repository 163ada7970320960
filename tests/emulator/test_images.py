"""Images over the management API: upload, details, change, delete, the original."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from urllib.parse import quote

import pytest
from PIL import Image

from tests.emulator.conftest import PNG, Account, api_error, picture


def test_upload_returns_the_image_object(account: Account) -> None:
    image = account.upload(metadata='{"owner": {"id": 7}}', creator="jane")
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", image["id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", image["uploaded"])
    host, account_hash = account.emulator.delivery_url, account.emulator.account_hash
    assert image["variants"] == [f"{host}/{account_hash}/{image['id']}/public"]
    assert (image["filename"], image["creator"], image["meta"]) == ("a.png", "jane", {"owner": {"id": 7}})
    assert image["requireSignedURLs"] is False
    assert "draft" not in image


@pytest.mark.parametrize("image_id", ["avatars/jane.png", "50%/ü ?#.png", "a%2Fb", "ß" * 300])
def test_a_custom_id_works_in_paths_and_delivery_urls(account: Account, image_id: str) -> None:
    image = account.upload(id=image_id)
    assert image["id"] == image_id
    path = "v1/" + quote(image_id, safe="")
    assert account("GET", path).json()["result"] == image
    assert account("GET", f"{path}/blob").content == PNG
    assert account.deliver(image).status_code == 200
    assert account("DELETE", path).json()["result"] == {}
    assert api_error(account("GET", path)) == (404, 5404)
    assert api_error(account("GET", f"{path}/blob")) == (404, 5404)
    assert account.deliver(image).status_code == 404


def test_a_slash_that_is_not_encoded_is_not_part_of_an_id(account: Account) -> None:
    account.upload(id="a/b")
    assert api_error(account("DELETE", "v1/a/b")) == (404, 7003)
    assert "a/b" in account.emulator.images


@pytest.mark.parametrize("word", ["variants", "keys", "stats", "batch_token", "config", "direct_upload"])
def test_a_reserved_word_is_never_an_image(account: Account, word: str) -> None:
    account.upload(id=word)
    assert api_error(account("DELETE", f"v1/{word}")) == (405, 7001)
    assert word in account.emulator.images


def test_an_id_is_never_overwritten(account: Account) -> None:
    account.upload(id="a")
    response = account(
        "POST", "v1", files={"file": ("b.png", picture(color="red"), "image/png")}, data={"id": "a"}
    )
    assert api_error(response) == (409, 5409)
    assert account.emulator.images["a"].body == PNG


def test_patch_changes_what_is_given_and_replaces_metadata(account: Account) -> None:
    image = account.upload(metadata='{"a": 1}', creator="jane")
    changed = account("PATCH", f"v1/{image['id']}", json={"metadata": {"b": 2}, "requireSignedURLs": True})
    assert changed.json()["result"] == image | {"meta": {"b": 2}, "requireSignedURLs": True}
    assert account("PATCH", f"v1/{image['id']}", json={"creator": "joe"}).json()["result"]["meta"] == {"b": 2}


@pytest.mark.parametrize(
    "body",
    [
        {"metadata": [1]},
        {"metadata": {"a": "x" * 1024}},
        {"requireSignedURLs": "yes"},
        {"creator": 1},
        [1],
        "{",
    ],
    ids=str,
)
def test_patch_with_a_wrong_type_is_an_error(account: Account, body: object) -> None:
    image = account.upload()
    options = {"content": body} if isinstance(body, str) else {"json": body}
    assert api_error(account("PATCH", f"v1/{image['id']}", **options)) == (400, 5400)


def test_a_missing_image_is_not_found(account: Account) -> None:
    for method, path in [("GET", "v1/a"), ("DELETE", "v1/a"), ("GET", "v1/a/blob")]:
        assert api_error(account(method, path)) == (404, 5404)
    assert api_error(account("PATCH", "v1/a", json={})) == (404, 5404)


def test_an_image_that_is_deleted_during_a_change_is_not_found(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = account.upload()
    images = account.emulator.images
    found = images.find(image["id"])
    images.delete(image["id"])
    monkeypatch.setattr(images, "find", lambda _: found)  # as the request saw it
    assert api_error(account("PATCH", f"v1/{image['id']}", json={"creator": "jane"})) == (404, 5404)
    assert api_error(account("GET", f"v1/{image['id']}/blob")) == (404, 5404)


def test_an_image_with_a_custom_id_cannot_become_private(account: Account) -> None:
    account.upload(id="a")
    assert api_error(account("PATCH", "v1/a", json={"requireSignedURLs": True})) == (400, 5410)
    response = account(
        "POST",
        "v1",
        files={"file": ("b.png", PNG, "image/png")},
        data={"id": "b", "requireSignedURLs": "true"},
    )
    assert api_error(response) == (400, 5410)


def test_stats_count_images_and_not_drafts(account: Account) -> None:
    account.upload()
    account("POST", "v2/direct_upload")
    assert account("GET", "v1/stats").json()["result"] == {"count": {"current": 1, "allowed": 100_000}}


def test_stored_images_are_available_from_python(account: Account) -> None:
    image = account.upload(metadata='{"a": 1}')
    stored = account.emulator.images[image["id"]]
    assert (stored.body, stored.filename, stored.content_type) == (PNG, "a.png", "image/png")
    assert (stored.metadata, stored.size) == ({"a": 1}, len(PNG))
    assert list(account.emulator.images) == [image["id"]]


def test_the_default_variant_fits_into_its_box(account: Account) -> None:
    image = account.upload(picture("JPEG", (3000, 1000)), kind="image/jpeg")
    assert Image.open(io.BytesIO(account.deliver(image).content)).size == (1366, 455)


def test_one_connection_serves_many_requests(account: Account) -> None:
    for _ in range(3):
        account.upload()
    assert api_error(account("POST", "v1", content=b"x" * 1_000_000)) == (415, 5415)
    account.upload()
    assert account.emulator.connections == 1
    assert [request.status for request in account.emulator.requests] == [200, 200, 200, 415, 200]


def test_images_survive_a_restart(account_of: Callable[..., Account], tmp_path: object) -> None:
    first = account_of(data=tmp_path, variants={"avatar": {"width": 24}})
    image = first.upload(id="a", metadata='{"a": 1}')
    assert first.deliver(image, "avatar").status_code == 200
    first.emulator.close()
    second = account_of(data=tmp_path)
    assert second("GET", "v1/a").json()["result"]["meta"] == {"a": 1}
    assert second("GET", "v1/a/blob").content == PNG
    assert set(second("GET", "v1/variants").json()["result"]["variants"]) == {"public", "avatar"}
