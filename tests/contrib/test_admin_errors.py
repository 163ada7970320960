"""What fails while the admin saves a form is an error in that form, with everything typed still there."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django import forms
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import models, transaction
from django.urls import path
from django.urls import reverse as reversed_url

from cf_images.contrib.admin import ImageAdminMixin
from cf_images.exceptions import CloudflareUnavailableError
from cf_images.forms import ImageField
from tests.app.models import Album, Page, Photo, Profile
from tests.images.builders import HEIC
from tests.pictures import picture
from tests.urls import urlpatterns as project_urls

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]

AWAY = "Images are not available. Please try again in a few minutes."
site = admin.AdminSite(name="errors")


class PagesInline(admin.TabularInline):
    """An inline without the mixin; its admin has it."""

    model = Page
    extra = 2


@admin.register(Album, site=site)
class AlbumAdmin(ImageAdminMixin, admin.ModelAdmin):
    """A form with an inline."""

    inlines = (PagesInline,)


class PhotoForm(forms.ModelForm):
    """With a field to type into, and a rule of its own."""

    caption = forms.CharField(required=False)

    class Meta:
        model = Photo
        fields = ("file", "width")

    def clean(self) -> dict[str, Any]:
        """Use the file, as a project may."""
        if not self.errors:
            self.cleaned_data["file"]
        return self.cleaned_data


@admin.register(Photo, site=site)
class PhotoAdmin(ImageAdminMixin, admin.ModelAdmin):
    """A form of the project."""

    form = PhotoForm
    fields = ("file", "width", "caption")


@admin.register(Profile, site=site)
class ProfileAdmin(ImageAdminMixin, admin.ModelAdmin):
    """An editable list."""

    list_display = ("id", "image")
    list_editable = ("image",)


urlpatterns = [path("errors/", site.urls), *project_urls]


def url(model: type[models.Model], view: str, *args: Any) -> str:
    return reversed_url(f"errors:app_{model._meta.model_name}_{view}", args=args)


def upload(name: str = "jane.png", body: bytes | None = None) -> SimpleUploadedFile:
    return SimpleUploadedFile(name, body or picture(), content_type="image/png")


@pytest.fixture
def admin_client(client: Any) -> Any:
    """A client that is logged in."""
    client.force_login(User.objects.create(username="admin", is_staff=True, is_superuser=True))
    return client


@pytest.fixture
def outage(cloudflare: Any) -> Any:
    """A Cloudflare that responds to everything with 503."""
    cloudflare.faults.set(rates={"500": 1})
    return cloudflare


def management(prefix: str, total: int, initial: int = 0) -> dict[str, Any]:
    return {f"{prefix}-TOTAL_FORMS": total, f"{prefix}-INITIAL_FORMS": initial}


class TestForm:
    def test_adding_during_an_outage(self, admin_client: Any, refused: Any, caplog: Any) -> None:
        response = admin_client.post(url(Photo, "add"), {"file": upload(), "caption": "typed text"})
        assert response.status_code == 200
        assert response.context["adminform"].form.errors == {"file": [refused]}
        assert 'value="typed text"' in response.content.decode()
        assert "Please correct the error below." in response.content.decode()
        assert not Photo.objects.exists()
        (record,) = [record for record in caplog.records if record.name == "cf_images.contrib.admin_errors"]
        assert record.levelno == logging.ERROR

    def test_changing_keeps_the_stored_image(self, admin_client: Any, refused: Any) -> None:
        row = Photo.objects.create(file="old.jpg", width=3, height=3)
        response = admin_client.post(
            url(Photo, "change", row.pk), {"file": upload(), "width": 5, "caption": "typed text"}
        )
        assert response.context["adminform"].form.errors == {"file": [refused]}
        page = response.content.decode()
        assert 'value="typed text"' in page
        assert "old.jpg/public" in page
        assert Photo.objects.values_list("file", "width").get() == ("old.jpg", 3)

    def test_afterwards_the_same_form_succeeds(self, admin_client: Any, cloudflare: Any) -> None:
        cloudflare.faults.set(rates={"500": 1})
        admin_client.post(url(Photo, "add"), {"file": upload()})
        cloudflare.faults.reset()
        assert admin_client.post(url(Photo, "add"), {"file": upload()}).status_code == 302
        assert Photo.objects.get().file.name in cloudflare.images

    def test_a_name_that_is_in_use(self, admin_client: Any, cloudflare: Any, settings: Any) -> None:
        settings.CF_IMAGES = {**settings.CF_IMAGES, "UNIQUE_NAMES": False}
        assert admin_client.post(url(Photo, "add"), {"file": upload()}).status_code == 302
        response = admin_client.post(url(Photo, "add"), {"file": upload()})
        message = "An image with this name already exists."
        assert response.context["adminform"].form.errors == {"file": [message]}

    def test_an_error_of_no_field_is_above_the_form(
        self, admin_client: Any, outage: Any, monkeypatch: Any
    ) -> None:
        def save_related(self: Any, *_: Any) -> None:
            Photo._meta.get_field("file").storage.size("a.jpg")

        monkeypatch.setattr(PhotoAdmin, "save_related", save_related)
        response = admin_client.post(url(Photo, "add"), {"width": 3})
        assert response.context["adminform"].form.non_field_errors() == [AWAY]
        assert not Photo.objects.exists()

    @pytest.mark.django_db(transaction=True)
    def test_an_error_after_the_commit_is_none_of_the_form(
        self, admin_client: Any, outage: Any, monkeypatch: Any
    ) -> None:
        """The row is saved: a form that says otherwise would be sent again."""

        def save_related(self: Any, *_: Any) -> None:
            transaction.on_commit(lambda: Photo._meta.get_field("file").storage.size("a.jpg"))

        monkeypatch.setattr(PhotoAdmin, "save_related", save_related)
        with pytest.raises(CloudflareUnavailableError):
            admin_client.post(url(Photo, "add"), {"width": 3})
        assert Photo.objects.count() == 1

    def test_other_errors_are_djangos(self, admin_client: Any, monkeypatch: Any) -> None:
        def save_related(self: Any, *_: Any) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(PhotoAdmin, "save_related", save_related)
        with pytest.raises(ZeroDivisionError):
            admin_client.post(url(Photo, "add"), {"width": 3})

    def test_the_next_request_has_no_error(self, admin_client: Any, outage: Any) -> None:
        admin_client.post(url(Photo, "add"), {"file": upload()})
        assert AWAY not in admin_client.get(url(Photo, "add")).content.decode()

    @pytest.fixture(params=["away", "token"])
    def refused(self, request: Any, cloudflare: Any, settings: Any) -> str:
        """A Cloudflare that stores nothing, and what a person is told."""
        if request.param == "away":
            cloudflare.faults.set(rates={"500": 1})
            return AWAY
        settings.CF_IMAGES = {**settings.CF_IMAGES, "API_TOKEN": "revoked"}
        return "The server cannot process images at the moment."


class TestInlines:
    def test_the_error_is_in_the_row_of_the_inline(self, admin_client: Any, cloudflare: Any) -> None:
        cloudflare.faults.set(rates={"500": 1})
        album = Album.objects.create()
        data = {
            **management("page_set", 2),
            "page_set-1-front": upload(),
            "page_set-1-back": upload("back.png"),
        }
        response = admin_client.post(url(Album, "change", album.pk), data)
        assert response.status_code == 200
        (formset,) = response.context["inline_admin_formsets"]
        assert [form.errors for form in formset.formset.forms] == [{}, {"front": [AWAY]}]
        assert not response.context["adminform"].form.errors
        assert not Page.objects.exists()

    def test_the_form_itself_fails_before_its_inlines(self, admin_client: Any, outage: Any) -> None:
        data = {**management("page_set", 1), "cover": upload(), "page_set-0-front": upload()}
        response = admin_client.post(url(Album, "add"), data)
        assert response.context["adminform"].form.errors == {"cover": [AWAY]}
        assert not Album.objects.exists()


class TestEditableList:
    def test_the_error_is_in_the_row(self, admin_client: Any, outage: Any) -> None:
        first, second = Profile.objects.create(image="1.jpg"), Profile.objects.create(image="2.jpg")
        data = {
            **management("form", 2, 2),
            "_save": "Save",
            "form-0-id": second.pk,
            "form-1-id": first.pk,
            "form-1-image": upload(),
        }
        response = admin_client.post(url(Profile, "changelist"), data)
        assert response.status_code == 200
        assert [form.errors for form in response.context["cl"].formset.forms] == [{}, {"image": [AWAY]}]
        assert {row.image.name for row in Profile.objects.all()} == {"1.jpg", "2.jpg"}

    def test_without_an_error_it_is_saved(self, admin_client: Any, cloudflare: Any) -> None:
        row = Profile.objects.create(image="1.jpg")
        data = {**management("form", 1, 1), "_save": "Save", "form-0-id": row.pk, "form-0-image": upload()}
        assert admin_client.post(url(Profile, "changelist"), data).status_code == 302
        row.refresh_from_db()
        assert row.image.name in cloudflare.images


class TestFormField:
    def test_it_says_why_a_file_is_refused(self, admin_client: Any, cloudflare: Any) -> None:
        response = admin_client.post(url(Photo, "add"), {"file": upload("a.tiff", picture("TIFF"))})
        assert "TIFF" in response.context["adminform"].form.errors["file"][0]
        assert not cloudflare.requests

    def test_a_photo_of_a_phone_is_stored(self, admin_client: Any, cloudflare: Any) -> None:
        assert admin_client.post(url(Photo, "add"), {"file": upload("a.heic", HEIC)}).status_code == 302
        row = Photo.objects.get()
        assert cloudflare.images[row.file.name].content_type == "image/heic"
        assert (row.width, row.height) == (80, 64)

    @pytest.mark.parametrize("own", ["form_class", "no validator"])
    def test_the_projects_choice_stays(self, own: str, settings: Any, monkeypatch: Any) -> None:
        field: Any = Profile._meta.get_field("image")
        overrides: dict[Any, Any] = {}
        if own == "form_class":
            overrides = {models.ImageField: {"form_class": forms.FileField}}
        else:
            monkeypatch.setattr(field, "validators", [])
        kind = type("Own", (ImageAdminMixin, admin.ModelAdmin), {"formfield_overrides": overrides})
        assert not isinstance(kind(Profile, site).formfield_for_dbfield(field, None), ImageField)
