"""Empty width and height columns are filled from the ledger."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.storage import storages
from django.db import connection, models
from django.db.models import signals
from django.test.utils import CaptureQueriesContext

from cf_images.background.transfers import transfers
from cf_images.models import State
from cf_images.transfer import dimensions, fields, ledger
from cf_images.transfer.fields import Route

SIZES = {"a.png": (30, 20), "b.png": (10, 40), "c.svg": (None, None)}


def at_cloudflare() -> Any:
    return storages["cloudflare_images"]


def route_of(model: Any, name: str = "image") -> Route:
    return fields.to_cloudflare(model._meta.get_field(name))


def insert(model: Any, **values: Any) -> None:
    """Insert a row as it is: an instance would read its image."""
    columns, table = ", ".join(values), model._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({columns}) VALUES ({', '.join(['%s'] * len(values))})",
            list(values.values()),
        )


def copy(route: Route) -> None:
    ledger.fill(route, {}, is_enqueued=False)
    for name, (width, height) in SIZES.items():
        chosen = transfers().filter(source_name=name)
        chosen.update(state=State.STORED, next_attempt_at=None, width=width, height=height)


@pytest.fixture
def photo(declared: Any) -> Any:
    def declare() -> Any:
        class Sized(models.Model):
            image = models.ImageField(storage=at_cloudflare, width_field="width", height_field="height")
            width = models.PositiveIntegerField(null=True)
            height = models.PositiveIntegerField(null=True)
            changed_at = models.DateTimeField(null=True, auto_now=True)

            class Meta:
                app_label = "app"

        return Sized

    return declared(declare)


def rows_of(model: Any, *columns: str) -> list[Any]:
    return list(model.objects.order_by("pk").values_list(*columns))


def test_empty_columns_are_filled_and_others_stay(photo: Any) -> None:
    for name, width, height in (
        ("a.png", None, None),
        ("b.png", 0, 0),
        ("a.png", 1, 2),
        ("c.svg", None, None),
        ("gone.png", None, None),
        ("b.png", 5, None),
    ):
        insert(photo, image=name, width=width, height=height)
    copy(route_of(photo))
    assert dimensions.fill(route_of(photo)) == 3
    expected = [(30, 20), (10, 40), (1, 2), (None, None), (None, None), (5, 40)]
    assert rows_of(photo, "width", "height") == expected
    assert dimensions.fill(route_of(photo)) == 0


def test_no_signal_is_sent_and_no_other_column_changes(photo: Any) -> None:
    insert(photo, image="a.png")
    copy(route_of(photo))
    seen: list[Any] = []

    def see(**event: Any) -> None:
        seen.append(event)

    for signal in (signals.post_init, signals.pre_save, signals.post_save):
        signal.connect(see, sender=photo)
    assert dimensions.fill(route_of(photo)) == 1
    assert rows_of(photo, "image", "changed_at") == [("a.png", None)]
    assert not seen


def test_a_row_whose_image_is_replaced_meanwhile_stays(photo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    insert(photo, image="a.png")
    copy(route_of(photo))
    entries = ledger.entries

    def replaced(*given: Any) -> Any:
        photo.objects.update(image="b.png")
        return entries(*given)

    monkeypatch.setattr(ledger, "entries", replaced)
    dimensions.fill(route_of(photo))
    assert rows_of(photo, "image", "width") == [("b.png", None)]


def test_rows_with_their_new_names_are_filled(photo: Any) -> None:
    insert(photo, image="keys")
    ledger.fill(route_of(photo), {}, is_enqueued=False)
    transfers().update(state=State.STORED, width=30, height=20)
    photo.objects.update(image=transfers().get().name)
    assert dimensions.fill(route_of(photo)) == 1


def test_queries_grow_with_batches(photo: Any) -> None:
    def queries() -> int:
        photo.objects.update(width=None)
        with CaptureQueriesContext(connection) as found:
            dimensions.fill(route_of(photo))
        return len(found)

    insert(photo, image="a.png")
    copy(route_of(photo))
    few = queries()
    for _ in range(150):
        insert(photo, image="a.png")
    assert queries() == few
    assert rows_of(photo, "width") == [(30,)] * 151


def test_a_field_without_columns_is_left_alone(declared: Any) -> None:
    def declare() -> Any:
        class Plain(models.Model):
            image = models.ImageField(storage=at_cloudflare)

            class Meta:
                app_label = "app"

        return Plain

    model = declared(declare)
    insert(model, image="a.png")
    copy(route_of(model))
    assert dimensions.fill(route_of(model)) == 0


def test_one_column_columns_of_a_parent_and_composite_keys_are_filled(declared: Any) -> None:
    def declare() -> Any:
        class Wide(models.Model):
            pk = models.CompositePrimaryKey("shelf", "number")
            shelf = models.IntegerField()
            number = models.IntegerField()
            image = models.ImageField(storage=at_cloudflare, width_field="width")
            width = models.PositiveIntegerField(null=True)

            class Meta:
                app_label = "app"

        class Parent(models.Model):
            width = models.PositiveIntegerField(null=True)

            class Meta:
                app_label = "app"

        class Child(Parent):
            image = models.ImageField(storage=at_cloudflare, width_field="width", height_field="height")
            height = models.PositiveIntegerField(null=True)

            class Meta:
                app_label = "app"

        return Wide, Parent, Child

    wide, parent, child = declared(declare)
    for number, name in enumerate(("a.png", "b.png")):
        insert(wide, shelf=1, number=number, image=name)
        parent.objects.create(pk=number + 1)
        insert(child, parent_ptr_id=number + 1, image=name)
    copy(route_of(wide))
    assert dimensions.fill(route_of(wide)) == 2
    assert rows_of(wide, "width") == [(30,), (10,)]
    assert dimensions.fill(route_of(child)) == 2
    assert rows_of(child, "width", "height") == [(30, 20), (10, 40)]
