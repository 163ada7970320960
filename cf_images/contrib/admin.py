"""``ImageAdminMixin``: thumbnails in the admin of a project's own models.

It has no template, style sheet or script: it puts an image beside Django's own widgets. The list of uploads
is ``cf_images.admin``.
"""

from __future__ import annotations

import logging
import posixpath
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.widgets import AdminFileWidget
from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.db.models.fields.files import FieldFile
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from cf_images.exceptions import CloudflareImagesError
from cf_images.markup import image_attributes
from cf_images.markup.attributes import attributes_html
from cf_images.variants import FlexibleVariant

if TYPE_CHECKING:
    from django.contrib.admin.options import BaseModelAdmin

    _Admin = BaseModelAdmin[Any]
else:
    _Admin = object

logger = logging.getLogger(__name__)

_SIDE = 60  # pixels of a thumbnail on the page
_SQUARE = f"width:{_SIDE}px;height:{_SIDE}px;object-fit:cover;flex:none"
_BESIDE = "display:flex;gap:10px;align-items:flex-start"
# Their messages contain no secrets; those of other storages are only logged.
_SAFE_ERRORS = (CloudflareImagesError, ImproperlyConfigured)


class ImageAdminMixin(_Admin):
    """A mixin for ``ModelAdmin`` and inlines: a column ``thumbnail``, and thumbnails in the form.

    ``thumbnail_field`` is the field of the column, by default the first ``ImageField``. ``thumbnail_variant``
    is a variant that every image has, private ones included.
    """

    thumbnail_field: str | None = None
    thumbnail_variant: str | FlexibleVariant = "public"

    @admin.display(description=_("image"))
    def thumbnail(self, row: models.Model) -> SafeString | None:
        """Return the image of a row, for ``list_display`` and ``readonly_fields``."""
        return thumbnail(getattr(row, self._thumbnail_field()), self.thumbnail_variant)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Return Django's form field, with a thumbnail unless the project chose another widget."""
        field: Any = super().formfield_for_dbfield(db_field, request, **kwargs)
        if (
            isinstance(db_field, models.ImageField)
            and type(getattr(field, "widget", None)) is AdminFileWidget
        ):
            field.widget = ThumbnailFileWidget.from_widget(field.widget, variant=self.thumbnail_variant)
        return field

    def _thumbnail_field(self) -> str:
        if self.thumbnail_field:
            return self.thumbnail_field
        fields = self.model._meta.concrete_fields
        names = [field.name for field in fields if isinstance(field, models.ImageField)]
        if not names:
            raise ImproperlyConfigured(
                f"{type(self).__name__}: {self.model._meta.label} has no ImageField for a thumbnail. "
                f"Set thumbnail_field to the name of a field or property with the image."
            )
        return names[0]


class ThumbnailFileWidget(AdminFileWidget):
    """The admin's widget to choose, replace and clear a file, with a thumbnail of the current one."""

    variant: str | FlexibleVariant = "public"

    @classmethod
    def from_widget(cls, widget: AdminFileWidget, *, variant: str | FlexibleVariant) -> ThumbnailFileWidget:
        """Return a widget with the state of ``widget``, which a form field has already prepared."""
        replacement = cls(attrs=widget.attrs)
        replacement.is_required, replacement.is_localized = widget.is_required, widget.is_localized
        replacement.variant = variant
        return replacement

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        """Return Django's widget beside the thumbnail."""
        if not _is_stored(value):
            return super().render(name, value, attrs, renderer)
        image = thumbnail(value, self.variant, alt="")
        inputs = super().render(name, _linked(value), attrs, renderer)
        return format_html('<div style="{}">{}<div>{}</div></div>', _BESIDE, image, inputs)


def thumbnail(
    image: Any, variant: str | FlexibleVariant = "public", *, alt: str | None = None
) -> SafeString | None:
    """Return a small ``<img>`` of a field file, for your own columns; ``None`` for an empty field.

    Never makes a request or a query. If the storage fails, return a dash; its title has the reason.
    """
    if not image:
        return None
    name = posixpath.basename(str(image))  # str() of the row could ask the database
    try:
        attributes = image_attributes(image, variant, alt=name if alt is None else alt)
    except Exception as error:  # noqa: BLE001  # storages raise anything; the page must still render
        return _dash(_reason(error, image))
    if not attributes:
        return _dash(_("This is not the URL of an image."))
    square = {"width": str(_SIDE), "height": str(_SIDE), "style": _SQUARE}
    return format_html("<img{}>", attributes_html({**attributes, **square}))


class _Linked:
    """A file without a URL, for Django's template."""

    url = "#"

    def __init__(self, name: str) -> None:
        self._name = name

    def __str__(self) -> str:
        return self._name


def _linked(value: FieldFile) -> FieldFile | _Linked:
    try:
        return value if value.url else _Linked(str(value))
    except Exception:  # noqa: BLE001  # logged with the thumbnail; the file can still be replaced and cleared
        return _Linked(str(value))


def _is_stored(value: Any) -> bool:
    return isinstance(value, FieldFile) and bool(value) and bool(getattr(value, "_committed", False))


def _reason(error: Exception, image: Any) -> str:
    logger.warning("No thumbnail of %s: %s", image, error, exc_info=error)
    reason = str(error) if isinstance(error, _SAFE_ERRORS) else type(error).__name__
    return reason + ""  # never marked as safe


def _dash(reason: Any) -> SafeString:
    return format_html('<span title="{}">–</span>', reason)
