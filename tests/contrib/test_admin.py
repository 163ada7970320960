"""``ImageAdminMixin`` in the real admin: thumbnails without requests, queries or broken pages."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AdminFileWidget
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile
from django.core.files.storage import InMemoryStorage, storages
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection, models
from django.test.utils import CaptureQueriesContext
from django.urls import path
from django.urls import reverse as reversed_url
from django.utils.safestring import mark_safe

from cf_images.contrib.admin import ImageAdminMixin, ThumbnailFileWidget, thumbnail
from cf_images.models import Upload
from tests.app.models import Album, Page, Profile
from tests.markup.test_markup import HOSTILE, Elements, Plain, on
from tests.pictures import picture
from tests.urls import urlpatterns as project_urls

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]

BASE = "https://imagedelivery.net/test-hash"
site = admin.AdminSite(name="pictures")


class TabularPages(ImageAdminMixin, admin.TabularInline):
    """Two image fields in a table."""

    model = Page
    extra = 1
    readonly_fields = ("thumbnail",)


class StackedPages(ImageAdminMixin, admin.StackedInline):
    """The same one below the other."""

    model = Page
    extra = 1
    thumbnail_variant = "avatar"


@admin.register(Album, site=site)
class AlbumAdmin(ImageAdminMixin, admin.ModelAdmin):
    """A column, a form, and both kinds of inlines."""

    list_display = ("thumbnail", "id")
    inlines = (TabularPages, StackedPages)


@admin.register(Page, site=site)
class PageAdmin(ImageAdminMixin, admin.ModelAdmin):
    """Not the first field, and another variant."""

    list_display = ("thumbnail", "other")
    thumbnail_field = "back"
    thumbnail_variant = "avatar"

    def other(self, page: Page) -> Any:
        """A second column."""
        return thumbnail(page.front, "avatar")


@admin.register(Profile, site=site)
class ProfileAdmin(ImageAdminMixin, admin.ModelAdmin):
    """The README's."""

    list_display = ("thumbnail", "id")
    thumbnail_variant = "avatar"


site.register(
    Upload, type("UploadThumbnails", (ImageAdminMixin, admin.ModelAdmin), {"list_display": ("id",)})
)
urlpatterns = [path("pictures/", site.urls), *project_urls]


def admin_url(model: type[models.Model], view: str = "changelist", *args: Any) -> str:
    return reversed_url(f"pictures:{model._meta.app_label}_{model._meta.model_name}_{view}", args=args)


def images_in(page: str) -> list[dict[str, str | None]]:
    """Return the attributes of all thumbnails of a page."""
    return [
        found
        for tag, found in Elements(page).found
        if tag == "img" and "object-fit" in str(found.get("style"))
    ]


def titles_in(page: str) -> list[str | None]:
    """Return the titles of the dashes, which are reasons."""
    return [found["title"] for tag, found in Elements(page).found if tag == "span" and "title" in found]


@pytest.fixture
def page_of(admin_client: Any) -> Callable[..., str]:
    """Get a page of the admin."""

    def get(model: type[models.Model], view: str = "changelist", *args: Any) -> str:
        response = admin_client.get(admin_url(model, view, *args))
        assert response.status_code == 200
        return str(response.content.decode())

    return get


@pytest.fixture
def admin_client(client: Any) -> Any:
    """A client that is logged in without hashing a password, which takes a second."""
    client.force_login(User.objects.create(username="admin", is_staff=True, is_superuser=True))
    return client


class Failing(InMemoryStorage):
    """A storage whose URLs fail, with a secret in the message."""

    def url(self, name: str | None) -> str:
        raise ConnectionError("token=s3cret")


@pytest.fixture
def field_on(monkeypatch: Any) -> Callable[[Any], None]:
    """Move the image of a profile to another storage."""

    def move(storage: Any) -> None:
        monkeypatch.setattr(Profile._meta.get_field("image"), "storage", storage)

    return move


