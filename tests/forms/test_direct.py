"""``DirectImageField``: a ``ClearableFileInput`` in every respect, and an upload besides."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django import forms
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.forms import formset_factory, inlineformset_factory, modelform_factory
from django.forms.renderers import Jinja2
from django.http import QueryDict
from django.test import RequestFactory
from django.utils.datastructures import MultiValueDict

from cf_images.browser import targets
from cf_images.browser.direct_upload import DirectUpload
from cf_images.browser.targets import Target
from cf_images.forms import DirectImageField, DirectImagesField, DirectUploadsMixin, ImageField
from cf_images.models import Reservation, State
from tests.app.models import Album, Page, Photo
from tests.browser.conftest import Visitor
from tests.pictures import picture

pytestmark = pytest.mark.django_db


class PhotoForm(DirectUploadsMixin, forms.ModelForm):
    """A model form, as a project would write it."""

    class Meta:
        model = Photo
        fields = ["file"]


class PlainForm(forms.Form):
    """A form without a model."""

    title = forms.CharField()
    image = DirectImageField(required=False)


class GalleryForm(forms.Form):
    """A form for many images."""

    images = DirectImagesField(max_images=3)


def target_of(form: forms.BaseForm, name: str) -> Target:
    target = form[name].field._target
    assert target
    return target


@pytest.fixture
def page(visitor: Visitor) -> Any:
    """Within a request of the visitor."""
    with visitor.page():
        yield visitor


def file(name: str = "dog.png") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, picture(), "image/png")


def hidden(html: str, name: str) -> list[str]:
    return re.findall(rf'<input type="hidden" name="{name}" value="([^"]*)"', html)


# A model form


def test_an_upload_is_saved_by_a_model_form(page: Visitor, cloudflare: Any) -> None:
    value = page.upload()
    before = len(cloudflare.requests)
    form = PhotoForm({"file-upload": value})
    assert form.is_valid(), form.errors
    photo = Photo.objects.get(pk=form.save().pk)
    assert "cat~~" in photo.file.name
    assert photo.width == form.cleaned_data["file"].width
    assert len(cloudflare.requests) == before + 2


def test_a_plain_post_is_saved_as_ever(page: Visitor) -> None:
    form = PhotoForm({}, {"file": file()})
    assert form.is_valid(), form.errors
    assert "dog-" in form.save().file.name
    assert not Reservation.objects.exists()


def test_a_file_wins_over_an_upload(page: Visitor) -> None:
    form = PhotoForm({"file-upload": page.upload()}, {"file": file()})
    assert form.is_valid()
    assert form.cleaned_data["file"].name == "dog.png"


def test_the_form_that_is_sent_twice_saves_once(page: Visitor) -> None:
    value = page.upload()
    first = PhotoForm({"file-upload": value})
    assert first.is_valid()
    first.save()
    second = PhotoForm({"file-upload": value})
    assert not second.is_valid()
    assert "saved already" in str(second.errors)
    assert hidden(str(second["file"]), "file-upload") == [""], "it is of no more use"
    assert Photo.objects.count() == 1


def test_another_users_value_is_an_error_of_the_field(page: Visitor, other: Visitor, cloudflare: Any) -> None:
    value = other.upload()
    before = len(cloudflare.requests)
    form = PhotoForm({"file-upload": value})
    assert not form.is_valid()
    assert "not known here" in form.errors["file"][0]
    assert len(cloudflare.requests) == before
    assert Reservation.objects.get().state == State.PENDING, "it is not ours to discard"


@pytest.mark.parametrize("value", ["x", "x" * 100_000, "\0", "🐈"])
def test_a_forged_value_is_an_error_of_the_field(value: str, page: Visitor, cloudflare: Any) -> None:
    form = PhotoForm({"file-upload": value})
    assert not form.is_valid()
    assert hidden(str(form["file"]), "file-upload") == [""]
    assert not cloudflare.requests


def test_without_the_middleware_an_upload_is_a_mistake_of_the_site(visitor: Visitor) -> None:
    form = PhotoForm({"file-upload": visitor.upload()})
    with pytest.raises(ImproperlyConfigured, match="DirectUploadsMiddleware"):
        form.is_valid()


def test_a_validator_of_the_model_sees_the_facts_and_its_refusal_discards_the_upload(
    page: Visitor, monkeypatch: pytest.MonkeyPatch, row_of: Callable[[str], Reservation], commits: Any
) -> None:
    seen = []

    def refuse(image: Any) -> None:
        seen.append((image.width, image.height, image.size, image.content_type))
        raise ValidationError("too dull")

    monkeypatch.setattr(Photo._meta.get_field("file"), "validators", [refuse])
    value = page.upload()
    form = PhotoForm({"file-upload": value})
    with commits():
        assert form.errors["file"] == ["too dull"]
    assert seen[0][2:] == (len(picture()), "image/png")
    assert row_of(value).state == State.DELETING
    assert hidden(str(form["file"]), "file-upload") == [""]


def test_an_extension_is_that_of_what_arrived(page: Visitor) -> None:
    value = page.upload(picture("JPEG"), filename="cat.png")
    form = PhotoForm({"file-upload": value})
    assert form.is_valid(), form.errors
    assert form.save().file.name.endswith(".jpg")


# Forms with errors


def test_a_form_with_errors_keeps_its_upload(page: Visitor, cloudflare: Any, commits: Any) -> None:
    form = PlainForm()
    value = page.upload(target=target_of(form, "image"))
    form = PlainForm({"image-upload": value})
    with commits():
        assert list(form.errors) == ["title"]
    html = str(form["image"])
    assert hidden(html, "image-upload") == [value]
    assert 'data-filename="cat.png"' in html
    url = re.search(r'data-preview="([^"]+)"', html)
    assert url
    assert page.client.get(url[1]).status_code == 200
    before = len(cloudflare.requests)
    again = PlainForm({"image-upload": value, "title": "x"})
    assert again.is_valid(), again.errors
    assert isinstance(again.cleaned_data["image"], DirectUpload)
    assert len(cloudflare.requests) == before


def test_a_required_field_with_an_upload_lets_the_browser_send_the_form(page: Visitor) -> None:
    form = PhotoForm({"file-upload": page.upload()})
    form.fields["file"].required = True
    assert " required" not in str(form["file"])
    empty = PhotoForm({})
    empty.fields["file"].required = True
    assert " required" in str(empty["file"])


def test_the_current_image_is_shown_beside_an_upload(page: Visitor, images: Any) -> None:
    photo = Photo.objects.create(file=file())
    value, name = page.upload(), photo.file.name
    form = PhotoForm({"file-upload": value}, instance=photo)
    html = str(form["file"])
    assert name in html
    assert hidden(html, "file-upload") == [value]


def test_clear_and_an_upload_together_are_a_contradiction(page: Visitor, images: Any) -> None:
    photo = Photo.objects.create(file=file())
    form = PhotoForm({"file-upload": page.upload(), "file-clear": "on"}, instance=photo)
    assert "not both" in str(form.errors["file"])


def test_clear_clears(page: Visitor, images: Any) -> None:
    photo = Photo.objects.create(file=file())
    form = PhotoForm({"file-clear": "on"}, instance=photo)
    assert form.is_valid()
    assert not form.save().file


def test_a_form_without_anything_keeps_the_image(page: Visitor, images: Any) -> None:
    photo = Photo.objects.create(file=file())
    form = PhotoForm({"file-upload": ""}, instance=photo)
    assert not form.has_changed()
    assert form.is_valid()
    assert form.save().file.name == photo.file.name


def test_a_disabled_field_takes_no_upload(page: Visitor) -> None:
    form = PhotoForm({"file-upload": page.upload()})
    form.fields["file"].disabled = True
    assert form.is_valid()
    assert not form.save().file


# Formsets


def test_rows_of_an_inline_are_saved(page: Visitor) -> None:
    pages = inlineformset_factory(
        Album, Page, formset=forms.BaseInlineFormSet, form=_page_form(), fields=["front", "back"], extra=2
    )
    album = Album.objects.create()
    front, back = (targets.of_model_field(Page._meta.get_field(name)) for name in ("front", "back"))
    data = {
        **{f"page_set-{name}": count for name, count in {"TOTAL_FORMS": 3, "INITIAL_FORMS": 0}.items()},
        "page_set-1-front-upload": page.upload(target=front),
        "page_set-2-back-upload": page.upload(target=back),
    }
    formset = pages(data, instance=album)
    assert formset.is_valid(), formset.errors
    saved = formset.save()
    assert [bool(each.front) for each in saved] == [True, False]
    assert "~~" in saved[0].front.name
    assert "~" not in saved[1].back.name
    saved[1].back.delete()


def test_the_empty_row_of_a_formset_has_the_element(page: Visitor) -> None:
    formset = formset_factory(PlainForm)()
    html = str(formset.empty_form["image"])
    assert 'name="form-__prefix__-image-upload"' in html
    assert "<cf-image-upload" in html


def _page_form() -> Any:
    return type("PageForm", (DirectUploadsMixin, forms.ModelForm), {})


# Many images


def test_many_uploads_are_a_list_in_their_order(page: Visitor) -> None:
    target = target_of(GalleryForm(), "images")
    values = [page.upload(target=target, filename=f"{number}.png") for number in range(3)]
    data = QueryDict(mutable=True)
    data.setlist("images-upload", [values[2], values[0], values[0]])
    form = GalleryForm(data, MultiValueDict({"images": [file()]}))
    assert form.is_valid(), form.errors
    assert [each.name for each in form.cleaned_data["images"]] == ["2.png", "0.png", "dog.png"]
    assert hidden(str(form["images"]), "images-upload") == [values[2], values[0]]


def test_errors_of_many_images_name_the_file(page: Visitor) -> None:
    target = target_of(GalleryForm(), "images")
    value = page.reserve(target).json()["value"]
    form = GalleryForm({"images-upload": [value]})
    assert form.errors["images"] == ["cat.png: “cat.png” has not been uploaded completely."]


def test_many_images_have_a_limit_and_may_be_required(page: Visitor) -> None:
    assert "required" in str(GalleryForm({}).errors)
    form = GalleryForm({"images-upload": ["a", "b", "c", "d"]})
    assert form.errors["images"] == ["Choose at most 3 images."]


# What is rendered


def test_the_element_has_what_the_page_needs(page: Visitor) -> None:
    html = str(PhotoForm()["file"])
    for attribute in ("reserve", "status", "discard", "field", "max-bytes", "accept", "csrf-header", "texts"):
        assert re.search(rf'data-{attribute}="[^"]+"', html), attribute
    assert 'data-csrf-header="X-CSRFTOKEN"' in html
    assert 'data-max-bytes="10485760"' in html
    assert '<input type="file" name="file"' in html
    assert "<script" not in html
    assert "style=" not in html
    field = re.search(r'data-field="([^"]+)"', html)
    assert field
    assert page.reserve(field=field[1]).status_code == 201


def test_the_media_are_a_module_and_a_style_sheet(page: Visitor) -> None:
    media = str(PhotoForm().media)
    assert 'src="/static/cf_images/upload.js"' in media
    assert 'type="module"' in media
    assert "cf_images/upload.css" in media


def test_a_visitor_who_may_not_upload_has_a_plain_input(anonymous: Visitor) -> None:
    with anonymous.page():
        html = str(PhotoForm()["file"])
    assert "<cf-image-upload" not in html
    assert '<input type="file" name="file"' in html
    assert "-upload" not in html
    assert "<cf-image-upload" not in str(PhotoForm()["file"]), "nor a page without a request"


def test_a_form_of_jinja_is_rendered(page: Visitor) -> None:
    form = PhotoForm(renderer=Jinja2())
    assert "<cf-image-upload" in str(form["file"])


def test_formats_are_what_the_input_and_the_views_accept(page: Visitor, commits: Any) -> None:
    form = type("Form", (forms.Form,), {"image": DirectImageField(formats=["jpeg"])})()
    html = str(form["image"])
    assert 'accept="image/jpeg"' in html
    assert 'data-accept="image/jpeg"' in html
    field = re.search(r'data-field="([^"]+)"', html)
    assert field
    assert page.reserve(field=field[1], type="image/png").status_code == 415
    value = page.upload(target=target_of(form, "image"), type="image/jpeg")  # it is a PNG
    bound = type(form)({"image-upload": value})
    with commits():
        assert "not accepted here: PNG" in str(bound.errors)
    assert Reservation.objects.get().state == State.DELETING


# The mixin


def test_the_mixin_keeps_what_a_form_declares(page: Visitor) -> None:
    class Form(DirectUploadsMixin, forms.ModelForm):
        file = forms.ImageField(label="Picture", help_text="A square", widget=forms.FileInput)

        class Meta:
            model = Photo
            fields = ["file"]

    assert type(Form().fields["file"]) is forms.ImageField
    field = PhotoForm().fields["file"]
    assert isinstance(field, DirectImageField)
    assert field.label == "File"
    assert not field.required


def test_a_form_without_the_mixin_is_as_ever(page: Visitor) -> None:
    field = modelform_factory(Photo, fields=["file"])().fields["file"]
    assert not isinstance(field, DirectImageField)
    assert isinstance(DirectImageField(), ImageField)


def test_a_page_of_an_anonymous_visitor_who_may_upload_begins_a_session(
    anonymous: Visitor, settings: Any
) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "DIRECT_UPLOADS_ALLOWED": lambda request, label: True}
    with anonymous.page():
        assert "<cf-image-upload" in str(PhotoForm()["file"])
    assert "cf_images_uploader" in anonymous.request.session


def test_a_request_without_sessions_has_a_plain_input(settings: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "DIRECT_UPLOADS_ALLOWED": lambda request, label: True}
    from cf_images.browser.owners import acting_for

    with acting_for(RequestFactory().get("/")):
        assert "<cf-image-upload" not in str(PhotoForm()["file"])
