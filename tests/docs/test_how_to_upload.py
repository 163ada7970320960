"""The guides that upload images: their examples run, and do what the pages say."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Permission
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import transaction
from django.test import AsyncRequestFactory, RequestFactory
from rest_framework.test import APIClient

from cf_images import client
from cf_images.background import process
from cf_images.models import Upload
from cf_images.signals import image_rejected, image_stored
from tests.app.models import Photo, Profile
from tests.browser import conftest as browser
from tests.browser.conftest import Visitor
from tests.conftest import point_at
from tests.docs import how_to
from tests.docs.pages import block, blocks, run_all
from tests.pictures import picture
from tests.test_validators import SVG
from tests.views import test_upload_by_url as by_url

pytestmark = pytest.mark.django_db

shop, visitor, source = how_to.shop, browser.visitor, by_url.source
PNG = picture()


@pytest.fixture
def profile(cloudflare: Any) -> Profile:
    """A row with an image."""
    return Profile.objects.create(image=ContentFile(PNG, name="jane.png"))


@pytest.fixture
def background(settings: Any, cloudflare: Any) -> Any:
    """The storage saves in the background, and a test says when a worker runs."""
    point_at(settings, cloudflare, background=True, queue="none")
    return cloudflare


def upload(name: str, body: bytes) -> SimpleUploadedFile:
    return SimpleUploadedFile(name, body, "image/png")


# forms.md


def test_the_forms_of_the_guide_refuse_with_the_reason(shop: Any) -> None:
    run_all("how-to/forms.md", shop)
    for form, field in (("UploadForm", "picture"), ("ProfileForm", "image")):
        bound = shop[form]({}, {field: upload("a.tiff", picture("TIFF"))})
        assert "TIFF" in bound.errors[field][0]
    assert shop["LogoForm"]({}, {"logo": upload("logo.svg", SVG)}).is_valid()
    assert not shop["UploadForm"]({}, {"picture": upload("logo.svg", SVG)}).is_valid()
    cover = {"cover": upload("cover.png", picture(size=(799, 600)))}
    assert "at least 800" in shop["CoverForm"]({}, cover).errors["cover"][0]
    assert shop["CoverForm"]({}, {"cover": upload("c.png", picture(size=(800, 600)))}).is_valid()


def test_the_view_of_the_guide_catches_what_fails_after_the_form(shop: Any, cloudflare: Any) -> None:
    example = block("how-to/forms.md", "# shop/views.py")
    example.run(shop)
    request, new = RequestFactory().post("/"), Profile(image=ContentFile(b"no image", name="a.png"))
    assert shop["save_profile"](request, new).status_code == 400
    new.image = ContentFile(PNG, name="a.png")
    assert shop["save_profile"](request, new).status_code == 200


def test_the_middleware_of_the_guide_is_there(shop: Any, settings: Any) -> None:
    for example in blocks("how-to/forms.md", "python"):
        if example.text.startswith("# settings.py\nMIDDLEWARE"):
            example.run(shop)
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, *how_to.without_ellipsis(shop["MIDDLEWARE"])]
    assert APIClient().get("/cf-images/local/public/a.png").status_code == 404, "it loads"


def test_photos_that_are_too_large_are_reduced(shop: Any, settings: Any, images: Any) -> None:
    for example in blocks("how-to/forms.md", "python"):
        if example.text.startswith("# settings.py\nCF_IMAGES"):
            example.run(shop)
    settings.CF_IMAGES = {**settings.CF_IMAGES, **shop["CF_IMAGES"]}
    name = images.save("wide.png", ContentFile(picture(size=(12_100, 10))))
    with images.open(name) as file:
        assert file.read(24)[16:20] == (12_000).to_bytes(4, "big")


# replace.md


def test_a_replaced_picture_goes_with_the_commit(
    shop: Any, profile: Profile, cloudflare: Any, django_capture_on_commit_callbacks: Any
) -> None:
    page, old = "how-to/replace.md", profile.image.name
    at_once = "profile.image = profile.image.storage.replace(profile.image.name, new_file)"
    for beginning in (at_once, "from django.db import transaction"):
        with django_capture_on_commit_callbacks(execute=True):
            block(page, beginning).run({**shop, "profile": profile, "new_file": ContentFile(picture(seed=2))})
            assert old in cloudflare.images
        assert list(cloudflare.images) == [Profile.objects.get().image.name] != [old]
        old = profile.image.name


def test_a_deleted_picture_goes(
    shop: Any, profile: Profile, cloudflare: Any, django_capture_on_commit_callbacks: Any
) -> None:
    block("how-to/replace.md", "profile.image.delete()").run({**shop, "profile": profile})
    assert not cloudflare.images
    assert Profile.objects.get().image == ""
    profile.image.save("joe.png", ContentFile(PNG))
    with django_capture_on_commit_callbacks(execute=True):
        names = {**shop, "profile": profile, "transaction": transaction}
        block("how-to/replace.md", "from functools import partial").run(names)
        assert cloudflare.images, "not before the commit"
    assert not cloudflare.images


def test_the_clean_up_app_of_the_guide_is_the_one_of_the_tests(shop: Any, settings: Any) -> None:
    block("how-to/replace.md", "# settings.py\n").run(shop)
    (app,) = how_to.without_ellipsis(shop["INSTALLED_APPS"])
    assert app.rpartition(".")[0] in " ".join(settings.INSTALLED_APPS)


# upload-from-code.md


@contextlib.contextmanager
def receivers_of(namespace: dict[str, Any]) -> Iterator[None]:
    """Run the receivers of an example, and disconnect them in the end."""
    block("how-to/upload-from-code.md", "# shop/receivers.py").run(namespace)
    try:
        yield
    finally:
        assert image_stored.disconnect(namespace["fill_dimensions"])
        assert image_rejected.disconnect(namespace["hide"])


@pytest.mark.django_db(transaction=True)
def test_code_uploads_files_and_urls_in_the_background(
    shop: Any, background: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, row = "how-to/upload-from-code.md", Profile()
    monkeypatch.chdir(tmp_path)
    for number in range(2):
        Path(f"{number}.jpg").write_bytes(picture("JPEG", (90, 60), seed=number))
    Path("0.jpg").rename("jane.jpg")
    names = {**shop, "profile": row, "data": PNG}
    block(page, "from django.core.files.base import ContentFile").run(names)
    assert Profile.objects.get().image.name.startswith("avatars/jane-")
    block(page, "from cf_images.background import upload_from_file, upload_from_url").run(names)
    assert Upload.objects.count() == 3
    by_url = Upload.objects.exclude(source_url="").get()
    assert by_url.source_url == "https://example.com/jane.jpg"
    refused = Photo.objects.create(file=by_url.name, width=1, height=1)
    with receivers_of(names):
        block(page, "from pathlib import Path").run(names)
        names["add_photos"](tmp_path)
        assert not background.images
        while process():
            pass
    added = Photo.objects.exclude(pk=refused.pk)
    assert sorted(added.values_list("width", "height")) == [(90, 60), (90, 60)]
    assert len(background.images) == 4
    assert any(image.metadata.get("source") == "import" for image in background.images.values())
    refused.refresh_from_db()
    assert refused.file == "", "the emulator cannot fetch it"


# upload-by-url.md


def test_the_view_fetches_a_url_for_a_row(
    shop: Any, profile: Profile, settings: Any, cloudflare: Any, admin_client: Any, source: str
) -> None:
    run_all("how-to/upload-by-url.md", {**shop, "profile": profile, "image_id": profile.image.name})
    own = {"UPLOAD_URL_SCHEMES": ["http"], "UPLOAD_URL_LOCAL_HOSTS": ["127.0.0.1"]}
    settings.CF_IMAGES = {**settings.CF_IMAGES, **own}
    response = admin_client.post("/cf-images/upload-by-url/", {"image_url": f"{source}/jane.png"})
    assert response.status_code == 200, response.content
    names = {**shop, "profile": profile, "image_id": response.json()["image_id"]}
    block("how-to/upload-by-url.md", "profile.image = image_id").run(names)
    assert Profile.objects.get().image.name in cloudflare.images
    assert cloudflare.images[response.json()["image_id"]].body


# client.md


def test_the_client_does_what_the_guide_shows(
    cloudflare: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("jane.jpg").write_bytes(picture("JPEG"))
    at_emulator = partial(client.CloudflareImagesClient, api_url=cloudflare.api_url)
    monkeypatch.setattr(client, "CloudflareImagesClient", at_emulator)
    known = {"account_id": cloudflare.account_id, "api_token": cloudflare.api_token}
    run_all("how-to/client.md", known)
    assert list(cloudflare.images) == ["people/jane.jpg"]
    assert Path("copy.jpg").read_bytes() == Path("jane.jpg").read_bytes()
    assert "1 of " in capsys.readouterr().out
    assert known["large"] == []
    assert known["details"] is None


def test_every_method_of_the_client_is_in_the_guide() -> None:
    page = (how_to.pages.DOCS / "how-to/client.md").read_text(encoding="utf-8")
    methods = {name for name in dir(client.CloudflareImagesClient) if not name.startswith("_")}
    assert {name for name in methods if f"`{name}`" not in page} == set()


# async.md


@pytest.mark.django_db(transaction=True)
def test_async_code_shows_and_saves(shop: Any, settings: Any, background: Any) -> None:
    run_all("how-to/async.md", shop)
    page = "{% load cf_images %}{% for p in profiles %}{% cf_image p.image 'avatar' alt='' %}{% endfor %}"
    loader = ("django.template.loaders.locmem.Loader", {"shop/profiles.html": page})
    options = {"loaders": [loader], "libraries": {}}
    backend = "django.template.backends.django.DjangoTemplates"
    settings.TEMPLATES = [{"BACKEND": backend, "OPTIONS": options}]
    row = async_to_sync(shop["add_profile"])(PNG)
    name = async_to_sync(shop["add_by_url"])("https://example.com/jane.jpg")
    assert name.startswith("avatars/jane-")
    assert async_to_sync(shop["size_of"])(row) == len(PNG)
    response = async_to_sync(shop["profiles"])(AsyncRequestFactory().get("/"))
    assert "/cf-images/pending/avatar/avatars/jane-" in response.content.decode()
    while process():
        pass
    (details,) = asyncio.run(shop["details_of"]([row.image.name]))
    assert details.id == row.image.name


# browser-uploads.md


def test_the_settings_of_the_guide_are_complete(shop: Any, settings: Any) -> None:
    page = "how-to/browser-uploads.md"
    block(page, "# settings.py\n").run(shop)
    block(page, "# urls.py\n").run(shop)
    own = [found for found in shop["MIDDLEWARE"] if found is not ... and found not in settings.MIDDLEWARE]
    assert own == []
    assert shop["urlpatterns"][1].url_patterns
    settings.CF_IMAGES = {**settings.CF_IMAGES, **shop["CF_IMAGES"]}
    call_command("check", fail_level="ERROR")
    settings.MIDDLEWARE = settings.MIDDLEWARE[:-1]
    with pytest.raises(SystemCheckError, match="E036"):
        call_command("check", fail_level="ERROR")


def test_the_view_of_the_guide_saves_the_uploads_of_a_browser(
    shop: Any, visitor: Visitor, cloudflare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = "how-to/browser-uploads.md"
    block(page, "# shop/forms.py").run(shop)
    monkeypatch.setitem(sys.modules, "shop.forms", SimpleNamespace(GalleryForm=shop.pop("GalleryForm")))
    block(page, "# shop/views.py").run(shop)
    with visitor.page():
        bound: Any = shop["GalleryForm"]()["images"]
        (template,) = how_to.templates(page)
        html = how_to.render(template, form=shop["GalleryForm"]())
        assert "cf-image-upload" in html
        assert "upload.js" in html
        target = bound.field._target
        values = [
            visitor.upload(picture("JPEG", seed=seed), target=target, filename="a.jpg", type="image/jpeg")
            for seed in range(2)
        ]
        request = RequestFactory().post("/", {"images-upload": values})
        assert shop["add_photos"](request).status_code == 302
    assert Photo.objects.count() == len(cloudflare.images) == 2
    with visitor.page():
        form = shop["ProfileForm"]({"image-upload": ""}, {"image": upload("jane.png", PNG)})
        assert form.is_valid(), form.errors
        assert type(form.fields["image"]).__name__ == "DirectImageField"


def test_the_function_of_the_guide_decides_who_may_upload(
    shop: Any, visitor: Visitor, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = "how-to/browser-uploads.md"
    block(page, "# shop/uploads.py").run(shop)
    block(page, "# settings.py, with such a function").run(shop)
    decide: Callable[..., bool] = shop["may_upload"]
    settings.CF_IMAGES = {**settings.CF_IMAGES, "DIRECT_UPLOADS_ALLOWED": decide}
    assert shop["CF_IMAGES"]["DIRECT_UPLOADS_ALLOWED"] == "shop.uploads.may_upload"
    assert visitor.reserve().status_code == 403
    assert visitor.user
    visitor.user.is_staff = True
    visitor.user.save()
    assert visitor.reserve().status_code == 201


def test_an_app_uploads_without_forms(
    shop: Any, visitor: Visitor, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    block("how-to/browser-uploads.md", "# shop/api.py").run(shop)
    assert visitor.user
    visitor.user.user_permissions.add(Permission.objects.get(codename="add_photo"))
    app = APIClient()
    app.force_authenticate(visitor.user)
    given = {"field": "app.Photo.file", "filename": "cat.png", "size": len(PNG), "type": "image/png"}
    how_to.serve(settings, monkeypatch, *shop["urlpatterns"])
    reserved = app.post("/api/uploads/", given, format="json").json()
    assert visitor.send(reserved["upload_url"], PNG).status_code == 200
    asked = app.post("/api/uploads/status/", {"value": reserved["value"]}, format="json")
    assert asked.json()["state"] == "uploaded"
    discarded = app.post("/api/uploads/discard/", {"value": reserved["value"]}, format="json")
    assert discarded.status_code == 204
    request = visitor.request
    visitor_value = visitor.upload()
    serializer = shop["PhotoSerializer"](data={"file": visitor_value}, context={"request": request})
    assert serializer.is_valid(), serializer.errors
    assert "cat~~" in serializer.save().file.name


@pytest.mark.parametrize("path", ["", "status/", "discard/"])
def test_the_requests_in_the_table_exist(visitor: Visitor, path: str) -> None:
    page = (how_to.pages.DOCS / "how-to/browser-uploads.md").read_text(encoding="utf-8")
    assert f"`POST /cf-images/reservations/{path}`" in page
    response = visitor.client.post(
        f"/cf-images/reservations/{path}", json.dumps({}), content_type="application/json"
    )
    assert response.status_code in (200, 204, 400, 403)
