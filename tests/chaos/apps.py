"""Shorter durations: every duration of the background uploads is divided by ``HASTE``."""

from __future__ import annotations

from datetime import timedelta

from django.apps import AppConfig
from django.conf import settings

# The longest pause is an hour: one image that fails nine times in a row would hold up the run for minutes,
# even when divided by HASTE.
_LONGEST_PAUSE = timedelta(seconds=15)


class ChaosConfig(AppConfig):
    """The app that shortens leases and pauses, so that a test sees them end."""

    name = "tests.chaos"

    def ready(self) -> None:
        """Divide all durations by one factor, since their ratios are part of the protocol."""
        from cf_images.background import timing

        for name, value in vars(timing).items():
            if isinstance(value, timedelta):
                setattr(timing, name, value / settings.HASTE)
        timing.REQUEST_SECONDS /= settings.HASTE  # a lease must outlast it
        timing.MAX_PAUSE = min(timing.MAX_PAUSE, _LONGEST_PAUSE)
