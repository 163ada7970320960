"""The gallery and its buttons. There is no login, as the site listens on 127.0.0.1 only."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from django.conf import settings
from django.contrib import admin
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.http import require_POST

from cf_images.exceptions import CloudflareImagesError
from cf_images.storage.pending_urls import pending_url
from demo import samples
from gallery import listings, techniques
from gallery.cards import BY_SLUG, CARDS, Card
from gallery.forms import PhotosForm
from gallery.models import Photo
from profiles.views import unfinished_upload


def gallery(request: HttpRequest) -> HttpResponse:
    """Show one card for each technique."""
    rendered = [render_to_string(card.page, _context(card, request), request) for card in CARDS]
    return render(request, "gallery/gallery.html", {"cards": CARDS, "rendered": rendered})


def photos(request: HttpRequest) -> HttpResponse:
    """Show the visitors' photographs, and add many at once."""
    form = PhotosForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():  # all of them, or none
            for file in form.cleaned_data["photos"]:
                Photo.objects.create(card="photos", title=file.name[:80], file=file)
        return redirect("photos")
    found = Photo.objects.filter(card="photos")
    context = {"form": form, "photos": found, "listing": listings.python(PhotosForm)}
    return render(request, "gallery/photos.html", context)


@require_POST
def upload(_: HttpRequest) -> HttpResponse:
    """Upload a new picture; it is pending until the worker has processed it."""
    newest = BY_SLUG["pending"].photos.first()
    picture = samples.open_another(newest.file.name if newest else "")
    techniques.upload(picture, title="The newest picture")
    return redirect(reverse("gallery") + "#pending")


@require_POST
def replace(request: HttpRequest) -> HttpResponse:
    """Replace the picture of the card."""
    photo = BY_SLUG["replace"].photos.first()
    if photo:
        request.session["replaced"] = photo.file.name
        techniques.replace(photo, samples.open_another(photo.file.name))
    return redirect(reverse("gallery") + "#replace")


def _context(card: Card, request: HttpRequest) -> dict[str, Any]:
    """Return what the template of a card needs; ``html`` is what the code on the card writes."""
    photo = card.photos.first()
    code = [listings.template(card.template), *card.code] if card.sample else card.code
    context = {"card": card, "photo": photo, "listings": code, "replaced": request.session.get("replaced")}
    try:
        if photo:
            values = {"photo": photo, "square": techniques.square()}
            context["html"] = render_to_string(card.template, values)
            context["made"] = listings.Listing("page.html", context["html"].strip())
        if card.slug in EXTRA and (photo or not card.sample):
            context |= EXTRA[card.slug](photo, request)
    except CloudflareImagesError as error:  # for example: the signing keys cannot be fetched
        context["problem"] = error.message
    return context


def _private(photo: Any, request: HttpRequest) -> dict[str, Any]:
    """Return a signed URL and its end, and request the image without the signature."""
    if settings.ENV_NAME == "dev":
        return {}
    signed = request.build_absolute_uri(techniques.url_for_five_minutes(photo))
    unsigned = urlsplit(signed)._replace(query="").geturl()
    (expires_at,) = parse_qs(urlsplit(signed).query)["exp"]
    try:
        status = httpx.get(unsigned, timeout=3, follow_redirects=True).status_code
    except httpx.HTTPError:
        status = None
    expires_at = datetime.fromtimestamp(int(expires_at), UTC)
    return {"signed": signed, "expires_at": expires_at, "unsigned": unsigned, "status": status}


def _pending(photo: Any, _: HttpRequest) -> dict[str, Any]:
    """Return the state of the upload, and the URL on this site that shows it in every state."""
    return {
        "upload": unfinished_upload(photo.file),
        "own_url": pending_url(photo.file.name, "postcard"),
    }


def _admin(*_: object) -> dict[str, Any]:
    """Return the thumbnails of the change list."""
    photo_admin = admin.site.get_model_admin(Photo)
    return {"thumbnails": [photo_admin.thumbnail(photo) for photo in Photo.objects.all()[:8]]}


EXTRA = {"private": _private, "pending": _pending, "admin": _admin}
