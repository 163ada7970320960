"""Addresses: the profiles, the admin, and those of cf_images."""

from __future__ import annotations

from django.conf import settings
from django.conf.urls.static import static
from django.contrib import admin
from django.urls import include, path

from example_project import stand
from example_project.gallery import views as gallery
from example_project.profiles import views

urlpatterns = [
    path("", views.people, name="people"),
    path("people/<int:pk>/", views.profile, name="profile"),
    path("people/<int:pk>/file/", views.upload_file, name="upload_file"),
    path("people/<int:pk>/url/", views.upload_url, name="upload_url"),
    path("people/<int:pk>/state/", views.state, name="state"),
    path("gallery/", gallery.gallery, name="gallery"),
    path("gallery/upload/", gallery.upload, name="gallery_upload"),
    path("gallery/replace/", gallery.replace, name="gallery_replace"),
    path("gallery/state/", gallery.state, name="gallery_state"),
    path("admin/", admin.site.urls),
    path("stand/outage/", stand.outage, name="outage"),
    *static(settings.MEDIA_URL, document_root=settings.MEDIA_ROOT),
    *static("/samples/", document_root=settings.STATE / "samples"),
]
urlpatterns += [
    path("cf-images/", include("cf_images.urls"))
]  # waiting images, local variants, upload by URL
