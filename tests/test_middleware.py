"""An error of an image in a view is a page in words, and a line in the log that names the reason."""

from __future__ import annotations

import inspect
import json
import logging
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.files.base import ContentFile
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.test import AsyncClient, Client
from django.urls import path

from cf_images import exceptions
from cf_images.exceptions import (
    CloudflareImagesError,
    CloudflareUnavailableError,
    ImageRejectedError,
    RateLimitedError,
)
from tests.app.models import Profile
from tests.pictures import picture
from tests.urls import urlpatterns as project_urls

pytestmark = pytest.mark.urls(__name__)

MIDDLEWARE = "cf_images.middleware.CloudflareImagesErrorMiddleware"
SECRET = "account 0123abc, token s3cret"
KINDS = [kind for _, kind in inspect.getmembers(exceptions, inspect.isclass)]
raised: list[BaseException] = []


def failing(request: HttpRequest) -> HttpResponse:
    """Raise what the test has chosen."""
    raise raised[-1]


async def failing_async(request: HttpRequest) -> HttpResponse:
    """Do the same."""
    raise raised[-1]


def failing_later(request: HttpRequest) -> HttpResponse:
    """Raise while the template is rendered."""

    def late() -> str:
        raise raised[-1]

    return TemplateResponse(request, "cf_images/error.html", {"message": late})


def upload(request: HttpRequest) -> HttpResponse:
    """A view as a project has it, without a word about errors."""
    row = Profile.objects.create(image=ContentFile(picture(), name="jane.png"))
    return HttpResponse(row.image.name)


urlpatterns = [
    path("sync/", failing),
    path("async/", failing_async),
    path("late/", failing_later),
    path("upload/", upload),
    *project_urls,
]


@pytest.fixture(autouse=True)
def installed(settings: Any) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, MIDDLEWARE]


def response_to(error: Exception, url: str = "/sync/", **headers: str) -> Any:
    raised.append(error)
    return Client(raise_request_exception=False, headers=headers).get(url)


@pytest.mark.parametrize("kind", KINDS)
def test_each_error_has_its_status_and_a_sentence(kind: type[CloudflareImagesError]) -> None:
    response = response_to(kind("why.", status=418, code=5455, request="GET /images/v1"))
    assert response.status_code == kind.http_status
    page = response.content.decode()
    assert page.startswith("<!DOCTYPE html>")
    assert not [word for word in ("418", "5455", "/images/v1") if word in page]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not ImageRejectedError])
@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_a_visitor_gets_no_internal_detail(kind: type[CloudflareImagesError], accept: str) -> None:
    body = response_to(kind(SECRET), accept=accept).content.decode()
    assert not [word for word in SECRET.split() if word in body]


@pytest.mark.parametrize("url", ["/sync/", "/async/", "/late/"])
def test_sync_and_async_views_and_templates(url: str) -> None:
    error = ImageRejectedError("The image has <b>more</b> than 10 MB.")
    response = response_to(error, url)
    assert response.status_code == 400
    assert "The image has &lt;b&gt;more&lt;/b&gt; than 10 MB." in response.content.decode()

    async def ask() -> Any:
        return await AsyncClient(raise_request_exception=False).get(url)

    assert async_to_sync(ask)().content == response.content


@pytest.mark.parametrize(
    ("accept", "is_json"),
    [
        ("application/json", True),
        ("application/json;q=0.9, text/html;q=0.8", True),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", False),
        ("*/*", False),
        ("image/png", False),
        ("", False),
        ("nonsense", False),
    ],
)
def test_html_or_json_by_accept(accept: str, is_json: bool) -> None:
    response = response_to(ImageRejectedError("No image."), accept=accept)
    assert response["Vary"] == "Accept"
    assert "no-store" in response["Cache-Control"]
    if is_json:
        assert json.loads(response.content) == {"detail": "No image."}
    else:
        assert response["Content-Type"] == "text/html; charset=utf-8"


def test_retry_after_is_sent_where_it_is_known() -> None:
    assert response_to(RateLimitedError("slow", retry_after=7.2))["Retry-After"] == "8"
    assert "Retry-After" not in response_to(CloudflareUnavailableError("away"))


def test_the_log_names_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    response_to(CloudflareUnavailableError("the real reason", status=503, request="GET /images/v1"))
    (record,) = [record for record in caplog.records if record.name.startswith("cf_images")]
    assert record.levelno == logging.ERROR
    assert "the real reason (HTTP 503, GET /images/v1)" in record.getMessage()
    assert record.exc_info
    assert record.status_code == 502
    assert record.request.path == "/sync/"


def test_other_errors_are_djangos() -> None:
    assert response_to(ZeroDivisionError()).content == response_to(RuntimeError()).content
    assert response_to(ZeroDivisionError()).status_code == 500


def test_a_project_has_its_own_page(settings: Any, tmp_path: Any) -> None:
    (tmp_path / "cf_images").mkdir()
    (tmp_path / "cf_images/error.html").write_text("<h1>{{ status }} {{ message }} {{ request.path }}</h1>")
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]
    assert response_to(ImageRejectedError("No.")).content == b"<h1>400 No. /sync/</h1>"


def test_a_project_without_templates_of_apps_has_a_page(settings: Any) -> None:
    settings.TEMPLATES = []
    assert b"<p>No &amp; no.</p>" in response_to(ImageRejectedError("No & no.")).content


@pytest.mark.django_db(transaction=True)
def test_an_outage_in_direct_mode_is_no_bare_500(cloudflare: Any, settings: Any, client: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_TOKEN": "very-secret"}
    response = client.get("/upload/")
    assert response.status_code == 502
    assert b"cannot process images" in response.content
    assert b"very-secret" not in response.content
    assert not Profile.objects.exists()


@pytest.mark.django_db
def test_a_view_that_succeeds_is_untouched(cloudflare: Any, client: Any) -> None:
    assert client.get("/upload/").content.decode() in cloudflare.images


@pytest.mark.parametrize("kind", [exceptions.InvalidVariantError, exceptions.InvalidNameError])
def test_a_mistake_of_the_site_is_djangos_page_while_debug_is_on(
    settings: Any, kind: type[CloudflareImagesError]
) -> None:
    settings.MIDDLEWARE = [MIDDLEWARE]
    settings.DEBUG = True
    raised.append(kind("'avatr' is not declared; did you mean 'avatar'?"))
    response = Client(raise_request_exception=False).get("/sync/")
    assert response.status_code == 500
    assert "did you mean" in response.content.decode()
    settings.DEBUG = False
    assert Client().get("/sync/").status_code == 400
