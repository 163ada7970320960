"""Save an image as each of two tenants: ``python -m tests.neighbors.tenants``; prints their names as JSON."""

# ruff: noqa: T201, E402 - the output is the result; Django is set up first

from __future__ import annotations

import json

import django

django.setup()

from django.core.files.base import ContentFile
from django.core.management import call_command
from django_tenants.utils import schema_context

from tests.neighbors.clients.models import Client
from tests.neighbors.shop.models import Product
from tests.pictures import picture


def main() -> None:
    """Create the tables, the tenants and the images."""
    call_command("migrate_schemas", shared=True, verbosity=0)
    names = {}
    for schema in ("first", "second"):
        Client.objects.create(schema_name=schema)
        with schema_context(schema):
            image = Product.objects.create(image=ContentFile(picture(), name="photo.png")).image
            names[schema] = {"name": image.name, "url": image.url, "size": image.size}
    print(json.dumps(names))


if __name__ == "__main__":
    main()
