"""The pages about people. There is no login, as the site listens on 127.0.0.1 only."""

from __future__ import annotations

import random

from django import forms
from django.contrib import messages
from django.db.models.fields.files import FieldFile
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from cf_images.background import upload_from_url
from cf_images.models import Upload
from demo import samples
from profiles.forms import FileForm, PersonForm, URLForm
from profiles.models import Profile

NO_FILE = {"image": None}  # the current picture does not count as a chosen file


def people(request: HttpRequest) -> HttpResponse:
    """List all people, and add one."""
    form = PersonForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        person = form.save()
        messages.success(request, f"{person} was added.")
        return redirect(person)
    return render(request, "profiles/people.html", {"people": Profile.objects.all(), "form": form})


def profile(request: HttpRequest, pk: int) -> HttpResponse:
    """Show a person: the picture in many variants, and two forms to change it."""
    return _page(request, get_object_or_404(Profile, pk=pk))


@require_POST
def upload_file(request: HttpRequest, pk: int) -> HttpResponse:
    """Change the picture to an uploaded file."""
    person = get_object_or_404(Profile, pk=pk)
    form = FileForm(request.POST, request.FILES, instance=person, initial=NO_FILE)
    if not form.is_valid():
        person.refresh_from_db()  # the form has assigned the invalid file
        return _invalid(request, person, file_form=form)
    form.save()
    messages.success(request, "The picture was saved.")
    return redirect(person)


@require_POST
def upload_url(request: HttpRequest, pk: int) -> HttpResponse:
    """Change the picture to one that Cloudflare fetches in the background."""
    person = get_object_or_404(Profile, pk=pk)
    form = URLForm(request.POST)
    if not form.is_valid():
        return _invalid(request, person, url_form=form)
    person.image = upload_from_url(form.cleaned_data["url"], upload_to="avatars/")
    person.save()  # the name is final; the bytes follow
    messages.success(request, "The picture is being fetched. This page shows it as soon as it is stored.")
    return redirect(person)


def state(request: HttpRequest, name: str) -> HttpResponse:
    """Show the state of an upload; pages request this until it is stored or rejected."""
    return render(request, "state.html", {"name": name, "upload": unfinished_upload(name)})


def unfinished_upload(image: FieldFile | str) -> Upload | None:
    """Return the upload of an image that is pending or was rejected, ``None`` once it is stored."""
    return Upload.objects.filter(name=str(image)).exclude(state="stored").first()


def _invalid(request: HttpRequest, person: Profile, **form: forms.BaseForm) -> HttpResponse:
    """Show the page again, with the errors also at its top: the forms are far below."""
    (bound,) = form.values()
    reasons = [reason for field in bound.errors.values() for reason in field]
    messages.error(request, f"The picture was not saved. {' '.join(reasons)}")
    return _page(request, person, **form)


def _page(request: HttpRequest, person: Profile, **bound: forms.BaseForm) -> HttpResponse:
    urls = [request.build_absolute_uri(path) for path in samples.paths()]
    context = {
        "profile": person,
        "upload": unfinished_upload(person.image),
        "samples": urls,
        "file_form": FileForm(instance=person, initial=NO_FILE),
        "url_form": URLForm(initial={"url": random.choice(urls or [""])}),  # noqa: S311 - no secret
        **bound,
    }
    return render(request, "profiles/profile.html", context)
