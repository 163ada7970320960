"""A clock that runs faster: every duration of the protocol is divided by ``HASTE``, none is left out."""

from __future__ import annotations

from datetime import timedelta

from django.apps import AppConfig
from django.conf import settings


class HasteConfig(AppConfig):
    """So that leases end and pauses are over while a test can wait for it."""

    name = "benchmarks.site"

    def ready(self) -> None:
        """Shorten all of them by the same factor: what they are to each other is part of the protocol."""
        from cf_images.background import timing

        for name, value in vars(timing).items():
            if isinstance(value, timedelta):
                setattr(timing, name, value / settings.HASTE)
