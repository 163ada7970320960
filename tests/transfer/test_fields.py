"""Which fields are copied, from where to where, and the rows that refer to files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import FileSystemStorage, InMemoryStorage, storages
from django.db import DEFAULT_DB_ALIAS, connection, connections, models, router
from django.db.models import QuerySet, signals
from django.test.utils import CaptureQueriesContext

from cf_images.storage import CloudflareImagesStorage, select_storage
from cf_images.transfer import fields
from tests.app.models import Album, Page, Photo, Picture, Profile


def field_of(model: Any, name: str) -> Any:
    return model._meta.get_field(name)


def at_cloudflare() -> Any:
    return storages["cloudflare_images"]


def names_in(field: Any, **options: Any) -> list[str]:
    return [name for _, rows in fields.batches(field, **options) for _, name in rows]


class TestChoice:
    """Which fields are copied."""

    def test_all_image_fields_that_are_at_cloudflare_here_or_in_production(self) -> None:
        found = fields.chosen([])
        for model, name in (
            (Profile, "image"),
            (Photo, "file"),
            (Picture, "file"),
            (Album, "cover"),
            (Page, "front"),
        ):
            assert found.count(field_of(model, name)) == 1
        assert field_of(Page, "back") not in found

    def test_named_fields_whatever_their_storage(self) -> None:
        assert fields.chosen(["app.Page.back"]) == [field_of(Page, "back")]

    def test_a_field_that_is_named_twice_is_copied_once(self) -> None:
        assert len(fields.chosen(["app.Photo.file", "app.photo.file"])) == 1

    @pytest.mark.parametrize(
        "label", ["", "app", "app.Photo", "app.Photo.width", "app.Photo.gone", "gone.Photo.file", "a.b.c.d"]
    )
    def test_a_label_that_is_no_field_is_an_error_that_lists_the_fields(self, label: str) -> None:
        with pytest.raises(ImproperlyConfigured) as refused:
            fields.chosen([label])
        assert str(refused.value).startswith(
            f"{label!r} is no file field, such as app.Model.field; there are "
        )
        assert "app.Photo.file" in str(refused.value)

    def test_no_field_at_all_is_an_error(self, declared: Any) -> None:
        declared(lambda: None)
        with pytest.raises(ImproperlyConfigured, match="name the fields"):
            fields.chosen([])

    def test_file_fields_are_copied_only_when_they_are_named(self, declared: Any) -> None:
        def declare() -> None:
            class Document(models.Model):
                file = models.FileField(storage=at_cloudflare)

                class Meta:
                    app_label = "app"

        declared(declare)
        with pytest.raises(ImproperlyConfigured):
            fields.chosen([])
        assert [str(field) for field in fields.chosen(["app.Document.file"])] == ["app.Document.file"]

    def test_each_column_of_abstract_inherited_and_proxy_models_is_copied_once(self, declared: Any) -> None:
        def declare() -> None:
            class Base(models.Model):
                image = models.ImageField(storage=at_cloudflare)

                class Meta:
                    app_label = "app"
                    abstract = True

            class Parent(Base):
                class Meta:
                    app_label = "app"

            class Child(Parent):
                cover = models.ImageField(storage=at_cloudflare)

                class Meta:
                    app_label = "app"

            class Alias(Child):
                class Meta:
                    app_label = "app"
                    proxy = True

            class Other(Base):
                class Meta:
                    app_label = "app"

        declared(declare)
        assert [str(field) for field in fields.chosen([])] == [
            "app.Parent.image",
            "app.Child.cover",
            "app.Other.image",
        ]
        inherited = fields.chosen(["app.Child.image", "app.Alias.cover", "app.Alias.image"])
        assert [str(field) for field in inherited] == ["app.Parent.image", "app.Child.cover"]

    def test_a_swapped_model_has_no_rows(self, declared: Any, settings: Any) -> None:
        settings.APP_PERSON = "app.Replacement"

        def declare() -> None:
            class Person(models.Model):
                image = models.ImageField(storage=at_cloudflare)

                class Meta:
                    app_label = "app"
                    swappable = "APP_PERSON"

            class Replacement(models.Model):
                image = models.ImageField(storage=at_cloudflare)

                class Meta:
                    app_label = "app"

        declared(declare)
        assert [str(field) for field in fields.chosen([])] == ["app.Replacement.image"]
        with pytest.raises(ImproperlyConfigured, match=r"'app.Person.image' has no table: app.Replacement"):
            fields.chosen(["app.Person.image"])


class TestRoute:
    """From where to where."""

    def test_from_local_files_to_cloudflare(self) -> None:
        for model, name in ((Profile, "image"), (Photo, "file"), (Page, "back")):
            route = fields.to_cloudflare(field_of(model, name))
            assert (route.source, route.target) == ("default", "cloudflare_images")
            assert route.account is not None

    @pytest.mark.parametrize("env_name", ["dev", "production"])
    def test_the_same_before_and_after_the_switch(self, settings: Any, env_name: str) -> None:
        settings.ENV_NAME = env_name
        route = fields.to_cloudflare(field_of(Profile, "image"))
        assert (route.source, route.target) == ("default", "cloudflare_images")

    def test_a_field_on_another_storage_is_read_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        field = field_of(Page, "back")
        monkeypatch.setattr(field, "storage", storages["renditions_elsewhere"])
        assert fields.to_cloudflare(field).source == "renditions_elsewhere"
        monkeypatch.setattr(field, "storage", InMemoryStorage(location="/elsewhere"))
        assert fields.to_cloudflare(field).source == "app.Page.back"

    def test_a_field_on_another_account_goes_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        field = field_of(Page, "back")
        monkeypatch.setattr(field, "storage", storages["renditions"])
        assert fields.to_cloudflare(field).target == "renditions"

    def test_places_that_are_given_are_used(self, tmp_path: Any) -> None:
        route = fields.to_cloudflare(field_of(Photo, "file"), source=str(tmp_path), target="renditions")
        assert (route.source, route.target) == (str(tmp_path), "renditions")

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"source": "gone"}, "'gone' is no alias in STORAGES, no absolute path"),
            ({"target": "gone"}, "'gone' is no storage of Cloudflare Images in STORAGES; there are 'cloudfl"),
            ({"target": "default"}, "'default' is no storage of Cloudflare Images"),
            ({"source": "cloudflare_images"}, "app.Photo.file: the files are in 'cloudflare_images' already"),
            ({"source": f"/{'x' * 255}"}, "The path has 256 characters; the limit is 255"),
        ],
    )
    def test_a_place_that_cannot_be_is_an_error(self, given: Any, message: str) -> None:
        with pytest.raises(ImproperlyConfigured) as refused:
            fields.to_cloudflare(field_of(Photo, "file"), **given)
        assert str(refused.value).startswith(message)

    def test_a_storage_without_an_alias_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        field = field_of(Page, "back")
        monkeypatch.setattr(field, "storage", CloudflareImagesStorage(site="other"))
        with pytest.raises(ImproperlyConfigured, match=r"The storage of app\.Page.back is not in STORAGES"):
            fields.to_cloudflare(field)

    def test_wrong_settings_of_the_source_are_said(self, settings: Any) -> None:
        settings.STORAGES = {**settings.STORAGES, "default": {"BACKEND": "gone.Storage"}}
        with pytest.raises(ImproperlyConfigured, match=r"gone\.Storage"):
            fields.to_cloudflare(field_of(Profile, "image"))


class TestRows:
    """The rows of a field."""

    def test_come_in_batches_by_primary_key_with_a_query_each(self, db: Any) -> None:
        Profile.objects.bulk_create(Profile(image=f"{number}.png") for number in range(25))
        with CaptureQueriesContext(connection) as queries:
            found = list(fields.batches(field_of(Profile, "image"), size=10))
        assert [len(rows) for _, rows in found] == [10, 10, 5]
        assert {alias for alias, _ in found} == {DEFAULT_DB_ALIAS}
        assert [row for _, rows in found for row in rows] == list(Profile.objects.values_list("pk", "image"))
        assert len(queries) <= 4

    def test_are_read_without_instances_and_signals(self, db: Any) -> None:
        Profile.objects.bulk_create([Profile(image="gone.png")])
        seen: list[Any] = []
        signals.post_init.connect(lambda **event: seen.append(event), weak=False, dispatch_uid="seen")
        try:
            assert names_in(field_of(Profile, "image")) == ["gone.png"]
        finally:
            signals.post_init.disconnect(dispatch_uid="seen")
        assert not seen

    def test_without_a_name_are_left_out_and_names_of_spaces_are_not(self, declared: Any) -> None:
        def declare() -> Any:
            class Nullable(models.Model):
                image = models.ImageField(null=True, storage=at_cloudflare)

                class Meta:
                    app_label = "app"

            return Nullable

        model = declared(declare)
        model.objects.bulk_create(model(image=name) for name in ("", None, "  ", "a.png"))
        assert names_in(field_of(model, "image"), size=2) == ["  ", "a.png"]

    def test_many_empty_ones_do_not_end_the_search(self, db: Any) -> None:
        Profile.objects.bulk_create(Profile(image=name) for name in ("", "", "", "a.png"))
        assert names_in(field_of(Profile, "image"), size=2) == ["a.png"]

    def test_of_a_model_without_managers_that_hides_rows(self, declared: Any) -> None:
        class Hiding(models.Manager):  # type: ignore[type-arg]
            def get_queryset(self) -> Any:
                return super().get_queryset().none()

        def declare() -> Any:
            class Hidden(models.Model):
                image = models.ImageField(storage=at_cloudflare)
                visible = Hiding()

                class Meta:
                    app_label = "app"
                    base_manager_name = "visible"

            return Hidden

        model = declared(declare)
        QuerySet(model).create(image="a.png")
        assert names_in(field_of(model, "image")) == ["a.png"]

    def test_with_a_composite_primary_key(self, declared: Any) -> None:
        def declare() -> Any:
            class Composite(models.Model):
                pk = models.CompositePrimaryKey("shelf", "number")
                shelf = models.IntegerField()
                number = models.IntegerField()
                image = models.ImageField(storage=at_cloudflare)

                class Meta:
                    app_label = "app"

            return Composite

        model = declared(declare)
        keys = [(shelf, number) for shelf in range(3) for number in range(3)]
        model.objects.bulk_create(
            model(shelf=shelf, number=number, image=f"{shelf}-{number}") for shelf, number in keys
        )
        found = [row for _, rows in fields.batches(field_of(model, "image"), size=2) for row in rows]
        assert found == [((shelf, number), f"{shelf}-{number}") for shelf, number in keys]

    def test_of_inherited_unmanaged_and_text_keyed_models(self, declared: Any) -> None:
        def declare() -> Any:
            class Parent(models.Model):
                code = models.CharField(max_length=20, primary_key=True)

                class Meta:
                    app_label = "app"

            class Child(Parent):
                image = models.ImageField(storage=select_storage)

                class Meta:
                    app_label = "app"

            class View(models.Model):
                parent_ptr_id = models.CharField(max_length=20, primary_key=True)
                image = models.ImageField(storage=select_storage)

                class Meta:
                    app_label = "app"
                    managed = False
                    db_table = "app_child"

            return Child, View

        child, view = declared(declare)
        for code in ("B", "a", "É"):
            child.objects.create(code=code, image=f"{code}.png")
        for model in (child, view):
            assert sorted(names_in(field_of(model, "image"), size=1)) == ["B.png", "a.png", "É.png"]


class Router:
    """Rows stay in the database that they are in; new ones go to the first."""

    def db_for_write(self, model: Any, instance: Any = None, **_: Any) -> str:
        return (instance and instance._state.db) or "first"

    def allow_migrate(self, db: str, *_: Any, **__: Any) -> bool:
        return db != DEFAULT_DB_ALIAS


class Replicas(Router):
    """The second database follows the first."""

    def db_for_write(self, model: Any, instance: Any = None, **_: Any) -> str:
        return "first"


class OneTable(Router):
    """The table belongs to the first database."""

    def allow_migrate(self, db: str, *_: Any, **__: Any) -> bool:
        return db == "first"


class Sharding(Router):
    """Rows are spread by what is in them."""

    def db_for_write(self, model: Any, instance: Any = None, **_: Any) -> str:
        return "second" if instance and instance.gone else "first"


class TestDatabases:
    """In which databases rows are."""

    @pytest.fixture(autouse=True)
    def _two(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Any, django_db_blocker: Any) -> Iterator[None]:
        monkeypatch.setattr(router, "routers", [Router()])
        with django_db_blocker.unblock():
            for alias in ("first", "second"):
                chosen = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / alias)}
                configured = connections.configure_settings({DEFAULT_DB_ALIAS: chosen})[DEFAULT_DB_ALIAS]
                monkeypatch.setitem(connections.settings, alias, configured)
                with connections[alias].schema_editor() as editor:
                    editor.create_model(Profile)
            yield
            for alias in ("first", "second"):
                connections[alias].close()
                del connections[alias]

    def test_rows_of_all_databases_are_read(self) -> None:
        Profile.objects.using("first").create(image="a.png")
        Profile.objects.using("second").create(image="b.png")
        found = [(alias, rows[0][1]) for alias, rows in fields.batches(field_of(Profile, "image"))]
        assert found == [("first", "a.png"), ("second", "b.png")]

    def test_one_without_the_table_is_left_out(self) -> None:
        with connections["second"].schema_editor() as editor:
            editor.delete_model(Profile)
        assert fields.databases(field_of(Profile, "image")) == ["first"]

    @pytest.mark.parametrize("chosen", [Replicas(), OneTable(), Sharding()])
    def test_one_that_rows_are_not_saved_in_is_left_out(
        self, monkeypatch: pytest.MonkeyPatch, chosen: Any
    ) -> None:
        monkeypatch.setattr(router, "routers", [chosen])
        assert fields.databases(field_of(Profile, "image")) == ["first"]


def test_the_folder_of_a_field_may_be_a_storage_of_its_own(tmp_path: Any, monkeypatch: Any) -> None:
    field = field_of(Page, "back")
    monkeypatch.setattr(field, "storage", FileSystemStorage(location=tmp_path))
    route = fields.to_cloudflare(field)
    assert (route.source, route.label) == ("app.Page.back", "app.Page.back")