class TestColumn:
    def test_it_shows_a_small_square_of_the_variant(self, page_of: Any) -> None:
        Profile.objects.create(image="avatars/jane.jpg")
        (image,) = images_in(page_of(Profile))
        assert image["src"] == f"{BASE}/avatars/jane.jpg/avatar"
        assert (image["width"], image["height"], image["loading"]) == ("60", "60", "lazy")
        assert image["alt"] == "jane.jpg"

    def test_the_first_image_field_unless_another_is_named(self, page_of: Any) -> None:
        album = Album.objects.create(cover="cover.jpg")
        Page.objects.create(album=album, front="front.jpg", back="back.jpg")
        assert [image["src"] for image in images_in(page_of(Album))] == [f"{BASE}/cover.jpg/public"]
        assert [image["alt"] for image in images_in(page_of(Page))] == ["back.jpg", "front.jpg"]

    def test_an_empty_field_has_the_empty_value_of_the_admin(self, page_of: Any) -> None:
        Profile.objects.create()
        page = page_of(Profile)
        assert not images_in(page)
        assert '<th class="field-thumbnail"><a href="/pictures/app/profile/' in page
        assert ">-</a></th>" in page

    def test_a_model_without_an_image_is_an_error_with_a_hint(self) -> None:
        bare = type("Bare", (ImageAdminMixin, admin.ModelAdmin), {})(Upload, site)
        with pytest.raises(ImproperlyConfigured, match=r"Bare: cf_images\.Upload .* Set thumbnail_field"):
            bare.thumbnail(Upload())

    @pytest.mark.parametrize("model", [Profile, Page, Album])
    def test_twenty_rows_take_as_many_queries_as_two(self, model: Any, page_of: Any, cloudflare: Any) -> None:
        def queries() -> int:
            with CaptureQueriesContext(connection) as captured:
                assert len(images_in(page_of(model))) >= model.objects.count()
            return len(captured)

        def add(count: int) -> None:
            album = Album.objects.create(cover="a.jpg") if model is Page else None
            names = {Profile: ["image"], Album: ["cover"], Page: ["front", "back"]}[model]
            fixed = {"album": album} if album else {}
            model.objects.bulk_create([model(**fixed, **dict.fromkeys(names, "a.jpg")) for _ in range(count)])

        add(2)
        few = queries()
        add(18)
        assert queries() == few
        assert not cloudflare.requests

    def test_private_images_are_signed(self, page_of: Any, settings: Any) -> None:
        settings.CF_IMAGES = {**settings.CF_IMAGES, "SIGNING_KEYS": ["key"]}
        Profile.objects.create(image="avatars/jane~610a686f-3fa7-46ca-e36d-3c00bd791b00.jpg")
        (image,) = images_in(page_of(Profile))
        assert f"{BASE}/610a686f-3fa7-46ca-e36d-3c00bd791b00/avatar?exp=" in str(image["src"])

    @pytest.mark.parametrize("private", [False, True])
    def test_pending_images_come_from_the_view_and_cost_no_query_each(
        self, private: bool, page_of: Any, settings: Any, cloudflare: Any, admin_client: Any
    ) -> None:
        options = {
            "BACKGROUND": True,
            "QUEUE": "none",
            "REQUIRE_SIGNED_URLS": private,
            "SIGNING_KEYS": ["key"],
        }
        settings.CF_IMAGES = {**settings.CF_IMAGES, **options}
        counts = []
        for count in (2, 18):
            for _ in range(count):
                Profile.objects.create(image=ContentFile(picture(), name="jane.png"))
            page_of(Profile)  # what is pending is remembered for a while
            with CaptureQueriesContext(connection) as captured:
                found = images_in(page_of(Profile))
            counts.append(len(captured))
        assert len(found) == 20
        assert all(str(image["src"]).startswith("/cf-images/pending/avatar/") for image in found)
        assert counts[0] == counts[1]
        assert admin_client.get(str(found[0]["src"])).status_code == 200
        assert not cloudflare.requests

    def test_local_and_foreign_storages_have_their_own_urls(
        self, page_of: Any, settings: Any, field_on: Any
    ) -> None:
        Profile.objects.create(image="a.jpg")
        settings.DEBUG = True
        for storage, src in (
            (storages["default"], "/cf-images/local/avatar/a.jpg"),
            (Plain(), "/plain/a.jpg"),
        ):
            field_on(storage)
            assert [image["src"] for image in images_in(page_of(Profile))] == [src]


