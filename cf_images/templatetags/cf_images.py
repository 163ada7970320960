"""``{% load cf_images %}``: the filters ``variant`` and ``final_variant``, and the tag ``cf_image``."""

from __future__ import annotations

from typing import Any

from django import template
from django.template.base import FilterExpression, Node, Parser, Token, Variable
from django.template.context import Context
from django.template.library import SimpleNode
from django.utils.safestring import SafeString

from cf_images import markup
from cf_images.markup.image_tags import PreparedTag

register = template.Library()


@register.filter
def variant(image: Any, name: str) -> str:
    """``{{ profile.image|variant:'avatar' }}`` or ``{{ url|variant:'w=200' }}``."""
    return markup.variant_url(image, name)


@register.filter
def final_variant(image: Any, name: str) -> str:
    """``{{ photo.file|final_variant:'public' }}``: the same; of a pending image the URL at Cloudflare, where
    it will be once it is stored. For readers outside of the site, such as ``og:image``.
    """
    return markup.variant_url(image, name, final=True)


@register.simple_tag
def cf_image(image: Any, variant: Any = None, **keywords: Any) -> SafeString:
    """``{% cf_image profile.image "avatar" alt="Jane" %}``: the keywords of ``markup.image_attributes``."""
    return markup.image_tag(image, variant, **keywords)


_parse = register.tags["cf_image"]


@register.tag(name="cf_image")
def _prepare(parser: Parser, token: Token) -> Node:
    """Parse the tag as a simple tag; find wrong keywords now, and prepare what is constant."""
    node: SimpleNode = _parse(parser, token)
    try:
        markup.check_keywords(node.kwargs)
    except TypeError as error:
        raise template.TemplateSyntaxError(f"cf_image: {error}") from None
    return ImageNode(node)


class ImageNode(Node):
    """One ``{% cf_image %}`` of a template."""

    def __init__(self, parsed: SimpleNode) -> None:
        self._image, *variant = parsed.args
        self._target = parsed.target_var
        # the keywords are checked: none is called "variant"
        given: dict[str, FilterExpression] = {
            **dict(zip(["variant"], variant, strict=False)),
            **parsed.kwargs,
        }
        constants = {name: expression.var for name, expression in given.items() if _is_constant(expression)}
        self._tag = PreparedTag(given, {name: _value(value) for name, value in constants.items()})
        self._variables = [(name, given[name]) for name in given if name not in constants]

    def render(self, context: Context) -> SafeString:
        """Return the HTML, or keep it under the name after ``as``."""
        variables = {name: expression.resolve(context) for name, expression in self._variables}
        html = self._tag.html(self._image.resolve(context), variables)
        if self._target is None:
            return html
        context[self._target] = html
        return SafeString("")


def _is_constant(expression: FilterExpression) -> bool:
    """Return whether the value is a literal: no variable, no filter, and no translation."""
    if expression.filters:
        return False
    return isinstance(_value(expression.var), str | int | float)


def _value(var: Any) -> Any:
    """Return the value of a literal; numbers are variables with a literal in them."""
    return var.literal if isinstance(var, Variable) and var.lookups is None and not var.translate else var
