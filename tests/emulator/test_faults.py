"""Faults on demand, the control endpoint and the page of the emulator."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from cf_images.emulator import Emulator
from cf_images.emulator.faults import KINDS
from tests.emulator.conftest import PNG, Account, api_error
from tests.emulator.test_direct_uploads import Clock

UPLOAD: Any = {"files": {"file": ("a.png", PNG, "image/png")}}


@pytest.mark.parametrize(
    ("kind", "status", "code"), [("429", 429, 971), ("500", 500, 5550), ("internal_5550", 415, 5550)]
)
def test_an_error_fault_prevents_processing(account: Account, kind: str, status: int, code: int) -> None:
    account.emulator.faults.set(retry_after=7)
    account.emulator.faults.plan(kind)
    response = account("POST", "v1", **UPLOAD)
    assert api_error(response) == (status, code)
    assert response.headers.get("retry-after") == ("7" if kind == "429" else None)
    assert not account.emulator.images
    assert account("POST", "v1", **UPLOAD).status_code == 200
    assert account.emulator.app.counters()["faults"] == {kind: 1}


def test_a_bad_gateway_is_an_html_page(account: Account) -> None:
    account.emulator.faults.plan("html_502")
    response = account("GET", "v1/stats")
    assert (response.status_code, response.headers["content-type"]) == (502, "text/html; charset=utf-8")


@pytest.mark.parametrize(("kind", "stored"), [("reset_before", 0), ("reset_after", 1)])
def test_the_connection_is_reset_before_or_after_processing(account: Account, kind: str, stored: int) -> None:
    account.emulator.faults.plan(kind)
    with pytest.raises(httpx.TransportError):
        account("POST", "v1", **UPLOAD)
    assert len(account.emulator.images) == stored
    assert account.emulator.requests[-1].status == 0
    assert account("POST", "v1", **UPLOAD).status_code == 200


@pytest.mark.parametrize("kind", ["reset_before", "reset_after"])
def test_a_reset_is_not_an_orderly_close(account: Account, kind: str) -> None:
    account.emulator.faults.plan(kind)
    address = ("127.0.0.1", int(account.emulator.url.rpartition(":")[2]))
    with socket.create_connection(address, timeout=10) as client:
        client.sendall(b"GET /client/v4/none HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            client.recv(100)


def test_a_body_is_cut_short(account: Account) -> None:
    image = account.upload()
    account.emulator.faults.plan("cut", times=2)
    for path in ("v1/stats", f"v1/{image['id']}/blob"):
        with pytest.raises(httpx.RemoteProtocolError, match="without sending complete"):
            account("GET", path)


def test_a_slow_body_arrives_byte_by_byte(account: Account) -> None:
    account.emulator.faults.set(byte_seconds=0.001)
    account.emulator.faults.plan("slow")
    started = time.perf_counter()
    body = account("GET", "v1/stats")
    assert body.json()["success"] is True
    assert time.perf_counter() - started >= 0.001 * len(body.content)


def test_a_slow_response_ends_with_the_emulator(account_of: Callable[..., Account]) -> None:
    account = account_of()
    account.emulator.faults.set(byte_seconds=1_000)
    account.emulator.faults.plan("slow")
    with account.http.stream("GET", account.emulator.api_url) as response:
        account.emulator.close()
        with pytest.raises(httpx.TransportError):
            response.read()


def test_a_stale_fault_hides_only_a_new_image(account_of: Callable[..., Account]) -> None:
    clock = Clock()
    account = account_of(clock=clock)
    account.emulator.faults.set(rates={"stale": 1})
    image = account.upload()
    assert account("GET", "v2").status_code == 200
    assert account("GET", "v1/missing").status_code == 404
    assert api_error(account("GET", f"v1/{image['id']}")) == (404, 5404)
    clock.now += 31
    assert account("GET", f"v1/{image['id']}").status_code == 200
    assert account.emulator.faults.counts == {"stale": 1}


def test_a_planned_stale_fault_waits_for_a_request_that_it_applies_to(account: Account) -> None:
    account.emulator.faults.plan("stale")
    image = account.upload()
    assert [account("GET", f"v1/{image['id']}").status_code for _ in range(2)] == [404, 200]


def statuses(account: Account, *, seed: int) -> list[int]:
    """Return the statuses of forty requests with the same rates."""
    account.emulator.faults.set(rates={"429": 0.2, "500": 0.2}, seed=seed)
    return [account("GET", "v1/stats").status_code for _ in range(40)]


def test_the_same_seed_gives_the_same_faults(account: Account) -> None:
    first, again, other = (statuses(account, seed=seed) for seed in (7, 7, 8))
    assert first == again != other
    assert set(first) == {200, 429, 500}


def test_faults_occur_only_at_the_chosen_places(account: Account) -> None:
    faults = account.emulator.faults
    image = account.upload()
    faults.set(rates={"500": 1})
    assert account.deliver(image).status_code == 200
    faults.set(places=("delivery",))
    assert account("GET", "v1/stats").status_code == 200
    response = account.deliver(image)
    assert (response.status_code, response.text) == (500, "ERROR 5550: Internal Server Error")


def test_latency_is_added_to_requests_and_to_connections(account: Account) -> None:
    account.emulator.latency, account.emulator.connect_latency = 0.02, 0.05
    assert (account.emulator.latency, account.emulator.connect_latency) == (0.02, 0.05)
    started = time.perf_counter()
    account("GET", "v1/stats")
    account("GET", "v1/stats")
    assert time.perf_counter() - started >= 0.05 + 2 * 0.02
    account.emulator.reset()
    assert (account.emulator.latency, account.emulator.connect_latency) == (0, 0)


@pytest.mark.parametrize(
    "settings",
    [
        *({"rates": {"418": 0.1}}, {"rates": {"429": 2}}, {"rates": {"429": True}}, {"rates": [1]}),
        *({"places": "api"}, {"places": ["moon"]}, {"latency": -1}, {"latency": "long"}, {"unknown": 1}),
        *({"latency": float("inf")}, {"seed": None}),
    ],
    ids=str,
)
def test_invalid_settings_are_errors_and_change_nothing(emulator: Emulator, settings: dict[str, Any]) -> None:
    before = emulator.faults.describe()
    with pytest.raises(ValueError, match=r"rate|places|latency|seed|Unknown"):
        emulator.faults.set(**settings)
    assert emulator.faults.describe() == before


def test_an_unknown_fault_cannot_be_planned(emulator: Emulator) -> None:
    with pytest.raises(ValueError, match="use one of 429, 500"):
        emulator.faults.plan("418")
    with pytest.raises(ValueError, match="times"):
        emulator.faults.plan("429", times=0)


class Control:
    """A client for the control endpoint."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def __call__(self, method: str, path: str, **options: Any) -> httpx.Response:
        url = f"{self.account.emulator.url}/__emulator__/{path}"
        return self.account.http.request(method, url, **options)


