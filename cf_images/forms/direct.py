"""Fields whose images go from the browser straight to the storage; without a script, through the form."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.files.storage import storages
from django.db import transaction
from django.db.models import ImageField as ModelImageField
from django.forms.renderers import DjangoTemplates, Jinja2
from django.forms.widgets import FILE_INPUT_CONTRADICTION, Script
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from cf_images import conf, images
from cf_images.background import database
from cf_images.browser import permissions, reservations, signed_values, targets, texts, view_urls
from cf_images.browser.direct_upload import DirectUpload
from cf_images.browser.owners import current_request, owner_of
from cf_images.browser.problems import UploadProblem
from cf_images.browser.targets import Target
from cf_images.forms.fields import ImageField
from cf_images.images import content_type_of, heic

if TYPE_CHECKING:
    _Input = forms.ClearableFileInput
    _Form = forms.BaseForm
else:
    _Input = _Form = object

_NO_REQUEST = (
    "A form cannot tell whose upload it was sent: add cf_images.middleware.DirectUploadsMiddleware to "
    "MIDDLEWARE, after the middleware of authentication."
)


class PostedUpload:
    """What a form was sent for an upload: its value, not verified yet."""

    initial: Any = None  # the field's, which a form with errors shows beside it

    def __init__(self, value: str) -> None:
        self.value = value

    @property
    def filename(self) -> str | None:
        """The name of the file; ``None`` for a value that this site has not made."""
        signed = signed_values.read(self.value)
        return signed.filename if signed else None


# Widgets


class DirectInput(_Input):
    """What turns a widget for files into one for uploads: a hidden input beside the input for a file."""

    template_name = "cf_images/widgets/direct_image_input.html"
    file_input_template = forms.ClearableFileInput.template_name
    is_multiple = False
    # What the field gives to its widget.
    target: Target | None = None
    strip_location = False

    class Media:
        css = {"all": ["cf_images/upload.css"]}
        js = [Script("cf_images/upload.js", type="module")]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.refused: set[str] = set()  # values that this form has refused for good
        super().__init__(*args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        copied = super().__deepcopy__(memo)
        copied.refused = set(self.refused)
        return copied

    def upload_name(self, name: str) -> str:
        """Return the name of the hidden input."""
        return f"{name}-upload"

    def value_from_datadict(self, data: Any, files: Any, name: str) -> Any:
        """Return the file, ``False`` to clear, or else the upload that the form was sent."""
        given = super().value_from_datadict(data, files, name)
        value = data.get(self.upload_name(name))
        if not value or given is FILE_INPUT_CONTRADICTION:
            return given
        if given is False:
            return FILE_INPUT_CONTRADICTION
        return PostedUpload(value) if given is None else given

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        """Return whether the form was sent neither file, upload, nor the wish to clear."""
        return super().value_omitted_from_data(data, files, name) and self.upload_name(name) not in data

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        """Return Django's context with what the element needs."""
        posted, initial = _posted(value)
        uploads = [_upload(each) for each in posted if each.value not in self.refused and each.filename]
        context = super().get_context(name, initial, attrs)
        widget: dict[str, Any] = context["widget"]
        if uploads:
            widget["attrs"].pop("required", None)
        widget["upload_name"] = self.upload_name(name)
        widget["uploads"] = uploads
        widget["is_multiple"] = self.is_multiple
        widget["element"] = self._element()
        widget["file_input_template"] = self.file_input_template
        return context

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        """Render the template, which is one of Django's also where the site's forms have Jinja2."""
        if isinstance(renderer, Jinja2):
            renderer = DjangoTemplates()
        return super().render(name, value, attrs, renderer)

    def _element(self) -> dict[str, Any] | None:
        """Return the attributes of the element; ``None`` where this visitor's files go through the form."""
        request, target = current_request(), self.target
        if request is None or target is None or not view_urls.are_mounted():
            return None
        if not permissions.may_upload(request, target.label, is_rendered=True):
            return None
        owner = owner_of(request, create=True)
        if owner is None:
            return None
        header = str(conf.project_setting("CSRF_HEADER_NAME")).removeprefix("HTTP_").replace("_", "-")
        return {
            "reserve": reverse("cf_images:reservations"),
            "status": reverse("cf_images:reservation_status"),
            "discard": reverse("cf_images:reservation_discard"),
            "field": target.sign(owner),
            "max_bytes": images.MAX_BYTES,
            "max_side": images.MAX_SIDE,
            "max_area": images.MAX_AREA,
            "accept": _accept(target.formats),
            "csrf_header": header,
            "multiple": self.is_multiple,
            "strip_location": self.strip_location,
            "texts": json.dumps(texts.texts()),
        }


