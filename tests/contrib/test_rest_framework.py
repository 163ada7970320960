"""The field and the exception handler in real views of Django REST framework."""

from __future__ import annotations

import base64
import inspect
import logging
import subprocess
import sys
from typing import Any

import pytest
from django.core.files.storage import storages
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection, transaction
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from drf_extra_fields.fields import Base64ImageField
from rest_framework.exceptions import NotFound
from rest_framework.generics import ListCreateAPIView
from rest_framework.response import Response
from rest_framework.serializers import ImageField, ListField, ModelSerializer, Serializer
from rest_framework.views import APIView

from cf_images import exceptions
from cf_images.contrib.rest_framework import CloudflareImageField
from cf_images.contrib.rest_framework import ImageField as PlainImageField
from cf_images.exceptions import (
    CloudflareImagesError,
    CloudflareUnavailableError,
    ImageRejectedError,
    InvalidVariantError,
    RateLimitedError,
)
from cf_images.images.headers import DamagedHeaderError
from cf_images.validators import validate_image
from cf_images.variants import FlexibleVariant
from tests.app.models import Profile
from tests.images.builders import HEIC
from tests.pictures import picture
from tests.test_validators import REFUSED, SVG

BASE = "https://imagedelivery.net/test-hash"
SECRET = "account 0123abc, token s3cret"


class ProfileSerializer(ModelSerializer):
    """As a project would write it."""

    image = CloudflareImageField(required=False, allow_null=True)

    class Meta:
        model = Profile
        fields = ("id", "image")


class Profiles(ListCreateAPIView):
    """Read and write."""

    queryset = Profile.objects.order_by("pk")
    serializer_class = ProfileSerializer
    authentication_classes = ()


@pytest.fixture(autouse=True)
def installed(settings: Any) -> None:
    handler = "cf_images.contrib.rest_framework.exception_handler"
    settings.REST_FRAMEWORK = {"EXCEPTION_HANDLER": handler, "DEFAULT_AUTHENTICATION_CLASSES": []}


def represented(image: Any, *, request: Any = None, **options: Any) -> Any:
    """Return what a serializer gives for the field."""
    fields = {"image": CloudflareImageField(**options)}
    serializer = type("OneSerializer", (Serializer,), fields)
    return serializer({"image": image}, context={"request": request} if request else {}).data["image"]


class TestReading:
    IMAGE = Profile(image="a.jpg").image

    def test_all_named_variants_have_a_url(self) -> None:
        assert represented(self.IMAGE) == {
            "public": f"{BASE}/a.jpg/public",
            "avatar": f"{BASE}/a.jpg/avatar",
        }

    def test_the_given_variants_in_their_order(self) -> None:
        variants = ["avatar", "w=200", FlexibleVariant(width=3)]
        assert list(represented(self.IMAGE, variants=variants).items()) == [
            ("avatar", f"{BASE}/a.jpg/avatar"),
            ("w=200", f"{BASE}/a.jpg/w=200"),
            ("w=3", f"{BASE}/a.jpg/w=3"),
        ]

    @pytest.mark.parametrize("empty", ["", None])
    def test_an_empty_field_is_null(self, empty: Any) -> None:
        assert represented(Profile(image=empty).image) is None

    def test_a_local_url_is_absolute_where_the_request_is_known(self, settings: Any) -> None:
        settings.DEBUG = True
        image = Profile(image="a.jpg").image
        image.storage = storages["default"]
        request = RequestFactory().get("/profiles/")
        assert represented(image, request=request, variants=["avatar"]) == {
            "avatar": "http://testserver/cf-images/local/avatar/a.jpg"
        }
        assert represented(image, variants=["avatar"]) == {"avatar": "/cf-images/local/avatar/a.jpg"}

    def test_a_private_image_has_signed_urls(self, settings: Any) -> None:
        settings.CF_IMAGES = {**settings.CF_IMAGES, "SIGNING_KEYS": ["key"]}
        assert (
            "sig=" in represented(Profile(image="a~610a686f-3fa7-46ca-e36d-3c00bd791b00.jpg").image)["avatar"]
        )

    @pytest.mark.django_db
    def test_a_list_takes_one_query_and_no_request(self, cloudflare: Any) -> None:
        Profile.objects.bulk_create([Profile(image=f"{number}.jpg") for number in range(20)])
        with CaptureQueriesContext(connection) as queries:
            response = Profiles.as_view()(RequestFactory().get("/"))
            assert len(response.data) == 20
        assert len(queries) == 1
        assert not cloudflare.requests


