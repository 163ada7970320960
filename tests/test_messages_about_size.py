"""A valid file that is too large is called too large, wherever it is refused."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache

import pytest
from django.core.exceptions import ValidationError
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.files.uploadedfile import SimpleUploadedFile

from cf_images import images
from cf_images.background import upload_from_file
from cf_images.exceptions import ImageRejectedError
from cf_images.validators import validate_image

TOO_LARGE = r"The image file is too large \(57 MB; the limit is 10 MB\)\."


@cache
def animation() -> bytes:
    """A valid GIF of 57 MB: 1.3 million frames of 10 × 10 pixels."""
    head = b"GIF89a" + (10).to_bytes(2, "little") * 2 + b"\x80\0\0" + b"\0" * 6
    pixels = b"\x02\x16\x8c-\x99\x87*\x1c\xdc3\xa0\x02u\xec\x95\xfa\xa8\xde`\x8c\x04\x91L\x01\0"
    frame = b"!\xf9\x04\0\0\0\0\0" + b",\0\0\0\0\x0a\0\x0a\0\0" + pixels
    return head + frame * (57 * 1024 * 1024 // len(frame)) + b";"


@pytest.mark.parametrize(
    "refuse",
    [
        lambda body: images.inspect(io.BytesIO(body)),
        lambda body: images.fit_limits(io.BytesIO(body)),
        lambda body: upload_from_file(io.BytesIO(body), filename="a.gif"),
        lambda body: storages["cloudflare_images"].save("a.gif", ContentFile(body)),
    ],
    ids=["inspect", "fit_limits", "upload_from_file", "save"],
)
def test_large_animation_is_too_large_and_not_damaged(refuse: Callable[[bytes], object]) -> None:
    with pytest.raises(ImageRejectedError, match=TOO_LARGE):
        refuse(animation())


def test_form_calls_a_large_animation_too_large() -> None:
    with pytest.raises(ValidationError, match=TOO_LARGE):
        validate_image(SimpleUploadedFile("a.gif", animation()))
