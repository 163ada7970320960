"""Web pages of other sites reach the emulator through a browser, and get nothing from it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from cf_images.emulator import Emulator
from cf_images.emulator.__main__ import main
from cf_images.emulator.hosts import checked_host
from tests.emulator.conftest import PNG, Account
from tests.emulator.test_direct_uploads import direct_upload

REBOUND = [
    "evil.example",
    "evil.example:8787",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "10.0.0.1",
]
NO_HOSTS = ["", "a b", "[::1", "127.0.0.1:x", "a@localhost", "localhost,evil.example", "[evil]"]
FOREIGN = [
    "https://evil.example",
    "http://localhost.evil.example",
    "null",
    "http://10.0.0.1",
    "x",
    "http://[",
    "",
]


def paths(account: Account) -> list[tuple[str, str]]:
    """A request of each kind, as the emulator's parts have it."""
    emulator = account.emulator
    return [
        ("GET", "/"),
        ("GET", "/__emulator__/counters"),
        ("POST", "/__emulator__/reset"),
        ("GET", f"/client/v4/accounts/{emulator.account_id}/images/v1/stats"),
        ("GET", "/images/v1"),
        ("POST", f"/upload/{emulator.account_hash}/x"),
        ("OPTIONS", f"/upload/{emulator.account_hash}/x"),
        ("GET", f"/{emulator.account_hash}/x/public"),
    ]


@pytest.mark.parametrize("host", [*REBOUND, *NO_HOSTS])
def test_no_part_responds_to_a_name_that_was_rebound(account: Account, host: str) -> None:
    account.upload(id="kept")
    for method, path in paths(account):
        response = account.http.request(
            method,
            account.emulator.url + path,
            headers={"Host": host, "Content-Type": "application/json"},
            content=b"{}" if method == "POST" else None,
        )
        assert response.status_code == 403, (method, path)
        assert response.text.startswith(f"The emulator refuses requests for the host {host!r}")
    assert "kept" in account.emulator.images


def test_the_error_says_how_to_allow_the_host(account: Account) -> None:
    response = account.http.get(account.emulator.url, headers={"Host": "images:8787"})
    assert response.text == (
        "The emulator refuses requests for the host 'images:8787': that is not this machine. "
        "To allow it, start the emulator with --allow-host images.\n"
    )


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:1", "app.localhost:8787", "localhost.", "127.0.0.1", "127.1.2.3", "[::1]:8787"],
)
def test_loopback_has_many_names(account: Account, host: str) -> None:
    assert account.http.get(account.emulator.url, headers={"Host": host}).status_code == 200


def test_a_client_that_names_no_host_is_no_browser(emulator: Emulator) -> None:
    address = ("127.0.0.1", int(emulator.url.rpartition(":")[2]))
    with socket.create_connection(address, timeout=10) as client, client.makefile("rb") as response:
        client.sendall(b"GET /__emulator__/counters HTTP/1.0\r\n\r\n")
        assert b" 200 " in response.readline()


@pytest.mark.parametrize("origin", FOREIGN)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_page_of_another_site_changes_nothing(account: Account, method: str, origin: str) -> None:
    account.upload(id="kept")
    reservation = direct_upload(account)
    headers = {"Origin": origin, "Authorization": f"Bearer {account.emulator.api_token}"}
    for url in (
        f"{account.emulator.url}/__emulator__/reset",
        f"{account.emulator.url}/__emulator__/faults",
        f"{account.emulator.api_url}/accounts/{account.emulator.account_id}/images/v1/kept",
        reservation["uploadURL"],
    ):
        response = account.http.request(method, url, headers=headers, files={"file": ("a.png", PNG)})
        assert response.status_code == 403
        assert response.text.startswith(f"The emulator refuses requests by web pages of {origin!r}")
    assert "kept" in account.emulator.images
    assert reservation["id"] not in account.emulator.images, "the draft was not filled"


def test_a_page_of_another_site_may_show_an_image(account: Account) -> None:
    assert account.deliver(account.upload(), Origin="https://evil.example").status_code == 200


@pytest.mark.parametrize(
    "origin", ["http://127.0.0.1:8000", "http://localhost:3000", "https://[::1]:9", None]
)
def test_pages_of_this_machine_and_other_clients_upload(account: Account, origin: str | None) -> None:
    reservation = direct_upload(account)
    headers = {} if origin is None else {"Origin": origin}
    response = account.http.post(
        reservation["uploadURL"], files={"file": ("a.png", PNG, "image/png")}, headers=headers
    )
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert account.emulator.images[reservation["id"]].body == PNG


def test_other_hosts_can_be_allowed(account_of: Callable[..., Account]) -> None:
    account = account_of(allowed_hosts=["Images", "192.168.1.5", "fd00::5"])
    for host in ("images:8787", "192.168.1.5", "[fd00::5]:8787"):
        assert account.http.get(account.emulator.url, headers={"Host": host}).status_code == 200
    assert account.http.get(account.emulator.url, headers={"Host": "images.evil"}).status_code == 403
    url = f"{account.emulator.url}/__emulator__/reset"
    for origin, status in (("http://images", 200), ("http://imagesx", 403)):
        headers = {"Origin": origin, "Content-Type": "application/json"}
        assert account.http.post(url, headers=headers, content=b"{}").status_code == status


def test_on_every_address_it_responds_to_every_address_and_to_no_name() -> None:
    with Emulator(host="0.0.0.0") as emulator, httpx.Client() as http:
        url = f"http://127.0.0.1:{emulator.url.rpartition(':')[2]}/"
        statuses = [
            http.get(url, headers={"Host": host}).status_code
            for host in ("10.0.0.7", "[fd00::1]", "evil.example")
        ]
    assert statuses == [200, 200, 403]


@pytest.mark.parametrize("text", ["http://images", "images:8787", "a b", "", "*", "a/b", "-a"])
def test_what_is_no_host_cannot_be_allowed(text: str, capsys: Any) -> None:
    with pytest.raises(ValueError, match="is not a host"):
        checked_host(text)
    with pytest.raises(SystemExit):
        main([f"--allow-host={text}"])
    assert "without scheme and port" in capsys.readouterr().err
