"""What forms refuse: images that Cloudflare would not accept, and URLs that must not be fetched."""

from __future__ import annotations

import io
import struct
from typing import Any

import pytest
from django import forms
from django.contrib.admin import AdminSite, ModelAdmin
from django.core.exceptions import ValidationError
from django.core.files.base import ContentFile, File
from django.core.files.storage import InMemoryStorage, storages
from django.core.files.uploadedfile import SimpleUploadedFile, TemporaryUploadedFile
from django.db.migrations.writer import MigrationWriter
from django.db.models.fields.files import FieldFile
from django.test import RequestFactory
from PIL import Image
from rest_framework.serializers import ModelSerializer

from cf_images.validators import validate_image, validate_source_url
from tests.app.models import Profile
from tests.pictures import encoded, picture

PNG = picture()
JPEG = picture("JPEG")
MB = 1024 * 1024
BIG_JPEG = JPEG + b"\0" * (12 * MB)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>'
CLOUDFLARE = "cf_images.storage.CloudflareImagesStorage"


def heic(width: int = 640, height: int = 480) -> bytes:
    """Return the smallest file with the header of a HEIC."""
    size = struct.pack(">I4sIII", 20, b"ispe", 0, width, height)
    properties = struct.pack(">I4s", 8 + len(size), b"ipco") + size
    properties = struct.pack(">I4s", 8 + len(properties), b"iprp") + properties
    meta = struct.pack(">I4sI", 12 + len(properties), b"meta", 0) + properties
    return struct.pack(">I4s4sI4s4s", 24, b"ftyp", b"heic", 0, b"mif1", b"heic") + meta


# What is refused, and a word of the reason.
REFUSED = {
    "text.png": (b"just some text, whatever it is called", "plain text"),
    "page.jpg": (b"<!doctype html><title>404</title>", "HTML"),
    "scan.tiff": (picture("TIFF"), "TIFF"),
    "screen.bmp": (picture("BMP"), "BMP"),
    "paper.pdf": (b"%PDF-1.7\n", "PDF"),
    "large.jpg": (JPEG + b"\0" * (11 * MB), "the limit is 10 MB"),
    "broken.png": (PNG[:20], "damaged"),
    "empty.png": (b"", "empty"),
    "new.avif": (picture("AVIF"), "AVIF"),
}
ACCEPTED = {
    "photo.jpg": JPEG,
    "picture.png": PNG,
    "named-wrongly.jpg": PNG,
    "short.jpg": JPEG[:-9],  # it is not decoded
    "drawing.svg": SVG,
    "phone.heic": heic(),
    "film.gif": picture("GIF"),
    "web.webp": picture("WEBP"),
}


def upload(name: str, body: bytes) -> SimpleUploadedFile:
    return SimpleUploadedFile(name, body, content_type="image/whatever")


def field_file(body: bytes, name: str = "a.jpg") -> FieldFile:
    return Profile(image=ContentFile(body, name=name)).image


