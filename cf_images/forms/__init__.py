"""Form fields: ``ImageField`` refuses in the form what saving would refuse."""

from cf_images.forms.fields import ImageField

__all__ = ["ImageField"]