class DirectImageInput(DirectInput, forms.ClearableFileInput):
    """Django's ``ClearableFileInput`` for an image that goes from the browser straight to its storage."""


class DirectImagesInput(DirectInput, forms.ClearableFileInput):
    """The same for many images, in an order that the visitor chooses."""

    file_input_template = forms.FileInput.template_name
    allow_multiple_selected = True
    is_multiple = True

    def value_from_datadict(self, data: Any, files: Any, name: str) -> Any:
        """Return a list of the uploads and of the files that the form was sent; ``None`` without any."""
        values = dict.fromkeys(filter(None, _all(data, self.upload_name(name))))
        return [*map(PostedUpload, values), *_all(files, name)] or None


def _posted(value: Any) -> tuple[list[PostedUpload], Any]:
    """Return the uploads in the value of a bound field, and its initial value."""
    if isinstance(value, PostedUpload):
        return [value], value.initial
    if isinstance(value, list):
        return [each for each in value if isinstance(each, PostedUpload)], None
    return [], value


def _upload(posted: PostedUpload) -> dict[str, Any]:
    url = view_urls.preview_url(posted.value) if view_urls.are_mounted() else ""
    return {"value": posted.value, "filename": posted.filename, "preview_url": url}


def _all(data: Any, name: str) -> list[Any]:
    if hasattr(data, "getlist"):
        return list(data.getlist(name))
    value = data.get(name)
    return value if isinstance(value, list) else [value] if value else []


def _accept(formats: Iterable[str]) -> str:
    return ",".join(map(content_type_of, formats))


# Fields


class DirectImageField(ImageField):
    """An image that the browser uploads straight to its storage; else ``cf_images.forms.ImageField``.

    In a ``ModelForm``, the storage is that of the model's field of the same name; otherwise ``storage`` is
    its alias, by default that of ``select_storage``. ``formats`` limits what is accepted, such as
    ``["jpeg"]``. With ``strip_location`` the page removes where a photo was taken.

    The cleaned value of such an upload is a ``DirectUpload``, verified by the server. Saving it in a model's
    field takes no request.
    """

    widget: Any = DirectImageInput

    def __init__(
        self,
        *,
        storage: str | None = None,
        formats: Iterable[str] | None = None,
        strip_location: bool = False,
        **kwargs: Any,
    ) -> None:
        self._alias = storage
        self._formats = None if formats is None else tuple(formats)
        self._target: Target | None = None
        self._model_field: ModelImageField | None = None
        super().__init__(**kwargs)
        self.widget.strip_location = strip_location

    @classmethod
    def like(cls, field: forms.ImageField, **kwargs: Any) -> DirectImageField:
        """Return a field that is like a form's ``ImageField`` in every other respect."""
        kwargs.setdefault("widget", DirectImageInput(attrs=field.widget.attrs))
        found = cls(
            required=field.required,
            label=field.label,
            help_text=field.help_text,
            initial=field.initial,
            disabled=field.disabled,
            max_length=field.max_length,
            allow_empty_file=field.allow_empty_file,
            label_suffix=field.label_suffix,
            allow_svg=getattr(field, "allow_svg", False),
            **kwargs,
        )
        found.error_messages.update(field.error_messages)
        found.validators = list(dict.fromkeys([*found.validators, *field.validators]))
        return found

    def widget_attrs(self, widget: forms.Widget) -> dict[str, Any]:
        """Return the attributes of the input: what may be chosen."""
        attrs = super().widget_attrs(widget)
        if self._formats is not None and "accept" in attrs:
            attrs["accept"] = _accept(self._formats)
        return attrs

    def get_bound_field(self, form: Any, field_name: str) -> Any:
        """Learn for which field of which form the uploads are."""
        self._model_field = _model_field(form, field_name)
        self._target = self.widget.target = self._find_target(form, field_name)
        return super().get_bound_field(form, field_name)

    def bound_data(self, data: Any, initial: Any) -> Any:
        """Return what a form with errors shows: the upload, and the initial value beside it."""
        if not isinstance(data, PostedUpload) or data.value in self.widget.refused:
            return super().bound_data(data, initial)
        data.initial = initial
        return data

    def clean(self, data: Any, initial: Any = None) -> Any:
        """Return the file; of an upload from the browser, what the server has verified, and nothing consumed.

        An upload that is refused is discarded; one that cannot be verified now is kept.
        """
        if not isinstance(data, PostedUpload):
            return super().clean(data, initial)
        request = current_request()
        if request is None:
            raise ImproperlyConfigured(_NO_REQUEST)
        owner = owner_of(request)
        try:
            if self._target is None:
                raise UploadProblem(_("Uploads are not accepted here. Please choose the file again."))
            upload = DirectUpload(reservations.verify(data.value, self._target, owner=owner), data.value)
        except UploadProblem as problem:
            if problem.is_final:
                self._refuse(data.value, owner)
            raise ValidationError(problem.message, code="upload") from None
        try:
            return self._cleaned(upload, initial)
        except ValidationError:
            self._refuse(data.value, owner)
            raise

    def to_python(self, data: Any) -> Any:
        """Return the file; an upload from the browser has been verified."""
        if isinstance(data, DirectUpload):
            return forms.FileField.to_python(self, data)
        return super().to_python(data)

    def _cleaned(self, upload: DirectUpload, initial: Any) -> Any:
        cleaned = super().clean(upload, initial)
        errors: list[ValidationError] = []
        # The model would do it after the form, and could not discard the upload.
        for validate in self._model_field.validators if self._model_field else ():
            try:
                validate(cleaned)
            except ValidationError as error:
                errors.append(error)
        if errors:
            raise ValidationError(errors)
        return cleaned

    def _refuse(self, value: str, owner: str | None) -> None:
        self.widget.refused.add(value)
        reservations.discard_after_commit(value, owner=owner)

    def _find_target(self, form: Any, field_name: str) -> Target | None:
        formats = self._formats or _accepted_formats(allow_svg=self.allow_svg)
        if self._model_field is not None and self._alias is None:
            return targets.of_model_field(self._model_field, formats)
        try:
            storage = storages[self._alias or conf.selected_alias()]
        except ImproperlyConfigured:  # a check reports it
            return None
        alias = targets.alias_of(storage)
        label = f"{type(form).__module__}.{type(form).__qualname__}.{field_name}"
        return Target(label=label, alias=alias, formats=formats) if alias else None


