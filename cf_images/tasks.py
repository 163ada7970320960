"""Where huey's autodiscovery finds our tasks; empty for everybody else who looks into ``tasks.py``."""

from __future__ import annotations

from cf_images.background import bell

if bell.uses_huey():
    from cf_images.background import huey_bell  # noqa: F401  # huey connects when it is imported
