"""The form field for images, in any form: model forms have the validator of the model's field besides."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import FileExtensionValidator, validate_image_file_extension
from django.utils.translation import gettext_lazy as _

from cf_images import images
from cf_images.images import heic
from cf_images.images.reading import from_start
from cf_images.translation import translated
from cf_images.validators import validate_image

_SVG = "image/svg+xml"


def validate_extension(file: Any) -> None:
    """Raise ``ValidationError`` for an extension that is not an image's, or for an SVG not its own: servers
    of local files go by the extension, and an SVG may contain anything.
    """
    if getattr(file, "content_type", "") == _SVG:
        FileExtensionValidator(["svg"])(file)
    else:
        validate_image_file_extension(file)


class ImageField(forms.ImageField):
    """Django's ``ImageField``, which also refuses what Cloudflare would refuse, with the reason.

    It accepts HEIC photos where the extra ``[heic]`` is installed, and SVG only with ``allow_svg``:
    Cloudflare removes scripts from an SVG, local files and other storages do not.
    """

    default_validators = [validate_extension]

    def __init__(self, *, allow_svg: bool = False, **kwargs: Any) -> None:
        self.allow_svg = allow_svg
        super().__init__(**kwargs)

    def to_python(self, data: Any) -> Any:
        """Return the file, at its start, with Django's attributes ``image`` and ``content_type``."""
        file: Any = forms.FileField.to_python(self, data)
        if file is None:
            return None
        validate_image(file)
        with from_start(file) as start:
            kind = images.inspect(start).format
        if kind == "svg":
            return self._svg(file)
        if kind == "heic" and not heic.register():
            raise ValidationError(translated(heic.NOT_READABLE), code="heic")
        return super().to_python(data)

    def _svg(self, file: Any) -> Any:
        """Return an SVG, which Pillow cannot read: it has no ``image``."""
        if not self.allow_svg:
            raise ValidationError(_("SVG images are not accepted here."), code="svg")
        file.content_type = _SVG
        return file
