"""The checks of mirrors, and the others where a mirror is in the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import storages
from django.db import models

from cf_images import conf
from cf_images.accounts import cloudflare_alias, cloudflare_options, find_account
from cf_images.checks import background, mirrors, names, project, tenants
from cf_images.checks import storages as of_storages
from cf_images.doctor.mirrors import mirrors as examine
from cf_images.image_fields import is_ours
from cf_images.models import State, Transfer
from cf_images.storage import LocalImagesStorage, MirroredStorage
from cf_images.storage.mirror import local_images, sides
from tests.checks.test_background import ids
from tests.storage.mirrors import CLOUDFLARE, LOCAL, MIRROR, image, turn, use_mirror

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_test_run")]


@pytest.fixture
def mirror(settings: Any, cf_images_emulator: Any, tmp_path: Path) -> Any:
    """A mirror of a folder and the emulator."""
    return use_mirror(settings, cf_images_emulator, tmp_path)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"primary": LOCAL, "secondary": CLOUDFLARE}, ""),
        ({"primary": LOCAL}, "it has no secondary"),
        ({}, "it has no primary"),
        ([], "it has no primary"),
        ("local", "its OPTIONS are not a dictionary"),
        ({"primary": LOCAL, "location": "/srv"}, "it has no option 'location'"),
        ({"primary": 1, "secondary": LOCAL}, "its primary is 1, which is not in STORAGES"),
        ({"primary": "nowhere", "secondary": LOCAL}, "its primary is 'nowhere', which is not in STORAGES"),
        ({"primary": LOCAL, "secondary": MIRROR}, "its secondary is 'photos', which is a mirror itself"),
        ({"primary": LOCAL, "secondary": LOCAL}, "its primary and secondary are both 'local'"),
    ],
)
def test_sides_are_two_other_storages(mirror: Any, settings: Any, options: Any, problem: str) -> None:
    backend = {"BACKEND": "cf_images.storage.MirroredStorage", "OPTIONS": options}
    settings.STORAGES = {**settings.STORAGES, MIRROR: backend}
    found = [(message.id, message.msg) for message in mirrors.sides()]
    assert found == ([("cf_images.E033", f'STORAGES["photos"]: {problem}.')] if problem else [])


def test_mirror_without_a_queue_is_told(mirror: Any, settings: Any) -> None:
    assert [message.id for message in mirrors.workers()] == ["cf_images.I034"]
    settings.CF_IMAGES = {**settings.CF_IMAGES, "QUEUE": "huey"}
    assert ids(mirrors.workers) == []


def test_mirror_in_the_schemas_of_tenants_is_an_error(mirror: Any, settings: Any) -> None:
    settings.TENANT_APPS = ["cf_images"]
    assert ids(tenants.tenant_apps) == ["E030"]


def test_sqlite_without_a_log_is_told_for_a_mirror(mirror: Any) -> None:
    assert ids(background.sqlite) == ["I105"]


def field_of(
    storage: Any, kind: type[models.FileField] = models.ImageField, **given: Any
) -> models.FileField:
    field = kind(storage=storage, upload_to="photos/", **given)
    field.set_attributes_from_name("file")
    return field


def test_field_of_a_mirror_is_ours_and_takes_images_alone(
    mirror: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    field = field_of(mirror, models.FileField)
    monkeypatch.setattr(project, "file_fields", lambda: iter([field]))
    assert is_ours(field)
    assert ids(project.fields) == ["W009"]


def test_short_field_of_a_mirror_is_an_error(
    mirror: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Private names have an ID of Cloudflare's, which the rows get with the switch."""
    settings.STORAGES[CLOUDFLARE]["OPTIONS"]["require_signed_urls"] = True
    storage = turn(settings, primary=LOCAL, secondary=CLOUDFLARE)
    monkeypatch.setattr(names, "file_fields", lambda: iter([field_of(storage, max_length=40)]))
    assert ids(names.max_length) == ["E022"]


def test_selected_mirror_has_the_account_of_its_side(mirror: Any, settings: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "CLOUDFLARE_ALIAS": MIRROR}
    settings.STORAGES[CLOUDFLARE]["OPTIONS"]["fit_limits"] = True
    conf.clear_cache()
    assert cloudflare_alias() == CLOUDFLARE
    assert cloudflare_options().fit_limits
    assert find_account(MIRROR) is None
    turn(settings, primary=CLOUDFLARE, secondary=LOCAL)
    account = find_account(MIRROR)
    assert account is not None
    assert account.key == find_account(CLOUDFLARE).key  # type: ignore[union-attr]


def test_local_mirror_needs_the_credentials_of_its_side(mirror: Any, settings: Any) -> None:
    settings.ENV_NAME = "dev"
    settings.CF_IMAGES = {**settings.CF_IMAGES, "LOCAL_ALIAS": MIRROR}
    settings.STORAGES[CLOUDFLARE]["OPTIONS"]["account_hash"] = "0" * 32
    conf.clear_cache()
    assert ids(of_storages.credentials) == ["E004"]


def test_local_side_of_a_mirror_serves_variants(mirror: Any, settings: Any, tmp_path: Path) -> None:
    settings.STORAGES[LOCAL]["BACKEND"] = "cf_images.storage.LocalImagesStorage"
    settings.CF_IMAGES = {**settings.CF_IMAGES, "LOCAL_ALIAS": MIRROR, "SERVE_LOCAL_VARIANTS": True}
    for primary, secondary in ((LOCAL, CLOUDFLARE), (CLOUDFLARE, LOCAL)):
        turn(settings, primary=primary, secondary=secondary)
        found = local_images()
        assert isinstance(found, LocalImagesStorage)
        assert found.location == str(tmp_path)
    settings.CF_IMAGES = {**settings.CF_IMAGES, "LOCAL_ALIAS": "gone"}
    assert local_images() is None


def test_sides_of_other_storages_are_themselves(mirror: Any) -> None:
    assert sides(storages[LOCAL]) == (storages[LOCAL],)
    assert sides(mirror) == (storages[LOCAL], storages[CLOUDFLARE])
    assert sides(MirroredStorage(LOCAL, CLOUDFLARE)) == sides(mirror)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (State.STORED, "both sides are up to date, as far as rows tell."),
        (State.PENDING, "1 still to be copied or deleted."),
        (State.REJECTED, "1 file could not be copied."),
    ],
)
def test_doctor_tells_what_is_to_be_copied(mirror: Any, state: State, message: str) -> None:
    mirror.save("cat.png", image())
    Transfer.objects.update(state=state)
    assert [finding.message for finding in examine()] == [f"STORAGES['photos']: {message}"]
