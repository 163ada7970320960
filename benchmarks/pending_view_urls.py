"""The URLs of ``pending_view``: a plain page, the package's view, and its rival."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from cf_images import rendering
from cf_images.background import chunks
from cf_images.models import Upload


def page(_request: HttpRequest) -> HttpResponse:
    """Respond as a plain page does, with one query."""
    return HttpResponse(f"{Upload.objects.filter(name='none').count()} images")


def render_anew(request: HttpRequest, name: str) -> HttpResponse:
    """Render on each request, without any limit."""

    with chunks.copy(Upload.objects.get(name=name), using="default") as file:
        transform = rendering.Transform.from_options(settings.CF_IMAGES["VARIANTS"]["avatar"])
        rendition = rendering.render(file.read(), transform, accept=request.headers["Accept"])
    return HttpResponse(rendition.body, content_type=rendition.content_type)


urlpatterns = [
    path("", page),
    path("anew/avatar/<path:name>", render_anew),
    path("cf-images/", include("cf_images.urls")),
]
