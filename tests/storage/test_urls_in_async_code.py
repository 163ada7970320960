"""``.url`` where nothing may query: in async views and plain asyncio, also beside a database that is away."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.files.storage import storages
from django.db import OperationalError, connection
from django.http import HttpRequest, JsonResponse
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext
from django.urls import path

from cf_images.background import pending, timing
from cf_images.markup import image_tag, variant_url
from cf_images.models import Upload
from tests.app.models import Profile
from tests.background import conftest as background
from tests.background.conftest import ALIAS, forget, use_background_storage, work
from tests.pictures import picture
from tests.urls import urlpatterns as project_urls

pytestmark = pytest.mark.django_db

Accept = Callable[..., Upload]
Later = Callable[[float], None]
# The fixtures of background uploads.
accept, cloudflare, fresh_process = background.accept, background.cloudflare, background.fresh_process
later = background.later

ASYNC, SYNC = "/async-page/", "/page/"
LONG_AGO = 3 * timing.ASSUME_PENDING_SECONDS


def field_file(name: str) -> Any:
    """The file of a model, on the storage as it is now."""
    found = Profile(image=name).image
    found.storage = storages[ALIAS]
    return found


def urls_of(request: HttpRequest) -> JsonResponse:
    """A page: the URLs of the images that it is asked for."""
    return JsonResponse({name: field_file(name).url for name in request.GET.getlist("name")})


async def async_page(request: HttpRequest) -> JsonResponse:
    asyncio.get_running_loop()
    return urls_of(request)


urlpatterns = [*project_urls, path(ASYNC[1:], async_page), path(SYNC[1:], urls_of)]


@pytest.fixture(autouse=True)
def _routes(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__


@pytest.fixture(params=[False, True], ids=["public", "private"])
def images(
    request: pytest.FixtureRequest, accept: Accept, cloudflare: Any, settings: Any, later: Later
) -> dict[str, bytes]:
    """Names and bytes: of two images that are pending, and of two that are stored, since long ago."""
    private = {"require_signed_urls": request.param}
    use_background_storage(settings, cloudflare, expire=24 * 3600, **private)
    found = {}
    for number in range(4):
        if number == 2:
            assert work() == 2
        body = picture(seed=number)
        found[accept(body).name] = body
    later(LONG_AGO)
    forget()
    return found


def page(url: str, names: Any) -> dict[str, str]:
    found: dict[str, str] = Client().get(url, {"name": list(names)}).json()
    return found


def async_urls(names: Any) -> dict[str, str]:
    """Return the URLs that an async view gives, served as under ASGI."""
    query = {"name": list(names)}

    async def get() -> Any:
        return await AsyncClient().get(ASYNC, query)

    found: dict[str, str] = json.loads(async_to_sync(get)().content)
    return found


def displayed(url: str) -> bytes:
    """Return what a browser gets."""
    if url.startswith("/"):
        response: Any = Client().get(url)
        if response.status_code != 302:
            return b"".join(response) if response.streaming else response.content
        url = response["Location"]
    with urllib.request.urlopen(url) as opened:
        body: bytes = opened.read()
    return body


def assert_all_work(urls: dict[str, str], images: dict[str, bytes]) -> None:
    assert urls.keys() == images.keys()
    for name, url in urls.items():
        assert displayed(url), f"{name} is broken at {url}"


def test_a_new_process_with_async_pages_alone_shows_every_image(images: dict[str, bytes]) -> None:
    with CaptureQueriesContext(connection) as queries:
        urls = async_urls(images)
        assert async_urls(images) == urls
    assert [query for query in queries.captured_queries if "cf_images" in query["sql"]] == []
    assert {url.partition("public")[0] for url in urls.values()} == {"/cf-images/pending/"}
    assert_all_work(urls, images)


def test_the_view_tells_async_pages_what_is_stored(images: dict[str, bytes]) -> None:
    """So that the images of such a process do not all go through this site for ever."""
    pending_names, stored = list(images)[2:], list(images)[:2]
    for url in async_urls(images).values():
        displayed(url)
    urls = async_urls(images)
    assert [urls[name][:4] for name in stored] == ["http", "http"]
    assert [urls[name][:1] for name in pending_names] == ["/", "/"]
    assert_all_work(urls, images)


def test_no_page_makes_another_one_wrong(images: dict[str, bytes], later: Later) -> None:
    for _ in range(3):
        right = page(SYNC, images)
        assert_all_work(right, images)
        assert async_urls(images) == right
        later(timing.REFRESH_SECONDS + 1)
        assert_all_work(async_urls(images), images)
        assert page(SYNC, images) == right


def test_beside_a_database_that_is_away_pages_stay_right(images: dict[str, bytes], later: Later) -> None:
    def away(execute: Any, *arguments: Any) -> Any:
        raise OperationalError("the database is away")

    right = page(SYNC, images)
    for url in right.values():
        displayed(url)  # the view finds the IDs of private images
    later(timing.REFRESH_SECONDS + 1)
    with connection.execute_wrapper(away):
        beside = [page(SYNC, images), async_urls(images), page(SYNC, images)]
        forget()
        beside += [page(SYNC, images), async_urls(images)]
    for urls in beside:
        assert_all_work(urls, images)
    assert all(urls == right for urls in beside[:3]), "what is known stays known"
    later(1.1)
    assert_all_work(page(SYNC, images), images)
    assert page(SYNC, images).keys() == right.keys()


def test_everything_that_gives_a_url_works_in_plain_asyncio(images: dict[str, bytes]) -> None:
    storage = storages[ALIAS]

    async def one_page() -> list[list[str]]:
        return [
            [
                storage.url(name),
                variant_url(field_file(name), "avatar"),
                image_tag(field_file(name), "avatar", alt="").partition('src="')[2].partition('"')[0],
            ]
            for name in images
        ]

    for urls in asyncio.run(one_page()):
        for url in urls:
            assert displayed(url.replace("&amp;", "&"))


def test_async_code_does_not_wait_for_a_thread_that_reads(images: dict[str, bytes]) -> None:
    """It would stop every other request of the process."""
    assert pending._pending._reading.acquire(blocking=False)
    try:
        assert all(url.startswith("/") for url in async_urls(images).values())
    finally:
        pending._pending._reading.release()
