"""URLs of images on other servers: how they are written, and which IP addresses are public. No network."""

from __future__ import annotations

import ipaddress
from urllib.parse import quote, urlsplit, urlunsplit

# What a URL may hold as it is; "%" is there because the URL may be percent-encoded already.
_URL_CHARACTERS = "%!#$&'()*+,/:;=?@[]~"

_UNICAST = ipaddress.ip_network("2000::/3")  # all that IANA has given out to networks
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# Beyond what Python's is_global knows, which differs by version (IANA's special-purpose address registries):
# what is no network of its own, or leads to an IPv4 address inside another network.
_SPECIAL_IPV4 = (
    ipaddress.IPv4Network("192.0.0.0/24"),  # protocols; Oracle's cloud has its metadata there
    ipaddress.IPv4Network("192.88.99.0/24"),  # relays of 6to4
    ipaddress.IPv4Network("168.63.129.16/32"),  # in Azure, the services of the host itself
)
_SPECIAL_IPV6 = (
    ipaddress.IPv6Network("2001::/23"),  # protocols, with Teredo (2001::/32)
    ipaddress.IPv6Network("2001:db8::/32"),  # documentation
    ipaddress.IPv6Network("2002::/16"),  # 6to4
    ipaddress.IPv6Network("3fff::/20"),  # documentation
)


class FetchError(Exception):
    """The image cannot be fetched at the moment; later attempts may succeed."""


def ascii_url(url: str) -> str:
    """Return the URL as it is sent: the host in IDNA, other characters beyond ASCII percent-encoded.

    A URL in ASCII stays as it is, since a signature may cover it. Raise ``ValueError`` for a URL that cannot
    be sent.
    """
    if not url.isprintable() or " " in url:
        raise ValueError("a space or an invisible character in the URL")
    if url.isascii():
        return url
    parts = urlsplit(url)
    userinfo, at, _ = parts.netloc.rpartition("@")
    host = (parts.hostname or "").encode("idna").decode()
    netloc = f"{quote(userinfo, safe=_URL_CHARACTERS)}{at}{f'[{host}]' if ':' in host else host}"
    if parts.port is not None:
        netloc = f"{netloc}:{parts.port}"
    rest = (quote(part, safe=_URL_CHARACTERS) for part in (parts.path, parts.query, parts.fragment))
    return urlunsplit((parts.scheme, netloc, *rest))


def is_public(address: str) -> bool:
    """Return whether an IP address is on the internet, and not in a network that only this machine reaches.

    IPv6 counts where IANA gives it out to networks. Of the forms that wrap an IPv4 address, mapped ones and
    those of NAT64's well-known prefix count as what is in them; compatible, site-local, Teredo, 6to4, ISATAP
    and local NAT64 (64:ff9b:1::/48) addresses never do.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv4Address):
        return _is_public_ipv4(parsed)
    if parsed.scope_id is not None:
        return False
    if parsed.ipv4_mapped is not None:
        return _is_public_ipv4(parsed.ipv4_mapped)
    if parsed in _NAT64:
        return _is_public_ipv4(ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF))
    is_special = any(parsed in network for network in _SPECIAL_IPV6) or _is_isatap(parsed)
    return parsed in _UNICAST and parsed.is_global and not is_special


def _is_public_ipv4(address: ipaddress.IPv4Address) -> bool:
    is_special = any(address in network for network in _SPECIAL_IPV4)
    return address.is_global and not (is_special or address.is_multicast or address.is_reserved)


def _is_isatap(address: ipaddress.IPv6Address) -> bool:
    """Return whether the last half is ``[02]00:5efe`` and an IPv4 address (RFC 5214)."""
    return (int(address) >> 32) & 0xFDFFFFFF == 0x00005EFE
