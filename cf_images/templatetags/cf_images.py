"""``{% load cf_images %}``: the ``variant`` filter and the ``cf_image`` tag."""

from __future__ import annotations

from typing import Any

from django import template
from django.template.base import Node, Parser, Token
from django.template.library import TagHelperNode
from django.utils.safestring import SafeString

from cf_images import markup
from cf_images.variants import variant_url

register = template.Library()


@register.filter
def variant(image: Any, name: str) -> str:
    """``{{ profile.image|variant:'avatar' }}`` or ``{{ url|variant:'w=200' }}``."""
    return variant_url(image, name)


@register.simple_tag
def cf_image(image: Any, variant: Any = None, **keywords: Any) -> SafeString:
    """``{% cf_image profile.image "avatar" alt="Jane" %}``: the keywords of ``markup.image_attributes``."""
    return markup.image_tag(image, variant, **keywords)


_compiled = register.tags["cf_image"]


@register.tag(name="cf_image")
def _checked(parser: Parser, token: Token) -> Node:
    """The same, with mistakes in its keywords found when the template is read and not when it is shown."""
    node: TagHelperNode = _compiled(parser, token)
    try:
        markup.check_keywords(node.kwargs)
    except TypeError as error:
        raise template.TemplateSyntaxError(f"cf_image: {error}") from None
    return node
