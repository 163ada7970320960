"""The Django app: registers the checks, and attaches the validator to image fields."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.exceptions import ImproperlyConfigured


class CFImagesConfig(AppConfig):
    """``cf_images`` in ``INSTALLED_APPS``."""

    name = "cf_images"
    verbose_name = "Cloudflare Images"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the checks and HEIC, and attach ``validate_image``."""
        from cf_images import checks, validators
        from cf_images.images import heic

        checks.register_all()
        heic.register()
        try:
            validators.attach_everywhere()
        except ImproperlyConfigured:
            pass  # a check reports it; an exception here would end `manage.py check` with a traceback