class TestDeclaring:
    @pytest.mark.parametrize(
        ("variants", "problem"),
        [
            (["avatar", "avatr"], "'avatr' is not declared.*public, avatar"),
            ([], "empty.*public, avatar"),
            (["a b"], "'a b' is not a variant"),
            ([None], "not a variant"),
            (["https://x/y"], "not a variant"),
        ],
    )
    def test_a_wrong_variant_is_an_error_in_the_class(self, variants: Any, problem: str) -> None:
        with pytest.raises(InvalidVariantError, match=problem):
            CloudflareImageField(variants=variants)

    def test_a_single_name_is_no_list_of_its_letters(self) -> None:
        with pytest.raises(TypeError, match=r"give \['avatar'\]"):
            CloudflareImageField(variants="avatar")

    def test_a_flexible_variant_is_an_error_where_they_are_off(self, settings: Any) -> None:
        settings.CF_IMAGES = {**settings.CF_IMAGES, "FLEXIBLE_VARIANTS": False}
        with pytest.raises(InvalidVariantError, match="FLEXIBLE_VARIANTS"):
            CloudflareImageField(variants=["w=3"])

    def test_a_field_is_copied_as_drf_copies_it(self) -> None:
        class OneSerializer(Serializer):
            image = CloudflareImageField(variants=["avatar", FlexibleVariant(width=3)], required=False)

        for _ in range(2):
            field = OneSerializer().fields["image"]
            assert field.validators.count(validate_image) == 1
            assert not field.required


@pytest.mark.django_db
class TestWriting:
    def post(self, body: bytes, name: str = "jane.png") -> Any:
        upload = SimpleUploadedFile(name, body, content_type="image/png")
        return Profiles.as_view()(RequestFactory().post("/", {"image": upload}))

    def test_a_picture_is_stored_and_returned_with_its_variants(self, cloudflare: Any) -> None:
        response = self.post(picture())
        assert response.status_code == 201
        assert list(cloudflare.images) == [Profile.objects.get().image.name]
        assert response.data["image"]["avatar"].startswith(cloudflare.delivery_url)

    def test_without_a_file_nothing_is_stored(self, cloudflare: Any) -> None:
        response = Profiles.as_view()(RequestFactory().post("/", {}))
        assert (response.status_code, response.data["image"]) == (201, None)

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            (b"just a text", "plain text"),
            (picture("TIFF"), "TIFF"),
            (picture().ljust(11 * 1024 * 1024, b"\0"), "10 MB"),
        ],
        ids=["text", "tiff", "large"],
    )
    def test_what_cloudflare_would_refuse_is_an_error_of_the_field(
        self, cloudflare: Any, settings: Any, body: bytes, words: str
    ) -> None:
        settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 20 * 1024 * 1024  # a file on disk would stay open here
        response = self.post(body)
        assert response.status_code == 400
        assert words in str(response.data["image"][0])
        assert not cloudflare.requests

    def test_it_writes_as_drfs_own(self) -> None:
        field, original = (
            CloudflareImageField(max_length=9, use_url=False),
            ImageField(max_length=9, use_url=False),
        )
        file = SimpleUploadedFile("a.png", picture(), content_type="image/png")
        assert field.run_validation(file) is file is original.run_validation(file)
        for either in (field, original):
            with pytest.raises(Exception, match="at most 9 characters"):
                either.run_validation(SimpleUploadedFile("too-long-a-name.png", picture()))


class TestHandDeclaredFields:
    """Fields that no model gives a validator."""

    def errors(self, field: Any, value: Any) -> Any:
        serializer = type("OneSerializer", (Serializer,), {"image": field})(data={"image": value})
        return (
            {} if serializer.is_valid() else {key: str(texts[0]) for key, texts in serializer.errors.items()}
        )

    @pytest.mark.parametrize("name", sorted(REFUSED.keys() - {"empty.png"}))
    def test_what_cloudflare_refuses_is_refused_with_the_reason(self, name: str) -> None:
        body, reason = REFUSED[name]
        assert reason in self.errors(PlainImageField(), SimpleUploadedFile(name, body))["image"]

    def test_it_is_serialized_as_drfs_own(self) -> None:
        assert PlainImageField().to_representation(Profile(image="a.jpg").image) == f"{BASE}/a.jpg/public"

    def test_photos_of_phones_are_accepted(self, monkeypatch: Any) -> None:
        photo = SimpleUploadedFile("a.heic", HEIC)
        for field in (PlainImageField(), ImageField(), CloudflareImageField()):
            assert not self.errors(field, photo)

    def test_without_the_extra_the_error_says_what_to_install(self, without_heic: None) -> None:
        assert "[heic]" in self.errors(PlainImageField(), SimpleUploadedFile("a.heic", HEIC))["image"]

    def test_svg_is_refused_unless_the_field_allows_it(self) -> None:
        drawing = SimpleUploadedFile("a.svg", SVG)
        assert "SVG" in self.errors(PlainImageField(), drawing)["image"]
        assert not self.errors(ListField(child=PlainImageField(allow_svg=True)), [drawing])

    @pytest.mark.parametrize("name", sorted(REFUSED.keys() - {"empty.png"}))
    def test_the_validator_makes_a_base64_field_refuse_the_same(self, name: str) -> None:
        field = AnyBase64ImageField(validators=[validate_image])
        errors = self.errors(field, base64.b64encode(REFUSED[name][0]).decode())
        assert list(errors) == ["image"]

    @pytest.mark.django_db
    def test_a_base64_field_stores_what_is_accepted(self, cloudflare: Any) -> None:
        class Base64Serializer(ModelSerializer):
            image = AnyBase64ImageField(validators=[validate_image])

            class Meta:
                model = Profile
                fields = ("image",)

        for body in (picture(), HEIC):
            serializer = Base64Serializer(data={"image": base64.b64encode(body).decode()})
            assert serializer.is_valid(), serializer.errors
            name = serializer.save().image.name
            assert cloudflare.images[name].body == body
        too_large = base64.b64encode(picture().ljust(11 * 1024 * 1024, b"\0")).decode()
        serializer = Base64Serializer(data={"image": too_large})
        assert not serializer.is_valid()
        assert "the limit is 10 MB" in str(serializer.errors["image"][0])


