"""Mails, PDFs, feeds, sitemaps, API clients and og:image: the URL of a pending image works there, too."""

from __future__ import annotations

import io
import re
import urllib.request
from collections.abc import Callable
from html import unescape
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest
from django.contrib.sitemaps import Sitemap
from django.contrib.sitemaps.views import sitemap
from django.contrib.syndication.views import Feed
from django.core import mail
from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.mail import EmailMultiAlternatives
from django.db import OperationalError
from django.template import Context, Template
from django.test import Client
from django.urls import path
from PIL import Image

from cf_images.background import process
from cf_images.contrib.rest_framework import CloudflareImageField
from cf_images.exceptions import ImageNotFoundError
from cf_images.markup import image_attributes, image_tag, srcset, variant_url
from tests.app.models import Profile
from tests.conftest import point_at
from tests.pictures import picture
from tests.urls import urlpatterns as project_urls

SITE = "https://www.example.com"


def _weasyprint() -> Any:
    """Return WeasyPrint, or skip the test aloud where the libraries that it loads are missing."""
    try:
        import weasyprint
    except (ImportError, OSError) as error:
        pytest.skip(
            f"WeasyPrint cannot be loaded (it needs Pango: libpango-1.0-0, libpangoft2-1.0-0): {error}"
        )
    return weasyprint


class PhotoFeed(Feed):  # type: ignore[type-arg]
    title, link, description = "Photos", "/photos/", "New photos"
    item_enclosure_length, item_enclosure_mime_type = 0, "image/png"

    def items(self) -> Any:
        return Profile.objects.all()

    def item_link(self, item: Profile) -> str:
        return f"/photos/{item.pk}/"

    def item_enclosure_url(self, item: Profile) -> str:
        return str(item.image.url)


class PhotoSitemap(Sitemap):  # type: ignore[type-arg]
    def items(self) -> Any:
        return Profile.objects.order_by("pk")

    def location(self, item: Profile) -> str:
        return f"/photos/{item.pk}/"


urlpatterns = [
    *project_urls,
    path("feed/", PhotoFeed()),
    path("sitemap.xml", sitemap, {"sitemaps": {"p": PhotoSitemap}, "template_name": "image_sitemap.xml"}),
]


@pytest.fixture
def images(cloudflare: Any, settings: Any, cf_images_storage: Any) -> Any:
    """The storage of all fields, which uploads in the background."""
    point_at(settings, cloudflare, background=True, queue="none")
    settings.ROOT_URLCONF = __name__
    cf_images_storage("cloudflare_images")
    return storages["cloudflare_images"]


@pytest.fixture
def site_url(settings: Any) -> Callable[[Any], None]:
    def set_url(url: Any) -> None:
        settings.CF_IMAGES = {**settings.CF_IMAGES, "SITE_URL": url}

    return set_url


def new_profile(size: tuple[int, int] = (600, 400)) -> Profile:
    return Profile.objects.create(image=ContentFile(picture(size=size), name="jane.png"))


def size_at(url: str) -> tuple[int, int]:
    with urllib.request.urlopen(url) as response:
        return Image.open(io.BytesIO(response.read())).size


def rendered(text: str, **context: Any) -> str:
    return Template("{% load cf_images %}" + text).render(Context(context))


