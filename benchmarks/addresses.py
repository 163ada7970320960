"""``url()`` and the ``variant`` filter: microseconds, beside a bare f-string."""

from __future__ import annotations

import django

from benchmarks.measure import best, table

_NAME = "avatars/jane-t9f2k0-5p2kd0qj3m8v7x1c.jpg"


def main() -> None:
    """Print one row an operation; none makes a request or a query (the tests count them)."""
    django.setup()
    from django.core.files.storage import storages
    from django.template import Context, Template

    from cf_images.variants import variant_url

    storage = storages["cloudflare_images"]
    url = storage.url(_NAME)
    plain = Template("{{ url }}")
    filtered = Template("{% load cf_images %}{{ url|variant:'avatar' }}")
    context = Context({"url": url})
    operations = {
        "an f-string": lambda: f"https://imagedelivery.net/hash/{_NAME}/public",
        "`storage.url(name)`": lambda: storage.url(_NAME),
        "`storage.url(name, variant='avatar')`": lambda: storage.url(_NAME, variant="avatar"),
        "the filter's function on a URL": lambda: variant_url(url, "avatar"),
        "a template with `{{ url }}`": lambda: plain.render(context),
        "a template with `{{ url|variant:'avatar' }}`": lambda: filtered.render(context),
    }
    times = {name: best(run, number=2000) for name, run in operations.items()}
    table(("operation", "µs"), [(name, f"{seconds * 1e6:.1f}") for name, seconds in times.items()])
