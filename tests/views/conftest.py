"""Each test starts with a process that has rendered nothing yet."""

from __future__ import annotations

import pytest

from cf_images.views import render_slots


@pytest.fixture(autouse=True)
def _nothing_was_rendered() -> None:
    render_slots.clear()
