"""The examples of the explanations run, and what they say of durations, limits and tables is the code's."""

from __future__ import annotations

import inspect
import re
import time
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import RequestFactory

from cf_images import exceptions
from cf_images.background import outcomes, pending, timing
from cf_images.background.chunks import CHUNK_BYTES
from cf_images.client.responses import Response, error_for
from cf_images.delivery.signing import expiry
from cf_images.images import limits, names
from cf_images.middleware import CloudflareImagesErrorMiddleware
from cf_images.validators import validate_image
from cf_images.views import render_slots
from cf_images.views.pending import pending_image
from tests.app.models import Profile
from tests.conftest import point_at
from tests.docs import pages
from tests.docs.pages import DOCS, block
from tests.pictures import picture

DURABLE, REFUSED = "explanation/durable-uploads.md", "explanation/what-is-refused.md"


def text(page: str) -> str:
    """Return a page as one line."""
    return " ".join((DOCS / page).read_text(encoding="utf-8").split())


# The code of the pages


def test_settings_of_background_mode_are_accepted(settings: Any) -> None:
    found: dict[str, Any] = {}
    block(DURABLE, "# settings.py\nSTORAGES").run(found)
    settings.STORAGES = found["STORAGES"]
    assert storages["cloudflare_images"].options.background  # type: ignore[attr-defined]  # this package's


@pytest.mark.django_db
def test_the_view_that_catches_errors_responds_with_their_status(
    cloudflare: Any, settings: Any, cf_images_storage: Any
) -> None:
    cf_images_storage("cloudflare_images")
    found: dict[str, Any] = {}
    block(DURABLE, "# views.py").run(found)
    statuses = []
    for token in ("wrong", cloudflare.api_token):
        point_at(settings, cloudflare, api_token=token)
        profile = Profile(image=ContentFile(picture(), name="jane.png"))
        statuses.append(found["save_profile"](None, profile).status_code)
    assert statuses == [502, 200]


def test_the_middleware_of_the_page_is_this_packages() -> None:
    found: dict[str, Any] = {}
    block(DURABLE, "# settings.py\nMIDDLEWARE").run(found)
    assert found["MIDDLEWARE"][-1].rpartition(".")[2] == CloudflareImagesErrorMiddleware.__name__


def test_signed_urls_of_the_page_last_as_long_as_it_says(cloudflare: Any, settings: Any) -> None:
    point_at(settings, cloudflare, require_signed_urls=True)
    storage = storages["cloudflare_images"]
    name = storage.save("jane.png", ContentFile(picture()))
    profile = Profile(image=name)
    source = block("explanation/signed-urls.md", "storage = storages").text
    found: dict[str, Any] = {"storages": storages, "profile": profile}
    pages.run_all("explanation/signed-urls.md", found)
    urls = [line.partition("#")[0].strip() for line in source.splitlines() if line.startswith("storage.url")]
    for url, seconds in zip(urls, (3600, 300), strict=True):
        assert "&sig=" in eval(url, found)
        assert seconds <= expiry(seconds, now=1_000_000_001.0) - 1_000_000_001 <= 1.5 * seconds


def test_site_url_makes_pending_urls_absolute(settings: Any) -> None:
    found: dict[str, Any] = {}
    block("explanation/outside-of-a-page.md", "# settings.py").run(found)
    settings.CF_IMAGES = {**settings.CF_IMAGES, **found["CF_IMAGES"], "BACKGROUND": True}
    name = names.unique_name("jane.jpg", seconds=int(time.time()))
    assert storages["cloudflare_images"].url(name).startswith("https://www.example.com/cf-images/pending/")


def test_local_originals_can_be_mounted_behind_a_login(settings: Any) -> None:
    settings.DEBUG = True
    found: dict[str, Any] = {}
    block("explanation/outside-of-a-page.md", "# urls.py").run(found)
    (pattern,) = found["urlpatterns"]
    assert pattern.callback.login_required is False


def test_forms_of_the_page_show_the_reason() -> None:
    found: dict[str, Any] = {"Profile": Profile, "__name__": __name__}
    block(REFUSED, "# forms.py").run(found)
    for form, field in (("UploadForm", "picture"), ("ProfileForm", "image")):
        bound = found[form]({}, {field: SimpleUploadedFile("a.tiff", picture("TIFF"))})
        assert "TIFF" in bound.errors[field][0]


# What the pages say


def test_durations_are_those_of_the_code() -> None:
    page = text(DURABLE)
    assert f"lease* of {timing.LEASE.seconds} seconds" in page
    assert f"deadline of {timing.REQUEST_SECONDS:.0f} seconds" in page
    assert f"after {timing.LEASE.seconds} seconds at most" in page
    assert f"chunks of {CHUNK_BYTES // 1024} KB" in page
    assert f"at most {'five' if timing.NOTIFY_SECONDS == 5 else timing.NOTIFY_SECONDS} seconds" in page
    assert timing.FIRST_PAUSE.seconds == 1
    assert timing.MAX_PAUSE.seconds == 3600
    assert "grow from a second to an hour" in page
    assert timing.BREAKER_FAILURES == 10
    assert "After ten unclear responses in a row" in page
    assert (timing.BREAKER_UNCLEAR.seconds, timing.BREAKER_MAX_UNCLEAR.seconds) == (2, 60)
    assert (timing.BREAKER_MIN_RETRY_AFTER.seconds, timing.BREAKER_MAX_RETRY_AFTER.seconds) == (1, 600)
    assert (timing.BREAKER_RATE_LIMITED.seconds, timing.BREAKER_CREDENTIALS.seconds) == (60, 300)
    assert (timing.SECOND_DELETE.seconds, timing.FETCHED_BY_CLOUDFLARE.seconds) == (300, 120)
    assert timing.ASSUME_PENDING_SECONDS == 300
    assert timing.REFRESH_SECONDS == 10
    assert f"keeps up to {pending.MAX_NAMES} of" in page
    assert outcomes._MAX_UNKNOWN_ERRORS == 5
    assert (render_slots.MAX_SECONDS, render_slots._SLOTS) == (0.3, 2)
    assert render_slots._SHARE < 0.5
    assert timing.CLOCK_SKEW.seconds == 60


