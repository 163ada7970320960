"""``ImageAdminMixin``: thumbnails and errors of images in the admin of a project's own models.

It puts an image beside Django's own widgets; with ``CF_IMAGES["DIRECT_UPLOADS"]``, the browser uploads to the
storage itself. The list of uploads is ``cf_images.admin``.
"""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.widgets import AdminFileWidget
from django.core.exceptions import ImproperlyConfigured
from django.db import models, router
from django.db.models.fields.files import FieldFile
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from cf_images import conf
from cf_images.contrib import admin_errors
from cf_images.exceptions import CloudflareImagesError
from cf_images.forms import DirectImageField, ImageField
from cf_images.forms.direct import DirectInput, PostedUpload
from cf_images.markup import image_attributes
from cf_images.markup.attributes import attributes_html
from cf_images.validators import validate_image
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


class ImageAdminMixin(_Admin):
    """A mixin for ``ModelAdmin`` and inlines: a column ``thumbnail``, and thumbnails in the form.

    In a ``ModelAdmin`` it also shows what fails while a form is saved (Cloudflare is away, a name is in use)
    in that form, inlines and editable lists included, instead of an error page.

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
        """Return ``cf_images.forms.ImageField`` for a field that this package validates, with a thumbnail, or
        ``DirectImageField``; the project's own field or widget where it has chosen one.
        """
        if self._may_choose_form_field(db_field):
            kwargs.setdefault(
                "form_class", DirectImageField if conf.setting("DIRECT_UPLOADS") else ImageField
            )
        field: Any = super().formfield_for_dbfield(db_field, request, **kwargs)
        takes_uploads = isinstance(field, DirectImageField)
        if isinstance(db_field, models.ImageField) and _is_default(
            getattr(field, "widget", None), takes_uploads=takes_uploads
        ):
            widget = DirectThumbnailFileWidget if takes_uploads else ThumbnailFileWidget
            field.widget = widget.from_widget(field.widget, variant=self.thumbnail_variant)
        return field

    def _may_choose_form_field(self, db_field: Any) -> bool:
        if type(db_field) is not models.ImageField or validate_image not in db_field.validators:
            return False
        return "form_class" not in self.formfield_overrides.get(models.ImageField, {})

    # What fails while a form is saved; only a ModelAdmin has these methods, and inlines leave it to theirs.

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Return the page to add or change a row; an image that cannot be saved is an error in its form."""
        view = partial(super().changeform_view, request, *args, **kwargs)  # type: ignore[misc]
        if request.method != "POST":
            return view()
        using = router.db_for_write(self.model)
        return admin_errors.showing_errors(admin_errors.in_transaction(using)(view), request)

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Return the list; an image that cannot be saved is an error in its row (``list_editable``)."""
        view = partial(super().changelist_view, request, *args, **kwargs)  # type: ignore[misc]
        return admin_errors.showing_errors(view, request)

    def get_form(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Return the form class, with the error of an image that could not be saved."""
        form = super().get_form(request, *args, **kwargs)  # type: ignore[misc]
        return admin_errors.with_error(form, request)

    def get_changelist_form(self, request: HttpRequest, **kwargs: Any) -> Any:
        """Return the form class of a row in the list, with such an error."""
        form = super().get_changelist_form(request, **kwargs)  # type: ignore[misc]
        return admin_errors.with_error(form, request)

    def get_formsets_with_inlines(self, request: HttpRequest, obj: Any = None) -> Iterator[Any]:
        """Yield the formsets of the inlines, with such an error."""
        for formset, inline in super().get_formsets_with_inlines(request, obj):  # type: ignore[misc]
            yield admin_errors.formset_with_error(formset, request), inline

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save the row, and note whose image fails."""
        with admin_errors.locating([form]):
            super().save_model(request, obj, form, change)  # type: ignore[misc]

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """Save the rows of an inline, and note whose image fails."""
        with admin_errors.locating([each for each in formset.forms if each not in formset.deleted_forms]):
            super().save_formset(request, form, formset, change)  # type: ignore[misc]

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


class DirectThumbnailFileWidget(DirectInput, ThumbnailFileWidget):
    """The same for uploads from the browser."""

    file_input_template = AdminFileWidget.template_name

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        """Return the widget, beside the thumbnail of the current image unless another is uploaded."""
        if isinstance(value, PostedUpload) and _is_stored(value.initial):
            value.initial = _linked(value.initial)
        return super().render(name, value, attrs, renderer)


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


def _is_default(widget: Any, *, takes_uploads: bool) -> bool:
    """Return whether the admin has chosen this widget, not the project; for uploads also django-unfold."""
    return type(widget) is AdminFileWidget or (takes_uploads and type(widget).__module__ == "unfold.widgets")


def _is_stored(value: Any) -> bool:
    return isinstance(value, FieldFile) and bool(value) and bool(getattr(value, "_committed", False))


def _reason(error: Exception, image: Any) -> str:
    logger.warning("No thumbnail of %s: %s", image, error, exc_info=error)
    # These messages contain no secrets; those of other storages are only logged.
    if isinstance(error, CloudflareImagesError):
        reason = error.message
    else:
        reason = str(error) if isinstance(error, ImproperlyConfigured) else type(error).__name__
    return reason + ""  # never marked as safe


def _dash(reason: Any) -> SafeString:
    return format_html('<span title="{}">–</span>', reason)
