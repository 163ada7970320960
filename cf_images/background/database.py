"""Where the rows live, and are read from, too: replicas lag."""

from __future__ import annotations

from django.db import router
from django.db.models import QuerySet

from cf_images.models import Gate, Upload


def database() -> str:
    """The alias in ``DATABASES``; an image is rolled back with the transactions of this one only."""
    return router.db_for_write(Upload)


def uploads() -> QuerySet[Upload]:
    """All rows."""
    return Upload.objects.using(database())


def gates() -> QuerySet[Gate]:
    """All gates."""
    return Gate.objects.using(database())
