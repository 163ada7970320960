"""What a variant is: its options, named and flexible variants, and what they do to an image.

Pure: knows no Django, and imports Pillow only to read the names of colors.
"""

from cf_images.variants.flexible import FlexibleVariant
from cf_images.variants.named import NamedVariant
from cf_images.variants.transform import Transform
from cf_images.variants.values import Trim

__all__ = ["FlexibleVariant", "NamedVariant", "Transform", "Trim"]
