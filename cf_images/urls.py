"""``path("cf-images/", include("cf_images.urls"))``: pending images, local variants, uploads."""

from __future__ import annotations

from django.urls import path

from cf_images.browser import views as browser
from cf_images.browser.webhook import webhook
from cf_images.views.local import local_variant
from cf_images.views.pending import pending_image
from cf_images.views.upload_by_url import upload_by_url

app_name = "cf_images"
urlpatterns = [
    path("local/<str:variant>/<path:name>", local_variant, name="local_variant"),
    path("pending/<str:variant>/<path:name>", pending_image, name="pending"),
    path("upload-by-url/", upload_by_url, name="upload_by_url"),
    path("reservations/", browser.reserve, name="reservations"),
    path("reservations/status/", browser.status, name="reservation_status"),
    path("reservations/discard/", browser.discard, name="reservation_discard"),
    path("reservations/preview/", browser.preview, name="reservation_preview"),
    path("reservations/upload/<str:token>/", browser.upload, name="reservation_upload"),
    path("webhook/", webhook, name="webhook"),
]
