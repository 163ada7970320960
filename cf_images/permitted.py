"""A variant as somebody asks for it: cleaned, and refused where the settings rule it out."""

from __future__ import annotations

from cf_images import conf, delivery
from cf_images.exceptions import InvalidVariantError
from cf_images.flexible import FlexibleVariant


def permitted_variant(variant: str | FlexibleVariant | None) -> str:
    """``variant`` as it stands in a path; ``InvalidVariantError`` for what cannot be one.

    The same for a flexible variant where ``CF_IMAGES["FLEXIBLE_VARIANTS"]`` is ``False``: Cloudflare would
    refuse it, and the page would show a broken image.
    """
    cleaned = delivery.clean_variant(str(variant or ""))
    if delivery.is_flexible(cleaned) and conf.package("FLEXIBLE_VARIANTS") is False:
        raise InvalidVariantError(
            f'{cleaned[:80]!r} is a flexible variant, and CF_IMAGES["FLEXIBLE_VARIANTS"] is False: take one '
            f'of CF_IMAGES["VARIANTS"], or set it to True and run manage.py cf_images variants --apply.'
        )
    return cleaned
