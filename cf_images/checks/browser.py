"""Checks of uploads from the browser."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from django.core import checks
from django.db.models import FileField, ImageField

from cf_images import conf
from cf_images.browser import targets, view_urls
from cf_images.checks.storages import Check, Messages
from cf_images.image_fields import file_fields, is_ours
from cf_images.images import names

_MIDDLEWARE = "cf_images.middleware.DirectUploadsMiddleware"
_BEFORE = (
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
)
_UPLOAD_HOST = "upload.imagedelivery.net"  # "Direct creator upload" (Cloudflare Images docs)
_ALLOW_UPLOADS = ("*", "https:", _UPLOAD_HOST, "*.imagedelivery.net")
_CSP_MIDDLEWARE = ("csp.middleware.CSPMiddleware", "django.middleware.csp.ContentSecurityPolicyMiddleware")


def views() -> Messages:
    """E035: pages cannot ask for upload URLs, and every file goes through the site."""
    if conf.setting("DIRECT_UPLOADS") and conf.has_urls() and not view_urls.are_mounted():
        yield checks.Error(
            'CF_IMAGES["DIRECT_UPLOADS"] is on, but the views are not in the project\'s URLs.',
            hint='Add path("cf-images/", include("cf_images.urls")) to the urlpatterns of ROOT_URLCONF.',
            id="cf_images.E035",
        )


def middleware() -> Messages:
    """E036: forms do not learn whose uploads they may take."""
    if not conf.setting("DIRECT_UPLOADS"):
        return
    given = list(conf.project_setting("MIDDLEWARE", ()))
    if _MIDDLEWARE not in given:
        yield checks.Error(
            f'CF_IMAGES["DIRECT_UPLOADS"] is on, but MIDDLEWARE does not have {_MIDDLEWARE}.',
            hint="Add it after the middleware of authentication: forms know by it whose uploads they take.",
            id="cf_images.E036",
        )
        return
    wrong = [path for path in _BEFORE if path not in given[: given.index(_MIDDLEWARE)]]
    if wrong:
        yield checks.Error(
            f"MIDDLEWARE does not have {' and '.join(wrong)} before {_MIDDLEWARE}.",
            hint="An upload belongs to a user or a session: put them before it, or use your own equivalents "
            "and silence this check.",
            id="cf_images.E036",
        )


def policy() -> Messages:
    """W037: the content security policy keeps browsers from Cloudflare's upload URLs."""
    if not conf.setting("DIRECT_UPLOADS") or not any(_uploads_to_cloudflare()):
        return
    if set(_CSP_MIDDLEWARE).isdisjoint(conf.project_setting("MIDDLEWARE", ())):
        return
    for setting, sources in _connect_sources():
        if not any(_allows_uploads(source) for source in sources):
            yield checks.Warning(
                f"The policy in {setting} does not let pages connect to https://{_UPLOAD_HOST}.",
                hint=f'Add "https://{_UPLOAD_HOST}" to connect-src: without it, uploads fail.',
                id="cf_images.W037",
            )


def max_length() -> Messages:
    """W038: a field is too short for the names of such uploads."""
    if not conf.setting("DIRECT_UPLOADS"):
        return
    for field in _fields():
        folder = "" if callable(field.upload_to) else time.strftime(str(field.upload_to))
        least = names.shortest_direct(folder)
        if field.max_length is not None and field.max_length < least:
            yield checks.Warning(
                f"The field has max_length={field.max_length}; an upload from the browser needs {least} "
                f"characters or more, since its name carries Cloudflare's ID.",
                hint="Give it max_length=100, which is Django's default: uploads into it fail.",
                obj=field,
                id="cf_images.W038",
            )


def plain_inputs() -> Messages:
    """I039: a field whose images go through the site, although uploads from the browser are on."""
    if not conf.setting("DIRECT_UPLOADS"):
        return
    for field in _fields():
        if targets.alias_of(field.storage) is None:
            yield checks.Info(
                "Images of this field go through the site: its storage keeps given names (unique_names: "
                "False), is a mirror, or is not in STORAGES.",
                hint="Nothing fails: forms have a plain input there. For uploads from the browser, give the "
                "field a storage with new names; otherwise silence this message.",
                obj=field,
                id="cf_images.I039",
            )


CHECKS: tuple[Check, ...] = (views, middleware, policy, max_length, plain_inputs)


def _fields() -> Iterator[FileField]:
    return (field for field in file_fields() if isinstance(field, ImageField) and is_ours(field))


def _uploads_to_cloudflare() -> Iterator[bool]:
    """Yield ``True`` for each field whose uploads go to Cloudflare itself, and not to an emulator."""
    for field in _fields():
        if alias := targets.alias_of(field.storage):
            options = getattr(targets.Target(label="", alias=alias).storage, "options", None)
            yield options is not None and urlsplit(options.api_url).hostname == "api.cloudflare.com"


def _connect_sources() -> Iterator[tuple[str, list[str]]]:
    """Yield each setting with a policy, and what its pages may connect to; no directive allows all."""
    csp: Any = conf.project_setting("CONTENT_SECURITY_POLICY") or {}
    policies: dict[str, Any] = {
        "SECURE_CSP": conf.project_setting("SECURE_CSP"),
        "CONTENT_SECURITY_POLICY": csp.get("DIRECTIVES"),
        "CSP_CONNECT_SRC": {
            "connect-src": conf.project_setting("CSP_CONNECT_SRC"),
            "default-src": conf.project_setting("CSP_DEFAULT_SRC"),
        },
    }
    for setting, directives in policies.items():
        found = (directives or {}).get("connect-src") or (directives or {}).get("default-src")
        if found:
            yield setting, [found] if isinstance(found, str) else list(map(str, found))


def _allows_uploads(source: str) -> bool:
    plain = source.removeprefix("https://").partition("/")[0].removesuffix(":443")
    return source in _ALLOW_UPLOADS or plain in _ALLOW_UPLOADS
