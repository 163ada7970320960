"""URLs and tags beside those of other packages, over 10,000 different names.

The rivals are django-storages' S3 storage with a custom domain and with signed URLs, two other packages for
Cloudflare Images (KalvadTech's, and the toolkit), Django's own ``FileSystemStorage``, imgix's signed URLs,
and Cloudinary's URLs and tag. Every operation gets names of its own, each once, so that a cache of URLs gains
nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from typing import Any

import django
from django.conf import settings
from django.core.files.storage import FileSystemStorage, storages
from django.core.management import call_command
from django.db import models
from django.template import Context, Engine

from benchmarks.measure import Operation, compare, public_names

_NAMES, _ROUNDS = 10_000, 20
_S3 = "S3 of django-storages: `storage.url(name)`, unsigned"
_S3_SIGNED = "S3 of django-storages: a signed URL"
_TOOLKIT = "django-cloudflareimages-toolkit: `build_url(id)`"
_KALVAD = "KalvadTech: `storage.url(name)`"
_DJANGO = "Django: `FileSystemStorage.url(name)`"
_BARE = "a bare f-string"
_IMGIX = "imgix: a signed URL"
_CLOUDINARY_URL = "Cloudinary: a URL"
_CLOUDINARY_SIGNED = "Cloudinary: a signed URL"
_CLOUDINARY = "Cloudinary: one size"
_CLOUDINARY_SRCSET = "Cloudinary: three breakpoints"
_PLAIN = "`{{ url }}`"


def main() -> None:
    """Print a table for URLs, signed URLs, tags, and the filter; nothing in them makes a request."""
    django.setup()
    call_command("migrate", verbosity=0)  # background mode reads which uploads are pending
    for operations in (_urls, _signed_urls, _tags, _filters):
        compare(operations(), rounds=_ROUNDS)
        print(flush=True)


def _urls() -> Iterator[Operation]:
    names, other_names = public_names(_NAMES), public_names(_NAMES)
    public, background = storages["cloudflare_images"], storages["background"]
    prefix = f"https://imagedelivery.net/{settings.CF_IMG_HASH}"
    yield Operation(name=_BARE, run=lambda name: f"{prefix}/{name}/public", inputs=names, is_bare=True)
    yield _s3(names)
    yield _cloudinary(_CLOUDINARY_URL, names, expected="/avatars/jane")
    if find_spec("cloudflare_images"):
        from cloudflare_images.storage import CloudflareImagesStorage

        rival = CloudflareImagesStorage()
        yield Operation(name=_KALVAD, run=rival.url, inputs=names)
    if find_spec("django_cloudflareimages_toolkit"):
        from django_cloudflareimages_toolkit import image_url_factory

        yield Operation(name=_TOOLKIT, run=image_url_factory.build_url, inputs=names, expected=prefix)
    files = FileSystemStorage(base_url="https://cdn.example.com/media/")
    yield Operation(name=_DJANGO, run=files.url, inputs=names)
    for label, url, inputs in (
        ("`storage.url(name)`", public.url, names),
        ("`storage.url(name)`, `background`, not pending", background.url, other_names),
    ):
        yield Operation(
            name=label,
            run=url,
            inputs=inputs,
            expected=f"{prefix}/avatars/jane",
            targets={
                _S3: 1,
                _KALVAD: None,
                _TOOLKIT: None,
                _DJANGO: None,
                _CLOUDINARY_URL: None,
                _BARE: None,
            },
        )


def _signed_urls() -> Iterator[Operation]:
    import imgix

    names = _private_names()
    rival = imgix.UrlBuilder("x.imgix.net", sign_key="only-for-benchmarks")
    yield _s3(names)
    yield _s3_signed(names)
    yield Operation(name=_IMGIX, run=rival.create_url, inputs=names, expected="&s=")
    yield _cloudinary(_CLOUDINARY_SIGNED, names, sign_url=True, expected="/s--")
    yield Operation(
        name="`storage.url(name)`, private: signed",
        run=storages["private"].url,
        inputs=names,
        expected="&sig=",
        targets={_S3: 2, _IMGIX: None, _CLOUDINARY_SIGNED: None, _S3_SIGNED: None},
    )


def _tags() -> Iterator[Operation]:
    _configure_cloudinary()
    names = public_names(_NAMES)
    srcset = {"breakpoints": [320, 640, 1280]}
    for label, source, expected in (
        (_CLOUDINARY, '{% cloudinary name width=240 height=240 crop="fill" %}', "w_240"),
        (_CLOUDINARY_SRCSET, '{% cloudinary name srcset=srcset sizes="100vw" %}', " 1280w"),
    ):
        run = _render(source, "name", srcset=srcset)
        yield Operation(name=label, run=run, inputs=names, expected=expected)
    for source, expected, rival, target in (
        ("{% cf_image image 'avatar' alt='Jane' %}", "/avatar", _CLOUDINARY, 1 / 2),
        (
            "{% cf_image image widths='320,640,1280' sizes='100vw' alt='Jane' %}",
            " 1280w",
            _CLOUDINARY_SRCSET,
            1 / 4,
        ),
    ):
        yield Operation(
            name=f"`{source}`",
            run=_render(source, "image"),
            inputs=_images(),
            expected=expected,
            targets={rival: target},
        )


def _filters() -> Iterator[Operation]:
    public, private = storages["cloudflare_images"].url, storages["private"].url
    yield Operation(
        name=_PLAIN,
        run=_render("{{ url }}", "url"),
        inputs=list(map(public, public_names(_NAMES))),
        is_bare=True,
    )
    for source, key, inputs, note, expected in (
        ("{{ url|variant:'avatar' }}", "url", map(public, public_names(_NAMES)), "", "/avatar"),
        ("{{ url|variant:'w=200' }}", "url", map(public, public_names(_NAMES)), "", "/w=200"),
        ("{{ image|variant:'avatar' }}", "image", _images(), "", "/avatar"),
        ("{{ url|variant:'avatar' }}", "url", map(private, _private_names()), ", a signed URL", "sig="),
    ):
        yield Operation(
            name=f"`{source}`{note}",
            run=_render(source, key),
            inputs=list(inputs),
            expected=expected,
            targets={_PLAIN: None},
        )


def _s3(names: list[str]) -> Operation:
    from storages.backends.s3 import S3Storage

    storage = S3Storage(bucket_name="benchmark", custom_domain="cdn.example.com")
    return Operation(name=_S3, run=storage.url, inputs=names, expected="https://cdn.example.com/avatars/jane")


def _s3_signed(names: list[str]) -> Operation:
    from storages.backends.s3 import S3Storage

    storage = S3Storage(
        bucket_name="benchmark",
        access_key="only-for-benchmarks",
        secret_key="only-for-benchmarks",
        region_name="eu-central-1",
        signature_version="s3v4",
    )
    return Operation(name=_S3_SIGNED, run=storage.url, inputs=names, expected="X-Amz-Signature=")


def _cloudinary(name: str, names: list[str], *, expected: str, **options: Any) -> Operation:
    from cloudinary.utils import cloudinary_url

    _configure_cloudinary()
    return Operation(
        name=name, run=lambda name: cloudinary_url(name, **options)[0], inputs=names, expected=expected
    )


def _configure_cloudinary() -> None:
    import cloudinary

    cloudinary.config(cloud_name="benchmark", api_key="1", api_secret="only-for-benchmarks", secure=True)


def _render(source: str, key: str, **context: Any) -> Callable[[Any], str]:
    """Return a function that renders the template, compiled once, with its argument as ``key``."""
    libraries = {name: f"{name}.templatetags.{name}" for name in ("cf_images", "cloudinary")}
    engine = Engine(libraries=libraries, builtins=list(libraries.values()))
    template = engine.from_string(source)
    return lambda value: template.render(Context({**context, key: value}))


def _private_names() -> list[str]:
    return [f"avatars/jane~{uuid.uuid4()}.jpg" for _ in range(_NAMES)]


def _images() -> list[Any]:
    """Return field files as a template gets them from a model."""
    photo = _photo_model()
    return [photo(image=name).image for name in public_names(_NAMES)]


@cache
def _photo_model() -> type[Any]:
    class Photo(models.Model):
        image = models.ImageField(storage=storages["cloudflare_images"])

        class Meta:
            app_label = "benchmarks"

        def __str__(self) -> str:
            return self.image.name

    return Photo
