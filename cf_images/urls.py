"""``path("cf-images/", include("cf_images.urls"))``: pending images, local variants, upload by URL."""

from __future__ import annotations

from django.urls import path

from cf_images.views.local import local_variant
from cf_images.views.pending import pending_image
from cf_images.views.upload_by_url import upload_by_url

app_name = "cf_images"
urlpatterns = [
    path("local/<str:variant>/<path:name>", local_variant, name="local_variant"),
    path("pending/<str:variant>/<path:name>", pending_image, name="pending"),
    path("upload-by-url/", upload_by_url, name="upload_by_url"),
]
