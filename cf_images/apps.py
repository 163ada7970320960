"""The Django app: checks, and the validator on every image field of ours."""

from __future__ import annotations

from django.apps import AppConfig, apps


class CFImagesConfig(AppConfig):
    """``cf_images`` in ``INSTALLED_APPS``."""

    name = "cf_images"
    verbose_name = "Cloudflare Images"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the checks and attach ``validate_image``, unless ``VALIDATE_FIELDS`` is off."""
        from cf_images import checks, conf, validators

        checks.register_all()
        if conf.package("VALIDATE_FIELDS"):
            for model in apps.get_models(include_auto_created=True):
                for field in model._meta.get_fields():
                    validators.attach(field)
