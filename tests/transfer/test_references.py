"""All columns that may refer to images are read, of all rows of all databases, or the search ends."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.contrib.postgres.fields import ArrayField
from django.db import DEFAULT_DB_ALIAS, connection, models
from django.test.utils import isolate_apps

from cf_images.models import State, Transfer, Upload
from cf_images.transfer import references
from cf_images.transfer.references import Table, UnreadableTableError, tables
from tests.app.models import Keepsake, Note, Photo, Profile
from tests.background import databases

pytestmark = pytest.mark.django_db


def values(*, with_texts: bool = True) -> set[str]:
    return {value.text for table in tables(with_texts=with_texts) for value in table.values()}


def test_file_fields_texts_and_json_are_read() -> None:
    Profile.objects.create(image="avatars/jane.jpg")
    Note.objects.create(title="a title", text="a text", data={"image": ["photos/ä.jpg"]})
    found = values()
    assert {"avatars/jane.jpg", "a title", "a text"} <= found
    assert any("photos/" in text for text in found)
    assert "avatars/jane.jpg" in values(with_texts=False)
    assert "a text" not in values(with_texts=False)


def test_rows_that_managers_hide_and_columns_of_parents_are_read() -> None:
    hidden = Keepsake(is_hidden=True)
    hidden.__dict__.update(file="photos/front.jpg", back="keepsakes/back.jpg")
    hidden.save()
    assert not Keepsake.objects.exists()
    assert {"photos/front.jpg", "keepsakes/back.jpg"} <= values(with_texts=False)


def test_rows_of_this_package_count_while_they_are_unfinished() -> None:
    for state in State:
        common: dict[str, Any] = {"created_at": "2026-01-01T00:00Z", "state": state}
        Upload.objects.create(name=f"upload-{state}", remote_id=f"upload-id-{state}", **common)
        names = {"source_name": f"name-{state}", "name": f"name-{state}"}
        Transfer.objects.create(key=f"{state} kept", storage="x", **names, **common)
        names = {"source_name": f"old-{state}", "name": f"new-{state}"}
        Transfer.objects.create(key=f"{state} renamed", storage="x", **names, **common)
    found = values(with_texts=False)

    def counted(*columns: str) -> set[str]:
        return {state for state in State if {f"{column}-{state}" for column in columns} <= found}

    assert counted("upload", "upload-id") == set(State) - {State.STORED}
    assert counted("name") == {State.PENDING, State.DELETING}
    assert counted("old", "new") == {State.PENDING, State.DELETING, State.STORED}, "until `switch`"


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 200])
def test_batches_lose_no_row(size: int, django_assert_max_num_queries: Any) -> None:
    Note.objects.bulk_create(Note(text=f"text {number}") for number in range(size))
    table = next(table for table in tables(with_texts=True) if table.model is Note)
    with django_assert_max_num_queries(4):
        assert [value.text for value in table.values()] == [f"text {number}" for number in range(size)]


def test_batches_are_small_where_texts_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(references, "_BATCH_CHARACTERS", 1_000)
    Note.objects.bulk_create(Note(text="x" * 2_000) for _ in range(20))
    table = next(table for table in tables(with_texts=True) if table.model is Note)
    sizes: list[int] = []
    monkeypatch.setattr(references, "list", lambda rows: sizes.append(len(rows)) or [*rows], raising=False)
    assert len([*table.values()]) == 20
    assert sizes == [16, 1, 1, 1, 1, 0]


@contextmanager
def table_of(model: type[models.Model]) -> Iterator[None]:
    with connection.schema_editor() as editor:
        editor.create_model(model)
    try:
        yield
    finally:
        with connection.schema_editor() as editor:
            editor.delete_model(model)


@pytest.mark.django_db(transaction=True)
@isolate_apps("tests.app")
def test_fields_of_other_packages_are_read_as_python_and_database_have_them() -> None:
    class Secret(models.TextField):
        def from_db_value(self, value: str, *_: Any) -> str:
            return value[::-1]

    class Letter(models.Model):
        text = Secret()

        class Meta:
            app_label = "app"

    with table_of(Letter):
        Letter.objects.create(text="gpj.a")
        table = Table(model=Letter, fields=(Letter._meta.get_field("text"),), database=DEFAULT_DB_ALIAS)
        assert {value.text for value in table.values()} == {"a.jpg", "gpj.a"}


@pytest.mark.django_db(transaction=True)
@isolate_apps("tests.app")
def test_rows_of_a_view_without_a_primary_key_of_its_own_are_all_read() -> None:
    class View(models.Model):
        text = models.TextField()

        class Meta:
            app_label = "app"
            managed = False
            db_table = "app_view"

    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE app_view (id integer, text text)")
        cursor.executemany("INSERT INTO app_view VALUES (1, %s)", [[str(number)] for number in range(50)])
    try:
        table = Table(model=View, fields=(View._meta.get_field("text"),), database=DEFAULT_DB_ALIAS)
        assert len([*table.values()]) == 50
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE app_view")


def test_a_missing_table_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    existing = next(references._existing(DEFAULT_DB_ALIAS))[1] - {"app_note"}
    monkeypatch.setattr(references, "_existing", lambda _: iter([(None, existing)]))
    with pytest.raises(UnreadableTableError, match=r"app.Note cannot be read: .* no table app_note"):
        values()
    values(with_texts=False)


def test_an_error_of_a_column_names_its_table(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> str:
        raise RuntimeError("cannot\ndecode")

    monkeypatch.setattr(references, "_text", fail)
    Note.objects.create(text="x")
    table = next(table for table in tables(with_texts=True) if table.model is Note)
    with pytest.raises(UnreadableTableError, match=r"app.Note \(database default\) cannot .*: cannot decode"):
        list(table.values())


def test_texts_that_hold_the_history_of_files_count_without_a_scan_of_texts() -> None:
    assert references._is_history(Photo._meta.get_field("file"), file_names={"file"})
    assert not references._is_history(Note._meta.get_field("text"), file_names={"file"})


@pytest.fixture(params=databases.EACH)
def database(
    request: pytest.FixtureRequest, tmp_path: Path, django_db_blocker: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """The connection to another database."""
    with (
        django_db_blocker.unblock(),
        request.param(tmp_path) as chosen,
        databases.use(chosen, monkeypatch) as found,
    ):
        yield found


@pytest.mark.django_db(databases=[DEFAULT_DB_ALIAS])
@isolate_apps("tests.app")
def test_each_database_gives_its_texts_and_json(database: Any) -> None:
    class Letter(models.Model):
        key = models.UUIDField(primary_key=True, default=uuid.uuid4)
        image = models.ImageField()
        text = models.TextField(blank=True)
        data = models.JSONField(null=True)
        number = models.UUIDField(null=True)
        if database.vendor == "postgresql":
            names = ArrayField(models.CharField(max_length=20), null=True)

        class Meta:
            app_label = "app"

    with database.schema_editor() as editor:
        editor.create_model(Letter)
    number = uuid.UUID("083eb7b2-5392-4565-b69e-aff66acddd00")
    rows = [Letter(image=f"{count}.jpg") for count in range(100)]
    rows += [Letter(image="é.jpg", text="a b", data={"url": ["ä/1.jpg"]}, number=number)]
    if database.vendor == "postgresql":
        rows += [Letter(names=["x y.jpg", "z"])]
    Letter._base_manager.using(databases.ALIAS).bulk_create(rows)
    fields = tuple(
        field for field in Letter._meta.local_fields if references._is_text(field) or field.name == "image"
    )
    table = Table(model=Letter, fields=fields, database=databases.ALIAS)
    found = {value.text for value in table.values()}
    assert {"é.jpg", "a b", str(number)} | {f"{count}.jpg" for count in range(100)} <= found
    assert any("1.jpg" in text and "url" in text for text in found)
    assert database.vendor != "postgresql" or any("x y.jpg" in text for text in found)


def test_every_database_is_read_that_has_a_table(database: Any) -> None:
    with database.schema_editor() as editor:
        editor.create_model(Note)
    Note._base_manager.using(databases.ALIAS).create(text="from the other one")
    Note.objects.create(text="from the default one")
    assert {"from the other one", "from the default one"} <= values()


@pytest.mark.django_db(transaction=True)
@isolate_apps("tests.app")
def test_a_composite_primary_key_is_read_in_batches() -> None:
    class Cell(models.Model):
        pk = models.CompositePrimaryKey("row", "column")
        row = models.IntegerField()
        column = models.IntegerField()
        text = models.TextField()

        class Meta:
            app_label = "app"

    with table_of(Cell):
        Cell._base_manager.bulk_create(
            Cell(row=row, column=column, text=f"{row} {column}") for row in range(9) for column in range(9)
        )
        table = Table(model=Cell, fields=(Cell._meta.get_field("text"),), database=DEFAULT_DB_ALIAS)
        assert len({value.text for value in table.values()}) == 81
