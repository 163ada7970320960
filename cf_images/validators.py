"""Refuse in the form what Cloudflare would refuse after the upload; attached to fields by ``apps.py``."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.files.storage import storages
from django.db import models
from django.db.models.fields.files import FieldFile

from cf_images import conf, images
from cf_images.exceptions import ImageRejectedError
from cf_images.files import from_start
from cf_images.local import LocalImagesStorage
from cf_images.storage import CloudflareImagesStorage, select_storage

_MAX_URL_LENGTH = 2000
_HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")  # a name, or an IPv4 literal
_LOCAL_SUFFIXES = (".localhost", ".localdomain", ".local", ".internal", ".lan", ".home.arpa")


def validate_image(value: Any) -> None:
    """Raise ``ValidationError`` for a new file that Cloudflare would not take.

    A file that is stored already is not looked at, so that ``full_clean()`` of an unchanged row downloads
    nothing. What ``fit_limits`` will reduce on saving passes.
    """
    if not _is_new(value):
        return
    file = value.file if isinstance(value, FieldFile) else value
    try:
        with from_start(file) as start:
            info = images.inspect(start)
        if not (_mends(value) and images.can_be_reduced(info)):
            images.check_limits(info)
    except ImageRejectedError as error:
        raise ValidationError(error.message, code="image_rejected") from None


def attach(field: models.Field[Any, Any]) -> None:
    """Give the validator to an image field on one of our storages; migrations do not see it."""
    if not isinstance(field, models.ImageField) or validate_image in field.validators:
        return
    chosen = getattr(field, "_storage_callable", None)  # Django keeps what ``storage=`` was given as
    if chosen is select_storage or isinstance(field.storage, (CloudflareImagesStorage, LocalImagesStorage)):
        field.validators.append(validate_image)


def attach_everywhere() -> None:
    """``attach`` for every field of every model, unless ``VALIDATE_FIELDS`` is off."""
    if not conf.package("VALIDATE_FIELDS"):
        return
    for model in apps.get_models(include_auto_created=True):
        for field in model._meta.local_fields:
            attach(field)


def validate_source_url(url: str) -> None:
    """Raise ``ValidationError`` unless ``url`` may be given to Cloudflare to fetch an image from.

    https, a public host name, no credentials; ``CF_IMAGES["UPLOAD_URL_…"]`` relaxes each of them.
    """
    if problem := _problem(url):
        raise ValidationError(f"The address cannot be used: {problem}.", code="source_url")


def _is_new(value: Any) -> bool:
    if isinstance(value, FieldFile):
        return bool(value) and not getattr(value, "_committed", False)
    return hasattr(value, "read")  # a file without a name is falsy, but a file


def _mends(value: Any) -> bool:
    """Whether saving will reduce it; for local files, and DRF's uploads, the Cloudflare alias decides."""
    storage = getattr(value, "storage", None)
    if not isinstance(storage, CloudflareImagesStorage):
        alias = conf.package("CLOUDFLARE_ALIAS")
        storage = storages[alias] if alias in settings.STORAGES else None
    if isinstance(storage, CloudflareImagesStorage):
        return bool(storage.option("fit_limits"))
    return bool(conf.option("fit_limits", {}))


def _problem(url: str) -> str:
    if len(url) > _MAX_URL_LENGTH or not url.isprintable() or " " in url:
        return f"it must have at most {_MAX_URL_LENGTH:,} characters and no spaces"
    try:
        address = urlsplit(url)
        host, _ = _ascii_host(address.hostname or ""), address.port
    except ValueError:
        return "it is not a valid URL"
    schemes = conf.package("UPLOAD_URL_SCHEMES")
    if address.scheme not in schemes:
        return f"it must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}"
    if not host:
        return "it names no host"
    if "@" in address.netloc and not conf.package("UPLOAD_URL_CREDENTIALS"):
        return "it contains a user name or a password"
    local = "[" in address.netloc or _is_local(host)  # in brackets: IPv6, or what may come after it
    if local and host not in conf.package("UPLOAD_URL_LOCAL_HOSTS"):
        return f"{host} is not a public host name"
    return ""


def _ascii_host(host: str) -> str:
    """As the name servers know it: letters and dots of other scripts are not another way in."""
    return host.encode("idna").decode().lower()


def _is_local(host: str) -> bool:
    """Whether the host is an IP literal in any spelling, or a name without a public domain."""
    host = host.removesuffix(".")
    last = host.rpartition(".")[2]
    # inet_aton also reads 127.1, 2130706433 and 0x7f.1: no public domain ends in a number
    numeric = last.isdigit() or last.startswith("0x")
    return not _HOST.fullmatch(host) or "." not in host or host.endswith(_LOCAL_SUFFIXES) or numeric
