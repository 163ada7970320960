"""E030, W030: tables of this package in the schemas of tenants, where no worker looks."""

from __future__ import annotations

from typing import Any

import pytest

from cf_images.checks.tenants import tenant_apps

SHARED_ONLY = {
    "SHARED_APPS": ["django_tenants", "cf_images"],
    "TENANT_APPS": ["django.contrib.auth", "cf_images_gallery"],
}


def found(settings: Any, **given: Any) -> Any:
    for name, value in given.items():
        setattr(settings, name, value)
    messages = list(tenant_apps())
    assert len(messages) <= 1
    return messages[0] if messages else None


@pytest.mark.parametrize("app", ["cf_images", "cf_images.apps.CFImagesConfig"])
@pytest.mark.parametrize("shared", [[], ["cf_images"]])
@pytest.mark.parametrize(("background", "expected"), [(True, "cf_images.E030"), (False, "cf_images.W030")])
def test_tables_of_tenants_are_told(
    settings: Any, app: str, shared: list[str], background: bool, expected: str
) -> None:
    settings.CF_IMAGES = {"BACKGROUND": background}
    message = found(settings, SHARED_APPS=shared, TENANT_APPS=["django.contrib.auth", app])
    assert message.id == expected
    assert "cf_images is in TENANT_APPS" in message.msg
    assert "SHARED_APPS" in message.hint


def test_one_of_several_types_of_tenants_is_told(settings: Any) -> None:
    types = {"public": {"APPS": ["cf_images"]}, "shop": {"APPS": ["cf_images"]}, "blog": {}}
    message = found(settings, TENANT_TYPES=types)
    assert 'TENANT_TYPES["shop"]' in message.msg


@pytest.mark.parametrize(
    "given",
    [
        {},
        SHARED_ONLY,
        {"TENANT_APPS": None},
        {"TENANT_TYPES": {"public": {"APPS": ["cf_images"]}, "shop": {"APPS": ["django.contrib.auth"]}}},
        {"TENANT_TYPES": {"main": {"APPS": ["cf_images"]}}, "PUBLIC_SCHEMA_NAME": "main"},
    ],
)
def test_shared_tables_are_fine(settings: Any, given: dict[str, Any]) -> None:
    assert found(settings, **given) is None