@pytest.fixture
def fits(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The option ``fit_limits``, where a project usually puts it."""
    alias = {"BACKEND": CLOUDFLARE, "OPTIONS": {"fit_limits": True}}
    settings.STORAGES = {**settings.STORAGES, "cloudflare_images": alias}
    monkeypatch.setattr(Profile._meta.get_field("image"), "storage", storages["cloudflare_images"])


@pytest.mark.parametrize("name", ACCEPTED)
def test_an_image_that_cloudflare_accepts_passes(name: str) -> None:
    validate_image(upload(name, ACCEPTED[name]))
    validate_image(field_file(ACCEPTED[name], name))
    Profile(image=ContentFile(ACCEPTED[name], name=name)).full_clean()


@pytest.mark.parametrize("name", REFUSED)
def test_an_image_that_cloudflare_refuses_is_refused_with_the_reason(name: str) -> None:
    body, reason = REFUSED[name]
    for value in (upload(name, body), field_file(body, name)):
        with pytest.raises(ValidationError) as refused:
            validate_image(value)
        assert refused.value.code == "image_rejected"
        assert reason in refused.value.messages[0]
    with pytest.raises(ValidationError) as refused:
        Profile(image=ContentFile(body, name=name)).full_clean()
    assert list(refused.value.message_dict) == ["image"]


def test_a_file_without_a_name_is_validated_too() -> None:
    nameless = File(io.BytesIO(b"text"))
    with pytest.raises(ValidationError):
        validate_image(nameless)


@pytest.mark.parametrize("nothing", [None, "", "avatars/jane.jpg", Profile().image])
def test_nothing_and_a_stored_name_pass(nothing: Any) -> None:
    validate_image(nothing)


def test_a_stored_image_is_never_downloaded(cloudflare: Any) -> None:
    profile = Profile(image="avatars/jane.jpg")
    validate_image(profile.image)
    profile.full_clean()
    assert cloudflare.requests == []


def test_a_closed_file_is_one_clear_error() -> None:
    closed = upload("a.png", PNG)
    closed.close()
    with pytest.raises(ValidationError, match=r"'a.png' is closed"):
        validate_image(closed)


@pytest.mark.parametrize("body", [PNG, b"text"])
@pytest.mark.parametrize("position", [0, 7])
def test_the_file_stays_open_and_where_it_was(position: int, body: bytes) -> None:
    file = upload("a.png", body)
    file.seek(position)
    try:
        validate_image(file)
    except ValidationError:
        pass
    assert file.tell() == position
    assert not file.closed


def test_a_file_on_disk_is_validated_where_it_is() -> None:
    with TemporaryUploadedFile("a.png", "image/png", len(PNG), None) as file:
        file.write(PNG)
        file.seek(0)
        validate_image(file)
        assert file.tell() == 0


def test_a_file_that_cannot_seek_is_validated(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stream(io.BytesIO):
        def seekable(self) -> bool:
            return False

    validate_image(File(Stream(PNG), name="a.png"))
    with pytest.raises(ValidationError):
        validate_image(File(Stream(b"text"), name="a.png"))


# fit_limits


@pytest.mark.usefixtures("fits")
def test_what_will_be_reduced_passes() -> None:
    validate_image(field_file(BIG_JPEG))
    validate_image(upload("a.jpg", BIG_JPEG))


@pytest.mark.usefixtures("fits")
def test_what_will_be_reduced_passes_in_development_too(settings: Any) -> None:
    file = field_file(BIG_JPEG)
    file.storage = storages["default"]
    validate_image(file)


@pytest.mark.usefixtures("fits")
@pytest.mark.parametrize("name", sorted(REFUSED.keys() - {"large.jpg", "new.avif"}))
def test_what_cannot_be_reduced_is_refused_all_the_same(name: str) -> None:
    with pytest.raises(ValidationError, match=REFUSED[name][1]):
        validate_image(upload(name, REFUSED[name][0]))


@pytest.mark.usefixtures("fits")
def test_an_animation_over_the_limit_cannot_be_reduced() -> None:
    frames = [Image.new("RGB", (2, 2), color) for color in ("red", "blue")]
    animation = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    with pytest.raises(ValidationError, match="the limit is 10 MB"):
        validate_image(upload("a.gif", animation + b"\0" * (11 * MB)))


def test_the_option_is_that_of_the_fields_own_storage(settings: Any) -> None:
    second = {"BACKEND": CLOUDFLARE, "OPTIONS": {"fit_limits": True}}
    settings.STORAGES = {**settings.STORAGES, "second": second}
    file = field_file(BIG_JPEG)
    with pytest.raises(ValidationError):
        validate_image(file)
    file.storage = storages["second"]
    validate_image(file)


@pytest.mark.parametrize("alias", ["default", "missing"])
def test_without_a_cloudflare_alias_the_general_setting_decides(alias: str, settings: Any) -> None:
    settings.CF_IMAGES = {"CLOUDFLARE_ALIAS": alias}
    file = field_file(BIG_JPEG)
    file.storage = InMemoryStorage()
    with pytest.raises(ValidationError):
        validate_image(file)
    settings.CF_IMAGES = {"CLOUDFLARE_ALIAS": alias, "FIT_LIMITS": True}
    validate_image(file)


# Forms, the admin, DRF: a field error, never an exception

FORM_REFUSALS = ["text.png", "scan.tiff", "large.jpg", "screen.bmp", "empty.png"]


class ProfileForm(forms.ModelForm):
    """A form as a project has it."""

    class Meta:
        model = Profile
        fields = ("image",)


class ProfileSerializer(ModelSerializer):
    """A serializer as a project has it."""

    class Meta:
        model = Profile
        fields = ("image",)


@pytest.fixture(params=["cloudflare_images", "default"])
def development_or_production(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The field's storage in either environment."""
    field = Profile._meta.get_field("image")
    monkeypatch.setattr(field, "storage", storages[request.param])


@pytest.mark.usefixtures("development_or_production")
@pytest.mark.parametrize("name", FORM_REFUSALS)
def test_a_model_form_shows_a_field_error(name: str) -> None:
    form = ProfileForm(files={"image": upload(name, REFUSED[name][0])})
    assert not form.is_valid()
    assert list(form.errors) == ["image"]


def test_a_model_form_shows_the_reason_where_django_has_none() -> None:
    form = ProfileForm(files={"image": upload("a.tiff", REFUSED["scan.tiff"][0])})
    assert form.errors["image"] == [
        "The file looks like a TIFF image or a raw photo. JPEG, PNG, GIF, WebP, SVG and HEIC are supported."
    ]
    form = ProfileForm(files={"image": upload("a.jpg", REFUSED["large.jpg"][0])})
    assert form.errors["image"] == ["The image file is too large (11.1 MB; the limit is 10 MB)."]


@pytest.mark.usefixtures("development_or_production")
def test_a_model_form_accepts_a_good_image() -> None:
    form = ProfileForm(files={"image": upload("a.jpg", JPEG)})
    assert form.is_valid(), form.errors


@pytest.mark.usefixtures("fits")
def test_a_model_form_accepts_what_will_be_reduced() -> None:
    form = ProfileForm(files={"image": upload("a.jpg", BIG_JPEG)})
    assert form.is_valid(), form.errors


def test_a_model_form_of_an_unchanged_row_downloads_nothing(cloudflare: Any) -> None:
    form = ProfileForm(data={}, instance=Profile(image="avatars/jane.jpg"))
    assert form.is_valid()
    assert cloudflare.requests == []


@pytest.mark.usefixtures("development_or_production")
@pytest.mark.parametrize("name", FORM_REFUSALS)
def test_the_admin_shows_a_field_error(name: str) -> None:
    form = ModelAdmin(Profile, AdminSite()).get_form(RequestFactory().post("/"))
    bound = form(files={"image": upload(name, REFUSED[name][0])})
    assert not bound.is_valid()
    assert list(bound.errors) == ["image"]


@pytest.mark.usefixtures("development_or_production")
@pytest.mark.parametrize("name", FORM_REFUSALS)
def test_a_serializer_shows_a_field_error(name: str) -> None:
    serializer = ProfileSerializer(data={"image": upload(name, REFUSED[name][0])})
    assert not serializer.is_valid()
    assert list(serializer.errors) == ["image"]


def test_a_serializer_shows_the_reason_and_accepts_a_good_image() -> None:
    refused = ProfileSerializer(data={"image": upload("a.jpg", REFUSED["large.jpg"][0])})
    assert not refused.is_valid()
    assert refused.errors["image"] == ["The image file is too large (11.1 MB; the limit is 10 MB)."]
    assert refused.errors["image"][0].code == "image_rejected"
    assert ProfileSerializer(data={"image": upload("a.jpg", JPEG)}).is_valid()


@pytest.mark.usefixtures("fits")
def test_a_serializer_accepts_what_will_be_reduced() -> None:
    serializer = ProfileSerializer(data={"image": upload("a.jpg", BIG_JPEG)})
    assert serializer.is_valid(), serializer.errors


@pytest.mark.parametrize("name", ["drawing.svg", "phone.heic"])
def test_svg_and_heic_stop_at_djangos_form_field_and_nowhere_else(name: str) -> None:
    class Open(ProfileForm):
        image = forms.FileField()

        class Meta(ProfileForm.Meta):
            pass

    files = {"image": upload(name, ACCEPTED[name])}
    assert not ProfileForm(files=files).is_valid()
    form = Open(files=files)
    assert form.is_valid(), form.errors


# URLs that Cloudflare is to fetch


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/jane.jpg",
        "HTTPS://EXAMPLE.COM/jane.jpg",
        "https://example.com",
        "https://example.com./jane.jpg",
        "https://example.com:8443/jane.jpg",
        "https://example.com/a%20b.jpg?x=1&y=2#z",
        "https://example.com/ü.jpg",
        "https://bücher.example/jane.jpg",
        "https://xn--bcher-kva.example/jane.jpg",
        "https://my_bucket.s3.example.com/jane.jpg",
        "https://1.example.com/jane.jpg",
        "https://example.com/http://localhost/",
        "https://example.com/@jane.jpg",
        "https://example.com/" + "x" * (2000 - 20),
    ],
)
def test_a_public_url_is_valid(url: str) -> None:
    validate_source_url(url)


