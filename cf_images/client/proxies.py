"""The proxy for a host, from the environment: the same variables and rules as httpx, curl and urllib.

``HTTPS_PROXY`` and ``HTTP_PROXY`` count for their scheme, ``ALL_PROXY`` for what is left; ``NO_PROXY`` lists
hosts to reach directly. Lower case wins. Where the environment has none, macOS and Windows have settings.
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from urllib.request import getproxies

import httpcore
import httpx

_SCHEMES = ("http", "https", "socks5", "socks5h")
# What httpcore lets through if a SOCKS proxy sends nonsense; empty without the package that it needs for one.
SOCKS_ERRORS: tuple[type[Exception], ...] = (
    (AssertionError, import_module("socksio").SOCKSError) if find_spec("socksio") else ()
)


class MisconfiguredError(Exception):
    """No connection is possible with this environment; the message names the variable, not its value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """A proxy server, and the variable that names it; ``repr`` hides user and password."""

    variable: str
    url: httpcore.URL
    auth: tuple[bytes, bytes] | None = field(repr=False)


class Proxies:
    """The proxy variables as they are now."""

    def __init__(self) -> None:
        found = getproxies()
        self._values = {scheme: found[scheme] for scheme in ("http", "https", "all") if found.get(scheme)}
        self._direct = [entry.strip().lower() for entry in found.get("no", "").split(",") if entry.strip()]

    def find(self, *, scheme: str, host: str, port: int) -> Proxy | None:
        """Return the proxy for a host, or ``None``; raise ``MisconfiguredError`` for one that cannot be."""
        kind = scheme if scheme in self._values else "all"
        if kind not in self._values or any(
            _matches(entry, scheme=scheme, host=host.lower(), port=port) for entry in self._direct
        ):
            return None
        return _parse(self._values[kind], variable=_variable(kind))


def _matches(entry: str, *, scheme: str, host: str, port: int) -> bool:
    """Return whether an entry of ``NO_PROXY`` covers a host.

    ``*``; ``example.com`` (and its subdomains); ``.example.com`` and ``*.example.com`` (only those); an IP
    address or network; each may have a scheme in front and a port behind.
    """
    if entry == "*":
        return True
    wanted_scheme, separator, rest = entry.partition("://")
    if separator and wanted_scheme not in (scheme, "all"):
        return False
    name, wanted_port = _split_port(rest if separator else entry)
    if wanted_port not in ("", str(port)):
        return False
    network = _network(name)
    if network is not None:
        address = _network(host)
        return address is not None and address.network_address in network
    if name.startswith((".", "*.")):
        return host.endswith(name.removeprefix("*"))
    return host == name or (name != "localhost" and host.endswith(f".{name}"))


def _split_port(entry: str) -> tuple[str, str]:
    """Split ``host:port``, ``[IPv6]:port`` and both without a port; an IPv6 address may lack brackets."""
    if entry.startswith("["):
        name, _, port = entry[1:].partition("]")
        return name, port.removeprefix(":")
    if entry.count(":") > 1:
        return entry, ""
    name, _, port = entry.partition(":")
    return name, port


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _parse(value: str, *, variable: str) -> Proxy:
    """Return the proxy, or raise ``MisconfiguredError``; the message repeats none of ``value``."""
    try:
        url, problem = httpx.URL(value if "://" in value else f"http://{value}"), ""
        url.host  # noqa: B018  # decodes IDNA, which fails for some hosts that begin with xn--
    except (httpx.InvalidURL, ValueError):
        url, problem = httpx.URL(), "it is not a URL such as http://user:password@proxy.example:3128."
    if not problem and (url.scheme not in _SCHEMES or not url.host or not 0 < (url.port or 1) < 65536):
        problem = "it must begin with http://, https://, socks5:// or socks5h:// and name a host."
    elif url.scheme.startswith("socks") and not SOCKS_ERRORS:
        problem = "a SOCKS proxy needs the package socksio: pip install 'httpx[socks]'."
    if problem:  # outside the except block: the error before shows the value
        raise MisconfiguredError(f"The proxy in {variable} cannot be used: {problem}")
    auth = (url.username.encode(), url.password.encode()) if url.userinfo else None
    target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=b"/")
    return Proxy(variable=variable, url=target, auth=auth)


def _variable(kind: str) -> str:
    names = (f"{kind}_proxy", f"{kind}_proxy".upper())
    return next((name for name in names if os.environ.get(name)), "the system's settings")
