"""The list of a site's images is complete, although long lists of Cloudflare are not."""

from __future__ import annotations

import random
from typing import Any

import pytest

from cf_images.accounts import find_account
from cf_images.exceptions import CloudflareUnavailableError
from cf_images.transfer import listing
from cf_images.transfer.listing import Listing
from cf_images.transfer.pacing import PacedRequests
from tests.transfer.accounts import SITE, fill, own

pytestmark = pytest.mark.django_db

ALIAS = "cloudflare_images"
SECOND = 1_700_000_000


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch, cloudflare: Any) -> None:
    """Lists of twenty images and more are not stable."""
    monkeypatch.setattr(listing, "MAX_LISTED", 20)
    cloudflare.faults.set(unstable_lists=19)


def list_site(site: str = SITE) -> tuple[list[str], list[int]]:
    account = find_account(ALIAS)
    assert account is not None
    found = Listing(PacedRequests(account), site)
    return [image.image_id for image in found], found.overfull


def test_every_image_is_listed_once_although_long_lists_are_unstable(
    cloudflare: Any, images: Any, settings: Any
) -> None:
    chance = random.Random(7)  # repeatable
    seconds = [SECOND + round(chance.gauss(0, 40) ** 3) for _ in range(300)]
    seconds += [SECOND + 10**8 + number // 15 for number in range(300)]
    fill(cloudflare, [(f"image-{number}", own(uploaded=second)) for number, second in enumerate(seconds)])
    unstable = [image.id for image in images.client.list_images()]
    assert len(set(unstable)) < 600
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_RATE": None}
    listed, overfull = list_site()
    assert sorted(listed) == sorted(f"image-{number}" for number in range(600))
    assert overfull == []


def test_a_second_with_too_many_images_is_named(cloudflare: Any) -> None:
    fill(cloudflare, [(f"image-{number}", own(uploaded=SECOND)) for number in range(20)])
    fill(cloudflare, [("later", own(uploaded=SECOND + 1)), ("earlier", own(uploaded=SECOND - 1))])
    listed, overfull = list_site()
    assert {"later", "earlier"} < set(listed)
    assert overfull == [SECOND]


def test_images_of_others_are_not_listed(cloudflare: Any) -> None:
    fill(
        cloudflare,
        [
            ("ours", own()),
            ("theirs", own(site="tests/production")),
            ("foreign", {"site": SITE}),
            ("odd", {"cf_images": {"site": SITE, "uploaded": "yesterday"}}),
            ("old", {"cf_images": {"site": SITE, "uploaded": 0}}),
        ],
    )
    listed, overfull = list_site()
    assert sorted(listed) == ["old", "ours"]
    assert overfull == []


def test_an_empty_account_has_an_empty_list(cloudflare: Any) -> None:
    assert list_site() == ([], [])
    assert len(cloudflare.requests) == 1


def test_a_rate_limit_pauses_the_list(cloudflare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("cf_images.transfer.pacing.time.sleep", slept.append)
    cloudflare.faults.set(retry_after=30)
    cloudflare.faults.plan("429")
    fill(cloudflare, [("ours", own())])
    assert list_site() == (["ours"], [])
    assert slept[0] == 30.0  # the pace may wait, too


@pytest.mark.parametrize("wrong", [own(site="tests/prod"), own(uploaded="now"), {}])
def test_a_list_that_ignores_its_conditions_is_an_error(
    cloudflare: Any, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any]
) -> None:
    fill(cloudflare, [("ours", own()), ("wrong", wrong)])
    monkeypatch.setattr("cf_images.emulator.filters.parse", lambda _: [])
    with pytest.raises(CloudflareUnavailableError, match="does not keep to the conditions"):
        list_site()
