"""What is known about an image for nothing: its dimensions in the row, whether it has variants, is an SVG."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

from cf_images import conf
from cf_images.exceptions import InvalidVariantError
from cf_images.options.table import shown
from cf_images.variants import variant_url

Size = tuple[int, int]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_IGNORED = re.compile(r"[\x00-\x20]+")  # by browsers, in front of a scheme and inside of it
_SVG = ".svg"


def is_field_file(image: Any) -> bool:
    """Whether ``image`` is a file with a storage and not a URL."""
    return hasattr(image, "storage")


def default_variant(image: Any) -> str:
    """What ``url()`` of a field file serves; none for a URL, which is shown as it is."""
    if not is_field_file(image):
        return ""
    option = getattr(image.storage, "option", None)
    return str(option("variant") if option else conf.option("variant", {}))


def has_variants(image: Any, variant: str, address: str) -> bool:
    """Whether another variant of the image has another address than ``variant``, which has this one."""
    return variant_url(image, "public" if variant != "public" else "another") != address


def is_svg(image: Any) -> bool:
    """By the extension: Cloudflare resizes no SVG."""
    name = str(image.name) if is_field_file(image) else unquote(re.split(r"[?#]", str(image))[0])
    return any(segment.lower().endswith(_SVG) for segment in name.split("/"))


def source_size(image: Any, width: Any, height: Any) -> Size | None:
    """The original's pixels as given, else as the row has them in ``width_field`` and ``height_field``."""
    given = _side("source_width", width), _side("source_height", height)
    width, height = given if any(given) else _columns(image)
    return (width, height) if width and height else None


def is_shown(address: str) -> bool:
    """Whether browsers show what is there; ``javascript:`` is no image."""
    scheme = _SCHEME.match(_IGNORED.sub("", address))
    if scheme is None or scheme[1].lower() in ("http", "https"):
        return True
    return _IGNORED.sub("", address).lower().startswith("data:image/")


def numbers(name: str, given: Any) -> list[str]:
    """The parts of ``"320,640"`` or of a list; ``InvalidVariantError`` where there are none or one twice."""
    parts = given.split(",") if isinstance(given, str) else given if isinstance(given, Iterable) else [given]
    texts = [str(part).strip() for part in parts]
    if not texts:
        raise InvalidVariantError(f'{name} is empty; give it as in {name}="{_EXAMPLES[name]}"')
    if twice := [text for text in texts if texts.count(text) > 1]:
        raise InvalidVariantError(f"{name} has {shown(twice[0])} twice")
    return texts


_EXAMPLES = {"widths": "320,640,1280", "dpr": "1,2"}


def _side(name: str, value: Any) -> int:
    """A side in pixels; 0 where it is not known, as in a column that is still empty."""
    if value is None or value == "":
        return 0
    text = str(value)
    if isinstance(value, bool) or not (re.fullmatch(r"[1-9][0-9]{0,5}", text)):
        raise InvalidVariantError(f"{name} cannot be {shown(value)}; valid is a whole number of pixels")
    return int(text)


def _columns(image: Any) -> tuple[int, int]:
    field, instance = getattr(image, "field", None), getattr(image, "instance", None)
    # not by getattr: for a deferred column that is a query
    loaded = getattr(instance, "__dict__", {})
    names = getattr(field, "width_field", None), getattr(field, "height_field", None)
    width, height = (loaded.get(name) for name in names)
    if isinstance(width, int) and isinstance(height, int) and min(width, height) > 0:
        return width, height
    return 0, 0
