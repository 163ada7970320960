"""A clock that runs faster: every duration of the protocol is divided by ``HASTE``."""

from __future__ import annotations

from datetime import timedelta

from django.apps import AppConfig
from django.conf import settings

# The protocol's longest pause is an hour: one image with bad luck nine times in a row would make the others'
# figures wait for minutes, even in haste.
_LONGEST_PAUSE = timedelta(seconds=15)


class HasteConfig(AppConfig):
    """So that leases end and pauses are over while a test can wait for it."""

    name = "benchmarks.site"

    def ready(self) -> None:
        """Shorten all of them by the same factor: what they are to each other is part of the protocol."""
        from cf_images.background import timing

        for name, value in vars(timing).items():
            if isinstance(value, timedelta):
                setattr(timing, name, value / settings.HASTE)
        timing.LONGEST_PAUSE = min(timing.LONGEST_PAUSE, _LONGEST_PAUSE)
