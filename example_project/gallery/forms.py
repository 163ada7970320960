"""The form for many photographs: the browser uploads them straight to where images are kept."""

from __future__ import annotations

from django import forms
from django.http import HttpRequest

from cf_images.forms import DirectImagesField


class PhotosForm(forms.Form):
    """Photographs, in the order that the visitor chooses."""

    photos = DirectImagesField(
        label="Photographs",
        max_images=50,
        strip_location=True,
        help_text="Choose several, drop them here, or paste one. Where they were taken is removed.",
    )


def may_upload(_request: HttpRequest, _field: str) -> bool:
    """Let everyone upload: there is no login, as the site listens on 127.0.0.1 only."""
    return True
