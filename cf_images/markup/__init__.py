"""``<img>`` with everything a browser wants to know: for ``{% cf_image %}``, Jinja2 and serializers.

``variants`` has the addresses, ``flexible`` the options, ``rendering`` the arithmetic of ``fit``. Never opens
a file, never makes a request or a query: a source's dimensions are used only where the row has them.
"""

from cf_images.markup.attributes import check_keywords
from cf_images.markup.images import image_attributes, image_tag, srcset

__all__ = ["check_keywords", "image_attributes", "image_tag", "srcset"]
