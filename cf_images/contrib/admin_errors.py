"""The admin's form again, with what was typed, when an image fails while the form is saved.

The form was valid, and the transaction is rolled back: the same request is handled once more, now with forms
that carry the error, so that Django shows them as any other invalid form.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import FileField
from django.http import HttpRequest, HttpResponseBase

from cf_images import error_messages
from cf_images.exceptions import CloudflareImagesError

logger = logging.getLogger(__name__)

_ATTRIBUTE = "cf_images_form_error"  # of the request


@dataclass(frozen=True, slots=True, kw_only=True)
class FormError:
    """A message for one form of the page; ``field`` is ``None`` where it is not about a field of the form."""

    message: str
    prefix: str | None = None  # of the form; the main form of a page has none
    field: str | None = None


class FormErrorMixin:
    """A model form that is invalid because of what happened when it was saved."""

    saving_error: FormError
    prefix: str | None
    fields: dict[str, Any]

    def clean(self) -> Any:
        """Add the error to this form's own."""
        cleaned = super().clean()  # type: ignore[misc]  # of a form
        if self.prefix == self.saving_error.prefix:
            self.add_error(self.saving_error.field, self.saving_error.message)  # type: ignore[attr-defined]
        return cleaned


def showing_errors(view: Callable[[], HttpResponseBase], request: HttpRequest) -> HttpResponseBase:
    """Return the view's response; where an image fails while it saves, that of the form with the error."""
    try:
        return view()
    except CloudflareImagesError as error:
        found = getattr(error, _ATTRIBUTE, None)
        if found is None or request.method != "POST":
            raise
        error_messages.log(logger, error, request=request)
        setattr(request, _ATTRIBUTE, found)
    _rewind(request)
    return view()


@contextmanager
def in_transaction(using: str) -> Iterator[None]:
    """Note on an error of no known form that it is shown above the main one.

    Not on one after the commit, in a project's ``on_commit()``: the rows are saved, and no form says so.
    """
    with transaction.atomic(using=using):
        try:
            yield
        except CloudflareImagesError as error:
            if not hasattr(error, _ATTRIBUTE):
                setattr(error, _ATTRIBUTE, FormError(message=error_messages.message(error)))
            raise


@contextmanager
def locating(forms: Iterable[Any]) -> Iterator[None]:
    """Note on an error which of ``forms`` was being saved: the first whose file is not stored yet."""
    try:
        yield
    except CloudflareImagesError as error:
        text = error_messages.message(error)
        found = next((FormError(message=text, **place) for form in forms for place in _unsaved(form)), None)
        if found and not hasattr(error, _ATTRIBUTE):
            setattr(error, _ATTRIBUTE, found)
        raise


def with_error(form: Any, request: HttpRequest) -> Any:
    """Return the form class, with the error of this request if there is one."""
    error = getattr(request, _ATTRIBUTE, None)
    if error is None:
        return form
    return type(form)(form.__name__, (FormErrorMixin, form), {"saving_error": error})


def formset_with_error(formset: Any, request: HttpRequest) -> Any:
    """Return the formset class, with the error of this request in its forms if there is one."""
    if getattr(request, _ATTRIBUTE, None) is None:
        return formset
    return type(formset.__name__, (formset,), {"form": with_error(formset.form, request)})


def _unsaved(form: Any) -> Iterator[dict[str, Any]]:
    for field in form.instance._meta.concrete_fields:
        file = getattr(form.instance, field.attname) if isinstance(field, FileField) else None
        if file and not getattr(file, "_committed", True):
            yield {"prefix": form.prefix, "field": field.name if field.name in form.fields else None}


def _rewind(request: HttpRequest) -> None:
    for _, files in request.FILES.lists():
        for file in files:
            if not file.closed:  # a storage may have taken it; the validator says so then
                file.seek(0)
