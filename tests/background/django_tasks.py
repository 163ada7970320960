"""Django's own Tasks as the queue, as the README shows it."""

from __future__ import annotations

from django.tasks import task

from cf_images.background import process


@task
def process_images(hint: int | None) -> None:
    """Run in the worker."""
    process(hint)


def notify(hint: int | None) -> None:
    """Send a message: ``CF_IMAGES["QUEUE"]`` names this function."""
    process_images.enqueue(hint)
