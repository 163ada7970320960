"""The gallery, and what its buttons do. There is no login, for it is on 127.0.0.1 only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import get_template
from django.urls import reverse
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from cf_images.background import waiting_address
from cf_images.exceptions import CloudflareImagesError
from example_project import stand
from example_project.gallery import listings, techniques
from example_project.gallery.cards import CARDS, Card
from example_project.gallery.listings import Listing
from example_project.gallery.models import Photo, Picture, PrivatePhoto


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownCard:
    """A card as the page needs it: ``html`` is what its template gave; ``listings`` begin with that."""

    card: Card
    photo: Picture | None
    html: SafeString
    listings: list[Listing]
    facts: dict[str, Any]


def gallery(request: HttpRequest) -> HttpResponse:
    """One card for each technique."""
    return render(request, "gallery/gallery.html", {"cards": [_shown(card, request) for card in CARDS]})


@require_POST
def upload(_: HttpRequest) -> HttpResponse:
    """A new picture, which waits until the worker has delivered it."""
    newest = photo_of("pending")
    picture = stand.new_picture(unlike=newest.file.name if newest else "")
    techniques.upload(picture, title="The newest picture")
    return redirect(reverse("gallery") + "#pending")


@require_POST
def replace(request: HttpRequest) -> HttpResponse:
    """Another picture in the place of the one that is there."""
    photo = Photo.objects.filter(card="replace").first()
    if photo:
        request.session["replaced"] = photo.file.name
        techniques.replace(photo, stand.new_picture(unlike=photo.file.name))
    return redirect(reverse("gallery") + "#replace")


def state(request: HttpRequest) -> HttpResponse:
    """How far the newest picture has come."""
    photo = photo_of("pending")
    return stand.state(request, photo.file if photo else None)


def photo_of(slug: str, model: type[Picture] = Photo) -> Picture | None:
    """The newest photograph of a card."""
    return model.objects.filter(card=slug).first()


def _shown(card: Card, request: HttpRequest) -> ShownCard:
    photo = photo_of(card.slug, PrivatePhoto if card.is_private else Photo)
    code = [listings.template(card.template), *card.code] if card.sample else list(card.code)
    html, facts = SafeString(""), {}
    try:
        html = _rendered(card, photo) if photo else html
        facts = FACTS[card.slug](photo, request) if card.slug in FACTS else facts
    except CloudflareImagesError as error:  # the keys of private images cannot be had
        facts = {"problem": error.message}
    return ShownCard(card=card, photo=photo, html=html, listings=code, facts=facts)


def _rendered(card: Card, photo: Picture) -> SafeString:
    return get_template(card.template).render({"photo": photo, "square": techniques.square()})


def _private_facts(photo: Any, request: HttpRequest) -> dict[str, Any]:
    """The signed address and its end, and what really happens without the signature."""
    if stand.is_local() or not photo:
        return {}
    address = techniques.address_for_five_minutes(photo)
    waits = stand.upload_of(photo.file) is not None
    final = address if waits else photo.file.storage.delivery_address(photo.file.name, "postcard")
    bare = request.build_absolute_uri(urlsplit(final)._replace(query="").geturl())
    (ends_at,) = parse_qs(urlsplit(address).query)["exp"]
    return {
        "address": address,
        "ends_at": datetime.fromtimestamp(int(ends_at), UTC),
        "bare": bare,
        "status": stand.status_of(bare),
    }


def _pending_facts(photo: Any, _: HttpRequest) -> dict[str, Any]:
    """How far it has come, and the address of the view that shows it, whoever has it by now."""
    if not photo:
        return {}
    return {
        "upload": stand.upload_of(photo.file),
        "state_url": reverse("gallery_state"),
        "address": waiting_address(photo.file.name, "postcard"),
    }


def _replace_facts(_: Any, request: HttpRequest) -> dict[str, Any]:
    return {"before": request.session.get("replaced")}


def _admin_facts(*_: object) -> dict[str, Any]:
    """What the change list shows."""
    photo_admin = admin.site.get_model_admin(Photo)
    return {"thumbnails": [photo_admin.thumbnail(photo) for photo in Photo.objects.all()[:8]]}


FACTS = {
    "private": _private_facts,
    "pending": _pending_facts,
    "replace": _replace_facts,
    "admin": _admin_facts,
}
