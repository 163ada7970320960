"""The URLs of ``browser_uploads``: a plain page, and a form that takes a file."""

from __future__ import annotations

from django import forms
from django.http import HttpRequest, HttpResponse
from django.urls import path

from cf_images.forms import ImageField


class _Form(forms.Form):
    file = ImageField()


def page(_request: HttpRequest) -> HttpResponse:
    """Respond as a plain page does."""
    return HttpResponse("a page")


def upload(request: HttpRequest) -> HttpResponse:
    """Take the file as Django does without this package's page."""
    return HttpResponse(str(_Form(request.POST, request.FILES).is_valid()))


urlpatterns = [path("", page), path("upload/", upload)]
