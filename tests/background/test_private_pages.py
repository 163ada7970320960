"""Pages with many private images, whose IDs only rows have: few queries, right URLs, bounded memory."""

from __future__ import annotations

import tracemalloc
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.storage import storages
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from cf_images.background import rows, timing
from cf_images.models import Upload
from tests.background.conftest import ALIAS, forget, use_background_storage, work
from tests.pictures import picture

pytestmark = pytest.mark.django_db

Accept = Callable[..., Upload]
IMAGES = 50
FEW = 2 + 2 + 5 * 3  # the pending names and a few IDs, here in savepoints


@pytest.fixture
def stored(
    accept: Accept, cloudflare: Any, settings: Any, later: Callable[[float], None]
) -> dict[str, bytes]:
    """The names and the bytes of private images that were stored an hour ago."""
    use_background_storage(settings, cloudflare, require_signed_urls=True, expire=24 * 3600)
    found = {}
    for number in range(IMAGES):
        body = picture(seed=number)
        found[accept(body).name] = body
    assert work() == IMAGES
    later(3600)
    forget()
    return found


def page(names: dict[str, bytes]) -> tuple[dict[str, str], int]:
    """Return the URLs of a page, and the number of its queries."""
    with CaptureQueriesContext(connection) as captured:
        found = {name: storages[ALIAS].url(name) for name in names}
    return found, len(captured)


def displayed(client: Client, url: str) -> bytes:
    """Return what a browser gets."""
    if url.startswith("/"):
        response = client.get(url)
        assert response.status_code == 302
        url = response["Location"]
    with urllib.request.urlopen(url) as response:
        body: bytes = response.read()
    return body


def test_page_of_private_images_costs_few_queries_and_every_url_works(
    stored: dict[str, bytes], client: Client, later: Callable[[float], None]
) -> None:
    urls, queries = page(stored)
    assert queries <= FEW
    assert {name: displayed(client, url) for name, url in urls.items()} == stored
    later(1)
    urls, queries = page(stored)
    assert queries == 0, "the view has found the IDs of the others"
    assert not [url for url in urls.values() if url.startswith("/")]
    assert {name: displayed(client, url) for name, url in urls.items()} == stored


def test_pages_without_visitors_find_all_ids_in_time(
    stored: dict[str, bytes], later: Callable[[float], None]
) -> None:
    for _ in range(IMAGES // 5):
        _, queries = page(stored)
        assert queries <= FEW
        later(1.1)
    _, queries = page(stored)
    assert queries <= 4
    later(timing.REFRESH_SECONDS)
    _, queries = page(stored)
    assert queries <= 4


def test_rows_that_are_gone_cost_no_query_each(stored: dict[str, bytes]) -> None:
    Upload.objects.all().delete()
    _, queries = page(stored)
    assert queries <= FEW


def test_memory_of_ids_is_bounded(db: None) -> None:
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(100_000):
            rows.remember_remote_id(f"avatars/jane-{number:012d}~.png", f"{number:032x}")
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 8_000_000
    with CaptureQueriesContext(connection) as captured:
        assert rows.remote_id("avatars/jane-000000099999~.png") == f"{99_999:032x}"
        assert rows.remote_id("avatars/jane-000000000000~.png") is None, "the first have been dropped"
    assert len(captured) == 1
