"""``path("cf-images/", include("cf_images.urls"))``: local variants, and upload by URL."""

from __future__ import annotations

from django.urls import path

from cf_images import views

app_name = "cf_images"
urlpatterns = [
    path("local/<str:variant>/<path:name>", views.local_variant, name="local_variant"),
    path("upload-by-url/", views.upload_by_url, name="upload_by_url"),
]
