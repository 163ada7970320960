"""URLs of the project with tenants."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [path("cf-images/", include("cf_images.urls"))]
