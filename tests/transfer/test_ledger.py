"""The ledger of an import is filled, and filled again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection, connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from cf_images.accounts import find_account
from cf_images.background.pace import batch_key
from cf_images.background.transfers import key_of, new_row, transfers
from cf_images.images import names
from cf_images.models import State, Transfer
from cf_images.transfer import fields, ledger
from cf_images.transfer.fields import Route
from cf_images.transfer.report import Problems
from tests.app.models import Album, Profile
from tests.background import databases

UUID = "610a686f-3fa7-46ca-e36d-3c00bd791b00"


@pytest.fixture
def route(db: Any, settings: Any) -> Route:
    """Profiles, from local files to Cloudflare."""
    return fields.to_cloudflare(Profile._meta.get_field("image"))  # type: ignore[arg-type]


@pytest.fixture
def albums(db: Any) -> Route:
    """Albums, from and to the same."""
    return fields.to_cloudflare(Album._meta.get_field("cover"))  # type: ignore[arg-type]


def add(*found: str, model: Any = Profile) -> None:
    field = "cover" if model is Album else "image"
    model.objects.bulk_create(model(**{field: name}) for name in found)


def fill(route: Route, *, is_enqueued: bool = False, is_batch: bool = False, **options: Any) -> None:
    ledger.fill(route, options, is_enqueued=is_enqueued, is_batch=is_batch)


def row(name: str) -> Transfer:
    return transfers().get(key=key_of("default", "cloudflare_images", name))


def settle(source_name: str, state: State = State.STORED, **changes: Any) -> None:
    chosen = transfers().filter(key=key_of("default", "cloudflare_images", source_name))
    assert chosen.update(state=state, next_attempt_at=None, **changes)


def outcome(*routes: Route) -> tuple[ledger.Outcome, dict[str, str]]:
    problems = Problems()
    found = ledger.outcome(routes, problems)
    return found, {problem.name: problem.reason for problem in problems.first}


def test_each_file_gets_a_row_that_is_due(route: Route) -> None:
    add("a.png", "photos/b.png")
    fill(route, fit_limits=True)
    found = row("a.png")
    account = find_account("cloudflare_images")
    assert account is not None
    assert (found.source, found.storage, found.name) == ("default", "cloudflare_images", "a.png")
    assert (found.state, found.account, found.field) == (State.PENDING, account.key, "app.Profile.image")
    assert found.options == {"fit_limits": True, "convert": {}, "max_length": 100}
    assert found.next_attempt_at is not None
    assert not found.is_enqueued
    assert transfers().count() == 2


def test_rows_that_share_a_file_share_its_row(route: Route, albums: Route) -> None:
    add("a.png", "a.png", "b.png")
    add("a.png", model=Album)
    fill(route)
    fill(albums)
    assert sorted(transfers().values_list("source_name", "field")) == [
        ("a.png", "app.Profile.image"),
        ("b.png", "app.Profile.image"),
    ]


@pytest.mark.parametrize(
    "name",
    [
        "with space/100%.png",
        "a%2Fb.png",
        "Cafe\u0301.png",
        "Caf\u00e9.png",
        "JANE.png",
        "jane.png",
        "photos/holiday~2019.jpg",
        f"{UUID}.png",
        " a.png",
        "a.png ",
    ],
)
def test_a_name_that_cloudflare_takes_is_kept(route: Route, name: str) -> None:
    add(name)
    fill(route)
    assert row(name).name == row(name).remote_id == name


def test_names_that_differ_in_case_or_spelling_are_different_files(route: Route) -> None:
    add("JANE.png", "jane.png", "Cafe\u0301.png", "Caf\u00e9.png", "a.png", "a.png ")
    fill(route)
    assert transfers().count() == 6
    assert all(found.name == found.source_name for found in transfers())


@pytest.mark.parametrize(
    "name",
    [UUID, "keys", f"jane~{UUID}.png", "/srv/media/a.png", "../a.png", "a//b.png", "x" * 1025, "x" * 256],
)
def test_another_name_is_chosen_where_it_cannot_be_kept(route: Route, name: str) -> None:
    add(name)
    fill(route)
    found = row(name)
    assert found.name is not None
    assert names.created_at(found.name)
    assert len(found.name) <= 100
    assert found.remote_id == found.name
    assert found.source_name == name


def test_a_new_name_fits_a_field_that_is_too_short_for_its_folder(route: Route) -> None:
    assert len(ledger.new_name(f"{'x' * 90}/a.png", max_length=100)) <= 100
    assert len(ledger.new_name(f"{'x' * 300}/a.png", max_length=10)) <= 255


def test_cloudflare_chooses_the_names_of_private_images(route: Route, settings: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "REQUIRE_SIGNED_URLS": True}
    add("a.png", "b.png")
    fill(route)
    assert set(transfers().values_list("name", "remote_id", "require_signed_urls")) == {(None, "", True)}


def test_two_sources_with_the_same_name_get_two_images(route: Route, albums: Route, tmp_path: Path) -> None:
    other = Route(field=albums.field, source=str(tmp_path), target=albums.target)
    add("a.png")
    add("a.png", model=Album)
    fill(route)
    fill(other)
    first, second = transfers().order_by("pk")
    assert first.name == "a.png"
    assert str(second.name).startswith("a-")
    fill(other)
    assert transfers().count() == 2


def test_what_is_no_file_gets_no_row(route: Route) -> None:
    add("https://example.com/a.png", "   ", "a\0b.png")
    fill(route)
    assert not transfers().exists()
    assert outcome(route)[1]["a\0b.png"] == "The name contains a character that no file name has."


def test_a_delivery_url_of_the_account_is_there_already(route: Route) -> None:
    add("https://imagedelivery.net/test-hash/a/public", "https://imagedelivery.net/other/a/public")
    fill(route)
    found, problems = outcome(route)
    assert found.stored == 1
    assert problems == {"https://imagedelivery.net/other/a/public": ledger.FOREIGN_URL}


class TestAgain:
    """The ledger is filled again."""

    def test_what_is_copied_stays(self, route: Route) -> None:
        add("a.png")
        fill(route)
        settle("a.png")
        before = list(transfers().values())
        fill(route, fit_limits=True, is_enqueued=True)
        assert list(transfers().values()) == before

    def test_what_was_refused_is_tried_again(self, route: Route) -> None:
        add("a.png")
        fill(route)
        settle("a.png", State.REJECTED, last_error="Too large.", unknown_errors=3)
        fill(route, fit_limits=True, is_enqueued=True)
        found = row("a.png")
        assert (found.state, found.unknown_errors, found.is_enqueued) == (State.PENDING, 0, True)
        assert found.attempts == 1, "it is confirmed first that nothing has arrived"
        assert found.next_attempt_at is not None
        assert found.options["fit_limits"] is True

    def test_what_is_pending_gets_the_options_of_now(self, route: Route) -> None:
        add("a.png")
        fill(route)
        due_at = row("a.png").next_attempt_at
        fill(route, convert={"bmp": "png"}, is_enqueued=True)
        found = row("a.png")
        assert (found.options["convert"], found.is_enqueued) == ({"bmp": "png"}, True)
        assert found.next_attempt_at == due_at, "a pause stays"

    def test_what_has_failed_for_long_is_due_now(self, route: Route) -> None:
        add("a.png", "b.png", "c.png")
        fill(route)
        now = timezone.now()
        for name, minutes, lease in (("a.png", 40, ""), ("b.png", 40, "worker"), ("c.png", 0.5, "")):
            chosen = transfers().filter(source_name=name)
            chosen.update(next_attempt_at=now + timedelta(minutes=minutes), lease=lease, attempts=20)
        fill(route)
        due = {found.source_name: (found.next_attempt_at, found.attempts) for found in transfers()}
        assert due["a.png"][0] < timezone.now()
        assert due["a.png"][1] == 1
        assert due["b.png"] == (now + timedelta(minutes=40), 20), "a worker has it"
        assert due["c.png"] == (now + timedelta(minutes=0.5), 20)

    def test_what_workers_have_stays_theirs(self, route: Route) -> None:
        add("a.png")
        fill(route, is_enqueued=True)
        fill(route)
        assert row("a.png").is_enqueued

    def test_new_files_are_added(self, route: Route) -> None:
        add("a.png")
        fill(route)
        settle("a.png")
        add("b.png")
        fill(route)
        assert (row("a.png").state, row("b.png").state) == (State.STORED, State.PENDING)

    def test_a_name_of_before_that_is_taken_meanwhile_stays_its_own(self, route: Route) -> None:
        add("keys")
        fill(route)
        before = row("keys").name
        fill(route)
        assert row("keys").name == before

    def test_rows_that_have_their_new_names_are_there(self, route: Route) -> None:
        add("keys", "a.png")
        fill(route)
        settle("keys")
        settle("a.png")
        Profile.objects.filter(image="keys").update(image=row("keys").name)
        fill(route)
        assert transfers().count() == 2
        found, problems = outcome(route)
        assert (found.stored, found.renamed, problems) == (2, 0, {})

    def test_images_in_another_account_are_copied_to_this_one(self, route: Route, settings: Any) -> None:
        add("a.png", "keys")
        fill(route)
        settle("a.png")
        settle("keys", State.REJECTED, last_error="Too large.")
        settings.CF_IMAGES = {**settings.CF_IMAGES, "ACCOUNT_ID": "another"}
        fill(route)
        for found in transfers():
            assert found.state == State.PENDING
            assert found.account.endswith("/another")

    def test_private_images_in_another_account_get_new_ids(self, route: Route, settings: Any) -> None:
        settings.CF_IMAGES = {**settings.CF_IMAGES, "REQUIRE_SIGNED_URLS": True}
        add("a.png")
        fill(route)
        settle("a.png", name=f"a~{UUID}.png", remote_id=UUID)
        settings.CF_IMAGES = {**settings.CF_IMAGES, "ACCOUNT_ID": "another"}
        fill(route)
        assert (row("a.png").state, row("a.png").name, row("a.png").remote_id) == (State.PENDING, None, "")

    def test_the_batch_host_can_be_chosen_for_each_run(self, route: Route) -> None:
        add("a.png", "b.png", "c.png")
        fill(route)
        account = row("a.png").account
        settle("b.png", State.REJECTED)
        settle("c.png")
        fill(route, is_batch=True)
        assert {found.source_name: found.account for found in transfers()} == {
            "a.png": batch_key(account),
            "b.png": batch_key(account),
            "c.png": account,
        }
        fill(route)
        assert set(transfers().values_list("account", flat=True)) == {account}

    def test_a_stop_leaves_the_rest_for_another_time(self, route: Route) -> None:
        add("a.png")
        stop = threading.Event()
        stop.set()
        ledger.fill(route, {}, is_enqueued=False, stop=stop)
        assert not transfers().exists()


class TestOutcome:
    """What the rows of a field have."""

    def test_is_counted_by_file(self, route: Route, albums: Route) -> None:
        add("a.png", "a.png", "keys", "c.png", "d.png", "e.png", "  ")
        add("a.png", model=Album)
        fill(route)
        fill(albums)
        settle("a.png")
        settle("keys")
        settle("c.png", State.REJECTED, last_error="The file is empty.")
        transfers().filter(source_name="d.png").update(last_error="The network is away.")
        add("f.png")
        found, problems = outcome(route, albums)
        assert (found.stored, found.renamed, found.pending) == (2, 1, 3)
        assert problems == {
            "c.png": "The file is empty.",
            "d.png": "The network is away.",
            "  ": "The name has only spaces.",
        }

    def test_what_is_to_be_tried_again_is_listed_unless_a_person_stopped(self, route: Route) -> None:
        add("a.png", "b.png")
        fill(route)
        transfers().filter(source_name="a.png").update(last_error="The network is away.")
        settle("b.png", State.REJECTED, last_error="The file is empty.")
        for is_stopped, listed in ((False, ["a.png", "b.png"]), (True, ["b.png"])):
            problems = Problems()
            assert ledger.outcome([route], problems, is_stopped=is_stopped).pending == 1
            assert [problem.name for problem in problems.first] == listed

    def test_what_came_meanwhile_is_for_the_workers(self, route: Route) -> None:
        """As by a mirror; another command may have filled in rows, too, and works on them itself."""
        add("a.png")
        fill(route)
        newest = row("a.png").pk
        add("late.png", "rejected.png")
        fill(route, is_enqueued=True)
        add("of-another-command.png")
        fill(route)
        settle("rejected.png", State.REJECTED, last_error="The file is empty.")
        problems = Problems()
        found = ledger.outcome([route], problems, newest=newest)
        assert (found.pending, found.newer) == (2, 1)
        assert [problem.name for problem in problems.first] == ["rejected.png"]
        assert ledger.outcome([route], Problems()).pending == 3

    def test_files_of_rows_that_are_gone_do_not_count(self, route: Route) -> None:
        add("a.png", "b.png")
        fill(route)
        settle("a.png", State.REJECTED, last_error="The file is empty.")
        settle("b.png")
        Profile.objects.filter(image="a.png").delete()
        assert outcome(route) == (ledger.Outcome(stored=1), {})

    def test_a_name_that_was_deleted_at_cloudflare_is_never_used_again(self, route: Route) -> None:
        add("a.png")
        fill(route)
        settle("a.png", State.DELETED)
        fill(route)
        assert row("a.png").state == State.DELETED
        assert outcome(route)[1]["a.png"].startswith(
            "The image was deleted, and its name is never used again"
        )

    def test_totals_cost_one_query(self, route: Route, albums: Route, django_assert_num_queries: Any) -> None:
        add("a.png", "b.png", "c.png", "d.png")
        fill(route)
        settle("a.png", size=1000)
        settle("b.png", size=500)
        settle("c.png", State.REJECTED)
        with django_assert_num_queries(1):
            found = ledger.totals([route, albums])
        assert found == ledger.Totals(stored=2, pending=1, rejected=1, size=1500)


def test_rows_of_a_way_are_those_of_its_account_in_either_direction(
    route: Route, settings: Any, tmp_path: Path
) -> None:
    add("a.png")
    fill(route)
    back = Route(field=route.field, source=route.target, target=route.source)
    away = Route(field=route.field, source=str(tmp_path), target="default")
    for found, name in ((back, "a.png"), (away, "b.png")):
        new_row(source=found.source, target=found.target, source_name=name, name=name).save()
    for found in (route, back, away):
        assert ledger.rows_of([found]).count() == 1
    assert ledger.rows_of([route, back, away]).count() == 3
    settings.CF_IMAGES = {**settings.CF_IMAGES, "ACCOUNT_ID": "another"}
    assert [ledger.rows_of([found]).count() for found in (route, back, away)] == [0, 0, 1]


def test_queries_grow_with_batches_and_not_with_rows(route: Route, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection.features.__class__, "max_query_params", 100_000)

    def queries(work: Callable[[], Any]) -> int:
        with CaptureQueriesContext(connection) as found:
            work()
        return sum(not query["sql"].startswith(("SAVEPOINT", "RELEASE")) for query in found)

    add(*(f"{number}.png" for number in range(ledger._FIRST + 1)))
    few = queries(lambda: fill(route)), queries(lambda: fill(route)), queries(lambda: outcome(route))
    transfers().all().delete()
    add(*(f"{number}.png" for number in range(800)))
    many = queries(lambda: fill(route)), queries(lambda: fill(route)), queries(lambda: outcome(route))
    assert many == few
    assert max(many) <= 12


def test_a_few_files_are_filled_in_first_so_that_copying_begins(route: Route) -> None:
    add(*(f"{number}.png" for number in range(ledger._FIRST + 50)))
    counts: list[int] = []
    ledger.fill(route, {}, is_enqueued=False, on_batch=lambda: counts.append(transfers().count()))
    assert counts == [ledger._FIRST, ledger._FIRST + 50]


class TestTwoAtOnce:
    """Two commands fill the ledger."""

    def test_the_row_of_the_other_one_is_taken(self, route: Route, monkeypatch: pytest.MonkeyPatch) -> None:
        add("a.png", "b.png")
        insert = ledger._insert

        def late(rows: list[Transfer]) -> None:
            monkeypatch.setattr(ledger, "_insert", insert)
            fill(route)
            insert(rows)

        monkeypatch.setattr(ledger, "_insert", late)
        fill(route)
        assert sorted(transfers().values_list("source_name", "name")) == [
            ("a.png", "a.png"),
            ("b.png", "b.png"),
        ]

    def test_a_name_that_the_other_one_takes_is_replaced(
        self, route: Route, albums: Route, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other = Route(field=albums.field, source=str(tmp_path), target=albums.target)
        add("a.png")
        add("a.png", "b.png", model=Album)
        insert = ledger._insert

        def late(rows: list[Transfer]) -> None:
            monkeypatch.setattr(ledger, "_insert", insert)
            fill(other)
            insert(rows)

        monkeypatch.setattr(ledger, "_insert", late)
        fill(route)
        assert transfers().get(source=str(tmp_path), source_name="a.png").name == "a.png"
        assert str(transfers().get(source="default").name).startswith("a-")

    def test_a_write_that_is_hindered_is_repeated(
        self, route: Route, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        add("a.png")
        insert, failures = ledger._insert, iter([OperationalError("deadlock"), OperationalError("locked")])

        def failing(rows: list[Transfer]) -> None:
            if error := next(failures, None):
                raise error
            insert(rows)

        monkeypatch.setattr(ledger, "_insert", failing)
        monkeypatch.setattr(ledger, "_PAUSE_SECONDS", 0)
        fill(route)
        assert row("a.png").state == State.PENDING

    def test_an_error_that_stays_is_raised(self, route: Route, monkeypatch: pytest.MonkeyPatch) -> None:
        def failing(_: list[Transfer]) -> None:
            raise OperationalError("attempt to write a readonly database")

        add("a.png")
        monkeypatch.setattr(ledger, "_insert", failing)
        monkeypatch.setattr(ledger, "_PAUSE_SECONDS", 0)
        with pytest.raises(OperationalError, match="readonly"):
            fill(route)


class TestDatabases:
    """The ledger in each database: names are compared as bytes there, too."""

    @pytest.fixture(params=[databases.POSTGRESQL, databases.MARIADB])
    def elsewhere(
        self,
        request: pytest.FixtureRequest,
        tmp_path: Path,
        django_db_blocker: Any,
        django_db_setup: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> Iterator[Any]:
        with (
            django_db_blocker.unblock(),
            request.param(tmp_path) as chosen,
            databases.use(chosen, monkeypatch) as found,
        ):
            yield found

    def test_names_that_differ_in_case_spelling_or_spaces_are_different_files(
        self, elsewhere: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = [
            "JANE.png",
            "jane.png",
            "jan\u00e9.png",
            "jane\u0301.png",
            "a.png",
            "a.png ",
            "keys",
            "x" * 999,
        ]
        rows = [(number, name) for number, name in enumerate([*found, "a\0b.png"])]
        monkeypatch.setattr(fields, "batches", lambda _: iter([("default", rows), ("default", rows)]))
        route = fields.to_cloudflare(Profile._meta.get_field("image"))  # type: ignore[arg-type]
        fill(route)
        fill(route)
        assert sorted(transfers().values_list("source_name", flat=True)) == sorted(found)
        kept = [name for name in found if row(name).name == name]
        assert kept == found[:6]
        settle("JANE.png")
        assert [name for name in found if row(name).state == State.STORED] == ["JANE.png"]
        assert row("jane.png").key == key_of("default", "cloudflare_images", "jane.png")
        counted, problems = outcome(route)
        assert (counted.stored, counted.pending, list(problems)) == (1, 7, ["a\0b.png"])

    def test_two_at_once_make_each_row_once(self, elsewhere: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        rows = [(number, f"{number}.png") for number in range(300)]
        monkeypatch.setattr(
            fields, "batches", lambda _: iter([("d", rows[i : i + 50]) for i in range(0, 300, 50)])
        )
        route = fields.to_cloudflare(Profile._meta.get_field("image"))  # type: ignore[arg-type]
        errors: list[BaseException] = []

        def work() -> None:
            try:
                fill(route)
            except BaseException as error:  # noqa: BLE001
                errors.append(error)
            finally:
                connections.close_all()

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert sorted(transfers().values_list("name", flat=True)) == sorted(name for _, name in rows)