@pytest.mark.django_db(transaction=True)
class TestWithTheURLOfTheSite:
    @pytest.fixture(autouse=True)
    def profile(self, images: Any, live_server: Any, site_url: Any) -> Profile:
        site_url(live_server.url)
        self.profile = new_profile()
        return self.profile

    def test_pdf_of_weasyprint_has_the_image(self, caplog: pytest.LogCaptureFixture) -> None:
        weasyprint = _weasyprint()
        html = rendered("""<img src="{{ image|variant:'avatar' }}">""", image=self.profile.image)
        pdf = weasyprint.HTML(string=html).write_pdf(uncompressed_pdf=True)
        assert caplog.messages == []
        assert b"/Width 240" in pdf

    def test_pdf_has_each_candidate_of_a_responsive_image(self, caplog: pytest.LogCaptureFixture) -> None:
        weasyprint = _weasyprint()
        html = image_tag(self.profile.image, widths="100,200", alt="", source_width=600, source_height=400)
        pdf = weasyprint.HTML(string=html).write_pdf(uncompressed_pdf=True)
        assert caplog.messages == []
        assert b"/Width 200" in pdf

    @pytest.mark.filterwarnings(
        "ignore:Django 2028 will not have a default mailer"
    )  # EMAIL_BACKEND works until then
    def test_mail_shows_the_image_before_and_after_it_is_stored(self) -> None:
        text = """{% cf_image profile.image "avatar" alt="" %}<img src="{{ profile.image.url }}">"""
        message = EmailMultiAlternatives("Hello", "…", "a@example.com", ["b@example.com"])
        message.attach_alternative(rendered(text, profile=self.profile), "text/html")
        message.send()
        (sent,) = mail.outbox
        html = str(sent.alternatives[0][0])  # type: ignore[attr-defined]
        urls = [unescape(url) for url in re.findall(r'src="([^"]+)"', html)]
        assert [size_at(url) for url in urls] == [(240, 240), (600, 400)]
        assert process() == 1
        assert [size_at(url) for url in urls] == [(240, 240), (600, 400)]

    def test_feed_and_sitemap(self, client: Client) -> None:
        feed = ElementTree.fromstring(client.get("/feed/").content)
        enclosure = feed.find(".//enclosure")
        assert enclosure is not None
        assert size_at(enclosure.attrib["url"]) == (600, 400)
        found = re.findall(r"<image:loc>(.+)</image:loc>", client.get("/sitemap.xml").content.decode())
        assert [size_at(unescape(url)) for url in found] == [(600, 400)]

    def test_api_clients(self) -> None:
        field = CloudflareImageField(variants=["avatar", "w=100"])
        field._context = {}
        urls = field.to_representation(self.profile.image)
        assert urls is not None
        assert {name: size_at(url)[0] for name, url in urls.items()} == {"avatar": 240, "w=100": 100}

    def test_the_filter_changes_the_variant_of_an_absolute_url(self, live_server: Any) -> None:
        url = variant_url(self.profile.image.url, "w=100")
        assert url.startswith(f"{live_server.url}/cf-images/pending/")
        assert size_at(url) == (100, 67)
        assert variant_url(url, "avatar") == variant_url(self.profile.image, "avatar")
        for foreign in (
            url.replace("//", "//evil."),
            url.replace("://", "://a@"),
            f"{live_server.url}.evil/cf-images/pending/public/a.png",
            f"{live_server.url}//cf-images/pending/public/a.png",
        ):
            assert variant_url(foreign, "avatar") == foreign

    def test_a_private_image_keeps_its_signature(self, settings: Any, cloudflare: Any) -> None:
        point_at(settings, cloudflare, require_signed_urls=True)
        image = new_profile().image
        url = variant_url(image.url, "avatar")
        assert size_at(url) == (240, 240)
        assert process() == 2
        assert size_at(url) == (240, 240)


@pytest.mark.django_db
class TestURLOfTheSite:
    def test_without_it_the_url_has_no_host(self, images: Any) -> None:
        assert new_profile().image.url.startswith("/cf-images/pending/public/")

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            (SITE, SITE),
            (f"{SITE}/", SITE),
            ("http://localhost:8000", "http://localhost:8000"),
            (lambda: f"{SITE}/", SITE),
            (lambda: "", ""),
            (lambda: None, ""),
            ("tests.test_outside_of_requests.current_site", "https://tenant.example.com"),
        ],
    )
    def test_it_is_a_text_a_callable_or_its_path(
        self, images: Any, site_url: Any, given: Any, expected: str
    ) -> None:
        site_url(given)
        assert new_profile().image.url.startswith(f"{expected}/cf-images/pending/public/")

    def test_a_callable_is_asked_each_time(self, images: Any, site_url: Any) -> None:
        hosts = iter(["a", "b"])
        site_url(lambda: f"https://{next(hosts)}.example.com")
        image = new_profile().image
        assert [image.url[:9], image.url[:9]] == ["https://a", "https://b"]

    @pytest.mark.parametrize(
        "wrong",
        [
            *(
                "www.example.com/",
                "ftp://example.com",
                "https://",
                "//example.com",
                "https://example.com/app",
            ),
            *(
                "https://example.com?x",
                "https://example.com/#",
                "https://me:secret@example.com",
                "https://a b",
            ),
            *(
                "no_such_module.function",
                "tests.test_outside_of_requests.SITE",
                "example.com",
                7,
                True,
                ["x"],
            ),
        ],
    )
    def test_a_wrong_one_is_an_error_that_names_it(self, images: Any, site_url: Any, wrong: Any) -> None:
        image = new_profile().image
        site_url(wrong)
        with pytest.raises(ImproperlyConfigured, match=r'CF_IMAGES\["SITE_URL"\]') as caught:
            _ = image.url
        assert "secret" not in str(caught.value)

    def test_a_callable_that_returns_a_wrong_one(self, images: Any, site_url: Any) -> None:
        image = new_profile().image
        site_url(lambda: "example.com")
        with pytest.raises(ImproperlyConfigured, match=r"returned 'example\.com': it is not a URL"):
            _ = image.url

    @pytest.mark.parametrize("error", [OperationalError("away"), SynchronousOnlyOperation("async")])
    def test_a_callable_that_cannot_query_breaks_no_page(
        self, images: Any, site_url: Any, caplog: pytest.LogCaptureFixture, error: Exception
    ) -> None:
        image = new_profile().image

        def fail() -> str:
            raise error

        site_url(fail)
        assert image.url.startswith("/cf-images/pending/")
        assert 'CF_IMAGES["SITE_URL"] failed' in caplog.text

    def test_stored_and_local_images_are_as_before(self, images: Any, site_url: Any, settings: Any) -> None:
        site_url(SITE)
        settings.DEBUG = True
        assert storages["default"].url("a.png", "avatar") == "/cf-images/local/avatar/a.png"
        assert storages["default"].url("a.png") == "/media/a.png"


