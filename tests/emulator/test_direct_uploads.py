"""Direct creator uploads: drafts that reserve their ID, and URLs that take bytes once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from tests.emulator.conftest import PNG, Account, picture, refused

UPLOAD = {"file": ("a.png", PNG, "image/png")}


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def direct_upload(account: Account, **fields: str) -> Any:
    """Ask for an upload URL."""
    answer = account("POST", "v2/direct_upload", files={name: (None, fields[name]) for name in fields})
    assert answer.status_code == 200, answer.text
    return answer.json()["result"]


def test_the_upload_url_takes_the_bytes_and_keeps_what_was_asked_for(account: Account) -> None:
    asked = direct_upload(account, metadata='{"a": 1}', creator="jane", requireSignedURLs="true")
    assert set(asked) == {"id", "uploadURL"}
    draft = account("GET", f"v1/{asked['id']}").json()["result"]
    assert (draft["draft"], draft["filename"]) == (True, None)
    answer = account.http.post(
        asked["uploadURL"], files=UPLOAD, data={"metadata": "{}", "creator": "mallory", "id": "x"}
    )
    assert answer.headers["access-control-allow-origin"] == "*"
    image = answer.json()["result"]
    assert "draft" not in image
    assert (image["id"], image["meta"], image["creator"]) == (asked["id"], {"a": 1}, "jane")
    assert image["requireSignedURLs"] is True
    assert account("GET", f"v1/{asked['id']}/blob").content == PNG


def test_a_request_without_any_body_is_fine_and_an_empty_form_is_not(account: Account) -> None:
    assert account("POST", "v2/direct_upload").status_code == 200
    empty = {"content": b"--b--\r\n", "headers": {"Content-Type": "multipart/form-data; boundary=b"}}
    assert refused(account("POST", "v2/direct_upload", **empty)) == (400, 5400)
    assert refused(account("POST", "v2/direct_upload", json={"expiry": "2030-01-01"})) == (415, 5415)


def test_a_draft_is_neither_listed_nor_delivered_and_can_be_deleted(account: Account) -> None:
    asked = direct_upload(account, id="a")
    draft = account("GET", "v1/a").json()["result"]
    assert account("GET", "v2").json()["result"]["images"] == []
    assert account("GET", "v1").json()["result"]["images"] == []
    assert account.deliver(draft).status_code == 404
    assert refused(account("GET", "v1/a/blob")) == (404, 5404)
    assert "a" not in account.emulator.images
    assert account("DELETE", "v1/a").status_code == 200
    assert refused(account.http.post(asked["uploadURL"], files=UPLOAD)) == (404, 5404)


def test_a_draft_reserves_its_id(account: Account) -> None:
    direct_upload(account, id="a")
    assert refused(account("POST", "v2/direct_upload", files={"id": (None, "a")})) == (409, 5409)
    assert refused(account("POST", "v1", files=UPLOAD, data={"id": "a"})) == (409, 5409)


def test_an_upload_url_works_once(account: Account) -> None:
    asked = direct_upload(account, id="a/b ü%")
    assert asked["uploadURL"].endswith("/" + quote("a/b ü%", safe=""))
    assert account.http.post(asked["uploadURL"], files=UPLOAD).status_code == 200
    again = account.http.post(
        asked["uploadURL"], files={"file": ("b.png", picture(color="red"), "image/png")}
    )
    assert refused(again) == (409, 5409)
    assert account.emulator.images["a/b ü%"].body == PNG


def test_of_two_uploads_at_once_one_is_taken(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = direct_upload(account, id="a")
    images = account.emulator.images
    draft = images.find("a")
    assert account.http.post(asked["uploadURL"], files=UPLOAD).status_code == 200
    monkeypatch.setattr(images, "find", lambda _: draft)  # as the other one saw it
    answer = account.http.post(
        asked["uploadURL"], files={"file": ("b.png", picture(color="red"), "image/png")}
    )
    assert refused(answer) == (409, 5409)
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
def test_a_refused_upload_leaves_the_draft(account: Account, options: Any, expected: tuple[int, int]) -> None:
    asked = direct_upload(account)
    assert refused(account.http.post(asked["uploadURL"], **options)) == expected
    assert account.http.post(asked["uploadURL"], files=UPLOAD).status_code == 200


def test_a_draft_expires_and_frees_its_id(account_of: Callable[..., Account]) -> None:
    clock = Clock()
    account = account_of(clock=clock)
    asked = direct_upload(account, id="a")
    clock.now += 1_800
    assert refused(account.http.post(asked["uploadURL"], files=UPLOAD)) == (404, 5404)
    for method in ("GET", "DELETE"):
        assert refused(account(method, "v1/a")) == (404, 5404)
    assert refused(account("PATCH", "v1/a", json={"creator": "jane"})) == (404, 5404)
    assert direct_upload(account, id="a")["id"] == "a"


@pytest.mark.parametrize(
    ("seconds", "accepted"),
    [(119, False), (120, True), (21_600, True), (21_601, False), (-60, False)],
)
def test_the_expiry_is_two_minutes_to_six_hours_away(
    account_of: Callable[..., Account], seconds: int, accepted: bool
) -> None:
    clock = Clock()
    moment = datetime.fromtimestamp(clock.now, UTC) + timedelta(seconds=seconds)
    answer = account_of(clock=clock)(
        "POST", "v2/direct_upload", files={"expiry": (None, moment.isoformat().replace("+00:00", "Z"))}
    )
    assert (answer.status_code == 200) is accepted
    if not accepted:
        assert refused(answer) == (400, 5400)


@pytest.mark.parametrize("expiry", ["tomorrow", "2030-13-01T00:00:00Z", "9999-12-31T23:59:59+00:00"])
def test_an_expiry_that_is_no_date_is_refused(account: Account, expiry: str) -> None:
    assert refused(account("POST", "v2/direct_upload", files={"expiry": (None, expiry)})) == (400, 5400)


def test_a_browser_may_ask_whether_it_may_post(account: Account) -> None:
    answer = account.http.options(direct_upload(account)["uploadURL"])
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-methods"] == "POST, OPTIONS"


def test_an_upload_url_of_nobody_is_refused(account: Account) -> None:
    emulator = account.emulator
    assert refused(
        account.http.post(f"{emulator.url}/upload/{emulator.account_hash}/none", files=UPLOAD)
    ) == (
        404,
        5404,
    )
    assert refused(account.http.post(f"{emulator.url}/upload/other/none", files=UPLOAD)) == (404, 7003)
    assert refused(account.http.get(f"{emulator.url}/upload/{emulator.account_hash}/none")) == (405, 7001)
