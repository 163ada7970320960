"""A project that has not mounted the URLs of this package."""

from __future__ import annotations

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
