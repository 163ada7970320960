"""A site behind Django's ``LoginRequiredMiddleware``: images are for its visitors, as at Cloudflare."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.http import HttpResponse
from django.test import Client
from django.urls import path

from cf_images import urls
from cf_images.models import Upload
from tests.background import conftest as background
from tests.background.conftest import ALIAS, work
from tests.pictures import picture
from tests.urls import urlpatterns as project_urls

pytestmark = pytest.mark.django_db

Accept = Callable[..., Upload]
# The fixtures of background uploads.
accept, cloudflare, fresh_process = background.accept, background.cloudflare, background.fresh_process


urlpatterns = [*project_urls, path("page/", lambda _: HttpResponse())]


@pytest.fixture(autouse=True)
def _login_required(settings: Any) -> None:
    middleware = "django.contrib.auth.middleware.LoginRequiredMiddleware"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, middleware]
    settings.ROOT_URLCONF = __name__


def test_the_middleware_is_on(client: Client) -> None:
    assert client.get("/page/")["Location"] == "/accounts/login/?next=/page/"


@pytest.mark.parametrize("route", urls.urlpatterns, ids=lambda route: route.name)
def test_every_view_of_this_package_answers_visitors_itself(route: Any) -> None:
    assert route.callback.login_required is False


@pytest.mark.parametrize("variant", ["public", "avatar", "w=20"])
def test_visitors_see_pending_images_and_are_redirected_to_stored_ones(
    accept: Accept, client: Client, cloudflare: Any, variant: str
) -> None:
    url = storages[ALIAS].url(accept().name, variant)
    assert client.get(url).status_code == 200
    work()
    assert client.get(url)["Location"].startswith(cloudflare.delivery_url)


def test_private_images_still_need_their_signature(accept: Accept, client: Client) -> None:
    url = storages[ALIAS].url(accept(require_signed_urls=True).name)
    assert client.get(url).status_code == 200
    assert client.get(url.partition("?")[0]).status_code == 403


def test_visitors_see_local_variants(client: Client, settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT, settings.DEBUG = tmp_path, True
    name = storages["default"].save("a.png", ContentFile(picture()))
    response: Any = client.get(storages["default"].url(name, "avatar"))
    assert response.status_code == 200
    assert b"".join(response)


def test_upload_by_url_answers_401_as_documented(client: Client) -> None:
    response = client.post("/cf-images/upload-by-url/", {"image_url": "https://example.com/a.png"})
    assert (response.status_code, response.json()) == (401, {"error": "Please log in first."})
