"""The app's start: which fields get the validator, and that broken settings do not stop it."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps
from django.core.files.storage import FileSystemStorage, InMemoryStorage, default_storage, storages
from django.db import models
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.state import ModelState, ProjectState
from django.test.utils import isolate_apps

from cf_images import validators
from cf_images.storage import CloudflareImagesStorage, LocalImagesStorage, select_storage
from cf_images.validators import attach, validate_image
from tests.app.models import Photo, Profile


def chosen() -> Any:
    """A callable of the project."""
    return storages["cloudflare_images"]


@pytest.mark.parametrize(("model", "name"), [(Profile, "image"), (Photo, "file")])
def test_the_fields_of_the_project_have_the_validator_once(model: type[models.Model], name: str) -> None:
    field = model._meta.get_field(name)
    assert field.validators.count(validate_image) == 1
    apps.get_app_config("cf_images").ready()
    assert field.validators.count(validate_image) == 1


@pytest.mark.parametrize(
    ("storage", "attached"),
    [
        (select_storage, True),
        (chosen, True),
        (CloudflareImagesStorage(), True),
        (LocalImagesStorage(), True),
        (default_storage, True),  # a LocalImagesStorage behind Django's lazy object
        (None, True),  # the same
        (FileSystemStorage(), False),
        (InMemoryStorage(), False),
        (lambda: FileSystemStorage(), False),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__) if value is not True else "",
)
@isolate_apps("tests.app")
def test_image_fields_on_storages_of_the_package_get_the_validator(storage: Any, attached: bool) -> None:
    class Album(models.Model):
        cover = models.ImageField(storage=storage)
        document = models.FileField(storage=storage)
        title = models.CharField(max_length=9)

        class Meta:
            app_label = "app"

    for field in Album._meta.get_fields():
        attach(field)
    assert (validate_image in Album._meta.get_field("cover").validators) is attached
    assert validate_image not in Album._meta.get_field("document").validators
    assert validate_image not in Album._meta.get_field("title").validators


@isolate_apps("tests.app")
def test_select_storage_counts_also_where_it_gives_another_storage(settings: Any) -> None:
    settings.STORAGES = {**settings.STORAGES, "cloudflare_images": {"BACKEND": "tests.test_apps.Other"}}

    class Album(models.Model):
        cover = models.ImageField(storage=select_storage)

        class Meta:
            app_label = "app"

    field = Album._meta.get_field("cover")
    assert isinstance(field.storage, Other)
    attach(field)
    assert validate_image in field.validators


class Other(InMemoryStorage):
    """A storage of another package."""


@isolate_apps("tests.app")
def test_a_validator_that_the_field_declares_is_not_added_again() -> None:
    class Album(models.Model):
        cover = models.ImageField(storage=select_storage, validators=[validate_image])

        class Meta:
            app_label = "app"

    attach(Album._meta.get_field("cover"))
    assert Album._meta.get_field("cover").validators.count(validate_image) == 1


@isolate_apps("tests.app")
def test_fields_of_inherited_models_get_the_validator(monkeypatch: pytest.MonkeyPatch) -> None:
    class Base(models.Model):
        image = models.ImageField(storage=select_storage)

        class Meta:
            abstract = True
            app_label = "app"

    class Child(Base):
        class Meta:
            app_label = "app"

    class Grandchild(Child):
        second = models.ImageField(storage=select_storage)

        class Meta:
            app_label = "app"

    monkeypatch.setattr(validators, "apps", Child._meta.apps)
    validators.attach_everywhere()
    assert Child._meta.get_field("image").validators.count(validate_image) == 1
    assert Grandchild._meta.get_field("image").validators.count(validate_image) == 1
    assert Grandchild._meta.get_field("second").validators.count(validate_image) == 1


@isolate_apps("tests.app")
def test_it_can_be_switched_off(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Album(models.Model):
        cover = models.ImageField(storage=select_storage)

        class Meta:
            app_label = "app"

    monkeypatch.setattr(validators, "apps", Album._meta.apps)
    settings.CF_IMAGES = {"VALIDATE_FIELDS": False}
    validators.attach_everywhere()
    assert validate_image not in Album._meta.get_field("cover").validators
    settings.CF_IMAGES = {}
    validators.attach_everywhere()
    assert validate_image in Album._meta.get_field("cover").validators


def test_a_migration_has_no_validator() -> None:
    field = Profile._meta.get_field("image")
    assert validate_image in field.validators
    _, path, _, options = field.deconstruct()
    assert path == "django.db.models.ImageField"
    assert "validators" not in options
    assert options["storage"] is select_storage


def test_a_field_with_and_one_without_the_validator_are_the_same_to_a_migration() -> None:
    def state(*validators: Any) -> ProjectState:
        image = models.ImageField(storage=select_storage)
        image.validators.extend(validators)
        project = ProjectState()
        project.add_model(
            ModelState("app", "Album", [("id", models.AutoField(primary_key=True)), ("i", image)])
        )
        return project

    assert MigrationAutodetector(state(), state(validate_image))._detect_changes() == {}


@pytest.mark.parametrize("broken", [{"VARAINTS": {}}, {"VALIDATE_FIELDS": "no"}, ["VARIANTS"]])
def test_broken_settings_do_not_stop_the_start(broken: Any, settings: Any) -> None:
    settings.CF_IMAGES = broken
    apps.get_app_config("cf_images").ready()
