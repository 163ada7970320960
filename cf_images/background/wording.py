"""Counts, durations, moments and failures in words, as logs and commands print them: always English."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils import timezone

from cf_images.exceptions import CloudflareImagesError

_UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60))


def count(number: int, noun: str) -> str:
    """Return the number and its noun: ``1 image``, ``1,200 images``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def images_are(number: int) -> str:
    """Return the subject and verb of a sentence: ``1 image is``, ``0 images are``."""
    return f"{count(number, 'image')} {'is' if number == 1 else 'are'}"


def duration(length: timedelta) -> str:
    """Return a duration in its largest unit, rounded down: ``45 seconds``, ``1 hour``."""
    seconds = max(0, int(length.total_seconds()))
    for unit, size in _UNITS:
        if seconds >= size:
            return count(seconds // size, unit)
    return count(seconds, "second")


def moment(when: datetime) -> str:
    """Return a moment in the time zone of the settings; with its date unless that is today."""
    local = timezone.localtime(when) if timezone.is_aware(when) else when
    today = timezone.localdate() if timezone.is_aware(when) else timezone.now().date()
    return f"{local:{'' if local.date() == today else '%Y-%m-%d '}%H:%M:%S %Z}".strip()


def failure(error: Exception) -> str:
    """Return what the system says of an error; only the kind of a foreign one, which may hold secrets."""
    if isinstance(error, CloudflareImagesError):
        return error.summary
    text = error.strerror if isinstance(error, OSError) else None
    return (text or type(error).__name__).rstrip(".")
