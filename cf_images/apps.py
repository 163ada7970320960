"""The Django app: what a process needs once its settings and models are known."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.exceptions import ImproperlyConfigured


class CFImagesConfig(AppConfig):
    """``cf_images`` in ``INSTALLED_APPS``."""

    name = "cf_images"
    verbose_name = "Cloudflare Images"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register checks and HEIC, extend the image fields, and guard the account in test runs."""
        from cf_images import checks, conf, image_fields, validators
        from cf_images.client import guard
        from cf_images.images import heic

        checks.register_all()
        heic.register()
        guard.refuse_in_test_runs(conf.is_test_run)
        try:
            image_fields.keep_all_loadable()
            validators.attach_everywhere()
        except ImproperlyConfigured:
            pass  # a check reports it; an exception here would end `manage.py check` with a traceback
