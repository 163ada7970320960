"""Which hosts a request may name, and which web pages may change something.

Any web page can send requests to a port of the visitor's own machine. If its domain resolves to 127.0.0.1
(DNS rebinding), the browser even lets it read the responses; the header ``Host`` then has that domain. A page
of another site can send forms; the header ``Origin`` then has that site. Other clients send no ``Origin``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from werkzeug.wrappers import Request, Response

SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]/@?#\s]+)(?::[0-9]{0,5})?")
_NAME = re.compile(r"[a-z0-9]([a-z0-9_.-]*[a-z0-9])?")


class Hosts:
    """The hosts of one emulator: loopback, and those that are ``allowed`` besides: names or IP addresses.

    A wildcard address among them (``0.0.0.0``, ``::``) allows every IP address, since only a name can be
    rebound. Raise ``ValueError`` for what is neither a name nor an address.
    """

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self._allowed = {checked_host(host) for host in allowed}
        self._all_addresses = any(getattr(_address(host), "is_unspecified", False) for host in self._allowed)

    def refusal(self, request: Request) -> Response | None:
        """Return the response to a request that a foreign web page may have sent, ``None`` for any other."""
        host = request.environ.get("HTTP_HOST")
        if host is not None and not self._is_own(_host_of(host)):
            return _forbidden(f"for the host {host[:100]!r}", _host_of(host))
        origin = request.environ.get("HTTP_ORIGIN")
        if origin is None or request.method in SAFE_METHODS or self._is_own(_host_of_origin(origin)):
            return None
        return _forbidden(f"by web pages of {origin[:100]!r}", _host_of_origin(origin))

    def _is_own(self, host: str) -> bool:
        if host in self._allowed or host == "localhost" or host.endswith(".localhost"):
            return True
        address = _address(host)
        return address is not None and (address.is_loopback or self._all_addresses)


def checked_host(text: str) -> str:
    """Return a host as headers have it, without port; raise ``ValueError`` for what is none."""
    host = text.strip().strip("[]").rstrip(".").lower()
    if _address(host) is None and not _NAME.fullmatch(host):
        raise ValueError(f"{text!r} is not a host. Give a name or an IP address without scheme and port.")
    return host


def _forbidden(what: str, host: str) -> Response:
    hint = f" To allow it, start the emulator with --allow-host {host}." if _NAME.fullmatch(host) else ""
    text = f"The emulator refuses requests {what}: that is not this machine.{hint}\n"
    # Other web pages may read this one text, so that developers see it.
    return Response(text, status=403, mimetype="text/plain", headers={"Access-Control-Allow-Origin": "*"})


def _host_of(header: str) -> str:
    """Return the host without port; an empty text, which is never allowed, where there is none."""
    found = _HOST.fullmatch(header.strip())
    return found[1].strip("[]").rstrip(".").lower() if found else ""


def _host_of_origin(origin: str) -> str:
    """Return the host of an origin; an empty text for ``null`` and for what is no origin."""
    try:
        return _host_of(urlsplit(origin).netloc)
    except ValueError:
        return ""


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
