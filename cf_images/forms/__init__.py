"""Form fields: ``ImageField`` refuses in the form what saving would refuse; the others let browsers upload
straight to the storage.
"""

from cf_images.forms.direct import (
    DirectImageField,
    DirectImageInput,
    DirectImagesField,
    DirectImagesInput,
    DirectUploadsMixin,
)
from cf_images.forms.fields import ImageField

__all__ = [
    "DirectImageField",
    "DirectImageInput",
    "DirectImagesField",
    "DirectImagesInput",
    "DirectUploadsMixin",
    "ImageField",
]
