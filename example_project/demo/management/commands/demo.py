"""``manage.py demo``: an administrator, two people, the photographs of the gallery, a folder of pictures."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.files.storage import storages
from django.core.management.base import BaseCommand

from demo.samples import MOODS, open_sample
from gallery.cards import CARDS
from moving.models import Picture
from profiles.models import Profile


class Command(BaseCommand):
    """Safe to repeat: what exists stays as it is."""

    help = "Add sample data: user demo (password demo), people, a gallery, and a folder of pictures."

    def handle(self, *_: Any, **__: Any) -> None:
        """Add what is missing."""
        samples = {name: open_sample(name) for name in MOODS}
        users = get_user_model().objects
        if not users.filter(username="demo").exists():
            users.create_superuser("demo", password="demo")  # noqa: S106 - of a site on 127.0.0.1
        if not Profile.objects.exists():
            Profile.objects.create(name="Jane Doe", image=samples["dusk"])
            Profile.objects.create(name="John Roe", image=samples["twilight"])
        if not Picture.objects.exists():
            for name, sample in samples.items():  # into the folder alone, as before there was a mirror
                Picture.objects.create(file=storages["pictures"].save(f"moving/{name}.jpg", sample))
        for card in CARDS:
            if card.sample and not card.photos.exists():
                title = f"{card.sample.capitalize()} over a lake"
                card.photos.create(card=card.slug, title=title, file=open_sample(card.sample))
