"""The fixtures that come with the package."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx
from django.core.files.base import ContentFile
from django.core.files.storage import InMemoryStorage, storages

from cf_images.client import CloudflareImagesClient, guard, pool
from cf_images.emulator import Emulator
from cf_images.storage import CloudflareImagesStorage
from cf_images.test.contexts import declared_variants
from tests.app.models import Profile
from tests.pictures import picture

REAL_HOST = "api.cloudflare.com"
ROOT = Path(__file__).parents[1]


def test_the_settings_point_at_the_emulator(cf_images_settings: Any) -> None:
    name = storages["cloudflare_images"].save("a.png", ContentFile(picture()))
    assert list(cf_images_settings.images) == [name]


def test_the_emulator_has_the_variants_of_the_project(cf_images_settings: Any) -> None:
    variants = storages["cloudflare_images"].client.list_variants()
    assert variants["avatar"].options["width"] == 240


@pytest.mark.parametrize("turn", [1, 2])
def test_the_emulator_is_empty_at_the_beginning(cf_images_settings: Any, turn: int) -> None:
    assert not cf_images_settings.images
    storages["cloudflare_images"].save("a.png", ContentFile(picture()))


@pytest.mark.django_db
def test_fields_with_select_storage_keep_their_images_where_the_fixture_says(
    cf_images_storage: Any, settings: Any
) -> None:
    settings.STORAGES = {
        **settings.STORAGES,
        "memory": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    }
    assert isinstance(cf_images_storage("memory"), InMemoryStorage)
    profile = Profile.objects.create(image=ContentFile(picture(), name="jane.png"))
    assert storages["memory"].exists(profile.image.name)


def test_the_fields_get_their_own_storages_back() -> None:
    assert isinstance(Profile._meta.get_field("image").storage, CloudflareImagesStorage)


def test_a_request_to_the_real_account_fails_and_names_the_fixture(real_storage: Any) -> None:
    with pytest.raises(pytest.fail.Exception, match=f"{REAL_HOST}.*cf_images_settings.*real_account"):
        real_storage.exists("a.png")


@pytest.fixture
def real_storage(settings: Any) -> Any:
    """The storage as the settings have it, without the emulator."""
    return storages["cloudflare_images"]


@pytest.mark.parametrize("host", ["upload.imagedelivery.net", "batch.imagedelivery.net"])
def test_the_other_hosts_of_the_real_account_are_refused_too(host: str) -> None:
    client = CloudflareImagesClient("account", "token")
    with pytest.raises(pytest.fail.Exception, match=re.escape(host)):
        client.upload_direct(f"https://{host}/hash/id", ContentFile(picture()), filename="a.png")


def test_the_failure_shows_no_token() -> None:
    client = CloudflareImagesClient("account", "very-secret-token")
    with pytest.raises(pytest.fail.Exception) as caught:
        client.details("one")
    frames = [str(entry.frame.f_locals) for entry in caught.traceback]
    assert "very-secret-token" not in "".join(frames[1:])
    assert not [entry for entry in caught.traceback if "httpcore" in str(entry.path)]
    assert caught.value.__context__ is None


def test_a_proxy_does_not_get_around_the_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        pool.close()
        with pytest.raises(pytest.fail.Exception, match=REAL_HOST):
            CloudflareImagesClient("account", "token").details("one")
        pool.close()


def test_a_connection_from_before_does_not_get_around_the_guard(cf_images_emulator: Any) -> None:
    emulator = cf_images_emulator
    client = CloudflareImagesClient(emulator.account_id, emulator.api_token, api_url=emulator.api_url)
    client.stats()
    with guard.refuse_hosts({"127.0.0.1", "localhost"}, pytest.fail), pytest.raises(pytest.fail.Exception):
        client.stats()
    assert len(emulator.requests) == 1
    assert client.stats()


def test_a_mocked_request_is_no_request_to_the_real_account() -> None:
    with respx.mock as router:
        router.get(url__regex=f"https://{REAL_HOST}/.*").respond(
            json={"success": True, "result": {"id": "a"}}
        )
        assert CloudflareImagesClient("account", "token").details("a").id == "a"


def test_other_sockets_are_not_touched() -> None:
    """Neither another HTTP client nor the socket module knows of the guard."""
    assert socket.getaddrinfo.__module__ == socket.create_connection.__module__ == "socket"
    assert type(socket.getaddrinfo) is type(test_other_sockets_are_not_touched)
    with socket.create_server(("127.0.0.1", 0)) as server, guard.refuse_hosts({"127.0.0.1"}, pytest.fail):
        threading.Thread(target=lambda: server.accept()[0].close()).start()
        with pytest.raises(httpx.TransportError):  # it reached the server, which hung up
            httpx.get(f"http://127.0.0.1:{server.getsockname()[1]}/", trust_env=False)


INNER = """
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from cf_images.client import CloudflareImagesClient, streams

client = CloudflareImagesClient("account", "token")
attempts = []

@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def addresses(host, port):
        attempts.append(host)
        raise OSError("no network in this test")
    monkeypatch.setattr(streams, "_addresses", addresses)

def ask():
    try:
        client.details("one")
    except Exception:  # as in a project's code that must go on
        pass

def test_plain():
    ask()

def test_thread():
    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()

def test_executor():
    with ThreadPoolExecutor(1) as executor:
        executor.submit(ask)

@pytest.mark.cf_images_real_account
def test_marked():
    with pytest.raises(OSError, match="no network"):
        client.details("one")

def test_nothing_went_out():
    assert attempts == ["api.cloudflare.com"]
"""


def test_the_failure_reaches_a_test_through_retries_handlers_and_threads(tmp_path: Path) -> None:
    (tmp_path / "test_inner.py").write_text(INNER)
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:django", "-W", "ignore", "--rootdir", tmp_path]
    command = [sys.executable, "-m", "pytest", *options, tmp_path / "test_inner.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    summary = [line.split(" - ")[0] for line in lines if line.startswith(("FAILED", "ERROR"))]
    assert [line.replace(f"{tmp_path}/", "").split("::")[1] for line in summary] == [
        "test_plain",
        "test_thread",
        "test_executor",
    ], done.stdout
    assert done.stdout.count("cf_images_settings") >= 3
    assert "2 passed" not in lines[-1] or "1 failed" in lines[-1]


def test_loading_the_plugin_loads_nothing_else() -> None:
    heavy = ("django", "httpx", "httpcore", "stamina", "werkzeug", "PIL")
    script = f"import sys, cf_images.pytest_plugin; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("flexible", "status"), [(None, 200), (True, 200), (False, 403)])
def test_the_emulator_follows_the_declarations(settings: Any, flexible: Any, status: int) -> None:
    declared = {"w": 20, "browser-ttl": 3600, "neverRequireSignedURLs": True}
    settings.CF_IMAGES = {"VARIANTS": {"small": declared}, "FLEXIBLE_VARIANTS": flexible}
    with Emulator(**declared_variants()) as emulator:
        client = CloudflareImagesClient(emulator.account_id, emulator.api_token, api_url=emulator.api_url)
        small = client.variant("small")
        image = client.upload(ContentFile(picture()), filename="a.png")
        address = f"{emulator.delivery_url}/{emulator.account_hash}/{image.id}/w=5"
        assert httpx.get(address).status_code == status
    assert small.options == {"fit": "scale-down", "width": 20, "metadata": "none", "browser_ttl": 3600}
    assert small.never_require_signed_urls is True
