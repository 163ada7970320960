"""Reading a pending image costs one query, and none in a page that has asked before."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.db import connection, transaction
from django.http import HttpRequest, JsonResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import path

from cf_images.background import delete, page_rows
from cf_images.background.chunks import CHUNK_BYTES
from cf_images.exceptions import ImageNotFoundError
from cf_images.models import State, Upload
from tests.app.models import Profile
from tests.background import conftest as background
from tests.background.conftest import ALIAS, forget, work
from tests.pictures import picture

pytestmark = pytest.mark.django_db

Accept = Callable[..., Upload]
# The fixtures of background uploads.
accept, cloudflare, fresh_process = background.accept, background.cloudflare, background.fresh_process

ask: Callable[[], object] = dict  # what the page of the test does


def page(_: HttpRequest) -> JsonResponse:
    with CaptureQueriesContext(connection) as captured:
        answer = ask()
    return JsonResponse({"answer": answer, "queries": len(captured)})


urlpatterns = [path("page/", page)]


@pytest.fixture
def visit(client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Any]:
    """Return a function that runs another in a request, and returns its answer and number of queries."""
    settings.ROOT_URLCONF = __name__

    def run(work: Callable[[], object]) -> Any:
        monkeypatch.setattr(f"{__name__}.ask", work)
        return tuple(client.get("/page/").json().values())

    return run


def image_of(name: str) -> Any:
    image = Profile(image=name).image
    image.storage = storages[ALIAS]
    return image


def queries(work: Callable[[], object]) -> int:
    with CaptureQueriesContext(connection) as captured:
        work()
    return len(captured)


@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize(
    ("what", "expected"),
    [("url", 0), ("size", 1), ("width", 1), ("height", 1), ("file", 1), ("exists", 1), ("created", 1)],
)
def test_each_costs_one_query(accept: Accept, what: str, expected: int, *, private: bool) -> None:
    image = image_of(accept(require_signed_urls=private).name)
    work = {
        "exists": lambda: image.storage.exists(image.name),
        "created": lambda: image.storage.get_created_time(image.name),
    }.get(what, lambda: getattr(image, what))
    assert queries(work) == expected
    image.close()


def test_a_whole_page_costs_one_query_an_image(accept: Accept, visit: Any) -> None:
    """What an index of images does with each: open it, and ask for everything that a card shows."""
    rows = [accept(picture(seed=number)) for number in range(5)]

    def card(row: Upload) -> list[Any]:
        image = image_of(row.name)
        assert image.url
        found = [len(image.read()), image.size, image.width, image.height]
        assert image.storage.get_modified_time(image.name)
        image.close()
        return [*found, image.storage.exists(image.name)]

    answer, count = visit(lambda: [card(row) for row in rows])
    assert answer == [[row.size, row.size, 64, 48, True] for row in rows]
    assert count == 5


def test_nothing_is_kept_for_the_next_page(accept: Accept, visit: Any) -> None:
    storage, name = storages[ALIAS], accept().name
    assert visit(lambda: [storage.size(name), storage.size(name)])[1] == 1
    Upload.objects.filter(name=name).update(state=State.DELETING)
    assert visit(lambda: storage.exists(name)) == (False, 1)
    assert not storage.exists(name)


def test_outside_of_a_page_nothing_is_kept(accept: Accept) -> None:
    storage, name = storages[ALIAS], accept().name
    assert queries(lambda: [storage.size(name), storage.size(name)]) == 2


def test_what_the_page_itself_changes_is_not_kept(accept: Accept, visit: Any) -> None:
    storage, name = storages[ALIAS], accept().name

    def change() -> list[bool]:
        found = [storage.exists(name)]
        delete(name, ALIAS)
        found.append(storage.exists(name))
        try:
            with transaction.atomic():
                new = storage.save("new.png", ContentFile(picture()))
                found.append(storage.exists(new))
                raise InterruptedError
        except InterruptedError:
            found.append(bool(storage._row(new)))
        return found

    assert visit(change)[0] == [True, False, True, False]


def test_an_image_that_is_stored_meanwhile_is_read_from_cloudflare(
    accept: Accept, visit: Any, cloudflare: Any
) -> None:
    storage, body = storages[ALIAS], picture()
    name = accept(body).name

    def read() -> list[Any]:
        first = storage.size(name)
        work()
        with storage.open(name) as file:
            return [first, file.read() == body, storage.size(name), storage.exists(name)]

    assert visit(read)[0] == [len(body), True, len(body), True]


def test_a_deleted_image_cannot_be_read(accept: Accept) -> None:
    name = accept().name
    delete(name, ALIAS)
    for ask_for in (storages[ALIAS].open, storages[ALIAS].size, storages[ALIAS].get_created_time):
        with pytest.raises(ImageNotFoundError, match="has been deleted"):
            ask_for(name)


def test_a_large_image_costs_one_query_for_each_chunk(accept: Accept) -> None:
    large = picture("PNG", (1300, 1100), seed=3)
    count = -(-len(large) // CHUNK_BYTES)
    assert count > 1
    image = image_of(accept(large).name)
    assert queries(lambda: image.file) == count
    assert image.read() == large
    image.close()


def test_a_stored_image_costs_one_query(accept: Accept) -> None:
    """Whether it is pending."""
    name = accept().name
    work()
    forget()
    assert queries(lambda: storages[ALIAS].open(name).close()) == 1
    assert queries(lambda: storages[ALIAS].size(name)) == 1


def test_a_page_keeps_a_bounded_number_of_rows(accept: Accept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_rows, "_MAX_ROWS", 2)
    token = page_rows._rows.set({})
    for _ in range(4):
        storages[ALIAS].size(accept(io.BytesIO(picture()).getvalue()).name)
    kept = page_rows._rows.get()
    page_rows._rows.reset(token)
    assert kept is not None
    assert len([row for row in kept.values() if row]) <= 2