class AnyBase64ImageField(Base64ImageField):
    """drf-extra-fields' own, and HEIC, which phones send."""

    ALLOWED_TYPES = (*Base64ImageField.ALLOWED_TYPES, "heic")


def response_to(error: Exception) -> Any:
    """What a client gets when a view raises ``error``."""

    class Failing(APIView):
        def get(self, request: Any) -> Response:
            raise error

    return Failing.as_view()(RequestFactory().get("/")).render()


ERRORS = [error for _, error in inspect.getmembers(exceptions, inspect.isclass)]


class TestErrors:
    @pytest.mark.parametrize("kind", ERRORS)
    def test_each_has_its_status_and_a_sentence(self, kind: type[CloudflareImagesError]) -> None:
        response = response_to(kind("why", status=418, code=5455, request="GET /images/v1"))
        assert response.status_code == kind.http_status
        assert str(response.data["detail"])[-1] in ".y"

    @pytest.mark.parametrize("kind", [kind for kind in ERRORS if kind is not ImageRejectedError])
    def test_a_client_gets_no_internal_detail(self, kind: type[CloudflareImagesError]) -> None:
        body = response_to(kind(SECRET, status=418, code=5455, request="GET /images/v1")).content.decode()
        assert not [word for word in (*SECRET.split(), "418", "5455", "GET", "CF_IMAGES") if word in body]

    @pytest.mark.parametrize("kind", [ImageRejectedError, DamagedHeaderError])
    def test_what_is_wrong_with_the_file_is_told(self, kind: type[ImageRejectedError]) -> None:
        error = kind("The image has more than 10 MB.", status=413, request="POST /images/v1")
        assert response_to(error).data == {"detail": "The image has more than 10 MB."}

    @pytest.mark.parametrize(
        ("retry_after", "header"), [(None, None), (0.0, "0"), (7.0, "7"), (7.2, "8"), (0.001, "1")]
    )
    def test_retry_after_is_sent_where_it_is_known(
        self, retry_after: float | None, header: str | None
    ) -> None:
        response = response_to(RateLimitedError("slow down", retry_after=retry_after))
        assert response.headers.get("Retry-After") == header

    @pytest.mark.parametrize(
        ("kind", "level"),
        [(CloudflareUnavailableError, logging.ERROR), (InvalidVariantError, logging.WARNING)],
    )
    def test_the_log_has_what_really_happened(
        self, kind: type[CloudflareImagesError], level: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        response_to(kind("the real reason", code=5455, request="GET /images/v1"))
        (record,) = [record for record in caplog.records if record.name.startswith("cf_images")]
        assert record.levelno == level
        assert "the real reason (code 5455, GET /images/v1)" in record.getMessage()
        assert record.exc_info

    def test_other_errors_are_drfs(self) -> None:
        assert response_to(NotFound("gone")).data == {"detail": "gone"}
        with pytest.raises(ZeroDivisionError):
            response_to(ZeroDivisionError())

    @pytest.mark.django_db(transaction=True)
    def test_a_transaction_of_the_request_is_rolled_back(self, settings: Any, monkeypatch: Any) -> None:
        monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
        with transaction.atomic():
            Profile.objects.create(image="a.jpg")
            response_to(CloudflareUnavailableError("away"))
        assert not Profile.objects.exists()

    @pytest.mark.django_db(transaction=True)
    def test_a_refused_token_is_a_response_and_no_crash(self, cloudflare: Any, settings: Any) -> None:
        settings.CF_IMAGES = {**settings.CF_IMAGES, "API_TOKEN": "revoked"}
        response = TestWriting().post(picture())
        assert response.status_code == 502
        assert "cannot process images" in response.data["detail"]
        assert not Profile.objects.exists()


def test_without_drf_everything_else_is_importable() -> None:
    code = """
import sys; sys.modules["rest_framework"] = None
import os; os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
from django.conf import settings
settings.INSTALLED_APPS.remove("rest_framework")
import django; django.setup()
import cf_images.markup, cf_images.contrib, cf_images.templatetags.cf_images, cf_images.urls, cf_images.admin
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
