"""``path("cf-images/", include("cf_images.urls"))``: waiting images, local variants, upload by URL."""

from __future__ import annotations

from django.urls import path

from cf_images import views
from cf_images.background.views import pending_image

app_name = "cf_images"
urlpatterns = [
    path("local/<str:variant>/<path:name>", views.local_variant, name="local_variant"),
    path("waiting/<str:variant>/<path:name>", pending_image, name="waiting"),
    path("upload-by-url/", views.upload_by_url, name="upload_by_url"),
]
