"""The module that huey's autodiscovery imports; it has tasks only where huey is the queue."""

from __future__ import annotations

from cf_images.background import queue_notifier

if queue_notifier.uses_huey():
    from cf_images.background import huey_tasks  # noqa: F401  # huey connects when it is imported
