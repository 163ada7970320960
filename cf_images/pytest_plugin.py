"""pytest fixtures for projects that store images with this package.

Loaded into every test run of an environment that has the package, so nothing is imported before a fixture
is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cf_images.emulator import Emulator


@pytest.fixture(scope="session")
def cf_images_emulator_server() -> Iterator[Emulator]:
    """The emulator of this session, in memory; tests ask for ``cf_images_emulator``."""
    from cf_images.emulator import Emulator

    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def cf_images_emulator(cf_images_emulator_server: Emulator) -> Iterator[Emulator]:
    """A local Cloudflare Images on a free port, empty at the beginning of each test."""
    cf_images_emulator_server.reset()
    yield cf_images_emulator_server
    cf_images_emulator_server.reset()
