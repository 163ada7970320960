"""What the example puts into its database: tables, an administrator, two people, photographs."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urljoin

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.files import File
from django.core.files.storage import storages
from django.core.management import call_command
from django.db.models.fields.files import FieldFile

from cf_images import conf
from cf_images.background import upload_from_url
from cf_images.declared import read_variants
from cf_images.exceptions import ImageExistsError
from cf_images.models import State, Upload
from cf_images.storage import CloudflareImagesStorage, select_storage
from example_project import pictures, scenes
from example_project.gallery.cards import CARDS
from example_project.gallery.models import Photo, PrivatePhoto
from example_project.profiles.models import Profile

USER = "demo"
PASSWORD = "demo"  # noqa: S105 - of a site on 127.0.0.1 that anybody here may use
# What is fetched back, and the size that the first pictures, of 1600 x 1066 pixels, have in it.
SIZES = {"avatar": "240 x 240", "w=200": "200 x 133", "public": "1153 x 768"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendition:
    """One printed address, and the size of what must be there."""

    url: str
    size: str


def prepare() -> None:
    """Tables and administrator, unless they are there."""
    call_command("migrate", verbosity=0)
    users = get_user_model().objects
    if not users.filter(username=USER).exists():
        users.create_superuser(USER, password=PASSWORD)


def draw_samples() -> None:
    """The pictures that are uploaded first, and more to try."""
    for source in (pictures, scenes):
        source.draw_all(settings.STATE / "samples")


def declare_variants() -> None:
    """Add the variants of the settings to the account; those it has stay as they are."""
    storage = select_storage()
    if not isinstance(storage, CloudflareImagesStorage):
        return
    for name, variant in read_variants(conf.package("VARIANTS")).items():
        try:
            storage.client.create_variant(
                name,
                options=variant.options,
                never_require_signed_urls=variant.never_require_signed_urls,
            )
        except ImageExistsError:
            pass


def by_file() -> Profile:
    """Jane, whose picture was in a form."""
    jane = Profile(name="Jane Doe")
    with (settings.STATE / "samples" / "dusk.jpg").open("rb") as file:
        jane.image = File(file, name="dusk.jpg")
        jane.save()
    return jane


def by_url(url: str) -> Profile:
    """John, whose picture is fetched in the background."""
    return Profile.objects.create(name="John Roe", image=upload_from_url(url, upload_to="avatars/"))


def hang() -> list[FieldFile]:
    """The gallery's photographs; those that are missing are uploaded now."""
    hung = []
    for card in filter(lambda card: card.sample, CARDS):
        model = PrivatePhoto if card.is_private else Photo
        photo = model.objects.filter(card=card.slug).first() or model(card=card.slug, title=card.alt)
        if photo.pk is None:
            with (settings.STATE / "samples" / f"{card.sample}.jpg").open("rb") as file:
                photo.file = File(file, name=f"{card.sample}.jpg")
                photo.save()
        hung.append(photo.file)
    return hung


def source(site: str, profile: Profile) -> str:
    """The address of a picture that whoever fetches can reach: Cloudflare cannot reach this machine."""
    if conf.is_local() or settings.EMULATOR:
        return f"{site}/samples/night.jpg"
    return renditions(profile, site)[-1].url


def is_stored(image: FieldFile) -> bool:
    """Whether the picture has arrived; ``ValueError`` with the reason when it never will."""
    upload = Upload.objects.filter(name=image.name).first()
    if upload is not None and upload.state == State.REJECTED:
        raise ValueError(f"The picture of {image.instance} was refused: {upload.last_error}")
    return upload is None or upload.state == State.STORED


def renditions(profile: Profile, site: str) -> list[Rendition]:
    """Where browsers get the picture once it has arrived."""
    storage = storages[conf.selected_alias()]
    address = getattr(storage, "delivery_address", storage.url)  # url() of a young picture is still our own
    return [
        Rendition(url=urljoin(site, address(profile.image.name, variant)), size=size)
        for variant, size in SIZES.items()
    ]