BAD_URLS = {
    "": "it must begin with https://",
    "jane.jpg": "it must begin with https://",
    "//example.com/jane.jpg": "it must begin with https://",
    "http://example.com/jane.jpg": "it must begin with https://",
    "ftp://example.com/jane.jpg": "it must begin with https://",
    "file:///etc/passwd": "it must begin with https://",
    "javascript:alert(1)": "it must begin with https://",
    "data:image/png;base64,AAAA": "it must begin with https://",
    "https://": "it names no host",
    "https:///jane.jpg": "it names no host",
    "https://:443/jane.jpg": "it names no host",
    "https://user@example.com/jane.jpg": "a user name or a password",
    "https://user:pass@example.com/jane.jpg": "a user name or a password",
    "https://:pass@example.com/jane.jpg": "a user name or a password",
    "https://@example.com/jane.jpg": "a user name or a password",
    "https://example.com\\@evil.example/jane.jpg": "a user name or a password",
    "https://example.com:99999/": "it is not a valid URL",
    "https://example.com:port/": "it is not a valid URL",
    "https://[/": "it is not a valid URL",
    "https://example..com/": "it is not a valid URL",
    f"https://{'x' * 64}.example/": "it is not a valid URL",
    "https://example.com/a\nb": "no spaces",
    "https://example.com/\r\nHost: x": "no spaces",
    " https://example.com/": "no spaces",
    "https://example.com/a b": "no spaces",
    "https://example.com/\x00": "no spaces",
    "https://example.com/\u2028": "no spaces",
    "https://example.com/" + "x" * (2001 - 20): "at most 2,000 characters",
    "https://localhost/": "not a public host name",
    "https://LOCALHOST/": "not a public host name",
    "https://localhost./": "not a public host name",
    "https://a.localhost/": "not a public host name",
    "https://intranet/": "not a public host name",
    "https://printer.local/": "not a public host name",
    "https://db.internal/": "not a public host name",
    "https://db.internal./": "not a public host name",
    "https://router.lan/": "not a public host name",
    "https://router.home.arpa/": "not a public host name",
    "https://127.0.0.1/": "not a public host name",
    "https://127.0.0.1./": "not a public host name",
    "https://8.8.8.8/": "not a public host name",
    "https://[::1]/": "not a public host name",
    "https://[fe80::1%25eth0]/": "not a public host name",
    "https://[::ffff:127.0.0.1]/": "not a public host name",
    "https://[v1.fe80]/": "not a public host name",
    "https://127.1/": "not a public host name",
    "https://2130706433/": "not a public host name",
    "https://0177.0.0.1/": "not a public host name",
    "https://0x7f000001/": "not a public host name",
    "https://0x7f.0.0.1/": "not a public host name",
    "https://127.0.0.0X1/": "not a public host name",
    "https://127\u30020\u30020\u30021/": "not a public host name",  # dots of another script
    "https://\uff11\uff12\uff17.0.0.1/": "not a public host name",  # digits of another width
    "https://\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3/": "not a public host name",
    "https://127%2e0%2e0%2e1/": "not a public host name",
    "https://%6c%6fcal.example/": "not a public host name",
    "https://db.internal\\.example.com/": "not a public host name",
}


