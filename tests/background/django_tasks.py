"""Django's own Tasks as the queue, as the README shows it."""

from __future__ import annotations

from django.tasks import task

from cf_images.background import deliver


@task
def deliver_images(hint: int | None) -> None:
    """What the worker does."""
    deliver(hint)


def ring(hint: int | None) -> None:
    """``CF_IMAGES["QUEUE"]``."""
    deliver_images.enqueue(hint)
