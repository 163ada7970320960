"""Direct creator uploads: drafts that reserve their ID, and URLs that take bytes once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from tests.emulator.conftest import PNG, Account, api_error, picture

UPLOAD = {"file": ("a.png", PNG, "image/png")}


class Clock:
    """A clock set by the test."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def direct_upload(account: Account, **fields: str) -> Any:
    """Request an upload URL."""
    response = account("POST", "v2/direct_upload", files={name: (None, fields[name]) for name in fields})
    assert response.status_code == 200, response.text
    return response.json()["result"]


def test_the_upload_url_takes_the_bytes_and_keeps_the_fields_of_the_draft(account: Account) -> None:
    reservation = direct_upload(account, metadata='{"a": 1}', creator="jane", requireSignedURLs="true")
    assert set(reservation) == {"id", "uploadURL"}
    draft = account("GET", f"v1/{reservation['id']}").json()["result"]
    assert (draft["draft"], draft["filename"]) == (True, None)
    response = account.http.post(
        reservation["uploadURL"], files=UPLOAD, data={"metadata": "{}", "creator": "mallory", "id": "x"}
    )
    assert response.headers["access-control-allow-origin"] == "*"
    image = response.json()["result"]
    assert "draft" not in image
    assert (image["id"], image["meta"], image["creator"]) == (reservation["id"], {"a": 1}, "jane")
    assert image["requireSignedURLs"] is True
    assert account("GET", f"v1/{reservation['id']}/blob").content == PNG


def test_a_request_without_a_body_or_with_an_empty_form_is_valid(account: Account, caplog: Any) -> None:
    assert account("POST", "v2/direct_upload").status_code == 200
    assert not caplog.records
    empty = {"content": b"--b--\r\n", "headers": {"Content-Type": "multipart/form-data; boundary=b"}}
    assert account("POST", "v2/direct_upload", **empty).status_code == 200
    assert "Guessed" in caplog.text, "it is unknown what Cloudflare does with an empty form"
    assert api_error(account("POST", "v2/direct_upload", json={"expiry": "2030-01-01"})) == (415, 5415)


def test_a_draft_is_neither_listed_nor_delivered_and_can_be_deleted(account: Account) -> None:
    reservation = direct_upload(account, id="a")
    draft = account("GET", "v1/a").json()["result"]
    assert account("GET", "v2").json()["result"]["images"] == []
    assert account("GET", "v1").json()["result"]["images"] == []
    assert account.deliver(draft).status_code == 404
    assert api_error(account("GET", "v1/a/blob")) == (404, 5404)
    assert "a" not in account.emulator.images
    assert account("DELETE", "v1/a").status_code == 200
    assert api_error(account.http.post(reservation["uploadURL"], files=UPLOAD)) == (404, 5404)


def test_a_draft_reserves_its_id(account: Account) -> None:
    direct_upload(account, id="a")
    assert api_error(account("POST", "v2/direct_upload", files={"id": (None, "a")})) == (409, 5409)
    assert api_error(account("POST", "v1", files=UPLOAD, data={"id": "a"})) == (409, 5409)


def test_an_upload_url_works_once(account: Account) -> None:
    reservation = direct_upload(account, id="a/b ü%")
    assert reservation["uploadURL"].endswith("/" + quote("a/b ü%", safe=""))
    assert account.http.post(reservation["uploadURL"], files=UPLOAD).status_code == 200
    again = account.http.post(
        reservation["uploadURL"], files={"file": ("b.png", picture(color="red"), "image/png")}
    )
    assert api_error(again) == (409, 5409)
    assert account.emulator.images["a/b ü%"].body == PNG


def test_of_two_concurrent_uploads_one_is_stored(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    reservation = direct_upload(account, id="a")
    images = account.emulator.images
    draft = images.find("a")
    assert account.http.post(reservation["uploadURL"], files=UPLOAD).status_code == 200
    monkeypatch.setattr(images, "find", lambda _: draft)  # as the other request saw it
    response = account.http.post(
        reservation["uploadURL"], files={"file": ("b.png", picture(color="red"), "image/png")}
    )
    assert api_error(response) == (409, 5409)
    monkeypatch.undo()
    assert images["a"].body == PNG


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"json": {}}, (415, 5415)),
        ({"files": {"image": UPLOAD["file"]}}, (400, 5400)),
        ({"files": {"file": ("a.txt", b"text", "image/png")}}, (415, 5455)),
        ({"files": {"file": ("a.txt", PNG, "text/plain")}}, (415, 5455)),
        ({"files": {"file": ("a.png", b"\x89PNG\r\n\x1a\n" + b"x" * 11_000_000, "image/png")}}, (413, 5413)),
    ],
    ids=["json", "wrong-field", "no-image", "wrong-type", "11-MB"],
)
def test_a_failed_upload_leaves_the_draft(account: Account, options: Any, expected: tuple[int, int]) -> None:
    reservation = direct_upload(account)
    assert api_error(account.http.post(reservation["uploadURL"], **options)) == expected
    assert account.http.post(reservation["uploadURL"], files=UPLOAD).status_code == 200


def test_a_draft_expires_and_frees_its_id(account_of: Callable[..., Account]) -> None:
    clock = Clock()
    account = account_of(clock=clock)
    reservation = direct_upload(account, id="a")
    clock.now += 1_800
    assert api_error(account.http.post(reservation["uploadURL"], files=UPLOAD)) == (404, 5404)
    for method in ("GET", "DELETE"):
        assert api_error(account(method, "v1/a")) == (404, 5404)
    assert api_error(account("PATCH", "v1/a", json={"creator": "jane"})) == (404, 5404)
    assert direct_upload(account, id="a")["id"] == "a"


@pytest.mark.parametrize(
    ("seconds", "accepted"),
    [(119, False), (120, True), (21_600, True), (21_601, False), (-60, False)],
)
def test_the_expiry_is_two_minutes_to_six_hours_away(
    account_of: Callable[..., Account], seconds: int, accepted: bool
) -> None:
    clock = Clock()
    expires = datetime.fromtimestamp(clock.now, UTC) + timedelta(seconds=seconds)
    response = account_of(clock=clock)(
        "POST", "v2/direct_upload", files={"expiry": (None, expires.isoformat().replace("+00:00", "Z"))}
    )
    assert (response.status_code == 200) is accepted
    if not accepted:
        assert api_error(response) == (400, 5400)


@pytest.mark.parametrize("expiry", ["tomorrow", "2030-13-01T00:00:00Z", "9999-12-31T23:59:59+00:00"])
def test_an_expiry_that_is_not_a_date_is_an_error(account: Account, expiry: str) -> None:
    assert api_error(account("POST", "v2/direct_upload", files={"expiry": (None, expiry)})) == (400, 5400)


def test_the_upload_url_responds_to_preflight_requests(account: Account) -> None:
    response = account.http.options(direct_upload(account)["uploadURL"])
    assert response.status_code == 204
    assert response.headers["access-control-allow-methods"] == "POST, OPTIONS"


def test_an_unknown_upload_url_is_an_error(account: Account) -> None:
    emulator = account.emulator
    assert api_error(
        account.http.post(f"{emulator.url}/upload/{emulator.account_hash}/none", files=UPLOAD)
    ) == (
        404,
        5404,
    )
    assert api_error(account.http.post(f"{emulator.url}/upload/other/none", files=UPLOAD)) == (404, 7003)
    assert api_error(account.http.get(f"{emulator.url}/upload/{emulator.account_hash}/none")) == (405, 7001)
