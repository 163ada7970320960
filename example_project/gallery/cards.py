"""The cards of the gallery: for each technique a photograph, and the code that runs."""

from __future__ import annotations

from typing import NamedTuple

from django.db.models import QuerySet

from gallery.admin import PhotoAdmin
from gallery.listings import Listing, python, setting
from gallery.models import Photo, Picture, PrivatePhoto, private_storage
from gallery.techniques import replace, square, upload, url_for_five_minutes


class Card(NamedTuple):
    """One technique; ``slug`` also names its templates."""

    slug: str
    title: str
    sample: str = ""  # the first photograph; a card without one shows none
    code: tuple[Listing, ...] = ()
    model: type[Picture] = Photo

    @property
    def photos(self) -> QuerySet[Picture]:
        """The photographs of this card, newest first."""
        return self.model.objects.filter(card=self.slug)

    @property
    def template(self) -> str:
        """The code of the pictures, which is rendered and shown."""
        return f"gallery/cards/{self.slug}.html"

    @property
    def page(self) -> str:
        """The template of the card itself."""
        return f"gallery/techniques/{self.slug}.html"


PRIVATE = (setting("private_images"), python(private_storage), python(url_for_five_minutes))
CARDS = (
    Card("named", "Named variants", "dusk", (setting("avatar"), python(Photo))),
    Card("flexible", "Flexible variants", "autumn", (python(square),)),
    Card("effects", "Effects", "aurora"),
    Card("responsive", "Responsive", "mist"),
    Card("densities", "High-density screens", "twilight"),
    Card("placeholder", "Placeholder", "dawn"),
    Card("private", "Private", "night", PRIVATE, PrivatePhoto),
    Card("pending", "Pending", "noon", (python(upload),)),
    Card("replace", "Replacing", "dawn", (python(replace),)),
    Card("admin", "In the admin", code=(python(PhotoAdmin),)),
)
BY_SLUG = {card.slug: card for card in CARDS}
