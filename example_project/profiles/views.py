"""The pages. There is no login, for they are on 127.0.0.1 only: yours have ``@login_required``."""

from __future__ import annotations

import random

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from cf_images.background import upload_from_url
from example_project import stand
from example_project.profiles.forms import FileForm, PersonForm, URLForm
from example_project.profiles.models import Profile


def people(request: HttpRequest) -> HttpResponse:
    """Everybody, and the form for one more."""
    form = PersonForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        person = form.save()
        messages.success(request, f"{person} is here.")
        return redirect(person)
    return render(request, "profiles/people.html", {"people": Profile.objects.all(), "form": form})


def profile(request: HttpRequest, pk: int) -> HttpResponse:
    """One person: the picture in many variants, and two ways to another one."""
    return _page(request, get_object_or_404(Profile, pk=pk))


@require_POST
def upload_file(request: HttpRequest, pk: int) -> HttpResponse:
    """Another picture, by form."""
    person = get_object_or_404(Profile, pk=pk)
    form = FileForm(request.POST, request.FILES, instance=person)
    if not form.is_valid():
        person.refresh_from_db()  # the form has put the refused file into it
        return _refused(request, person, file_form=form)
    form.save()
    messages.success(request, "The picture is saved.")
    return redirect(person)


@require_POST
def upload_url(request: HttpRequest, pk: int) -> HttpResponse:
    """Another picture, which Cloudflare fetches in the background."""
    person = get_object_or_404(Profile, pk=pk)
    form = URLForm(request.POST)
    if not form.is_valid():
        return _refused(request, person, url_form=form)
    person.image = upload_from_url(form.cleaned_data["url"], upload_to="avatars/")
    person.save()  # the name is final; the bytes follow
    messages.success(request, "The picture is being fetched; this page shows it as soon as it is there.")
    return redirect(person)


def state(request: HttpRequest, pk: int) -> HttpResponse:
    """How far the picture has come; the page asks again and again while it waits."""
    person = get_object_or_404(Profile, pk=pk)
    return stand.state(request, person.image)


def _refused(request: HttpRequest, person: Profile, **form: forms.BaseForm) -> HttpResponse:
    """The page again with what is wrong, at its top, too: the forms are far below."""
    (bound,) = form.values()
    reasons = [reason for field in bound.errors.values() for reason in field]
    messages.error(request, f"The picture is not saved. {' '.join(reasons)}")
    return _page(request, person, **form)


def _page(request: HttpRequest, person: Profile, **bound: forms.BaseForm) -> HttpResponse:
    samples = stand.samples(request)
    context = {
        "profile": person,
        "upload": stand.upload_of(person.image),
        "state_url": reverse("state", args=[person.pk]),
        "samples": samples,
        "file_form": FileForm(instance=person),
        "url_form": URLForm(initial={"url": random.choice(samples or [""])}),  # noqa: S311 - any will do
        **bound,
    }
    return render(request, "profiles/profile.html", context)
