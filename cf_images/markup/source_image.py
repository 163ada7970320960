"""What is known about an image without opening it: dimensions in its row, default variant, format."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from cf_images import conf
from cf_images.exceptions import InvalidVariantError
from cf_images.variants.values import abbreviate

Size = tuple[int, int]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_IGNORED = re.compile(r"[\x00-\x20]+")  # by browsers, in front of a scheme and inside of it
_SVG = ".svg"
_NOT_GIVEN = (None, "")


def is_field_file(image: Any) -> bool:
    """Return whether ``image`` is a file with a storage and not a URL."""
    return hasattr(image, "storage")


def default_variant(image: Any) -> str:
    """Return the variant that ``url()`` of a field file serves; none for a URL, which is shown as it is."""
    if not is_field_file(image):
        return ""
    found = getattr(image.storage, "default_variant", None)
    return str(conf.option("variant", {}) if found is None else found)


def is_svg(image: Any) -> bool:
    """Return whether the extension is that of an SVG, which Cloudflare does not resize."""
    name = str(image.name if is_field_file(image) else image)
    if not is_field_file(image):
        name = unquote(re.split(r"[?#]", name)[0])
    name = name.lower()
    return _SVG in name and any(segment.endswith(_SVG) for segment in name.split("/"))


def source_size(image: Any, width: Any, height: Any) -> Size | None:
    """Return the original's pixels as given, else as ``width_field`` and ``height_field`` have them."""
    if width in _NOT_GIVEN and height in _NOT_GIVEN:
        return _size_in_row(image)
    width, height = _side("source_width", width), _side("source_height", height)
    return (width, height) if width and height else None


def is_displayable(url: str) -> bool:
    """Return whether browsers show what is there; ``javascript:`` is no image."""
    if url.startswith(("https://", "http://", "/")):
        return True
    stripped = _IGNORED.sub("", url)
    scheme = _SCHEME.match(stripped)
    if scheme is None or scheme[1].lower() in ("http", "https"):
        return True
    return stripped.lower().startswith("data:image/")


def has_scheme(text: str) -> bool:
    """Return whether browsers read a scheme in it: a colon before any slash (RFC 3986, 4.2)."""
    return _SCHEME.match(_IGNORED.sub("", text)) is not None


def _side(name: str, value: Any) -> int:
    """Return a side in pixels; 0 if it is not known, as in a column that is still empty."""
    if value in _NOT_GIVEN:
        return 0
    text = str(value)
    if isinstance(value, bool) or not re.fullmatch(r"[1-9][0-9]{0,5}", text):
        raise InvalidVariantError(f"{name} cannot be {abbreviate(value)}; valid is a whole number of pixels")
    return int(text)


def _size_in_row(image: Any) -> Size | None:
    field = getattr(image, "field", None)
    width_field, height_field = getattr(field, "width_field", None), getattr(field, "height_field", None)
    if not width_field or not height_field:
        return None
    # not by getattr, which makes a query for a deferred column
    loaded = getattr(getattr(image, "instance", None), "__dict__", {})
    width, height = loaded.get(width_field), loaded.get(height_field)
    if isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0:
        return width, height
    return None
