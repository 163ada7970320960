"""The guide to private images: its examples run, and only who may see an image sees it."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages

from tests.app.models import Profile
from tests.docs import how_to
from tests.docs.how_to import commands, render, run_command, templates
from tests.docs.pages import block
from tests.pictures import picture

shop = how_to.shop
PAGE = "how-to/private-images.md"
PNG = picture(size=(300, 200))

SETTINGS = """
import os
from pathlib import Path
BASE_DIR = Path(__file__).parent
SECRET_KEY, DEBUG, ROOT_URLCONF, USE_TZ, ALLOWED_HOSTS = "x", True, "urls", True, ["*"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "shop",
                  "cf_images"]
MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware",
              "django.contrib.auth.middleware.AuthenticationMiddleware"]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "DIRS": [BASE_DIR / "templates"]}]
LOGIN_URL = "/login/"
STORAGES = {
    "default": {"BACKEND": "cf_images.storage.LocalImagesStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    "cloudflare_images": {"BACKEND": "cf_images.storage.CloudflareImagesStorage"},
}
CF_IMAGES = {
    "API_URL": os.environ["EMULATOR_API"],
    "DELIVERY_URL": os.environ["EMULATOR_DELIVERY"],
    "VARIANTS": {"page": {"width": 100}},
}
"""
URLS = """
from django.urls import include, path
from shop.views import invoice
urlpatterns = [path("invoices/<int:pk>/", invoice), path("cf-images/", include("cf_images.urls"))]
"""
SCRIPT = """
import json
import django; django.setup()
from pathlib import Path
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.test import Client
from shop.models import Invoice
call_command("makemigrations", "shop", verbosity=0)
call_command("migrate", verbosity=0)
call_command("check", fail_level="WARNING")
call_command("cf_images", "variants", "--apply", verbosity=0)
found = {}
for name in ("jane", "joe"):
    user = User.objects.create_user(name)
    Invoice.objects.create(owner=user, scan=ContentFile(Path("scan.png").read_bytes(), name="scan.png"))
    client = Client()
    client.force_login(user)
    responses = [client.get(f"/invoices/{pk}/") for pk in (1, 2)]
    found[name] = [(response.status_code, response.content.decode()) for response in responses]
found["nobody"] = Client().get("/invoices/1/").status_code
print(json.dumps(found))
"""


def test_only_the_owner_of_a_private_image_gets_its_url(tmp_path: Path, cf_images_emulator: Any) -> None:
    (tmp_path / "scan.png").write_bytes(PNG)
    (tmp_path / "shop/migrations").mkdir(parents=True)
    (tmp_path / "shop/migrations/__init__.py").touch()
    template = next(text for text in templates(PAGE) if "invoice.scan" in text)
    files = {
        "settings.py": SETTINGS + block(PAGE, "# settings.py\nPRIVATE_IMAGES").text,
        "urls.py": URLS,
        "shop/models.py": block(PAGE, "# shop/models.py").text,
        "shop/views.py": block(PAGE, "# shop/views.py").text,
        "templates/shop/invoice.html": template,
    }
    emulator = cf_images_emulator
    printed = how_to.run_project(
        tmp_path,
        files,
        SCRIPT,
        ENV_NAME="production",
        EMULATOR_API=emulator.api_url,
        EMULATOR_DELIVERY=emulator.delivery_url,
        CF_ACCT_ID=emulator.account_id,
        CF_IMG_TOKEN=emulator.api_token,
        CF_IMG_HASH=emulator.account_hash,
        CF_IMG_SIGNING_KEYS=",".join(emulator.signing_keys.values()),
    )
    found = json.loads(printed.splitlines()[-1])
    assert [status for status, _ in found["jane"]] == [200, 404]
    assert [status for status, _ in found["joe"]] == [404, 200]
    assert found["nobody"] == 302
    (src,) = re.findall('src="(.*?)"', found["jane"][0][1])
    url = src.replace("&amp;", "&")
    assert httpx.get(url).status_code == 200
    assert httpx.get(url.partition("?")[0]).status_code == 403
    assert {image.require_signed_urls for image in emulator.images.values()} == {True}


@pytest.fixture
def private(
    shop: dict[str, Any], settings: Any, cloudflare: Any, cf_images_storage: Any, db: None
) -> dict[str, Any]:
    """A profile whose image is private, as the shortest way of the page makes it."""
    shop["STORAGES"] = dict(settings.STORAGES)
    block(PAGE, '# settings.py\nSTORAGES["cloudflare_images"]').run(shop)
    settings.STORAGES = shop["STORAGES"]
    cf_images_storage("cloudflare_images")
    return {**shop, "profile": Profile.objects.create(image=ContentFile(PNG, name="jane.png"))}


def expiry(url: str) -> int:
    return int(parse_qs(urlsplit(url).query)["exp"][0])


def test_the_shortest_way_makes_the_filter_sign(private: dict[str, Any]) -> None:
    url = render("{% load cf_images %}{{ profile.image|variant:'avatar' }}", **private)
    url = url.replace("&amp;", "&")
    assert httpx.get(url).status_code == 200
    assert httpx.get(url.partition("?")[0]).status_code == 403
    assert 3600 <= expiry(url) - time.time() <= 5400


def test_each_lifetime_of_the_guide_is_valid(private: dict[str, Any]) -> None:
    example = block(PAGE, "from datetime import timedelta")
    example.run(private)
    lines = [line.partition("#")[0].strip() for line in example.text.splitlines() if "storage.url(" in line]
    seconds = [expiry(eval(line, private)) - time.time() for line in lines]
    least = [3600, 300, 7 * 24 * 3600]
    assert [found > expected - 5 for found, expected in zip(seconds, least, strict=True)] == [True] * 3


def test_a_teaser_is_for_everyone(private: dict[str, Any], settings: Any) -> None:
    private["CF_IMAGES"] = {**settings.CF_IMAGES, "VARIANTS": dict(settings.CF_IMAGES["VARIANTS"])}
    block(PAGE, "# settings.py, below CF_IMAGES").run(private)
    settings.CF_IMAGES = private["CF_IMAGES"]
    assert run_command(["variants", "--apply"])[0] == 0
    url = render("{% load cf_images %}{{ profile.image|variant:'teaser' }}", **private)
    assert "?" not in url
    assert httpx.get(url).status_code == 200


def test_several_named_variants_are_signed(private: dict[str, Any], settings: Any) -> None:
    sizes = {"small": {"width": 100}, "medium": {"width": 200}, "large": {"width": 400}}
    settings.CF_IMAGES = {**settings.CF_IMAGES, "VARIANTS": sizes}
    template = next(text for text in templates(PAGE) if "small,medium" in text)
    html = render(template, **private)
    assert html.count("sig=") == 4, "src, and three candidates"


@pytest.mark.django_db
def test_a_stored_image_becomes_private(
    shop: Any, settings: Any, cloudflare: Any, cf_images_storage: Any
) -> None:
    row = Profile.objects.create(image=ContentFile(PNG, name="jane.png"))
    backend = {
        "BACKEND": "cf_images.storage.CloudflareImagesStorage",
        "OPTIONS": {"require_signed_urls": True},
    }
    settings.STORAGES = {**settings.STORAGES, "private_images": backend}
    cf_images_storage("private_images")
    example = block(PAGE, "from pathlib import PurePosixPath")
    example.run(shop)
    row, old = Profile.objects.get(), row.image.name
    shop["make_private"](row)
    row = Profile.objects.get()
    ((image_id, image),) = cloudflare.images.items()
    assert image.require_signed_urls
    assert image_id in row.image.name
    assert image.body == PNG
    assert not storages["cloudflare_images"].exists(old)


def test_the_commands_rotate_the_keys(settings: Any, cloudflare: Any, db: None) -> None:
    reveal, listing, rotate, retire = commands(PAGE)
    assert run_command(listing)[1].startswith("default")
    (key,) = cloudflare.signing_keys.values()
    assert key in run_command(reveal)[1]
    assert "Both keys are valid now." in run_command(rotate)[1]
    assert run_command([*retire, "--noinput"], NAME="default")[0] == 0
    assert "default" not in cloudflare.signing_keys
