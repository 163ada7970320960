"""Uploads from the browser in the admin, by ``ImageAdminMixin`` and one setting."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.widgets import AdminFileWidget
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import models
from django.urls import path

from cf_images.browser import targets
from cf_images.contrib.admin import DirectThumbnailFileWidget, ImageAdminMixin
from cf_images.models import Reservation, State
from tests.app.models import Album, Page, Photo
from tests.browser.conftest import Visitor
from tests.pictures import picture
from tests.urls import urlpatterns as project_urls

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]

site = admin.AdminSite(name="uploads")


class Pages(ImageAdminMixin, admin.TabularInline):
    """Two image fields in a table."""

    model = Page
    extra = 1


@admin.register(Album, site=site)
class AlbumAdmin(ImageAdminMixin, admin.ModelAdmin):
    """With an inline."""

    inlines = (Pages,)


@admin.register(Photo, site=site)
class PhotoAdmin(ImageAdminMixin, admin.ModelAdmin):
    """One image."""

    fields = ("file",)


urlpatterns = [path("uploads/", site.urls), *project_urls]


@pytest.fixture
def staff(visitor: Visitor, settings: Any) -> Visitor:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "DIRECT_UPLOADS": True}
    assert visitor.user
    visitor.user.is_staff = visitor.user.is_superuser = True
    visitor.user.save()
    return visitor


def test_the_form_has_the_element_and_its_files(staff: Visitor) -> None:
    html = staff.client.get("/uploads/app/photo/add/").content.decode()
    assert "<cf-image-upload" in html
    assert 'src="/static/cf_images/upload.js"' in html
    field = re.search(r'data-field="([^"]+)"', html)
    assert field
    assert staff.reserve(field=field[1]).status_code == 201


def test_without_the_setting_the_admin_is_as_ever(staff: Visitor, settings: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "DIRECT_UPLOADS": False}
    assert "cf-image-upload" not in staff.client.get("/uploads/app/photo/add/").content.decode()


def test_an_upload_is_saved_with_two_requests(staff: Visitor, cloudflare: Any) -> None:
    value = staff.upload()
    before = len(cloudflare.requests)
    assert staff.client.post("/uploads/app/photo/add/", {"file-upload": value}).status_code == 302
    assert len(cloudflare.requests) == before + 2
    html = staff.client.get(f"/uploads/app/photo/{Photo.objects.get().pk}/change/").content.decode()
    assert "cat~~" in html
    assert "<img" in html


def test_a_form_with_errors_keeps_upload_and_current_image(staff: Visitor, images: Any) -> None:
    front = Page._meta.get_field("front")
    value = staff.upload(target=targets.of_model_field(front))
    album = Album.objects.create()
    page = Page.objects.create(album=album, front=SimpleUploadedFile("old.png", picture()))
    data = {
        "page_set-TOTAL_FORMS": 1,
        "page_set-INITIAL_FORMS": 1,
        "page_set-0-id": page.pk,
        "page_set-0-album": album.pk,
        "page_set-0-front-upload": value,
        "page_set-0-back": SimpleUploadedFile("x.png", b"no image"),
    }
    html = staff.client.post(f"/uploads/app/album/{album.pk}/change/", data).content.decode()
    assert value in html
    assert page.front.name in html
    data["page_set-0-back"] = ""
    assert staff.client.post(f"/uploads/app/album/{album.pk}/change/", data).status_code == 302
    page.refresh_from_db()
    assert "cat~~" in page.front.name


def test_a_plain_post_works_besides(staff: Visitor) -> None:
    data = {"file": SimpleUploadedFile("dog.png", picture())}
    assert staff.client.post("/uploads/app/photo/add/", data).status_code == 302
    assert "dog-" in Photo.objects.get().file.name


def test_a_form_that_fails_while_it_is_saved_leaves_the_upload_open(
    staff: Visitor, monkeypatch: pytest.MonkeyPatch, row_of: Callable[[str], Reservation]
) -> None:
    from cf_images.exceptions import CloudflareUnavailableError

    value = staff.upload()

    def save_and_fail(self: Any, request: Any, obj: Any, form: Any, change: bool) -> None:
        obj.save()
        raise CloudflareUnavailableError("away")

    monkeypatch.setattr(admin.ModelAdmin, "save_model", save_and_fail)
    response = staff.client.post("/uploads/app/photo/add/", {"file-upload": value})
    assert response.status_code == 200
    assert value in response.content.decode()
    assert row_of(value).state == State.PENDING
    assert not Photo.objects.exists()
    monkeypatch.undo()


class ThemedFileWidget(AdminFileWidget):
    """The widget of django-unfold, which gives every image field one."""


ThemedFileWidget.__module__ = "unfold.widgets"


class OwnFileWidget(AdminFileWidget):
    """A widget that a project has chosen."""


@pytest.mark.parametrize(
    ("given", "widget"),
    [(ThemedFileWidget, DirectThumbnailFileWidget), (OwnFileWidget, OwnFileWidget)],
)
def test_the_widget_of_a_theme_is_replaced_and_a_chosen_one_is_kept(
    given: Any, widget: Any, staff: Visitor
) -> None:
    class Themed(ImageAdminMixin, admin.ModelAdmin):
        formfield_overrides = {models.ImageField: {"widget": given}}

    themed = Themed(Photo, site)
    field = themed.formfield_for_dbfield(Photo._meta.get_field("file"), staff.request)
    assert type(field.widget) is widget


def test_without_direct_uploads_a_theme_keeps_its_widget(staff: Visitor, settings: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "DIRECT_UPLOADS": False}

    class Themed(ImageAdminMixin, admin.ModelAdmin):
        formfield_overrides = {models.ImageField: {"widget": ThemedFileWidget}}

    field = Themed(Photo, site).formfield_for_dbfield(Photo._meta.get_field("file"), staff.request)
    assert type(field.widget) is ThemedFileWidget
