"""The options of variants, in Cloudflare's words; knows no Django, and Pillow only for the names of colors.

``table`` has each option by itself, ``transform`` all of them as one thing to be done to an image.
"""

from cf_images.options.table import Trim
from cf_images.options.transform import Transform

__all__ = ["Transform", "Trim"]
