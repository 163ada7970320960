"""Forms. cf_images validates image fields, so what Cloudflare would reject is a field error."""

from __future__ import annotations

from django import forms

from cf_images.forms import DirectUploadsMixin
from cf_images.validators import validate_source_url
from profiles.models import Profile

IMAGES = forms.FileInput(attrs={"accept": "image/*"})


class PersonForm(DirectUploadsMixin, forms.ModelForm):
    """A new person, with or without a picture, which the browser uploads itself."""

    class Meta:
        model = Profile
        fields = ["name", "image"]


class FileForm(forms.ModelForm):
    """Another picture, from a file."""

    image = Profile._meta.get_field("image").formfield(required=True, widget=IMAGES)

    class Meta:
        model = Profile
        fields = ["image"]


class URLForm(forms.Form):
    """Another picture, from a URL that Cloudflare fetches."""

    url = forms.URLField(
        label="URL of the image",
        max_length=2000,
        assume_scheme="https",
        widget=forms.URLInput(attrs={"placeholder": "https://example.com/jane.jpg", "list": "samples"}),
    )

    def clean_url(self) -> str:
        """Make what ``upload_from_url`` would refuse a field error."""
        validate_source_url(self.cleaned_data["url"])
        return self.cleaned_data["url"]