class TestTrouble:
    """An image that cannot be shown is a dash with a reason; the rest of the page is not affected."""

    def test_missing_credentials(self, page_of: Any, settings: Any) -> None:
        Profile.objects.create(image="a.jpg")
        settings.CF_IMG_HASH = None
        (title,) = titles_in(page_of(Profile))
        assert "has no account_hash: set the environment variable" in str(title)

    def test_a_flexible_variant_of_a_private_image(self) -> None:
        html = str(thumbnail(Profile(image="jane~610a686f-3fa7-46ca-e36d-3c00bd791b00.jpg").image, "w=60"))
        assert ">–</span>" in html
        assert "signs no flexible variants" in html

    def test_keys_that_cannot_be_fetched(self, page_of: Any, cloudflare: Any, settings: Any) -> None:
        Profile.objects.bulk_create(
            [Profile(image=f"{number}~610a686f-3fa7-46ca-e36d-3c00bd791b00.jpg") for number in range(20)]
        )
        settings.CF_IMAGES = {**settings.CF_IMAGES, "API_TOKEN": "revoked"}
        titles = titles_in(page_of(Profile))
        assert len(titles) == 20
        assert "signing keys of private images cannot be fetched" in str(titles[0])
        assert len(cloudflare.requests) == 1, "once for the whole list"

    def test_the_message_of_another_storage_goes_to_the_log(
        self, page_of: Any, field_on: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        row = Profile.objects.create(image="a.jpg")
        field_on(Failing())
        for page in (page_of(Profile), page_of(Profile, "change", row.pk)):
            assert titles_in(page) == ["ConnectionError"]
            assert "s3cret" not in page
        assert "token=s3cret" in caplog.text

    def test_a_url_that_is_no_image(self) -> None:
        class Odd(InMemoryStorage):
            def url(self, name: str | None) -> str:
                return "javascript:alert(1)"

        assert "not the URL of an image" in str(thumbnail(on(Odd())))

    def test_the_form_can_still_replace_and_clear(
        self, page_of: Any, field_on: Any, admin_client: Any
    ) -> None:
        row = Profile.objects.create(image="a.jpg")
        field_on(Failing())
        page = page_of(Profile, "change", row.pk)
        assert 'name="image-clear"' in page
        assert '<a href="#">a.jpg</a>' in page
        admin_client.post(admin_url(Profile, "change", row.pk), {"image-clear": "on"})
        assert Profile.objects.get().image.name == ""


class TestForm:
    def test_the_thumbnail_is_beside_djangos_own_widget(self, page_of: Any) -> None:
        row = Profile.objects.create(image="avatars/jane.jpg")
        page = page_of(Profile, "change", row.pk)
        (image,) = images_in(page)
        assert (image["src"], image["alt"]) == (f"{BASE}/avatars/jane.jpg/avatar", "")
        assert '<input type="file" name="image" accept="image/*" id="id_image">' in page
        assert 'name="image-clear"' in page
        assert f'<a href="{BASE}/avatars/jane.jpg/public">avatars/jane.jpg</a>' in page

    @pytest.mark.parametrize("image", ["", None])
    def test_without_an_image_it_is_djangos_own(self, image: Any, page_of: Any) -> None:
        row = Profile.objects.create(image=image or "")
        with_ours = page_of(Profile, "change", row.pk)
        assert not images_in(with_ours)
        assert "display:flex" not in with_ours

    def test_adding_replacing_and_clearing_work(
        self, admin_client: Any, cloudflare: Any, page_of: Any
    ) -> None:
        def upload(seed: int) -> SimpleUploadedFile:
            return SimpleUploadedFile("jane.png", picture(seed=seed), content_type="image/png")

        admin_client.post(admin_url(Profile, "add"), {"image": upload(1)})
        row = Profile.objects.get()
        admin_client.post(admin_url(Profile, "change", row.pk), {"image": upload(2)})
        replaced = Profile.objects.get().image.name
        assert replaced != row.image.name
        assert set(cloudflare.images) == {row.image.name, replaced}
        admin_client.post(admin_url(Profile, "change", row.pk), {"image-clear": "on"})
        assert Profile.objects.get().image.name == ""

    def test_a_refused_file_leaves_the_thumbnail_of_the_stored_one(self, admin_client: Any) -> None:
        row = Profile.objects.create(image="a.jpg")
        wrong = SimpleUploadedFile("b.png", b"just a text", content_type="image/png")
        page = admin_client.post(admin_url(Profile, "change", row.pk), {"image": wrong}).content.decode()
        assert "looks like plain text" in page
        assert [image["src"] for image in images_in(page)] == [f"{BASE}/a.jpg/avatar"]

    def test_a_file_that_is_not_stored_has_no_thumbnail(self) -> None:
        row = Profile(image=ContentFile(b"x", name="new.jpg"))
        for value in (row.image, SimpleUploadedFile("a.png", b"x"), None, "a.jpg"):
            assert "<img" not in ThumbnailFileWidget().render("image", value)

    def test_inlines_have_thumbnails_of_each_field(self, page_of: Any, cloudflare: Any) -> None:
        album = Album.objects.create(cover="cover.jpg")
        Page.objects.create(album=album, front="front.jpg", back="back.jpg")
        found = images_in(page_of(Album, "change", album.pk))
        variants = [str(image["src"]).rpartition("/")[2] for image in found]
        # the cover; front, back and the column of the table; front and back below, in another variant
        assert variants == ["public", "public", "back.jpg", "public", "avatar", "back.jpg"]
        assert not cloudflare.requests

    def test_a_widget_of_the_project_stays(self) -> None:
        class Own(AdminFileWidget):
            """A project's own."""

        overrides = {"formfield_overrides": {models.ImageField: {"widget": Own}}}
        chosen = type("Chosen", (ImageAdminMixin, admin.ModelAdmin), overrides)(Profile, site)
        field = Profile._meta.get_field("image")
        assert type(chosen.formfield_for_dbfield(field, None).widget) is Own
        assert (
            type(chosen.formfield_for_dbfield(field, None, widget=forms.FileInput).widget) is forms.FileInput
        )

    def test_a_required_field_has_nothing_to_clear(self) -> None:
        widget = AdminFileWidget(attrs={"accept": "image/png"})
        widget.is_required = True
        html = ThumbnailFileWidget.from_widget(widget, variant="avatar").render("photo", on(Plain()))
        assert "photo-clear" not in html
        assert 'accept="image/png"' in html


@pytest.mark.parametrize("name", HOSTILE)
def test_every_name_is_escaped(name: str, page_of: Any) -> None:
    name = name.replace("\x00", "")
    row = Profile.objects.create(image=f"a/{name}")
    for page in (page_of(Profile), page_of(Profile, "change", row.pk)):
        assert len(images_in(page)) == 1
        assert "<script>alert" not in page
        assert not [found for _, found in Elements(page).found if "onload" in found]


def test_every_reason_is_escaped() -> None:
    class Hostile(InMemoryStorage):
        def url(self, name: str | None) -> str:
            raise ImproperlyConfigured(mark_safe('"><script>'))

    html = str(thumbnail(on(Hostile())))
    assert titles_in(html) == ['"><script>']


def test_a_custom_user_model_has_thumbnails(tmp_path: Path) -> None:
    (tmp_path / "people").mkdir()
    (tmp_path / "people/__init__.py").touch()
    (tmp_path / "people/models.py").write_text(
        "from django.contrib.auth.models import AbstractUser\n"
        "from django.db import models\n"
        "from cf_images.storage import select_storage\n"
        "class Person(AbstractUser):\n"
        "    portrait = models.ImageField(storage=select_storage, blank=True)\n"
    )
    (tmp_path / "people/admin.py").write_text(
        "from django.contrib import admin\n"
        "from django.contrib.auth.admin import UserAdmin\n"
        "from cf_images.contrib.admin import ImageAdminMixin\n"
        "from people.models import Person\n"
        "@admin.register(Person)\n"
        "class PersonAdmin(ImageAdminMixin, UserAdmin):\n"
        "    list_display = ('thumbnail', *UserAdmin.list_display)\n"
        "    fieldsets = (*UserAdmin.fieldsets, ('Portrait', {'fields': ('portrait',)}))\n"
    )
    (tmp_path / "settings.py").write_text(
        "from tests.settings import *\n"
        "INSTALLED_APPS = ['people', *INSTALLED_APPS]\n"
        "AUTH_USER_MODEL = 'people.Person'\n"
        "DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': ':memory:'}}\n"
    )
    code = (
        "import django; django.setup()\n"
        "from django.core.management import call_command\n"
        "from django.test import Client\n"
        "from people.models import Person\n"
        "call_command('migrate', run_syncdb=True, verbosity=0)\n"
        "person = Person.objects.create_superuser('jane', portrait='jane.jpg')\n"
        "client = Client(); client.force_login(person)\n"
        "for page in ('', f'{person.pk}/change/'):\n"
        "    print(client.get(f'/admin/people/person/{page}').content.decode())\n"
    )
    environment = {
        "DJANGO_SETTINGS_MODULE": "settings",
        "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[1]}",
    }
    command = [sys.executable, "-W", "error", "-W", "ignore::ResourceWarning", "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(f'src="{BASE}/jane.jpg/public"') == 2