def current_site() -> str:
    """A project's own function."""
    return "https://tenant.example.com"


@pytest.mark.django_db
class TestFinalURL:
    """Where the site's URL is not set, or an address at Cloudflare is wanted at once."""

    def test_it_is_cloudflares_before_the_image_is_there(self, images: Any, cloudflare: Any) -> None:
        name = new_profile().image.name
        urls = [images.url(name, final=True), images.url(name, "avatar", final=True)]
        assert all(url.startswith(f"{cloudflare.delivery_url}/") for url in urls)
        assert process() == 1
        assert [size_at(url) for url in urls] == [(600, 400), (240, 240)]

    def test_templates_have_it_for_og_image(self, images: Any, cloudflare: Any) -> None:
        image = new_profile().image
        page = rendered(
            """<meta property="og:image" content="{{ image|final_variant:'avatar' }}">""", image=image
        )
        url = page.partition('content="')[2].partition('"')[0]
        assert url == images.url(image.name, "avatar", final=True)
        process()
        assert size_at(url) == (240, 240)

    def test_each_function_and_the_tag_have_it(self, images: Any, cloudflare: Any) -> None:
        image = new_profile().image
        keywords: Any = {"widths": "100,200", "alt": "", "final": True}
        texts = [
            image_attributes(image, **keywords)["src"],
            image_attributes(image, "avatar", placeholder=True, alt="", final=True)["style"],
            image_tag(image, **keywords),
            srcset(image, widths="100,200", final=True),
            rendered("""{% cf_image image widths="100,200" alt="" final=True %}""", image=image),
            rendered("""{% cf_image image "avatar" alt="" final=yes %}""", image=image, yes=True),
        ]
        for text in texts:
            assert cloudflare.delivery_url.partition("//")[2] in text.replace("\\3a ", ":").replace("\\", "")
            assert "cf-images" not in text
            assert "final" not in text
        assert "cf-images" in rendered("""{% cf_image image alt="" final=yes %}""", image=image, yes=False)

    def test_from_the_url_of_a_pending_image(self, images: Any, settings: Any, site_url: Any) -> None:
        image = new_profile().image
        settings.ENV_NAME = "production"
        expected = images.url(image.name, "avatar", final=True)
        assert variant_url(image.url, "avatar", final=True) == expected
        site_url(SITE)
        assert variant_url(image.url, "avatar", final=True) == expected

    def test_a_stored_image_and_other_storages_are_as_before(self, images: Any, settings: Any) -> None:
        settings.DEBUG = True
        assert storages["default"].url("a.png", "avatar", final=True) == "/cf-images/local/avatar/a.png"
        assert storages["default"].url("a.png", final=True) == "/media/a.png"
        other = SimpleNamespace(storage=storages["renditions_elsewhere"], url="/x.png", name="x.png")
        assert variant_url(other, "avatar", final=True) == "/x.png"
        assert variant_url("https://example.com/x.png", "avatar", final=True) == "https://example.com/x.png"

    def test_of_a_private_image_there_is_none_before_it_is_stored(
        self, images: Any, settings: Any, cloudflare: Any
    ) -> None:
        point_at(settings, cloudflare, require_signed_urls=True)
        name = new_profile().image.name
        with pytest.raises(ImageNotFoundError, match="is private and not stored: Cloudflare has not chosen"):
            images.url(name, final=True)
        assert process() == 1
        assert size_at(images.url(name, final=True)) == (600, 400)


@pytest.mark.django_db
class TestWithoutURLs:
    """A project that only runs workers, or has forgotten our view."""

    @pytest.fixture(params=["no ROOT_URLCONF", "not mounted"], autouse=True)
    def urlconf(self, request: pytest.FixtureRequest, images: Any, settings: Any) -> str:
        if request.param == "not mounted":
            settings.ROOT_URLCONF = "tests.background.no_urls"
        else:
            del settings.ROOT_URLCONF
        return str(request.param)

    def test_a_pending_image_has_the_url_that_it_will_have(self, images: Any) -> None:
        image = new_profile().image
        assert image.url == images.url(image.name, final=True)
        assert variant_url(image, "w=20") == images.url(image.name, "w=20", final=True)

    def test_a_private_one_has_none_and_the_error_says_what_to_do(
        self, images: Any, settings: Any, cloudflare: Any
    ) -> None:
        point_at(settings, cloudflare, require_signed_urls=True)
        image = new_profile().image
        with pytest.raises(ImproperlyConfigured) as caught:
            _ = image.url
        assert image.name in str(caught.value)
        assert 'set ROOT_URLCONF, and add path("cf-images/", include("cf_images.urls"))' in str(caught.value)
        assert process() == 1
        assert "sig=" in image.url
