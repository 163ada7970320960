"""The guides that show images: their examples run, and do what the pages say."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.contrib.admin import AdminSite
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test.utils import isolate_apps
from django.urls import path, reverse
from django.utils.module_loading import import_string
from PIL import Image

from cf_images import image_fields
from cf_images.exceptions import CloudflareUnavailableError, InvalidVariantError
from cf_images.variants import FlexibleVariant
from tests.app.models import Album, Page, Photo, Profile
from tests.docs import how_to
from tests.docs.how_to import commands, render, run_command, templates
from tests.docs.pages import DOCS, block, blocks, run_all
from tests.pictures import picture
from tests.test_validators import SVG

pytestmark = pytest.mark.django_db

shop = how_to.shop
PNG = picture(size=(1600, 1200))


@pytest.fixture
def profile(cloudflare: Any) -> Profile:
    """A row with a large image."""
    return Profile.objects.create(image=ContentFile(PNG, name="jane.png"))


@pytest.fixture
def photo(cloudflare: Any) -> Photo:
    """A row whose dimensions are known."""
    return Photo.objects.create(file=ContentFile(PNG, name="harbor.png"))


def declare(settings: Any, given: dict[str, Any]) -> None:
    """Add to ``CF_IMAGES`` what an example has."""
    settings.CF_IMAGES = {**settings.CF_IMAGES, **given}


def size_at(url: str) -> tuple[int, int]:
    """Return the size of what a browser gets."""
    response = httpx.get(url)
    assert response.status_code == 200, response.text
    return Image.open(io.BytesIO(response.content)).size


# variants.md


def test_the_shortest_way_to_a_variant_shows_it(
    shop: Any, settings: Any, profile: Profile, cloudflare: Any
) -> None:
    run_all("how-to/variants.md", {**shop, "profile": profile})
    block("how-to/variants.md", "# settings.py\n").run(shop)
    declare(settings, shop["CF_IMAGES"])
    cloudflare.app.state.delete_variant("avatar")
    first, *others = commands("how-to/variants.md")
    assert first == ["variants", "--apply"]
    assert run_command(first)[0] == 0
    html = render(templates("how-to/variants.md")[0], profile=profile)
    assert size_at(re.findall('src="(.*?)"', html)[0]) == (240, 240)
    assert size_at(profile.image.url)[0] <= 1366
    for arguments in others:
        assert run_command([*arguments, "--noinput"])[0] == 0


def test_each_form_in_the_table_of_variants_gives_what_it_says(profile: Profile) -> None:
    page = (DOCS / "how-to/variants.md").read_text(encoding="utf-8")
    table = page.partition("## What you can write")[2].partition("\n- ")[0]
    forms = [form.replace(r"\|", "|") for form in re.findall(r"^\| `(\{\{.*?\}\})` \|", table, re.M)]
    row = Profile.objects.values("image").get()
    found = [
        render("{% load cf_images %}" + form, profile=profile, url=profile.image.url, row=row)
        for form in forms
    ]
    assert [url.rpartition("/")[2] for url in found] == [
        "public",
        "avatar",
        "w=200,fit=cover,h=200",
        "avatar",
        "avatar",
    ]


def test_the_flexible_variant_of_the_guide_has_the_text_that_it_shows(shop: Any, profile: Profile) -> None:
    example = block("how-to/variants.md", "from cf_images.variants import FlexibleVariant")
    example.run({**shop, "profile": profile})
    names: dict[str, Any] = {**shop, "profile": profile}
    example.run(names)
    assert f'"{names["small"]}"' in example.text
    assert str(FlexibleVariant.of(w="200", h=200, f="webp")) == "w=200,h=200,f=webp"


def test_a_local_image_has_the_same_variants(settings: Any, tmp_path: Path) -> None:
    """What variants.md says of staging servers: originals, unless the setting asks for variants."""
    settings.MEDIA_ROOT = tmp_path
    storage: Any = storages["default"]
    name = storage.save("a.png", ContentFile(PNG))
    assert storage.url(name, "avatar") == f"/media/{name}"
    names: dict[str, Any] = {"CF_IMAGES": dict(settings.CF_IMAGES)}
    block("how-to/variants.md", "# settings.py, for a server with local images").run(names)
    settings.CF_IMAGES = names["CF_IMAGES"]
    assert storage.url(name, "avatar") == f"/cf-images/local/avatar/{name}"


# responsive.md


def test_each_tag_of_the_guide_gives_an_image_whose_urls_work(
    shop: Any, settings: Any, profile: Profile, photo: Photo, cloudflare: Any
) -> None:
    namespace = {**shop, "profile": profile, "photo": photo}
    run_all("how-to/responsive.md", namespace)
    declare(settings, {"VARIANTS": {**settings.CF_IMAGES["VARIANTS"], **namespace["CF_IMAGES"]["VARIANTS"]}})
    assert run_command(["variants", "--apply"])[0] == 0
    tags = [
        f"{{% load cf_images %}}{line}"
        for template in templates("how-to/responsive.md")
        for line in template.splitlines()
        if line.startswith("{% cf_image")
    ]
    html = [render(tag, profile=profile, photo=photo) for tag in tags]
    assert len(html) == 5
    for each in html:
        assert each.startswith("<img ")
        assert size_at(re.findall(r'\bsrc="(.*?)"', each)[0])
    assert re.findall(r" (\d+)w", html[0]) == re.findall(r" (\d+)w", html[1]) == ["320", "640", "1280"]
    assert 'width="640" height="480"' in html[0]
    assert 'loading="lazy" decoding="async"' in html[0]
    assert " 2x" in html[4]


def test_the_picture_of_the_guide_has_a_source_and_an_image(shop: Any, photo: Photo) -> None:
    namespace = {**shop, "photo": photo}
    block("how-to/responsive.md", "from cf_images.markup import").run(namespace)
    example = block("how-to/responsive.md", "from django.utils.html import format_html")
    example.run(namespace)
    html = eval(example.text.partition("\n\n")[2], namespace)
    assert re.fullmatch(r'<picture><source media=".*?" srcset=".*? 1x, .*? 1.87x"><img .*></picture>', html)


# admin.md


def test_the_admin_of_the_guide_shows_thumbnails(
    shop: Any, settings: Any, photo: Photo, admin_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = AdminSite(name="how_to")
    monkeypatch.setattr("django.contrib.admin.sites.site", site)
    run_all("how-to/admin.md", shop)
    album = Album.objects.create(cover=ContentFile(PNG, name="cover.png"))
    Page.objects.create(
        album=album, front=ContentFile(PNG, name="front.png"), back=ContentFile(PNG, name="back.png")
    )
    how_to.serve(settings, monkeypatch, path("how-to/", site.urls))
    html = {
        model: admin_client.get(reverse(f"how_to:app_{model}_changelist")).content.decode()
        for model in ("photo", "album", "page")
    }
    form = admin_client.get(reverse("how_to:app_album_change", args=[album.pk])).content.decode()
    assert re.search(r'<img src="[^"]*/avatar"[^>]*object-fit', html["photo"])
    assert re.search(r'<td class="field-back_cover"><img ', html["page"])
    assert form.count("object-fit:cover") == 3, "the cover, and two images of the inline"


# rest-framework.md


def test_the_serializers_of_the_guide_read_and_write(
    shop: Any, profile: Profile, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    run_all("how-to/rest-framework.md", shop)
    data = shop["ProfileSerializer"](profile).data
    assert list(data["image"]) == ["avatar", "w=800"]
    assert size_at(data["image"]["avatar"]) == (240, 240)
    upload = {"image": SimpleUploadedFile("joe.png", picture(), "image/png")}
    written = shop["ProfileSerializer"](data=upload)
    assert written.is_valid(), written.errors
    assert written.save().image.name.startswith("avatars/joe-")
    for file, errors in ((SVG, 0), (picture("TIFF"), 1)):
        serializer = shop["UploadSerializer"](data={"picture": SimpleUploadedFile("logo.svg", file)})
        assert serializer.is_valid() is (not errors), serializer.errors
    encoded = {"picture": base64.b64encode(picture().ljust(11 * 1024**2, b"\0")).decode()}
    assert not shop["Base64Serializer"](data=encoded).is_valid()


def test_the_exception_handler_of_the_guide_answers_in_words(shop: Any) -> None:
    example = block("how-to/rest-framework.md", "# settings.py\n")
    example.run(shop)
    handle = import_string(shop["REST_FRAMEWORK"]["EXCEPTION_HANDLER"])
    response = handle(CloudflareUnavailableError("secret details"), {})
    assert response.status_code == 502
    assert "secret" not in response.data["detail"]


def test_a_name_that_is_not_declared_is_an_error_in_the_serializers_class(shop: Any) -> None:
    source = block("how-to/rest-framework.md", "# shop/serializers.py").text
    with pytest.raises(InvalidVariantError, match="avatr"):
        exec(source.replace("avatar", "avatr"), shop)


# default-images.md


@isolate_apps("tests.app")
def test_the_default_of_the_guide_is_uploaded_and_shown(
    shop: Any, settings: Any, tmp_path: Path, cloudflare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_all("how-to/default-images.md", shop)
    member = shop["Member"]
    monkeypatch.setattr(image_fields, "apps", member._meta.apps)
    (tmp_path / "defaults").mkdir()
    (tmp_path / "defaults/anon.png").write_bytes(PNG)
    settings.STATICFILES_DIRS = [tmp_path]
    dry, real = commands("how-to/default-images.md")
    assert run_command(dry)[0] == 1
    assert not cloudflare.images
    assert run_command(real)[0] == 0
    assert list(cloudflare.images) == ["defaults/anon.png"]
    html = render("{% load cf_images %}{{ member.image|variant:'avatar' }}", member=member())
    assert size_at(html) == (240, 240)


def test_a_static_image_stands_in_for_an_empty_field(profile: Profile) -> None:
    (template,) = templates("how-to/default-images.md")
    assert 'src="/static/anon.png"' in render(template, profile=Profile())
    assert "/avatar" in render(template, profile=profile)


# index.md


def test_the_index_lists_every_guide_once() -> None:
    text = (DOCS / "how-to/index.md").read_text(encoding="utf-8")
    listed = re.findall(r"^- \[.*?\]\((.*?)\.md\)", text, re.M)
    (toctree,) = blocks("how-to/index.md")
    assert toctree.text.partition(":hidden:")[2].split() == listed
    assert len(listed) == len(set(listed))
    assert {page.stem for page in (DOCS / "how-to").glob("*.md")} - {"index"} <= set(listed)
