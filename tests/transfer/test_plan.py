"""A plan counts what an import would do."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import InMemoryStorage, storages

from cf_images.accounts import find_account
from cf_images.background.copying import CopyOptions
from cf_images.background.transfers import transfers
from cf_images.models import State
from cf_images.transfer import fields, ledger, plan
from cf_images.transfer.fields import Route
from cf_images.transfer.report import Problems
from tests.app.models import Album, Profile
from tests.pictures import picture

pytestmark = pytest.mark.django_db

UUID = "610a686f-3fa7-46ca-e36d-3c00bd791b00"


@pytest.fixture
def route(media: Path) -> Route:
    return fields.to_cloudflare(Profile._meta.get_field("image"))  # type: ignore[arg-type]


def made(*routes: Route, **options: Any) -> tuple[plan.Plan, dict[str, str]]:
    problems = Problems()
    found = plan.make(routes, CopyOptions(), problems, **options)
    return found, {problem.name: problem.reason for problem in problems.first}


def account_key() -> str:
    account = find_account("cloudflare_images")
    assert account is not None
    return account.key


def test_files_that_rows_and_fields_share_count_once(route: Route, put: Any) -> None:
    put("a.png")
    Profile.objects.bulk_create([Profile(image="a.png"), Profile(image="a.png")])
    Album.objects.bulk_create([Album(cover="a.png")])
    albums = fields.to_cloudflare(Album._meta.get_field("cover"))  # type: ignore[arg-type]
    found, problems = made(route, albums, threads=4)
    assert (found.files, found.copied, found.size) == (1, 1, len(picture()))
    assert found.requests == {account_key(): 1}
    assert problems == {}


def test_files_that_are_copied_are_not_read_again(route: Route) -> None:
    Profile.objects.bulk_create([Profile(image="a.png")])
    ledger.fill(route, {}, is_enqueued=False)
    transfers().update(state=State.STORED)
    found, problems = made(route)
    assert (found.files, found.stored, found.copied, problems) == (1, 1, 0, {})


def test_a_name_that_was_deleted_is_left_behind(route: Route, put: Any) -> None:
    put("a.png")
    Profile.objects.bulk_create([Profile(image="a.png")])
    ledger.fill(route, {}, is_enqueued=False)
    transfers().update(state=State.DELETED)
    assert "never used again" in made(route)[1]["a.png"]


def test_new_names_are_counted_by_reason(route: Route, put: Any, tmp_path: Path) -> None:
    for name in ("a.png", UUID, "keys"):
        put(name)
    Profile.objects.bulk_create(Profile(image=name) for name in ("a.png", UUID, "keys"))
    (tmp_path / "a.png").write_bytes(picture())
    Album.objects.bulk_create([Album(cover="a.png")])
    album = Album._meta.get_field("cover")
    other = fields.to_cloudflare(album, source=str(tmp_path))  # type: ignore[arg-type]
    expected = {
        "another file has it there": 1,
        "Cloudflare reserves names in the form of a UUID": 1,
        "it is a reserved word of Cloudflare's API": 1,
    }
    assert made(route, other)[0].renamed == expected
    ledger.fill(route, {}, is_enqueued=False)
    assert made(route, other)[0].renamed == expected, "also where the ledger has them"


def test_private_images_get_new_names_and_take_two_requests(route: Route, put: Any, settings: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "REQUIRE_SIGNED_URLS": True}
    put("a.png")
    Profile.objects.bulk_create([Profile(image="a.png")])
    found, _ = made(route)
    assert found.renamed == {"Cloudflare chooses the IDs of private images": 1}
    assert found.requests.total() == 2


def test_an_error_of_a_storage_is_about_its_file_and_hides_its_text(
    route: Route, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(InMemoryStorage):
        def _open(self, name: str, mode: str = "rb") -> Any:
            raise RuntimeError("s3cret") if name == "a.png" else TimeoutError(110, "Connection timed out")

    Profile.objects.bulk_create([Profile(image="a.png"), Profile(image="b.png")])
    monkeypatch.setattr(plan.places, "storage_of", lambda _: Failing())
    assert made(route)[1] == {
        "a.png": "The file cannot be read: RuntimeError.",
        "b.png": "The file cannot be read: Connection timed out.",
    }


def test_a_stop_ends_it(route: Route, put: Any) -> None:
    put("a.png")
    Profile.objects.bulk_create([Profile(image="a.png")])
    stop = threading.Event()
    stop.set()
    assert made(route, stop=stop)[0].files == 0


def test_files_that_are_not_examined_after_a_stop_are_not_called_left_behind(
    route: Route, put: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, open_source = threading.Event(), plan.open_source

    def stopping(*given: Any) -> Any:
        stop.set()
        return open_source(*given)

    monkeypatch.setattr(plan, "open_source", stopping)
    put("a.png")
    Profile.objects.bulk_create(Profile(image=name) for name in ("a.png", "gone.png", "gone too.png"))
    found, problems = made(route, stop=stop)
    assert (found.copied, problems) == (1, {})


@pytest.mark.parametrize(
    ("api_rate", "rate", "is_batch", "seconds"),
    [
        ((1200, 300), None, False, 1000 / (4 * 0.81)),
        ((1200, 300), 2, False, 500),
        ((1200, 300), 100, False, 1000 / (4 * 0.81)),
        ((1200, 300), None, True, 1000 / (200 * 0.9)),
        ((1200, 300), 10, True, 100),
        (None, None, False, None),
        (None, 10, False, 100),
    ],
)
def test_the_time_is_that_of_the_allowed_rate(
    settings: Any, api_rate: Any, rate: float | None, *, is_batch: bool, seconds: float | None
) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_RATE": api_rate}
    key = plan.batch_key(account_key()) if is_batch else account_key()
    found = plan.Plan(files=1000, copied=1000)
    found.requests[key] = 1000
    assert found.seconds(rate) == (None if seconds is None else pytest.approx(seconds))
    text = "\n".join(plan.lines(found, rate=rate, is_batch=is_batch))
    assert ("1,000 requests would take at least " in text) is (seconds is not None)


@pytest.mark.parametrize(
    ("stored", "copied", "dollars"), [(0, 0, 0), (0, 1, 5), (50_000, 50_000, 5), (1, 100_000, 10)]
)
def test_images_are_stored_in_steps_of_a_hundred_thousand(stored: int, copied: int, dollars: int) -> None:
    assert plan.Plan(stored=stored, copied=copied).monthly_price == dollars


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 bytes"), (1023, "1,023 bytes"), (1024, "1.0 KB"), (5 * 1024**2, "5.0 MB"), (2**42, "4,096.0 GB")],
)
def test_sizes_in_words(size: int, words: str) -> None:
    assert plan.in_words(size) == words


def test_nothing_is_kept_in_the_source(route: Route, put: Any, media: Path) -> None:
    put("a.png")
    Profile.objects.bulk_create([Profile(image="a.png")])
    before = sorted(path.name for path in media.rglob("*"))
    made(route)
    assert sorted(path.name for path in media.rglob("*")) == before
    assert storages["default"].exists("a.png")
