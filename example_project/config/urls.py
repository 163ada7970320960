"""URLs of the example project."""

from __future__ import annotations

from django.conf import settings
from django.conf.urls.static import static
from django.contrib import admin
from django.urls import include, path

from demo import views as demo
from gallery import views as gallery
from moving import views as moving
from profiles import views as profiles

urlpatterns = [
    path("", profiles.people, name="people"),
    path("people/<int:pk>/", profiles.profile, name="profile"),
    path("people/<int:pk>/file/", profiles.upload_file, name="upload_file"),
    path("people/<int:pk>/url/", profiles.upload_url, name="upload_url"),
    path("state/<path:name>", profiles.state, name="state"),
    path("gallery/", gallery.gallery, name="gallery"),
    path("gallery/upload/", gallery.upload, name="gallery_upload"),
    path("gallery/replace/", gallery.replace, name="gallery_replace"),
    path("photos/", gallery.photos, name="photos"),
    path("moving/", moving.moving, name="moving"),
    path("moving/<slug:action>/", moving.act, name="moving_act"),
    path("admin/", admin.site.urls),
    path("demo/outage/", demo.outage, name="outage"),
    path("cf-images/", include("cf_images.urls")),  # pending images, local variants, uploads
    *static(settings.MEDIA_URL, document_root=settings.MEDIA_ROOT),
    *static("/pictures/", document_root=settings.STATE / "pictures"),
    *static("/samples/", document_root=settings.STATE / "samples"),
]
