"""The checks of uploads from the browser."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.files.storage import storages

from tests.app.models import Photo

pytestmark = [pytest.mark.django_db]

CSP = "csp.middleware.CSPMiddleware"
IDS = ("cf_images.E035", "cf_images.E036", "cf_images.W037", "cf_images.W038", "cf_images.I039")
UPLOADS = "https://upload.imagedelivery.net"


@pytest.fixture(autouse=True)
def _on(settings: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "DIRECT_UPLOADS": True}


def found() -> list[str]:
    return [str(message.id) for message in run_checks() if message.id in IDS]


def test_a_project_that_has_everything_is_right() -> None:
    assert found() == []


def test_views_that_are_not_mounted_are_an_error(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.background.no_urls"
    assert found() == ["cf_images.E035"]


@pytest.mark.parametrize(
    "left_out",
    [
        "cf_images.middleware.DirectUploadsMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
    ],
)
def test_a_middleware_that_is_missing_is_an_error(left_out: str, settings: Any) -> None:
    settings.MIDDLEWARE = [path for path in settings.MIDDLEWARE if path != left_out]
    assert found() == ["cf_images.E036"]


def test_a_middleware_in_front_of_authentication_is_an_error(settings: Any) -> None:
    settings.MIDDLEWARE = list(reversed(settings.MIDDLEWARE))
    assert "cf_images.E036" in found()


@pytest.mark.parametrize(
    ("setting", "value", "is_right"),
    [
        ("CONTENT_SECURITY_POLICY", {"DIRECTIVES": {"default-src": ["'self'"]}}, False),
        ("CONTENT_SECURITY_POLICY", {"DIRECTIVES": {"connect-src": ["'self'", UPLOADS]}}, True),
        ("CONTENT_SECURITY_POLICY", {"DIRECTIVES": {"connect-src": ("*.imagedelivery.net",)}}, True),
        ("CONTENT_SECURITY_POLICY", {"DIRECTIVES": {"img-src": ["'self'"]}}, True),
        ("CONTENT_SECURITY_POLICY", {"DIRECTIVES": {"default-src": "https:"}}, True),
        ("CSP_DEFAULT_SRC", ("'self'",), False),
        ("CSP_CONNECT_SRC", ("'self'", UPLOADS), True),
        ("SECURE_CSP", {"connect-src": ["'self'"]}, False),
    ],
)
def test_a_policy_that_forbids_the_upload_host_is_a_warning(
    setting: str, value: Any, is_right: bool, settings: Any
) -> None:
    setattr(settings, setting, value)
    assert found() == [], "without its middleware it means nothing"
    settings.MIDDLEWARE = [CSP, *settings.MIDDLEWARE]
    # The middleware itself need not be there: nothing imports it here.
    assert found() == ([] if is_right else ["cf_images.W037"])


def test_an_emulator_needs_no_policy(settings: Any) -> None:
    settings.SECURE_CSP = {"connect-src": ["'self'"]}
    settings.MIDDLEWARE = [CSP, *settings.MIDDLEWARE]
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_URL": "http://127.0.0.1:1/client/v4"}
    assert found() == []


def test_a_field_that_is_too_short_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Photo._meta.get_field("file"), "max_length", 50)
    assert found() == ["cf_images.W038"]


def test_a_field_with_a_plain_input_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Photo._meta.get_field("file"), "storage", storages["renditions"])
    assert found() == ["cf_images.I039"]


def test_without_the_setting_nothing_is_checked(settings: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "DIRECT_UPLOADS": False}
    settings.MIDDLEWARE = []
    assert found() == []
