"""The pages of a project: a form for an image, one for many, and an admin with an inline."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.urls import include, path

from cf_images.contrib.admin import ImageAdminMixin
from cf_images.forms import DirectImagesField, DirectUploadsMixin
from tests.app.models import Album, Page, Photo

HTML = """<!DOCTYPE html><html lang="en"><head><title>Photos</title>{{ form.media }}</head><body><main>
<form method="post" enctype="multipart/form-data">{% csrf_token %}{{ form.as_p }}
<button name="send">Save</button></form></main></body></html>"""
POLICY = "default-src 'self'; connect-src 'self' %s"


class PhotoForm(DirectUploadsMixin, forms.ModelForm):
    """A model form with a field that may be wrong."""

    title = forms.CharField(required=False)

    class Meta:
        model = Photo
        fields = ["file"]

    def clean_title(self) -> str:
        """Raise ``ValidationError`` without a title: by the server, which the browser does not foresee."""
        if not self.cleaned_data["title"]:
            raise forms.ValidationError("A title is needed.")
        return str(self.cleaned_data["title"])


class GalleryForm(forms.Form):
    """A form for many images."""

    files = DirectImagesField(max_images=40)

    def save(self) -> None:
        """Save a row for each."""
        for file in self.cleaned_data["files"]:
            Photo.objects.create(file=file)


def page_of(form_class: Any) -> Any:
    """Return the view of a form."""

    def view(request: HttpRequest) -> HttpResponse:
        form = form_class(request.POST or None, request.FILES or None)
        if request.method == "POST" and form.is_valid():
            form.save()
            return HttpResponse("<!DOCTYPE html><title>Saved</title>Saved")
        response = HttpResponse(engines["django"].from_string(HTML).render({"form": form}, request))
        host = settings.CF_IMAGES["API_URL"].removesuffix("/client/v4")  # which takes uploads, too
        response["Content-Security-Policy"] = POLICY % host
        return response

    return view


class PageInline(ImageAdminMixin, admin.TabularInline):
    """Rows with images."""

    model = Page
    fields = ["front"]
    extra = 1


class AlbumAdmin(ImageAdminMixin, admin.ModelAdmin):
    """An album and its pages."""

    inlines = [PageInline]


site = admin.AdminSite("page")
site.register(Album, AlbumAdmin)

urlpatterns = [
    path("admin/", site.urls),
    path("photo/", page_of(PhotoForm)),
    path("gallery/", page_of(GalleryForm)),
    path("cf-images/", include("cf_images.urls")),
]
