"""Which row of the ledger a name in a project's row stands for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.storage import storages
from django.db import connection, models
from django.test.utils import CaptureQueriesContext

from cf_images.background.transfers import new_row
from cf_images.models import State, Transfer
from cf_images.transfer.lookup import Ledger
from tests.app.models import Profile
from tests.transfer.conftest import Declare
from tests.transfer.site import ALIAS, LOCAL

pytestmark = pytest.mark.django_db

OTHER = "renditions_elsewhere"


def entry(source: str, source_name: str, name: str, *, field: str = "") -> Transfer:
    row = new_row(source=source, target=ALIAS, source_name=source_name, name=name, field=field)
    row.state = State.STORED
    row.save()
    return row


def find(name: str, *, source: str = LOCAL, model: type[models.Model] = Profile) -> Transfer | None:
    (field,) = (field for field in model._meta.fields if isinstance(field, models.FileField))
    return Ledger(field, target=ALIAS, source=source).find([name]).get(name)


def test_a_name_of_the_own_source_comes_first() -> None:
    own = entry(LOCAL, "a.png", "b.png")
    other = entry(OTHER, "a.png", "c.png")
    entry(OTHER, "x.png", "a.png")
    assert find("a.png") == own
    assert find("a.png", source=OTHER) == other


def test_then_a_name_in_the_target_after_a_switch() -> None:
    switched = entry(LOCAL, "a.png", "b.png")
    entry(OTHER, "b.png", "c.png")
    assert find("b.png") == switched


def test_then_a_name_of_another_source() -> None:
    entry(OTHER, "a.png", "b.png")
    found = find("a.png")
    assert found is not None
    assert found.name == "b.png"


@pytest.mark.parametrize("state", [State.REJECTED, State.PENDING])
def test_what_is_stored_comes_before_what_is_not(state: State) -> None:
    """A source has another alias by now, and its files are gone."""
    own = entry(LOCAL, "a.png", "b.png")
    own.state = state
    own.save()
    other = entry(OTHER, "a.png", "c.png")
    assert find("a.png") == other
    other.delete()
    assert find("a.png") == own
    switched = entry(OTHER, "x.png", "a.png")
    assert find("a.png") == switched


@pytest.fixture
def of_two_storages(declared: Callable[[Declare], Any]) -> tuple[type[models.Model], type[models.Model]]:
    """Models with fields of two storages, in which a file may have the same name."""

    def declare() -> Any:
        class Cat(models.Model):
            image = models.ImageField(storage=lambda: storages[LOCAL])

            class Meta:
                app_label = "app"

        class Dog(models.Model):
            image = models.ImageField(storage=lambda: storages[OTHER])

            class Meta:
                app_label = "app"

        return Cat, Dog

    return declared(declare)  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", ["a.png", "b.png"])
@pytest.mark.parametrize("field", ["app.Dog.image", ""])
def test_a_file_of_another_field_with_another_storage_is_another(
    of_two_storages: Any, name: str, field: str
) -> None:
    """The row of a mirror has no field."""
    cat, dog = of_two_storages
    others = entry(OTHER, "a.png", name, field=field)
    assert find("a.png", model=cat) is None
    assert find(name, model=cat) is None
    assert find("a.png", source=OTHER, model=dog) == others


def test_what_was_imported_from_the_storage_of_another_field_is_found(of_two_storages: Any) -> None:
    """With ``--from``."""
    cat, _ = of_two_storages
    own = entry(OTHER, "a.png", "b.png", field="app.Cat.image")
    assert find("a.png", model=cat) == own
    assert find("b.png", model=cat) == own


def test_other_targets_and_unknown_names_are_none() -> None:
    new_row(source=LOCAL, target="/elsewhere", source_name="a.png", name="a.png").save()
    assert find("a.png") is None
    assert find("nul\0.png") is None


def test_names_are_compared_byte_by_byte() -> None:
    entry(LOCAL, "jane.png", "jane.png")
    assert find("JANE.png") is None
    assert find("jane.png ") is None


def test_thousands_of_names_are_a_few_queries() -> None:
    entry(LOCAL, "a.png", "b.png")
    field: Any = Profile._meta.get_field("image")
    ledger = Ledger(field, target=ALIAS, source=LOCAL)
    with CaptureQueriesContext(connection) as queries:
        assert list(ledger.find(["a.png", *map(str, range(3000))])) == ["a.png"]
    assert len(queries) <= 8
