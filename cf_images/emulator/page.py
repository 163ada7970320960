"""The page at ``/``: what is stored, with its variants and metadata. Read-only, and without scripts."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from importlib.resources import files
from itertools import islice
from string import Template
from typing import TYPE_CHECKING
from urllib.parse import quote

from markupsafe import Markup
from werkzeug.wrappers import Request

from cf_images.emulator import signing
from cf_images.emulator.images import StoredImage

if TYPE_CHECKING:
    from cf_images.emulator.app import App

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}
SHOWN = 200
LINK_SECONDS = 3_600
# Markup.format() escapes what is put in: IDs, file names and metadata are anybody's.
NUMBER = Markup("<li><b>{number}</b><span>{name}</span></li>")
FACT = Markup("<dt>{name}</dt><dd>{value}</dd>")
VARIANT = Markup("<tr><td>{name}</td><td><code>{options}</code></td></tr>")
LINK = Markup('<a href="{url}">{name}</a>')
IMAGE = Markup(
    '<article class="image"><img src="/__emulator__/thumbnails/{path}" alt="" loading="lazy"><div>'
    '<h3>{id}</h3>{private}<p>{description}</p>{metadata}<div class="links">{links}</div></div></article>'
)
PRIVATE = Markup('<span class="private">signed URLs only</span>')
METADATA = Markup("<pre>{metadata}</pre>")
NONE = Markup('<p class="none">No images yet. Upload one, and load this page again.</p>')
MORE = Markup('<p class="lead">… and {number} more.</p>')


def render(app: App, request: Request) -> str:
    """The page as HTML; the newest 200 images are on it."""
    template = Template((files(__package__) / "page.html").read_text("utf-8"))
    return template.substitute(
        numbers=_numbers(app),
        facts=_facts(app, request),
        variants=_variants(app),
        images=_images(app),
    )


def _joined(parts: Iterable[Markup]) -> Markup:
    return Markup("\n").join(parts)


def _numbers(app: App) -> Markup:
    counters = app.counters()
    shown = {name: counters[name] for name in ("images", "duplicates", "requests", "connections")}
    shown["faults"] = sum(counters["faults"].values())
    return _joined(NUMBER.format(number=f"{shown[name]:,}", name=name) for name in shown)


def _facts(app: App, request: Request) -> Markup:
    facts = {
        "account ID": app.account.account_id,
        "account hash": app.account.account_hash,
        "api_url": f"{request.host_url}client/v4",
        "delivery_url": request.host_url.rstrip("/"),
        **{name.replace("_", " "): json.dumps(value) for name, value in app.state.settings().items()},
    }
    return _joined(FACT.format(name=name, value=facts[name]) for name in facts)


def _variants(app: App) -> Markup:
    return _joined(
        VARIANT.format(name=variant.name, options=" ".join(f"{k}={v}" for k, v in variant.options.items()))
        for variant in app.state.variants().values()
    )


def _images(app: App) -> Markup:
    shown = [_image(image, app) for image in islice(app.state.images.listed(), SHOWN)]
    if not shown:
        return NONE
    more = len(app.state.images) - len(shown)
    grid = Markup('<div class="images">{images}</div>').format(images=_joined(shown))
    return grid + MORE.format(number=f"{more:,}") if more > 0 else grid


def _image(image: StoredImage, app: App) -> Markup:
    size = f"{math.ceil(image.size / 1024):,} KB"
    uploaded = f"{image.uploaded_at:%Y-%m-%d %H:%M:%S} UTC"
    creator = f"by {image.creator}" if image.creator else ""
    metadata = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in image.metadata.items()]
    return IMAGE.format(
        path=quote(image.image_id, safe=""),
        id=image.image_id,
        private=PRIVATE if image.require_signed_urls else "",
        description=" · ".join(filter(None, [image.filename, image.content_type, size, uploaded, creator])),
        metadata=METADATA.format(metadata="\n".join(metadata)) if metadata else "",
        links=_joined(
            LINK.format(url=url, name=url.partition("?")[0].rpartition("/")[2]) for url in _urls(image, app)
        ),
    )


def _urls(image: StoredImage, app: App) -> list[str]:
    base = f"/{app.account.account_hash}/{quote(image.image_id)}"
    urls = [f"{base}/{name}" for name in app.state.variants()]
    if not image.require_signed_urls:
        return urls
    key = next(iter(app.state.signing_keys().values()))
    expiring = [f"{url}?exp={int(app.state.clock()) + LINK_SECONDS}" for url in urls]
    return [f"{url}&sig={signing.sign(url, key=key)}" for url in expiring]
