"""Images at URLs that a stranger may have given: which URLs are accepted, and the fetch for local storages.

``validate_source_url`` checks a URL before anything is fetched, by Cloudflare or by this site. ``fetch`` is
the client's, with this project's settings: 10 MB, 15 seconds, public hosts only.
"""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from typing import IO
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.utils.formats import number_format
from django.utils.text import get_text_list
from django.utils.translation import gettext as _

from cf_images import client, conf
from cf_images.client.sources import FetchError, ascii_url
from cf_images.images import MAX_BYTES

__all__ = ["FetchError", "fetch", "validate_source_url"]

SECONDS = 15.0
_MAX_URL_LENGTH = 2000
_LOCAL_SUFFIXES = (".localhost", ".localdomain", ".local", ".internal", ".lan", ".home.arpa")
_HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")  # a name, or an IPv4 literal


def validate_source_url(url: str) -> None:
    """Raise ``ValidationError`` unless an image may be fetched from ``url``.

    https, a public host name, no credentials; ``CF_IMAGES["UPLOAD_URL_…"]`` relaxes each of them.
    """
    if problem := _url_problem(url):
        raise ValidationError(problem, code="source_url")


def fetch(url: str) -> AbstractContextManager[IO[bytes]]:
    """Give the image at ``url`` as a file at its start.

    Raise ``FetchError`` for what may pass, ``ImageRejectedError`` for what will not.
    """
    local_hosts = conf.setting("UPLOAD_URL_LOCAL_HOSTS")
    return client.fetch(url, timeout=SECONDS, max_bytes=MAX_BYTES, local_hosts=local_hosts)


def _url_problem(url: str) -> str:
    if len(url) > _MAX_URL_LENGTH or not url.isprintable() or " " in url:
        limit = number_format(_MAX_URL_LENGTH, force_grouping=True)
        problem = _("The URL cannot be used: it must have at most %(limit)s characters and no spaces.")
        return problem % {"limit": limit}
    try:
        parts = urlsplit(ascii_url(url))  # letters and dots of other scripts are no way around
        host, _port = (parts.hostname or "").encode("idna").decode().lower(), parts.port
    except ValueError:
        return _("The URL cannot be used: it is not a valid URL.")
    schemes = conf.setting("UPLOAD_URL_SCHEMES")
    if parts.scheme not in schemes:
        beginnings = get_text_list([f"{scheme}://" for scheme in schemes])
        return _("The URL cannot be used: it must begin with %(schemes)s.") % {"schemes": beginnings}
    if not host:
        return _("The URL cannot be used: it names no host.")
    if "@" in parts.netloc and not conf.setting("UPLOAD_URL_CREDENTIALS"):
        return _("The URL cannot be used: it contains a user name or a password.")
    local = "[" in parts.netloc or _is_local(host)  # IPv6 stands in brackets
    if local and host not in conf.setting("UPLOAD_URL_LOCAL_HOSTS"):
        return _("The URL cannot be used: %(host)s is not a public host name.") % {"host": host}
    return ""


def _is_local(host: str) -> bool:
    """Return whether the host is an IP literal in any spelling, or a name without a public domain."""
    host = host.removesuffix(".")
    last = host.rpartition(".")[2]
    # inet_aton also reads 127.1, 2130706433 and 0x7f.1. No public domain ends in a number.
    numeric = last.isdigit() or last.startswith("0x")
    return not _HOST.fullmatch(host) or "." not in host or host.endswith(_LOCAL_SUFFIXES) or numeric
