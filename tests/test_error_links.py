"""The link to the documentation is for developers: in logs and tracebacks, and in no text for others."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db.models.fields.files import FieldFile
from django.test import Client, RequestFactory

from cf_images import error_messages, forms, images, links
from cf_images.background import process
from cf_images.contrib.admin import thumbnail
from cf_images.contrib.rest_framework import exception_handler
from cf_images.exceptions import (
    CloudflareUnavailableError,
    ImageNotFoundError,
    ImageRejectedError,
    InvalidNameError,
)
from cf_images.middleware import CloudflareImagesErrorMiddleware
from cf_images.models import Upload
from cf_images.storage.file_names import SuspiciousNameError
from cf_images.test import in_memory
from tests.app.models import Photo
from tests.pictures import picture

DOCUMENTATION = links.DOCUMENTATION
REFUSED = ImageRejectedError("Cloudflare says no.", status=400, code=5455)


def test_an_error_ends_with_the_link_to_its_page() -> None:
    error = ImageNotFoundError("There is no image.", status=404)
    assert (
        str(error) == f"There is no image. (HTTP 404). See {DOCUMENTATION}page/errors/ImageNotFoundError.html"
    )
    assert error.message == "There is no image."
    assert error.summary == "There is no image. (HTTP 404)"


def test_a_subclass_has_the_page_of_the_public_class() -> None:
    class OwnError(InvalidNameError):
        """A project's."""

    for error in (OwnError("No."), SuspiciousNameError("No.")):
        assert str(error) == f"No. See {links.error_page('InvalidNameError')}"


def test_a_wrong_setting_has_the_link_in_the_traceback_alone(settings: Any) -> None:
    settings.CF_IMAGES = {"TIMEOUT": "long"}
    with pytest.raises(ImproperlyConfigured) as wrong:
        _ = storages["cloudflare_images"].options.timeout
    assert wrong.value.__notes__ == [f"See {links.SETTINGS_PAGE}"]
    assert DOCUMENTATION not in str(wrong.value)


def test_forms_show_no_link() -> None:
    field = forms.ImageField()
    for content in (b"This is a text.", picture("TIFF")):
        with pytest.raises(ValidationError) as refused:
            field.clean(SimpleUploadedFile("a.png", content))
        assert DOCUMENTATION not in str(refused.value.messages)


def test_a_photo_that_cannot_be_reduced_has_one_sentence_without_a_link(monkeypatch: Any) -> None:
    monkeypatch.setattr("cf_images.images.limits.MAX_BYTES", 10)
    damaged = ContentFile(picture("PNG")[:60])
    with pytest.raises(ImageRejectedError) as refused:
        images.fit_limits(damaged)
    assert DOCUMENTATION not in refused.value.message


@pytest.mark.django_db(transaction=True)
def test_the_column_and_the_signal_have_no_link(settings: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "BACKGROUND": True}
    with in_memory() as cloudflare:
        cloudflare.error = REFUSED
        storages["cloudflare_images"].save("a.png", ContentFile(picture()))
        process()
    assert Upload.objects.get().last_error == "Cloudflare says no."


def test_visitors_read_no_link() -> None:
    failure = CloudflareUnavailableError("No response.", request="GET /images/v1/a")
    page = CloudflareImagesErrorMiddleware(lambda _: None).process_exception(
        RequestFactory().get("/"), failure
    )  # type: ignore[arg-type,return-value]  # no view
    assert page is not None
    assert DOCUMENTATION not in page.content.decode()
    for error in (failure, REFUSED):
        assert DOCUMENTATION not in error_messages.message(error)
        response = exception_handler(error, {})
        assert response is not None
        assert DOCUMENTATION not in str(response.data)


@pytest.mark.django_db
def test_an_upload_by_url_shows_no_link() -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("admin"))
    with in_memory() as cloudflare:
        cloudflare.urls["https://example.com/a.png"] = picture()
        cloudflare.error = REFUSED
        response = client.post("/cf-images/upload-by-url/", {"image_url": "https://example.com/a.png"})
    assert response.json() == {"error": "Cloudflare did not accept the image: Cloudflare says no."}


def test_the_admin_shows_no_link(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> str:
        raise REFUSED

    file = FieldFile(Photo(), Photo._meta.get_field("file"), "a.png")
    monkeypatch.setattr(type(file.storage), "url", fail)
    shown = str(thumbnail(file, "public"))
    assert "Cloudflare says no." in shown
    assert DOCUMENTATION not in shown


def test_the_log_has_the_link(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        error_messages.log(logging.getLogger("cf_images.tests"), REFUSED)
    assert links.error_page("ImageRejectedError") in caplog.messages[0]
