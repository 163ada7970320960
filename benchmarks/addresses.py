"""Addresses and tags: microseconds, beside KalvadTech's package and a bare f-string."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import django
from django.core.files.storage import storages
from django.db.models.fields.files import FieldFile, ImageField
from django.template import Context, Template

from benchmarks.measure import best, table

_NAME = "avatars/jane-t9f2k0-5p2kd0qj3m8v7x1c.jpg"
_PRIVATE = "avatars/jane~083eb7b2-5392-4565-b69e-aff66acddd00.jpg"
_HASH = "benchmark-hash"


def main() -> None:
    """Print one row an operation; none makes a request or a query (the tests count them)."""
    django.setup()
    times = {name: best(run, number=2000) for name, run in _operations()}
    least = times["a bare f-string in a function"]
    rows = [(name, f"{seconds * 1e6:.1f}", f"{seconds / least:,.0f}") for name, seconds in times.items()]
    table(("operation", "µs", "× the f-string"), rows)


def _operations() -> Iterator[tuple[str, Callable[[], object]]]:
    from cf_images.flexible import FlexibleVariant
    from cf_images.variants import variant_url

    public: Any = storages["cloudflare_images"]
    private: Any = storages["private"]
    url, signed = public.url(_NAME), private.url(_PRIVATE)
    yield "a bare f-string in a function", lambda: f"https://imagedelivery.net/{_HASH}/{_NAME}/public"
    if find_spec("cloudflare_images"):
        from cloudflare_images.storage import CloudflareImagesStorage

        theirs = CloudflareImagesStorage()
        yield "KalvadTech's `storage.url(name)`", lambda: theirs.url(_NAME)
    yield "`storage.url(name)`", lambda: public.url(_NAME)
    yield "`storage.url(name, 'avatar')`", lambda: public.url(_NAME, "avatar")
    yield "`storage.url(name)`, private: signed", lambda: private.url(_PRIVATE)
    yield "the filter on a URL", lambda: variant_url(url, "avatar")
    yield "the filter on a signed URL: verified, signed again", lambda: variant_url(signed, "avatar")
    yield "the filter on a field file", lambda: variant_url(_field_file(public), "avatar")
    yield (
        "`str(FlexibleVariant(width=200, height=200, fit='cover'))`",
        lambda: str(FlexibleVariant(width=200, height=200)),
    )
    yield from _templates(url, _field_file(public))


def _templates(url: str, image: FieldFile) -> Iterator[tuple[str, Callable[[], object]]]:
    context = Context({"url": url, "image": image})
    for source in (
        "{{ url }}",
        "{{ url|variant:'avatar' }}",
        "{{ image|variant:'avatar' }}",
        "{% cf_image image 'avatar' alt='Jane' %}",
        "{% cf_image image widths='320,640,1280' sizes='100vw' alt='Jane' %}",
    ):
        template = Template("{% load cf_images %}" + source)
        yield f"a template: `{source}`", lambda template=template: template.render(context)


def _field_file(storage: Any) -> FieldFile:
    return FieldFile(None, ImageField(storage=storage), _NAME)
