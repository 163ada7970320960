"""Complete, responsive ``<img>`` elements: for ``{% cf_image %}``, Jinja2 and serializers.

Never opens a file, never makes a request or a query: dimensions are used only if the row has them.
"""

from cf_images.markup.attributes import check_keywords
from cf_images.markup.image_tags import image_attributes, image_tag, srcset
from cf_images.markup.variant_urls import replace_variant, variant_url

__all__ = [
    "check_keywords",
    "image_attributes",
    "image_tag",
    "replace_variant",
    "srcset",
    "variant_url",
]
