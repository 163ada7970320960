"""Uploads from an app without forms: DRF's authentication, and a serializer that saves the value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.exceptions import ValidationError
from django.urls import path
from rest_framework.generics import ListCreateAPIView
from rest_framework.serializers import ModelSerializer, Serializer
from rest_framework.test import APIClient

from cf_images.contrib.rest_framework import (
    CloudflareImageField,
    DiscardUploadView,
    ReserveUploadView,
    UploadStatusView,
)
from cf_images.models import Reservation, State
from tests.app.models import Photo
from tests.browser.conftest import Visitor
from tests.pictures import picture
from tests.urls import urlpatterns as project_urls

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]

RowOf = Callable[[str], Reservation]


class PhotoSerializer(ModelSerializer):
    """As a project would write it."""

    file = CloudflareImageField()

    class Meta:
        model = Photo
        fields = ("id", "file")


class Photos(ListCreateAPIView):
    """Read and write."""

    queryset = Photo.objects.all()
    serializer_class = PhotoSerializer


urlpatterns = [
    path("photos/", Photos.as_view()),
    path("uploads/", ReserveUploadView.as_view()),
    path("uploads/status/", UploadStatusView.as_view()),
    path("uploads/discard/", DiscardUploadView.as_view()),
    *project_urls,
]


@pytest.fixture
def app(visitor: Visitor) -> APIClient:
    """An app of the visitor, which has no session."""
    assert visitor.user
    visitor.user.user_permissions.add(Permission.objects.get(codename="add_photo"))
    client = APIClient()
    client.force_authenticate(visitor.user)
    return client


def reserve(app: APIClient, **data: Any) -> Any:
    given = {"field": "app.Photo.file", "filename": "cat.png", "size": 99, "type": "image/png", **data}
    return app.post("/uploads/", given, format="json")


def upload(app: APIClient, visitor: Visitor) -> str:
    reserved = reserve(app).json()
    assert visitor.send(reserved["upload_url"], picture()).status_code == 200
    return str(reserved["value"])


def test_a_serializer_saves_a_value(app: APIClient, visitor: Visitor, row_of: RowOf) -> None:
    value = upload(app, visitor)
    assert app.post("/uploads/status/", {"value": value}, format="json").json()["state"] == "uploaded"
    response = app.post("/photos/", {"file": value}, format="json")
    assert response.status_code == 201, response.json()
    photo = Photo.objects.get()
    assert "cat~~" in photo.file.name
    assert response.json()["file"]["public"] == photo.file.url
    assert row_of(value).state == State.STORED


def test_a_value_is_saved_once(app: APIClient, visitor: Visitor) -> None:
    value = upload(app, visitor)
    assert app.post("/photos/", {"file": value}, format="json").status_code == 201
    response = app.post("/photos/", {"file": value}, format="json")
    assert response.status_code == 400
    assert "saved already" in response.json()["file"][0]
    assert Photo.objects.count() == 1


def test_another_users_value_is_refused(app: APIClient, visitor: Visitor, other: Visitor) -> None:
    value = other.upload()
    response = app.post("/photos/", {"file": value}, format="json")
    assert response.status_code == 400
    assert "not known here" in response.json()["file"][0]
    assert Reservation.objects.get().state == State.PENDING


def test_an_upload_that_is_not_finished_is_kept(app: APIClient, row_of: RowOf) -> None:
    value = reserve(app).json()["value"]
    response = app.post("/photos/", {"file": value}, format="json")
    assert "completely" in response.json()["file"][0]
    assert row_of(value).state == State.PENDING


def test_an_upload_that_a_validator_refuses_is_discarded(
    app: APIClient, visitor: Visitor, row_of: RowOf, commits: Any
) -> None:
    value = upload(app, visitor)

    def refuse(image: Any) -> None:
        raise ValidationError(f"{image.width} pixels are too few")

    field = CloudflareImageField(upload_for="app.Photo.file", validators=[refuse])
    serializer = type("Plain", (Serializer,), {"file": field})(
        data={"file": value}, context={"request": None}
    )
    serializer.context["request"] = visitor.request
    with commits():
        assert not serializer.is_valid()
    assert "too few" in serializer.errors["file"][0]
    assert row_of(value).state == State.DELETING


def test_a_value_without_a_request_or_a_model_is_no_file() -> None:
    serializer = type("Plain", (Serializer,), {"file": CloudflareImageField()})(data={"file": "x"})
    assert not serializer.is_valid()


def test_the_views_of_the_api_ask_for_a_user_and_a_permission(app: APIClient, other: Visitor) -> None:
    assert reserve(APIClient()).status_code in (401, 403)
    client = APIClient()
    client.force_authenticate(other.user)
    assert reserve(client).status_code == 403
    assert reserve(app, size=11 * 1024**2).status_code == 413
    assert app.post("/uploads/", ["x"], format="json").status_code == 400


def test_an_app_discards_an_upload(app: APIClient, visitor: Visitor, row_of: RowOf) -> None:
    value = upload(app, visitor)
    assert app.post("/uploads/discard/", {"value": value}, format="json").status_code == 204
    assert row_of(value).state == State.DELETING
