"""Which IP addresses are public, in every notation, and how URLs beyond ASCII are sent."""

from __future__ import annotations

import ipaddress
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cf_images.client.sources import ascii_url, is_public

PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "223.255.255.254",
    "2001:4860:4860::8888",
    "2606:4700:4700::1111",
    "2a00:1450:4001::200e",
    "::ffff:8.8.8.8",  # IPv4, as a socket for both shows it
    "64:ff9b::808:808",  # 8.8.8.8 in a network that has only IPv6
]
INTERNAL = {
    "0.0.0.0": "unspecified",
    "0.1.2.3": "this network",
    "10.1.2.3": "private",
    "100.64.0.1": "shared by a provider's customers",
    "100.100.100.200": "Alibaba's metadata",
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "169.254.169.254": "metadata of most clouds",
    "168.63.129.16": "Azure's own services",
    "172.16.0.1": "private",
    "192.0.0.192": "Oracle's metadata",
    "192.0.0.9": "protocols",
    "192.88.99.1": "relays of 6to4",
    "192.0.2.1": "documentation",
    "192.168.1.1": "private",
    "198.18.0.1": "benchmarks",
    "198.51.100.1": "documentation",
    "203.0.113.1": "documentation",
    "224.0.0.1": "multicast",
    "239.255.255.250": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "broadcast",
    "::": "unspecified",
    "::1": "loopback",
    "::127.0.0.1": "IPv4-compatible",
    "::8.8.8.8": "IPv4-compatible",
    "::ffff:127.0.0.1": "IPv4-mapped",
    "::ffff:169.254.169.254": "IPv4-mapped",
    "::ffff:0:127.0.0.1": "IPv4-translated (RFC 2765)",
    "64:ff9b::10.1.2.3": "NAT64",
    "64:ff9b::169.254.169.254": "NAT64",
    "64:ff9b:1::8.8.8.8": "local NAT64 (RFC 8215)",
    "64:ff9b:1:a00:1:203::": "local NAT64 (RFC 8215)",
    "100::1": "discard",
    "2001::1": "Teredo",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2": "Teredo",
    "2001:2::1": "benchmarks",
    "2001:10::1": "ORCHID",
    "2001:20::1": "ORCHIDv2",
    "2001:db8::1": "documentation",
    "2002:7f00:1::": "6to4 of 127.0.0.1",
    "2002:808:808::1": "6to4 of 8.8.8.8",
    "3fff::1": "documentation",
    "2600::5efe:10.0.0.1": "ISATAP",
    "2600::200:5efe:10.0.0.1": "ISATAP",
    "5f00::1": "segment routing",
    "4000::1": "not given out",
    "fc00::1": "unique local",
    "fd00:ec2::254": "Amazon's metadata",
    "fe80::1": "link-local",
    "fe80::1%eth0": "link-local",
    "2606:4700:4700::1111%eth0": "in the scope of an interface",
    "fec0::1": "site-local",
    "feff::1": "site-local",
    "ff02::1": "multicast",
    "ff0e::1": "multicast",
    "": "no address",
    "localhost": "no address",
    "127.1": "no address",
    "0x7f000001": "no address",
}


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_on_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", INTERNAL)
def test_any_other_address_is_not(address: str) -> None:
    assert not is_public(address), INTERNAL[address]


@given(st.ip_addresses(v=4).filter(lambda address: not address.is_global))
def test_no_wrapping_makes_an_ipv4_address_public(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    wrapped = [
        ipaddress.IPv6Address(number),
        ipaddress.IPv6Address((0xFFFF << 32) | number),
        ipaddress.IPv6Address((0xFFFF << 48) | number),
        ipaddress.IPv6Address((0x64FF9B << 96) | number),
        ipaddress.IPv6Address((0x64FF9B0001 << 80) | number),
        ipaddress.IPv6Address((0x2002 << 112) | (number << 80)),
        ipaddress.IPv6Address((0x20010000 << 96) | (number ^ 0xFFFFFFFF)),
        ipaddress.IPv6Address((0x2600 << 112) | (0x5EFE << 32) | number),
    ]
    assert not [str(found) for found in wrapped if is_public(str(found))]


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("https://example.com/ü.jpg", "https://example.com/%C3%BC.jpg"),
        ("https://bücher.example/ä?ö=%20#ß", "https://xn--bcher-kva.example/%C3%A4?%C3%B6=%20#%C3%9F"),
        ("https://jané:pä@example.com:8443/ü", "https://jan%C3%A9:p%C3%A4@example.com:8443/%C3%BC"),
        ("https://[2606:4700::1111]:8443/ü", "https://[2606:4700::1111]:8443/%C3%BC"),
        ("https://EXAMPLE.com/ü+a'(b)~*;,=&@:!$", "https://example.com/%C3%BC+a'(b)~*;,=&@:!$"),
    ],
)
def test_characters_beyond_ascii_are_encoded(url: str, sent: str) -> None:
    assert ascii_url(url) == sent
    assert ascii_url(sent) == sent


def test_a_url_in_ascii_stays_as_it_is() -> None:
    url = "HTTPS://Example.COM:443/a%2fb//../c;d?X-Amz-Signature=a'b(c)|\"{}<>^`\\&e=%zz#f"
    assert ascii_url(url) == url


@pytest.mark.parametrize(
    "url",
    ["https://exa mple.com/ü", "https://a\u2028b/", "https://\ud800/", "https://ü..com/", "https://[ü/"],
)
def test_a_url_that_cannot_be_sent_is_an_error(url: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # by several parsers
        ascii_url(url)


@given(st.text(st.characters(categories=["L", "N", "S", "P"]), max_size=50))
def test_every_printable_path_can_be_sent_and_read_again(path: str) -> None:
    path = path.replace("%", "").replace("?", "").replace("#", "").replace("\\", "")
    sent = ascii_url(f"https://example.com/{path}ü")
    assert sent.isascii()
    assert unquote(urlsplit(sent).path) == f"/{path}ü"