@pytest.mark.parametrize("url", BAD_URLS)
def test_any_other_url_is_refused_with_the_reason(url: str) -> None:
    with pytest.raises(ValidationError) as refused:
        validate_source_url(url)
    assert refused.value.code == "source_url"
    assert refused.value.messages[0].startswith("The URL cannot be used: ")
    assert BAD_URLS[url] in refused.value.messages[0]


@pytest.mark.parametrize(
    ("relaxed", "url", "still_bad"),
    [
        ({"UPLOAD_URL_SCHEMES": ["https", "http"]}, "http://example.com/", "ftp://example.com/"),
        ({"UPLOAD_URL_CREDENTIALS": True}, "https://user:pass@example.com/", "https://a:b@localhost/"),
        ({"UPLOAD_URL_LOCAL_HOSTS": ["localhost"]}, "https://localhost:8000/", "https://127.0.0.1/"),
        ({"UPLOAD_URL_LOCAL_HOSTS": {"::1"}}, "https://[::1]:8000/", "https://[::2]/"),
        ({"UPLOAD_URL_LOCAL_HOSTS": ("minio",)}, "https://MINIO/", "https://minio.lan/"),
    ],
)
def test_each_rule_can_be_relaxed_by_itself(
    relaxed: dict[str, Any], url: str, still_bad: str, settings: Any
) -> None:
    with pytest.raises(ValidationError):
        validate_source_url(url)
    settings.CF_IMAGES = relaxed
    validate_source_url(url)
    with pytest.raises(ValidationError):
        validate_source_url(still_bad)


def test_the_refusal_names_the_supported_schemes(settings: Any) -> None:
    settings.CF_IMAGES = {"UPLOAD_URL_SCHEMES": ["https", "http"]}
    with pytest.raises(ValidationError, match="it must begin with https:// or http://"):
        validate_source_url("ftp://example.com/")


@pytest.mark.parametrize("validator", [validate_image, validate_source_url])
def test_a_migration_holds_the_public_path_of_a_validator(validator: Any) -> None:
    written, _ = MigrationWriter.serialize(validator)
    assert written == f"cf_images.validators.{validator.__name__}"


def test_a_hundred_thousand_characters_are_refused_at_once() -> None:
    for url in ("https://" + "a." * 50_000, "https://" + "é" * 100_000, "h" * 100_000):
        with pytest.raises(ValidationError, match="at most 2,000 characters"):
            validate_source_url(url)
