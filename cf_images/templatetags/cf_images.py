"""``{% load cf_images %}``: the ``variant`` filter."""

from __future__ import annotations

from typing import Any

from django import template

from cf_images.variants import variant_url

register = template.Library()


@register.filter
def variant(image: Any, name: str) -> str:
    """``{{ profile.image|variant:'avatar' }}`` or ``{{ url|variant:'w=200' }}``."""
    return variant_url(image, name)
