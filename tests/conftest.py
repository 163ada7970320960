"""Fixtures for all tests."""

from __future__ import annotations

import signal
import sys
from typing import Any

import pytest
from django.core.files.storage import storages
from hypothesis import settings as hypothesis_settings
from PIL import Image, ImageFile

from cf_images import conf
from cf_images.accounts import signing_keys

hypothesis_settings.register_profile("tests", deadline=None)  # a busy machine is not a finding
hypothesis_settings.load_profile("tests")


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As for whatever a shell runs in the background; and so for all processes that the tests stop by Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def point_at(settings: Any, emulator: Any, **options: Any) -> None:
    """Let every storage speak to ``emulator``, also those that fields got when models were imported.

    ``options`` are those of the storage; they come from CF_IMAGES here.
    """
    addresses = {"api_url": emulator.api_url, "delivery_url": emulator.delivery_url}
    credentials = {"account_id": emulator.account_id, "api_token": emulator.api_token}
    given = {**addresses, **credentials, "account_hash": emulator.account_hash, **options}
    settings.CF_IMAGES = {**settings.CF_IMAGES, **{name.upper(): value for name, value in given.items()}}


@pytest.hookimpl(trylast=True)  # Hypothesis has marked its tests before
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Measure no coverage where it doubles the time of a test, and other tests reach the same lines."""
    for item in items:
        if any(item.get_closest_marker(name) for name in ("hypothesis", "heavy")):
            item.add_marker("no_cover")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what tests have measured; here, because a worker of xdist has no terminal."""
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", []):
                if name == "figures" and report.when == "call":
                    terminalreporter.write_line(f"{report.nodeid}: {value}")


@pytest.fixture(autouse=True)
def _no_keys_are_known() -> None:
    """Those of another test's account."""
    signing_keys.clear_cache()


@pytest.fixture(autouse=True)
def _truncated_images_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow's default, which importing WeasyPrint changes for the whole process."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", False)


@pytest.fixture
def without_heic(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without the extra ``[heic]``."""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)


@pytest.fixture
def no_test_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the package take this process for a site, not for a test run."""
    monkeypatch.setattr(conf, "is_test_run", lambda: False)


@pytest.fixture
def cloudflare(cf_images_emulator: Any, settings: Any) -> Any:
    """An empty emulator that ``storages["cloudflare_images"]`` speaks to."""
    point_at(settings, cf_images_emulator)
    return cf_images_emulator


@pytest.fixture
def images(cloudflare: Any) -> Any:
    """The storage ``cloudflare_images``, at the emulator."""
    return storages["cloudflare_images"]