def responses() -> list[tuple[str, str]]:
    rows = (DOCS / DURABLE).read_text(encoding="utf-8").partition("| Cloudflare's response |")[2]
    lines = rows.partition("\n\n")[0].splitlines()[2:]
    return [(line.split("|")[1].strip(), line.split("|")[3].strip()) for line in lines]


@pytest.mark.parametrize(("response", "follows"), responses())
def test_what_follows_a_response_is_what_the_code_makes_of_it(response: str, follows: str) -> None:
    kinds = {
        "try again later": (exceptions.CloudflareUnavailableError,),
        "the account is paused for as long": (exceptions.RateLimitedError,),
        "the account is paused for 5 minutes": (exceptions.CredentialsRefusedError,),
        "ask: our token": (exceptions.ImageExistsError,),
        "rejected": (exceptions.ImageRejectedError,),
    }
    expected = next((kind for words, kind in kinds.items() if follows.startswith(words)), None)
    for code in map(int, re.findall(r"\b(\d{3,5})\b", response)):
        if expected and code != 415:
            status, body = (code, b"") if code < 900 else (418, f"ERROR {code}: x".encode())
            error = error_for(Response(status=status, body=body), request="", secrets=[])
            assert isinstance(error, expected), code


def test_limits_are_those_of_the_code() -> None:
    page = text(REFUSED)
    assert f"more than {limits.MAX_BYTES // 1024**2} MB" in page
    assert f"more than {limits.MAX_SIDE:,} pixels on a side" in page
    assert f"more than {limits.MAX_AREA // 10**6} megapixels" in page
    assert validate_image.__module__ in page


def test_lengths_of_names_are_those_of_the_code() -> None:
    page = (DOCS / "explanation/names.md").read_text(encoding="utf-8")
    now, folder = 1_764_000_000, len("photos/")
    public = names.shortest("photos/", seconds=now) - folder
    background = names.shortest("photos/", seconds=now, is_private=True) - folder
    assert public <= 20
    assert f"| public, or private with `background` | {background} |" in page
    private = names.shortest("photos/", seconds=now, is_private=True, has_id=True) - folder
    assert f"| private without `background` | {private} |" in page
    browser = names.shortest_direct("photos/") - folder
    assert f"| public, uploaded by a browser | {browser} |" in page
    assert f"at most {names._STEM_LENGTH} characters" in page


def test_names_of_the_page_are_what_it_says() -> None:
    page = (DOCS / "explanation/names.md").read_text(encoding="utf-8")
    public, direct, background, browser = re.findall(r"^(avatars/\S+\.jpg)", page, re.M)
    assert names.created_at(public) is not None
    assert not names.is_private(public)
    assert names.is_private(direct)
    assert not names.has_id_in_row(direct)
    assert names.is_private(background)
    assert names.has_id_in_row(background)
    assert names.has_id(browser)
    assert not names.is_private(browser)
    assert not names.has_id("photos/holiday~2019.jpg")
    assert names.valid_filename("Straße.jpg") == "Strasse.jpg"


def test_every_error_that_a_page_names_exists() -> None:
    known = {name for name, _ in inspect.getmembers(exceptions, inspect.isclass)}
    known |= {"FileExistsError", "FileNotFoundError", "ValueError"}
    for page in (*(DOCS / "explanation").glob("*.md"), DOCS / "troubleshooting.md", DOCS / "faq.md"):
        assert set(re.findall(r"`(\w+Error)`", page.read_text(encoding="utf-8"))) <= known, page


def test_folders_of_the_architecture_exist() -> None:
    page = (DOCS / "explanation/architecture.md").read_text(encoding="utf-8")
    package = pages.PACKAGE
    listed = re.findall(r"^  (\w+(?:/|\.py)) ", page, re.M)
    assert len(listed) > 10
    assert all((package / path).exists() for path in listed)


def test_a_page_is_served_while_cloudflare_is_down(cloudflare: Any, settings: Any, db: None) -> None:
    """The claim of "What if Cloudflare is down?": save, show, and no request."""
    settings.CF_IMAGES = {**settings.CF_IMAGES, "BACKGROUND": True, "QUEUE": "none"}
    cloudflare.faults.set(rates={"500": 1})
    storage = storages["cloudflare_images"]
    name = storage.save("jane.png", ContentFile(picture()))
    response = pending_image(RequestFactory().get(storage.url(name)), "public", name)
    assert response.status_code == 200
    assert not cloudflare.requests
