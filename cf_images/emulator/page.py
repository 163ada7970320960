"""The page at ``/``: counters, settings, variants and the newest images; read-only and without scripts."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from importlib.resources import files
from itertools import islice
from string import Template
from typing import Any
from urllib.parse import quote

from markupsafe import Markup
from werkzeug.wrappers import Request

from cf_images.emulator import signing
from cf_images.emulator.access import Account
from cf_images.emulator.images import StoredImage
from cf_images.emulator.state import State

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}
MAX_IMAGES = 200
LINK_SECONDS = 3_600
# Markup.format() escapes the values: IDs, file names and metadata are untrusted.
NUMBER = Markup("<li><b>{number}</b><span>{name}</span></li>")
SETTING = Markup("<dt>{name}</dt><dd>{value}</dd>")
VARIANT = Markup("<tr><td>{name}</td><td><code>{options}</code></td></tr>")
LINK = Markup('<a href="{url}">{name}</a>')
IMAGE = Markup(
    '<article class="image"><img src="/__emulator__/thumbnails/{path}" alt="" loading="lazy"><div>'
    '<h3>{id}</h3>{private}<p>{description}</p>{metadata}<div class="links">{links}</div></div></article>'
)
PRIVATE = Markup('<span class="private">signed URLs only</span>')
METADATA = Markup("<pre>{metadata}</pre>")
GRID = Markup('<div class="images">{images}</div>')
NO_IMAGES = Markup('<p class="none">No images yet. Upload one and reload this page.</p>')
MORE = Markup('<p class="lead">… and {number} more.</p>')


def render(account: Account, request: Request, *, state: State, counters: Mapping[str, Any]) -> str:
    """Return the page as HTML, with the newest 200 images."""
    template = Template((files(__package__) / "page.html").read_text("utf-8"))
    return template.substitute(
        numbers=_numbers(counters),
        settings=_settings(account, request, state=state),
        variants=_variants(state),
        images=_images(account, state),
    )


def _joined(parts: Iterable[Markup]) -> Markup:
    return Markup("\n").join(parts)


def _numbers(counters: Mapping[str, Any]) -> Markup:
    numbers = {name: counters[name] for name in ("images", "duplicates", "requests", "connections")}
    numbers["faults"] = sum(counters["faults"].values())
    return _joined(NUMBER.format(number=f"{number:,}", name=name) for name, number in numbers.items())


def _settings(account: Account, request: Request, *, state: State) -> Markup:
    settings = {
        "account ID": account.account_id,
        "account hash": account.account_hash,
        "api_url": f"{request.host_url}client/v4",
        "delivery_url": request.host_url.rstrip("/"),
        **{name.replace("_", " "): json.dumps(value) for name, value in state.settings().items()},
    }
    return _joined(SETTING.format(name=name, value=value) for name, value in settings.items())


def _variants(state: State) -> Markup:
    return _joined(
        VARIANT.format(name=variant.name, options=" ".join(f"{k}={v}" for k, v in variant.options.items()))
        for variant in state.variants().values()
    )


def _images(account: Account, state: State) -> Markup:
    newest = islice(state.images.listed(), MAX_IMAGES)
    articles = [_image(image, _urls(image, account, state)) for image in newest]
    if not articles:
        return NO_IMAGES
    more = len(state.images) - len(articles)
    grid = GRID.format(images=_joined(articles))
    return grid + MORE.format(number=f"{more:,}") if more > 0 else grid


def _image(image: StoredImage, urls: Iterable[str]) -> Markup:
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
        links=_joined(LINK.format(url=url, name=url.partition("?")[0].rpartition("/")[2]) for url in urls),
    )


def _urls(image: StoredImage, account: Account, state: State) -> list[str]:
    base = f"/{account.account_hash}/{quote(image.image_id)}"
    urls = [f"{base}/{name}" for name in state.variants()]
    if not image.require_signed_urls:
        return urls
    key = next(iter(state.signing_keys().values()))
    expiring = [f"{url}?exp={int(state.clock()) + LINK_SECONDS}" for url in urls]
    return [f"{url}&sig={signing.sign(url, key=key)}" for url in expiring]