@pytest.fixture
def control(account: Account) -> Control:
    return Control(account)


def test_counters_count_requests_connections_faults_and_images(account: Account, control: Control) -> None:
    account.upload()
    account.upload()
    account.emulator.faults.plan("500")
    account("GET", "v1/stats")
    assert control("GET", "counters").json() == {
        "requests": 3,
        "statuses": {"200": 2, "500": 1},
        "connections": 1,
        "faults": {"500": 1},
        "images": 2,
        "duplicates": 1,
    }


def test_faults_are_set_planned_and_reset_over_http(account: Account, control: Control) -> None:
    response = control("PUT", "faults", json={"rates": {"429": 1}, "latency": 0.001, "seed": 3})
    assert (response.json()["rates"], response.json()["latency"]) == ({"429": 1}, 0.001)
    assert control("POST", "faults/next", json={"kind": "500", "times": 2}).json()["next"] == ["500", "500"]
    assert [account("GET", "v1/stats").status_code for _ in range(3)] == [500, 500, 429]
    assert control("POST", "reset", json={}).json()["requests"] == 0
    assert control("GET", "faults").json()["rates"] == {}
    assert control("HEAD", "faults").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("PUT", "faults", {"json": {"rates": {"418": 1}}}, 400),
        ("PUT", "faults", {"json": [1]}, 400),
        ("PUT", "faults", {"json": {"latency": None}}, 400),
        ("PUT", "faults", {"content": "{", "headers": {"Content-Type": "application/json"}}, 400),
        ("PUT", "faults", {"content": '{"latency": 9}'}, 415),
        ("POST", "reset", {}, 415),
        ("POST", "reset", {"data": {"a": "b"}}, 415),
        ("POST", "faults/next", {"json": {"kind": "cut", "times": "many"}}, 400),
        ("DELETE", "faults", {}, 404),
        ("GET", "none", {}, 404),
    ],
)
def test_an_invalid_control_request_gets_an_error_message(
    control: Control, method: str, path: str, options: Any, status: int
) -> None:
    response = control(method, path, **options)
    assert response.status_code == status
    assert response.json()["error"]


def test_every_fault_can_be_set(emulator: Emulator) -> None:
    emulator.faults.set(rates=dict.fromkeys(KINDS, 0))
    assert list(emulator.faults.rates) == list(KINDS)


def test_the_page_shows_and_escapes_what_is_stored(account: Account) -> None:
    account.upload(id='<script>"&', metadata='{"a": "</pre><b>"}', creator="<i>")
    image = account.upload(requireSignedURLs="true")
    page = account.http.get(account.emulator.url)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "script-src" not in page.headers["content-security-policy"]
    assert "<dt>account ID</dt>" in page.text
    assert "<script>" not in page.text
    assert "<b>&#34;" not in page.text
    assert "by &lt;i&gt;" in page.text
    assert account.emulator.api_token not in page.text
    signed = page.text.partition(f'href="/{account.emulator.account_hash}/{image["id"]}')[2].partition('"')[0]
    url = (
        f"{account.emulator.url}/{account.emulator.account_hash}/{image['id']}{signed.replace('&amp;', '&')}"
    )
    assert "sig=" in url
    assert account.http.get(url).status_code == 200


def test_the_page_has_a_thumbnail_of_every_image(account: Account, control: Control) -> None:
    image = account.upload(requireSignedURLs="true", metadata='{"a": 1}')
    response = control("GET", f"thumbnails/{image['id']}")
    assert response.headers["content-type"].startswith("image/")
    assert response.headers["x-content-type-options"] == "nosniff"
    assert control("GET", "thumbnails/none").status_code == 404


def test_an_empty_page_and_a_full_one(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "No images yet" in account.http.get(account.emulator.url).text
    monkeypatch.setattr("cf_images.emulator.page.MAX_IMAGES", 1)
    account.upload(id="a")
    account.upload(id="b")
    assert "… and 1 more" in account.http.get(account.emulator.url).text
