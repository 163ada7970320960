"""Image fields in Django's admin work with its own widget, without code of this package."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.storage import storages
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.app.models import Photo, Profile
from tests.pictures import picture

pytestmark = pytest.mark.django_db

PNG = picture()
ADD = "/admin/app/profile/add/"


def upload(body: bytes = PNG, name: str = "jane.png") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, body, content_type="image/png")


def test_adding_stores_the_image(admin_client: Any, cloudflare: Any) -> None:
    response = admin_client.post(ADD, {"image": upload()})
    assert response.status_code == 302
    assert list(cloudflare.images) == [Profile.objects.get().image.name]


def test_changing_stores_a_new_image_under_a_new_name(admin_client: Any, cloudflare: Any) -> None:
    admin_client.post(ADD, {"image": upload()})
    profile = Profile.objects.get()
    admin_client.post(f"/admin/app/profile/{profile.pk}/change/", {"image": upload(picture(seed=2))})
    changed = Profile.objects.get()
    assert changed.image.name != profile.image.name
    assert cloudflare.images[changed.image.name].body == picture(seed=2)


def test_clearing_empties_the_field_and_deletes_nothing(admin_client: Any, cloudflare: Any) -> None:
    admin_client.post(ADD, {"image": upload()})
    profile = Profile.objects.get()
    admin_client.post(f"/admin/app/profile/{profile.pk}/change/", {"image-clear": "on"})
    assert Profile.objects.get().image.name == ""
    assert list(cloudflare.images) == [profile.image.name]


def test_saving_an_unchanged_form_makes_no_request(admin_client: Any, cloudflare: Any) -> None:
    admin_client.post(ADD, {"image": upload()})
    before = len(cloudflare.requests)
    profile = Profile.objects.get()
    response = admin_client.post(f"/admin/app/profile/{profile.pk}/change/", {})
    assert response.status_code == 302
    assert len(cloudflare.requests) == before


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"just a text", "valid image"),
        (picture("TIFF"), "TIFF"),
        (PNG.ljust(11 * 1024 * 1024, b"\0"), "10 MB"),
    ],
    ids=["text", "tiff", "large"],
)
def test_file_that_cloudflare_would_reject_is_an_error_of_the_field(
    admin_client: Any, cloudflare: Any, body: bytes, words: str
) -> None:
    response = admin_client.post(ADD, {"image": upload(body)})
    assert response.status_code == 200
    assert words in response.context["adminform"].form.errors["image"][0]
    assert not cloudflare.requests


def test_the_form_links_to_the_image(admin_client: Any, cloudflare: Any) -> None:
    admin_client.post(ADD, {"image": upload()})
    profile = Profile.objects.get()
    page = admin_client.get(f"/admin/app/profile/{profile.pk}/change/").content.decode()
    assert storages["cloudflare_images"].url(profile.image.name) in page


def test_change_list_of_a_hundred_images_makes_no_request(admin_client: Any, cloudflare: Any) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert admin_client.get("/admin/app/photo/").status_code == 200
        return len(captured)

    Photo.objects.bulk_create([Photo(file="photos/0.jpg", width=1, height=1)])
    few = queries()
    rows = [Photo(file=f"photos/{number}.jpg", width=1, height=1) for number in range(99)]
    Photo.objects.bulk_create(rows)
    assert queries() == few
    assert not cloudflare.requests