class DirectImagesField(DirectImageField):
    """Many images; the cleaned value is a list of files, in the order that the visitor has chosen."""

    widget: Any = DirectImagesInput

    def __init__(self, *, max_images: int | None = None, **kwargs: Any) -> None:
        self._max_images = max_images
        super().__init__(**kwargs)

    def bound_data(self, data: Any, initial: Any) -> Any:
        """Return the uploads that a form with errors shows."""
        return data if isinstance(data, list) else initial

    def clean(self, data: Any, initial: Any = None) -> Any:  # noqa: ARG002  # Django's signature
        """Return the list; the errors name the files."""
        given = data or []
        if not given and self.required:
            raise ValidationError(self.error_messages["required"], code="required")
        if self._max_images is not None and len(given) > self._max_images:
            problem = ngettext(
                "Choose at most %(count)s image.", "Choose at most %(count)s images.", self._max_images
            )
            raise ValidationError(problem, code="max_images", params={"count": self._max_images})
        cleaned, errors = [], list[ValidationError]()
        for each in given:
            try:
                cleaned.append(super().clean(each, None))
            except ValidationError as error:
                name = (each.filename or "") if isinstance(each, PostedUpload) else each.name
                errors += [_about(name, message) for message in error.messages]
        if errors:
            raise ValidationError(errors)
        return cleaned

    def has_changed(self, initial: Any, data: Any) -> bool:  # noqa: ARG002  # Django's signature
        """Return whether the form was sent images."""
        return not self.disabled and bool(data)


def _about(name: str, problem: str) -> ValidationError:
    return ValidationError(_("%(name)s: %(problem)s"), params={"name": name, "problem": problem})


class DirectUploadsMixin(_Form):
    """A mixin for model forms: each ``ImageField`` becomes a ``DirectImageField``.

    Fields with a widget or class of their own stay as they are.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            is_plain = type(field) in (forms.ImageField, ImageField)
            if is_plain and type(field.widget) is forms.ClearableFileInput and _is_ours(self, name):
                self.fields[name] = DirectImageField.like(field)  # type: ignore[arg-type]  # it is an ImageField

    def save(self, commit: bool = True) -> Any:
        """Save the row and its uploads, both or neither, where both are in one database."""
        save: Callable[..., Any] = super().save  # type: ignore[misc]  # of a model form
        if not commit:
            return save(commit=False)
        with transaction.atomic(using=database()):
            return save()


def _is_ours(form: Any, name: str) -> bool:
    field = _model_field(form, name)
    return field is not None and targets.of_model_field(field) is not None


def _model_field(form: Any, name: str) -> ModelImageField | None:
    model = getattr(getattr(form, "_meta", None), "model", None)
    return targets.model_field(f"{model._meta.label}.{name}") if model else None


def _accepted_formats(*, allow_svg: bool) -> tuple[str, ...]:
    others: list[tuple[str, Callable[[], bool]]] = [("svg", lambda: allow_svg), ("heic", heic.register)]
    return (*targets.FORMATS, *(name for name, is_accepted in others if is_accepted()))
