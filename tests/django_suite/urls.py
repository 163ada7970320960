"""The URLs of the project that the tests run in."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [path("images/", include("cf_images.urls"))]
