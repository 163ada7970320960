"""``cf_images switch`` and ``revert``: rows get the names of the other side, and the old ones back."""

from __future__ import annotations

import io
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, models, router
from django.db.models import signals
from django.test.utils import CaptureQueriesContext, isolate_apps

from cf_images.background.transfers import new_row
from cf_images.models import State, Transfer
from cf_images.test import fields_stored_in
from cf_images.transfer import switching
from cf_images.transfer.fields import Route
from cf_images.transfer.report import Problems
from cf_images.transfer.switching import revert, switch
from tests.app.models import Album, Profile
from tests.background import databases
from tests.transfer.site import ALIAS, LOCAL, names_in_rows

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(capsys: Any) -> Callable[..., tuple[int, str]]:
    """Run a subcommand; return its exit status and what it printed."""

    def run_command(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        try:
            call_command("cf_images", *arguments)
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        except CommandError as error:
            return error.returncode, f"{capsys.readouterr().out}{error}"
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    return run_command


@pytest.fixture
def local() -> Iterator[None]:
    """The site before it is switched: its fields have local files."""
    with fields_stored_in(LOCAL):
        yield


def entry(source_name: str, name: str | None = None, **columns: Any) -> Transfer:
    """What the ledger has of a file that was copied."""
    given = {"source": LOCAL, "target": ALIAS, "field": "app.Profile.image"}
    given |= {key: columns.pop(key) for key in list(columns) if key in given}
    row = new_row(source_name=source_name, name=name or source_name, **given)
    row.state = columns.pop("state", State.STORED)
    for column, value in columns.items():
        setattr(row, column, value)
    row.save()
    return row


def rows(*names: str) -> None:
    """Rows with these names."""
    Profile.objects.bulk_create([Profile(image=name) for name in names])


def dump() -> str:
    """All rows of the project, as Django writes them."""
    file = io.StringIO()
    call_command("dumpdata", "app", stdout=file)
    return file.getvalue()


def test_rows_get_the_new_names_and_the_old_ones_back(run: Any, local: None) -> None:
    entry("photos/jane~2019.png", "photos/jane-2019-new.png")
    entry("kept.png")
    rows("photos/jane~2019.png", "kept.png", "photos/jane~2019.png")
    before = dump()
    assert run("switch", "--noinput") == (0, "2 rows have new names now.\n")
    assert names_in_rows() == ["photos/jane-2019-new.png", "kept.png", "photos/jane-2019-new.png"]
    assert run("revert", "--noinput") == (0, "2 rows have old names now.\n")
    assert dump() == before


def test_twice_is_once(run: Any, local: None) -> None:
    entry("a.png", "b.png")
    rows("a.png")
    for _ in range(2):
        assert run("switch", "--noinput")[0] == 0
        assert names_in_rows() == ["b.png"]
    assert run("switch", "--noinput") == (0, "Nothing is to be done: 1 row has new names already.\n")
    for _ in range(2):
        assert run("revert", "--noinput")[0] == 0
        assert names_in_rows() == ["a.png"]


def test_where_names_were_kept_it_says_what_to_do(run: Any, local: None, settings: Any) -> None:
    settings.ENV_NAME = "dev"
    entry("a.png")
    rows("a.png")
    status, text = run("switch")
    assert status == 0
    assert "Nothing is to be done: all names were kept. Set ENV_NAME to another name than 'dev'" in text
    status, text = run("revert")
    assert status == 0
    assert "Nothing is to be done: all names were kept. ENV_NAME is 'dev': select_storage uses" in text


def test_where_the_environment_is_the_right_one_nothing_is_to_be_set(run: Any, settings: Any) -> None:
    settings.ENV_NAME = "production"
    entry("a.png")
    rows("a.png")
    used = "select_storage uses 'cloudflare_images' already."
    assert f"ENV_NAME is 'production': {used}" in run("switch")[1]
    assert "Set ENV_NAME to one of 'dev': select_storage uses 'default' then." in run("revert")[1]


def test_without_rows_nothing_is_to_be_done(run: Any, local: None) -> None:
    for command in ("switch", "revert"):
        assert run(command) == (0, "Nothing is to be done: no row has a file that was copied.\n")


def test_a_file_that_is_not_there_yet_is_refused(run: Any, local: None) -> None:
    entry("a.png", "b.png", state=State.PENDING)
    entry("c.png", "d.png", state=State.REJECTED, last_error="It is no image.")
    entry("e.png", "f.png")
    rows("a.png", "c.png", "e.png")
    status, text = run("switch", "--noinput")
    assert status == 1
    assert "'a.png' (app.Profile.image): The file is not in cloudflare_images, its copy is pending" in text
    assert "its copy is rejected: It is no image." in text
    assert names_in_rows() == ["a.png", "c.png", "f.png"]


def test_a_file_in_another_account_is_refused(run: Any, local: None) -> None:
    """The database is a copy of another site's."""
    entry("a.png", "b.png", account="https://api.cloudflare.com/client/v4/accounts/another")
    rows("a.png")
    status, text = run("switch", "--noinput")
    assert status == 1
    assert "The file is in another account than STORAGES['cloudflare_images'] has now." in text
    assert names_in_rows() == ["a.png"]


def test_a_private_image_has_no_name_before_it_is_stored(run: Any, local: None) -> None:
    row = entry("a.png")
    Transfer.objects.filter(pk=row.pk).update(name=None, state=State.PENDING)
    rows("a.png")
    assert run("switch", "--noinput")[0] == 1
    assert names_in_rows() == ["a.png"]


def test_a_row_that_is_not_in_the_ledger_is_said(run: Any, local: None) -> None:
    rows("new.png")
    status, text = run("switch", "--noinput")
    assert status == 1
    assert "1 row has a name that is not in the ledger: run cf_images import first." in text


def test_images_saved_since_the_switch_are_said_by_revert_alone(run: Any) -> None:
    entry("a.png", "b.png")
    rows("b.png", "saved-since.png")
    assert run("switch", "--noinput")[0] == 0
    status, text = run("revert", "--noinput")
    assert status == 1
    assert "1 row has an image that was saved since the switch: cf_images export copies it." in text
    assert names_in_rows() == ["a.png", "saved-since.png"]


def test_a_dry_run_changes_nothing_and_shows_examples(run: Any, local: None) -> None:
    for number in range(12):
        entry(f"{number:02}.png", f"new-{number:02}.png")
    rows(*[f"{number:02}.png" for number in range(12)])
    status, text = run("switch", "--dry-run")
    assert status == 0
    assert "12 rows would get new names:\n  '00.png' becomes 'new-00.png'\n" in text
    assert "… and 2 more" in text
    assert names_in_rows()[0] == "00.png"


def test_it_asks_before_it_changes_anything(run: Any, local: None, monkeypatch: pytest.MonkeyPatch) -> None:
    entry("a.png", "b.png")
    rows("a.png")
    questions: list[str] = []

    def answer(text: str) -> Callable[[str], str]:
        return lambda question: (questions.append(question), text)[1]

    monkeypatch.setattr("builtins.input", answer("n"))
    assert run("switch") == (2, "Nothing was changed.")
    assert questions == ["Change the name in 1 row? [y/N] "]
    assert names_in_rows() == ["a.png"]
    monkeypatch.setattr("builtins.input", answer("y"))
    assert run("switch")[0] == 0
    assert names_in_rows() == ["b.png"]


def test_a_row_that_was_changed_meanwhile_keeps_its_value(
    run: Any, local: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry("a.png", "b.png")
    rows("a.png", "a.png")
    first, _ = Profile.objects.order_by("pk")
    real = switching._update

    def visitor_first(*arguments: Any) -> int:
        Profile.objects.filter(pk=first.pk).update(image="visitor.png")
        return real(*arguments)

    monkeypatch.setattr(switching, "_update", visitor_first)
    assert run("switch", "--noinput") == (0, "1 row has new names now.\n")
    assert names_in_rows() == ["visitor.png", "b.png"]


def test_only_the_row_with_exactly_this_name_is_changed(run: Any, local: None) -> None:
    entry("jane.png", "new.png")
    entry("JANE.png")
    rows("JANE.png", "jane.png")
    assert run("switch", "--noinput")[0] == 0
    assert names_in_rows() == ["JANE.png", "new.png"]


def test_no_signal_is_sent(run: Any, local: None) -> None:
    entry("a.png", "b.png")
    rows("a.png")
    sent: list[Any] = []

    def receive(**arguments: Any) -> None:
        sent.append(arguments)

    all_signals = (signals.pre_save, signals.post_save, signals.pre_init, signals.post_init)
    for found in all_signals:
        found.connect(receive, sender=Profile)
    try:
        run("switch", "--noinput")
    finally:
        for found in all_signals:
            found.disconnect(receive, sender=Profile)
    assert names_in_rows() == ["b.png"]
    assert not sent


def test_a_name_that_is_too_long_for_the_field_stays(run: Any, local: None) -> None:
    long = f"{'x' * 97}.png"
    entry("a.png", long)
    entry("b.png", long[1:])
    rows("a.png", "b.png")
    status, text = run("switch", "--noinput")
    assert status == 1
    assert "'a.png' (app.Profile.image): The new name has 101 characters, and the field takes 100" in text
    assert names_in_rows() == ["a.png", long[1:]]


def test_the_same_name_in_two_storages_is_two_files(run: Any, local: None) -> None:
    """Of the field's own storage first; ``Photo.file`` is at Cloudflare here, with local files before."""
    entry("a.png", "a.png")
    entry("a.png", "other.png", source="renditions_elsewhere")
    rows("a.png")
    Album.objects.create(cover="a.png")
    field = Album._meta.get_field("cover")
    elsewhere = Route(field=field, source="renditions_elsewhere", target=ALIAS)  # type: ignore[arg-type]
    assert switch(elsewhere, Problems()).changed == 1
    assert run("switch", "app.Profile.image", "--noinput")[0] == 0
    assert names_in_rows() == ["a.png"]
    assert Album.objects.get().cover.name == "other.png"
    assert revert(elsewhere, Problems()).changed == 1
    assert Album.objects.get().cover.name == "a.png"


def test_urls_of_older_recipes_are_left(run: Any, local: None) -> None:
    rows("https://imagedelivery.net/hash/id/public")
    assert run("switch", "--noinput")[0] == 0
    assert run("revert", "--noinput")[0] == 0


def test_names_of_an_export_are_switched_as_well(run: Any, tmp_path: Path) -> None:
    entry("at-cloudflare.png", "a/here.png", source=ALIAS, target=str(tmp_path))
    rows("at-cloudflare.png")
    assert run("switch", "--directory", str(tmp_path), "--noinput")[0] == 0
    assert names_in_rows() == ["a/here.png"]
    assert run("revert", "--directory", str(tmp_path), "--noinput")[0] == 0
    assert names_in_rows() == ["at-cloudflare.png"]


def test_queries_grow_with_batches(local: None) -> None:
    Transfer.objects.bulk_create(unsaved(f"{number}.png", f"new-{number}.png") for number in range(1000))
    rows(*[f"{number}.png" for number in range(1000)])
    with CaptureQueriesContext(connection) as queries:
        done = switch(route_of(Profile), Problems())
    assert done.changed == 1000
    assert len(queries) < 30


def unsaved(source_name: str, name: str) -> Transfer:
    row = new_row(source=LOCAL, target=ALIAS, source_name=source_name, name=name, field="x")
    row.state = State.STORED
    return row


def route_of(model: Any, name: str = "image") -> Route:
    return Route(field=model._meta.get_field(name), source=LOCAL, target=ALIAS)


def test_ctrl_c_ends_it_after_the_current_rows(
    run: Any, local: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(switching, "_ROWS", 1)
    real = switching._update

    def interrupted(*arguments: Any) -> int:
        signal.raise_signal(signal.SIGINT)
        return real(*arguments)

    for number in range(3):
        entry(f"{number}.png", f"new-{number}.png")
    rows(*[f"{number}.png" for number in range(3)])
    with monkeypatch.context() as patched:
        patched.setattr(switching, "_update", interrupted)
        status, text = run("switch", "--noinput")
    assert status == 1
    assert "1 row has new names now." in text
    assert "Stopped. The same command continues." in text
    assert run("switch", "--noinput") == (0, "2 rows have new names now.\n")


def test_the_alias_at_cloudflare_can_be_named(run: Any, local: None) -> None:
    rows("new.png")
    status, text = run("switch", "--to", ALIAS, "--noinput")
    assert status == 1
    assert "run cf_images import first." in text


def test_rows_that_were_not_exported_are_said(run: Any, tmp_path: Path) -> None:
    rows("at-cloudflare.png")
    status, text = run("switch", "--directory", str(tmp_path), "--noinput")
    assert status == 1
    assert "1 row has a name that is not in the ledger: run cf_images export first." in text


@pytest.mark.django_db(transaction=True)
def test_a_process_that_is_killed_is_continued(
    run: Any, local: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(switching, "_ROWS", 2)
    for number in range(7):
        entry(f"{number}.png", f"new-{number}.png")
    rows(*[f"{number}.png" for number in range(7)])
    before, real, calls = dump(), switching._update, list[int]()

    def killed(*arguments: Any) -> int:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(switching, "_update", killed)
        with pytest.raises(KeyboardInterrupt):
            call_command("cf_images", "switch", "--noinput")
    assert names_in_rows()[3:] == ["new-3.png", "4.png", "5.png", "6.png"]
    assert run("switch", "--noinput") == (0, "3 rows have new names now.\n")
    assert names_in_rows() == [f"new-{number}.png" for number in range(7)]
    run("revert", "--noinput")
    assert dump() == before


# Models of all kinds


class _ManagerThatHides(models.Manager[Any]):
    def get_queryset(self) -> Any:
        return super().get_queryset().none()


@contextmanager
def tables(*created: Any) -> Iterator[None]:
    """Create the tables of models that only a test has."""
    with connection.schema_editor() as editor:
        for model in created:
            editor.create_model(model)
    try:
        yield
    finally:
        with connection.schema_editor() as editor:
            for model in reversed(created):
                editor.delete_model(model)


def sqlite_dump() -> list[str]:
    """All tables with what is in them, as SQLite writes them."""
    connection.ensure_connection()
    raw: sqlite3.Connection = connection.connection
    return list(raw.iterdump())


def switched_and_reverted(*routes: Route) -> None:
    """Claim that all rows change, and are byte for byte what they were."""
    before = sqlite_dump()
    for route in routes:
        assert switch(route, Problems()).changed
    after = sqlite_dump()
    assert after != before
    for route in routes:
        assert revert(route, Problems()).changed
    assert sqlite_dump() == before


@pytest.mark.django_db(transaction=True)
@isolate_apps("tests.app")
def test_only_the_column_changes() -> None:
    class Dated(models.Model):
        image = models.ImageField(upload_to="x", width_field="width")
        width = models.PositiveIntegerField(null=True)
        changed_at = models.DateTimeField(auto_now=True)
        slug = models.SlugField(default="x")

        class Meta:
            app_label = "app"

    with tables(Dated):
        entry("a.png", "b.png")
        Dated._base_manager.bulk_create([Dated(image="a.png", width=7)])
        switched_and_reverted(route_of(Dated))
        found = dict(Dated._base_manager.values().get())
        switch(route_of(Dated), Problems())
        assert dict(Dated._base_manager.values().get()) == {**found, "image": "b.png"}


@pytest.mark.django_db(transaction=True)
@isolate_apps("tests.app")
def test_a_composite_primary_key_is_one() -> None:
    class Composite(models.Model):
        pk = models.CompositePrimaryKey("one", "two")
        one = models.IntegerField()
        two = models.CharField(max_length=10)
        image = models.ImageField()

        class Meta:
            app_label = "app"

    with tables(Composite):
        entry("a.png", "b.png")
        entry("c.png", "d.png")
        Composite._base_manager.bulk_create(
            [
                Composite(one=1, two="x", image="a.png"),
                Composite(one=1, two="y", image="c.png"),
                Composite(one=2, two="x", image="kept"),
            ]
        )
        switched_and_reverted(route_of(Composite))
        switch(route_of(Composite), Problems())
        assert set(Composite._base_manager.values_list("one", "two", "image")) == {
            (1, "x", "b.png"),
            (1, "y", "d.png"),
            (2, "x", "kept"),
        }


@pytest.mark.django_db(transaction=True)
@isolate_apps("tests.app")
def test_a_unique_field_with_a_conflict_is_one_line_and_the_others_change() -> None:
    class Unique(models.Model):
        image = models.ImageField(unique=True)

        class Meta:
            app_label = "app"

    with tables(Unique):
        for old, new in (("a.png", "taken.png"), ("b.png", "new-b.png"), ("c.png", "new-c.png")):
            entry(old, new)
        names = ["b.png", "a.png", "taken.png", "c.png"]
        Unique._base_manager.bulk_create([Unique(image=name) for name in names])
        problems = Problems()
        done = switch(route_of(Unique), problems)
        assert (done.changed, done.refused) == (2, 1)
        assert [problem.name for problem in problems.first] == ["a.png"]
        assert "The new name taken.png is refused: UNIQUE" in problems.first[0].reason
        found = Unique._base_manager.order_by("pk").values_list("image", flat=True)
        assert list(found) == ["new-b.png", "a.png", "taken.png", "new-c.png"]


@pytest.mark.django_db(transaction=True)
@isolate_apps("tests.app")
def test_inherited_proxy_and_hidden_rows_are_changed_once() -> None:
    class Abstract(models.Model):
        image = models.ImageField()
        hidden = _ManagerThatHides()

        class Meta:
            app_label = "app"
            abstract = True

    class Parent(Abstract):
        class Meta:
            app_label = "app"

    class Child(Parent):
        second = models.ImageField()

        class Meta:
            app_label = "app"

    class Proxy(Parent):
        class Meta:
            app_label = "app"
            proxy = True

    with tables(Parent, Child):
        entry("a.png", "b.png")
        Child(image="a.png", second="a.png").save()
        Parent(image="a.png").save()
        switched_and_reverted(route_of(Parent), route_of(Child, "second"))
        assert switch(route_of(Proxy), Problems()).changed == 2
        assert switch(route_of(Child), Problems()).changed == 0
        assert switch(route_of(Child, "second"), Problems()).changed == 1


# Other databases


@pytest.mark.parametrize("database", [databases.POSTGRESQL, databases.MARIADB])
def test_every_database_compares_names_exactly(
    database: databases.Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    django_db_blocker: Any,
) -> None:
    """The default collation of MariaDB takes ``JANE.png`` and ``jané.png`` for ``jane.png``."""
    with (
        django_db_blocker.unblock(),
        database(tmp_path) as chosen,
        databases.use(chosen, monkeypatch) as other,
    ):
        monkeypatch.setattr(router.routers[0], "db_for_write", lambda *_, **__: databases.ALIAS)
        with other.schema_editor() as editor:
            editor.create_model(Album)
        names = ["jane.png", "JANE.png", "jané.png", "jane.png ", "Jane.png"]
        for number, name in enumerate(names):
            entry(name, f"new-{number}.png" if number < 3 else name)
        albums = Album.objects.using(databases.ALIAS)
        albums.bulk_create([Album(cover=name) for name in names])
        found = albums.order_by("pk").values_list("cover", flat=True)
        done = switch(route_of(Album, "cover"), Problems())
        assert (done.changed, done.kept) == (3, 2)
        assert list(found.all()) == ["new-0.png", "new-1.png", "new-2.png", "jane.png ", "Jane.png"]
        assert revert(route_of(Album, "cover"), Problems()).changed == 3
        assert list(found.all()) == names


@pytest.mark.parametrize("database", [databases.POSTGRESQL, databases.MARIADB])
def test_a_name_that_a_visitor_gives_meanwhile_is_compared_exactly(
    database: databases.Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    django_db_blocker: Any,
) -> None:
    with (
        django_db_blocker.unblock(),
        database(tmp_path) as chosen,
        databases.use(chosen, monkeypatch) as other,
    ):
        monkeypatch.setattr(router.routers[0], "db_for_write", lambda *_, **__: databases.ALIAS)
        with other.schema_editor() as editor:
            editor.create_model(Album)
        entry("jane.png", "new.png")
        albums = Album.objects.using(databases.ALIAS)
        albums.create(cover="jane.png")
        albums.create(cover="jane.png")
        real = switching._update

        def visitor_first(*arguments: Any) -> int:
            albums.filter(pk=albums.earliest("pk").pk).update(cover="JANE.png")
            return real(*arguments)

        monkeypatch.setattr(switching, "_update", visitor_first)
        assert switch(route_of(Album, "cover"), Problems()).changed == 1
        assert list(albums.order_by("pk").values_list("cover", flat=True)) == ["JANE.png", "new.png"]
