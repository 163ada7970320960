"""Renditions of pending images: claimed by one process, and given up where that one has ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError

from cf_images.background import renditions
from cf_images.background.renditions import (
    claim_rendition,
    find_rendition,
    keep_rendition,
    wait_for_rendition,
)
from cf_images.models import Rendition, Upload
from tests.background.conftest import Clock, work

pytestmark = pytest.mark.django_db

Accept = Callable[..., Upload]
KEY = "avatar"


def rendered() -> Rendition:
    return Rendition(key=KEY, content_type="image/png", data=b"png")


def test_rendition_is_claimed_once_until_it_is_kept(accept: Accept) -> None:
    row = accept()
    assert claim_rendition(row, KEY)
    assert not claim_rendition(row, KEY)
    assert claim_rendition(row, "another")
    assert find_rendition(row, KEY) is None, "it is not there yet"
    keep_rendition(row, rendered())
    assert not claim_rendition(row, KEY)
    found = find_rendition(row, KEY)
    assert found
    assert bytes(found.data) == b"png"


def test_claim_of_a_process_that_was_killed_is_given_up(accept: Accept, clock: Clock) -> None:
    row = accept()
    assert claim_rendition(row, KEY)
    clock.advance(seconds=9)
    assert not claim_rendition(row, KEY)
    clock.advance(seconds=2)
    assert claim_rendition(row, KEY)
    assert not claim_rendition(row, KEY)


def test_claim_is_given_up_where_the_clock_was_set_back(accept: Accept, clock: Clock) -> None:
    row = accept()
    assert claim_rendition(row, KEY)
    clock.advance(hours=-1)
    assert claim_rendition(row, KEY)
    assert not claim_rendition(row, KEY)


def test_claim_is_not_taken_away_by_a_clock_that_is_a_little_behind(accept: Accept, clock: Clock) -> None:
    row = accept()
    assert claim_rendition(row, KEY)
    clock.advance(seconds=-0.1)
    assert not claim_rendition(row, KEY)
    clock.advance(seconds=-20)
    assert not claim_rendition(row, KEY)


def test_what_another_process_renders_is_waited_for(accept: Accept, monkeypatch: pytest.MonkeyPatch) -> None:
    row = accept()
    claim_rendition(row, KEY)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            keep_rendition(row, rendered())

    monkeypatch.setattr(renditions.time, "sleep", sleep)
    assert wait_for_rendition(row, KEY)
    assert len(slept) == 3
    assert wait_for_rendition(row, "another") is None
    assert sum(slept) < 0.2


@pytest.mark.usefixtures("cloudflare")
def test_claims_are_deleted_with_the_bytes(accept: Accept) -> None:
    row = accept()
    claim_rendition(row, KEY)
    work()
    assert not Rendition.objects.exists()
    assert claim_rendition(row, "another"), "it finds that the bytes are gone"
    keep_rendition(row, rendered())
    assert not Rendition.objects.exists()


def test_database_that_takes_no_claim_does_not_hinder_rendering(
    accept: Accept, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = accept()

    def locked(**_: Any) -> None:
        raise OperationalError("database is locked")

    with monkeypatch.context() as patch:
        patch.setattr(
            Rendition.objects,
            "using",
            lambda _: type("Locked", (), {"get_or_create": locked, "filter": locked}),
        )
        assert claim_rendition(row, KEY)
    keep_rendition(row, rendered())
    assert find_rendition(row, KEY)
