"""Try out an installed wheel, in an environment with nothing else: a site takes an image and shows it.

Knows nothing of this repository: it is run alone, in an empty folder.
"""

from __future__ import annotations

import io
import sys
from importlib.metadata import version
from pathlib import Path

import django
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.template import Context, Template
from django.test import Client
from django.urls import URLResolver, include, path
from PIL import Image

urlpatterns: list[URLResolver] = []  # filled once there are settings


def main() -> None:
    """Set up a site, migrate, check, and request a picture in a named variant."""
    settings.configure(
        ALLOWED_HOSTS=["testserver"],
        CF_IMAGES={"VARIANTS": {"avatar": {"width": 24, "height": 24, "fit": "cover"}}},
        DEBUG=True,  # as in development: a view renders the variants of local images
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "site.sqlite3"}},
        ENV_NAME="dev",
        HUEY={"huey_class": "huey.MemoryHuey", "immediate": False},
        INSTALLED_APPS=["huey.contrib.djhuey", "cf_images"],
        MEDIA_ROOT="media",
        MEDIA_URL="/media/",
        ROOT_URLCONF=__name__,
        SECRET_KEY="for these few seconds",  # noqa: S106 - signs nothing that stays
        STATIC_URL="/static/",
        STORAGES={
            "default": {"BACKEND": "cf_images.storage.LocalImagesStorage"},
            "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
            "cloudflare_images": {"BACKEND": "cf_images.storage.CloudflareImagesStorage"},
        },
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
    )
    django.setup()
    urlpatterns.append(path("cf-images/", include("cf_images.urls")))
    call_command("migrate", verbosity=0)
    call_command("check", fail_level="WARNING")

    from cf_images.storage import select_storage

    picture = io.BytesIO()
    Image.new("RGB", (64, 48), "teal").save(picture, "JPEG")
    storage = select_storage()
    name = storage.save("picture.jpg", ContentFile(picture.getvalue()))
    template = Template("{% load cf_images %}{{ url|variant:'avatar' }}")
    url = template.render(Context({"url": storage.url(name)}))
    response = Client().get(url)
    shown = Image.open(io.BytesIO(response.getvalue()))
    if shown.size != (24, 24):
        sys.exit(f"{url} is {shown.size}")
    package = Path(sys.modules["cf_images"].__file__ or "").parent
    print(f"django-cf-images {version('django-cf-images')} in {package.parent.name}: {url} is {shown.size}")


if __name__ == "__main__":
    main()
