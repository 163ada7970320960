"""The forms; what Cloudflare would refuse is an error of the field, because cf_images checks it there."""

from __future__ import annotations

from typing import Any

from django import forms

from cf_images.validators import validate_source_url
from example_project.profiles.models import Profile


class PersonForm(forms.ModelForm):
    """A new person, with or without a picture."""

    class Meta:
        model = Profile
        fields = ["name", "image"]
        widgets = {"image": forms.FileInput(attrs={"accept": "image/*"})}


class FileForm(forms.ModelForm):
    """Another picture, from a file."""

    image = Profile._meta.get_field("image").formfield(
        required=True, widget=forms.FileInput(attrs={"accept": "image/*"})
    )

    class Meta:
        model = Profile
        fields = ["image"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        del self.initial["image"]  # the picture that is there does not count as a chosen one


class URLForm(forms.Form):
    """Another picture, from an address that Cloudflare fetches."""

    url = forms.URLField(
        label="Address of the image",
        max_length=2000,
        assume_scheme="https",
        widget=forms.URLInput(attrs={"placeholder": "https://example.com/jane.jpg", "list": "samples"}),
    )

    def clean_url(self) -> str:
        """What ``upload_from_url`` would refuse is an error of the field."""
        validate_source_url(self.cleaned_data["url"])
        return self.cleaned_data["url"]
