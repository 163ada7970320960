"""pytest fixtures for projects that store images with this package, and a guard for their real account.

Loaded into every test run of an environment that has the package, so it imports next to nothing before a
fixture is used, and changes nothing outside of this package. ``cf_images.test`` is for other runners.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from cf_images.client import guard

if TYPE_CHECKING:
    from django.core.files.storage import Storage

    from cf_images.emulator import Emulator
    from cf_images.test import InMemoryCloudflare

MARKER = "cf_images_real_account"
_REMEDY = f"Use the fixture cf_images_settings for the emulator, or mark the test with @pytest.mark.{MARKER}."


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", f"{MARKER}: this test may send requests to Cloudflare itself")


@pytest.fixture(scope="session")
def cf_images_emulator_server() -> Iterator[Emulator]:
    """The emulator of this session, in memory, with the variants that the project declares.

    Tests use ``cf_images_emulator`` or ``cf_images_settings``.
    """
    from cf_images.emulator import Emulator

    with Emulator(**_declared_variants()) as emulator:
        yield emulator


@pytest.fixture
def cf_images_emulator(cf_images_emulator_server: Emulator) -> Iterator[Emulator]:
    """A local Cloudflare Images on a free port, empty at the start of each test."""
    from cf_images.accounts import signing_keys

    cf_images_emulator_server.reset()
    signing_keys.clear_cache()  # the account has new ones
    yield cf_images_emulator_server
    cf_images_emulator_server.reset()


@pytest.fixture
def cf_images_settings(cf_images_emulator: Emulator) -> Iterator[Emulator]:
    """The emulator, as the account of every storage, whatever settings, OPTIONS and environment have."""
    from cf_images.test import contexts

    with contexts.using(cf_images_emulator):
        yield cf_images_emulator


@pytest.fixture
def cf_images_in_memory() -> Iterator[InMemoryCloudflare]:
    """An account in memory for every storage: without HTTP, and without the extra ``[emulator]``."""
    from cf_images.test import in_memory

    with in_memory() as cloudflare:
        yield cloudflare


@pytest.fixture
def cf_images_storage() -> Iterator[Callable[[str], Storage]]:
    """``cf_images_storage("default")`` makes every field with ``select_storage`` use that storage.

    Django fixes a field's storage when models are imported, so ``override_settings(ENV_NAME=…)`` alone
    changes nothing. After the test, the fields have their own storages again.
    """
    from cf_images.test import fields_stored_in

    with ExitStack() as chosen:
        yield lambda alias: chosen.enter_context(fields_stored_in(alias))


@pytest.fixture(autouse=True)
def _cf_images_read_settings_again() -> None:
    """Let each test start with the settings and environment variables of its own."""
    if conf := sys.modules.get("cf_images.conf"):
        conf.clear_cache()


@pytest.fixture(autouse=True)
def _cf_images_real_account_guard(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that sends a request to the real service, unless it has the marker."""
    if request.node.get_closest_marker(MARKER):
        with guard.allow_all():
            yield
        return
    test_thread, unnoticed = threading.current_thread(), list[str]()

    def fail(host: str) -> None:
        message = guard.real_account_message(host, _REMEDY)
        if threading.current_thread() is not test_thread:
            unnoticed.append(message)  # an exception there ends the thread, and not the test
        pytest.fail(message)

    with guard.refuse_hosts(guard.REAL_HOSTS, fail):
        yield
    if unnoticed:
        pytest.fail(unnoticed[0])


def _declared_variants() -> dict[str, Any]:
    """Return the project's variants for an emulator; none without Django or its settings."""
    try:
        from django.conf import settings
    except ImportError:
        return {}
    if not settings.configured:
        return {}
    from cf_images.test.contexts import declared_variants

    return declared_variants()
