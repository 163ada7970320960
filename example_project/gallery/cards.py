"""What is on the page: for each technique a photograph, a sentence, and the code that runs."""

from __future__ import annotations

from dataclasses import dataclass

from example_project.gallery import listings, models, techniques
from example_project.gallery.admin import PhotoAdmin
from example_project.gallery.listings import Listing


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One technique; ``slug`` also names its template in ``gallery/cards/`` and what may stand below it."""

    slug: str
    title: str
    text: str
    code: tuple[Listing, ...] = ()
    sample: str = ""  # the photograph to begin with; without one the card shows none
    alt: str = ""
    is_private: bool = False

    @property
    def template(self) -> str:
        """The template that is rendered, and shown."""
        return f"gallery/cards/{self.slug}.html"

    @property
    def below(self) -> list[str]:
        """What stands below the picture, where there is such a template."""
        return [f"gallery/below/{self.slug}.html", "gallery/below/nothing.html"]


CARDS = (
    Card(
        slug="named",
        title="Named variants",
        text="Declared once, in the settings. The filter gives an address; the tag a whole element, with "
        "width and height, so that nothing shifts while it loads.",
        code=(listings.setting("CF_IMAGES", "VARIANTS", "avatar"), listings.python(models.Photo)),
        sample="dusk",
        alt="Dusk over a lake",
    ),
    Card(
        slug="flexible",
        title="Flexible variants",
        text="Any size on the spot: from an address, as options of the tag, or as an object that your editor "
        "knows.",
        code=(listings.python(techniques.square),),
        sample="city",
        alt="Lights of a city at night",
    ),
    Card(
        slug="effects",
        title="Effects",
        text="Blurred; the whole picture on a background; and cut out around a point.",
        sample="aurora",
        alt="Polar lights over a lake",
    ),
    Card(
        slug="responsive",
        title="Responsive",
        text="The browser chooses among three widths by the room there is and by the density of the screen.",
        sample="wood",
        alt="Firs in the mist",
    ),
    Card(
        slug="densities",
        title="Sharp screens",
        text="Always the same size on the page, with twice the pixels where the screen can show them.",
        sample="dunes",
        alt="Dunes in the afternoon",
    ),
    Card(
        slug="placeholder",
        title="Placeholder",
        text="A blurred rendition of 32 pixels fills the place until the image covers it.",
        sample="dawn",
        alt="Dawn over a lake",
    ),
    Card(
        slug="private",
        title="Private",
        text="Only an address with a signature opens it, and only for a while.",
        code=(
            listings.setting("STORAGES", "private_images"),
            listings.python(models.private_storage),
            listings.python(techniques.address_for_five_minutes),
        ),
        sample="night",
        alt="A moonlit lake",
        is_private=True,
    ),
    Card(
        slug="pending",
        title="Pending",
        text="An upload is shown at once, by this site, until Cloudflare has it; its address stays good for "
        "ever.",
        code=(listings.python(techniques.upload),),
        sample="noon",
        alt="The newest picture",
    ),
    Card(
        slug="replace",
        title="Replacing",
        text="The same page, a new picture under a new name, so that no browser shows the old one.",
        code=(listings.python(techniques.replace),),
        sample="dawn",
        alt="A picture that can be replaced",
    ),
    Card(
        slug="admin",
        title="In the admin",
        text="Thumbnails in the list and in the form, made from addresses alone: no request, and no query "
        "for each row.",
        code=(listings.python(PhotoAdmin),),
    ),
)
