"""Which addresses an image may be fetched from, by Cloudflare or by our worker."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError

from cf_images import conf

_MAX_URL_LENGTH = 2000
_LOCAL_SUFFIXES = (".localhost", ".localdomain", ".local", ".internal", ".lan", ".home.arpa")
_HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")  # a name, or an IPv4 literal


def validate_source_url(url: str) -> None:
    """Raise ``ValidationError`` unless ``url`` may be given to Cloudflare to fetch an image from.

    https, a public host name, no credentials; ``CF_IMAGES["UPLOAD_URL_…"]`` relaxes each of them.
    """
    if problem := _problem(url):
        raise ValidationError(f"The address cannot be used: {problem}.", code="source_url")


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
