"""Signatures: the reference's vectors, any URL, any changed byte, and the edges of the rounding."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from cf_images.delivery import signing
from cf_images.delivery.urls import DeliveryURL, parse_url
from cf_images.emulator import signing as cloudflare
from cf_images.exceptions import InvalidExpiryError

KEY = "example-signing-key-0001"
HASH = "Vi7wi5KSItxGFsWRG2Us6Q"
HOSTS = [
    "https://imagedelivery.net",
    "https://images.example.com/cdn-cgi/imagedelivery",
    "https://img.example.com/{variant}/{account_hash}/{image_id}",
]
IMAGE_URL = DeliveryURL(
    delivery_url=HOSTS[0],
    account_hash=HASH,
    image_id="083eb7b2-5392-4565-b69e-aff66acddd00",
    variant="public",
)
NOW = 1_800_000_000.0  # a multiple of an hour, and of a day's quarter

ids = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60).map(
    lambda text: "/".join(part for part in text.split("/") if part not in ("", ".", "..")) or "x"
)
variants = st.from_regex(r"[A-Za-z0-9]{1,20}", fullmatch=True)
keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
moments = st.none() | st.integers(0, 4_000_000_000)


@pytest.mark.parametrize(
    ("expires_at", "query", "signature"),
    [
        (1893456000, "exp=1893456000&", "d6d4187280710906516836d6cea0c82391974fb30dbf86cd359ea6a7d0e718b9"),
        (None, "", "9ac685906cf4962328900ac3f1304239031fbea1fa17026493cce0dbd7d9b345"),
    ],
)
def test_signatures_are_those_of_the_reference(expires_at: int | None, query: str, signature: str) -> None:
    signed = signing.sign(IMAGE_URL, KEY, expires_at=expires_at)
    assert str(signed) == f"{IMAGE_URL}?{query}sig={signature}"


@pytest.mark.parametrize("host", HOSTS)
def test_the_signature_does_not_depend_on_the_host(host: str) -> None:
    there = signing.sign(replace(IMAGE_URL, delivery_url=host), KEY, expires_at=1893456000)
    assert there.query == signing.sign(IMAGE_URL, KEY, expires_at=1893456000).query


@given(ids, variants, moments, keys, st.sampled_from(HOSTS))
@example("a%2Fb?c#d", "public", 1, "schlüssel", HOSTS[1])
def test_this_package_and_cloudflare_accept_what_was_signed(
    image_id: str, variant: str, expires_at: int | None, key: str, host: str
) -> None:
    url = DeliveryURL(delivery_url=host, account_hash=HASH, image_id=image_id, variant=variant)
    signed = signing.sign(url, key, expires_at=expires_at)
    read = parse_url(str(signed), HOSTS)
    assert read == signed
    assert signing.is_signed_by(read, ["another", key])
    assert signing.expiry_of(read) == expires_at
    short = str(signing.sign(replace(url, delivery_url="https://h"), key, expires_at=expires_at))
    path, query = urlsplit(short).path, signed.query
    end = cloudflare.expiry(path, query, keys=["another", key])
    assert end == (math.inf if expires_at is None else expires_at)


@given(st.data())
def test_any_changed_byte_is_refused(data: st.DataObject) -> None:
    url = str(signing.sign(IMAGE_URL, KEY, expires_at=1893456000))
    begin = len(HOSTS[0]) + 1
    place = data.draw(st.integers(begin, len(url) - 1))
    other = data.draw(st.characters(min_codepoint=33, max_codepoint=126))
    assume(other != url[place])
    changed = parse_url(url[:place] + other + url[place + 1 :], HOSTS)
    assert changed is None or not signing.is_signed_by(changed, [KEY])


@pytest.mark.parametrize("query", ["", "exp=1893456000", "sig=", "sig=a&sig=b", "sig=é"])
def test_what_has_no_valid_signature_is_refused(query: str) -> None:
    assert not signing.is_signed_by(replace(IMAGE_URL, query=query), [KEY])


def test_without_keys_no_signature_is_valid() -> None:
    signed = signing.sign(IMAGE_URL, KEY, expires_at=None)
    assert not signing.is_signed_by(signed, [])


class TestExpiry:
    def test_an_hour_on_the_half_hour_is_an_hour(self) -> None:
        assert signing.expiry(3600, now=NOW) == NOW + 3600

    def test_a_moment_later_it_is_an_hour_and_a_half(self) -> None:
        assert signing.expiry(3600, now=NOW + 0.001) == NOW + 3600 + 1800

    def test_the_url_stays_the_same_for_half_an_hour(self) -> None:
        expiries = {signing.expiry(3600, now=NOW + second) for second in range(1, 1801)}
        assert expiries == {NOW + 5400}
        assert signing.expiry(3600, now=NOW + 1800.001) == NOW + 7200

    def test_a_timedelta_is_its_seconds(self) -> None:
        assert signing.expiry(timedelta(hours=1), now=NOW) == signing.expiry(3600, now=NOW)

    def test_the_window_is_a_day_at_most(self) -> None:
        day, midnight = 86_400, 20_833 * 86_400
        assert signing.expiry(60 * day, now=midnight) == midnight + 60 * day
        assert signing.expiry(60 * day, now=midnight + 1) == midnight + 61 * day

    @given(st.floats(0.001, signing.MAX_LIFETIME), st.floats(0, 4e9))
    def test_it_is_never_less_than_the_lifetime_and_never_half_more(
        self, lifetime: float, now: float
    ) -> None:
        left = signing.expiry(lifetime, now=now) - now
        assert left >= lifetime - 1e-3
        assert left <= lifetime + max(1.0, lifetime / 2) + 1e-3

    def test_a_datetime_is_kept_to_the_second(self) -> None:
        moment = datetime.fromtimestamp(NOW + 77, UTC)
        assert signing.expiry(moment, now=NOW) == NOW + 77

    def test_a_datetime_without_a_zone_is_local_time(self) -> None:
        moment = datetime.fromtimestamp(NOW + 77)  # noqa: DTZ006  # that is what is tested
        assert signing.expiry(moment, now=NOW) == NOW + 77

    @pytest.mark.parametrize(
        ("lifetime", "words"),
        [
            (0, "in the past"),
            (-1, "in the past"),
            (float("nan"), "in the past"),
            (timedelta(seconds=-1), "in the past"),
            (datetime.fromtimestamp(NOW - 1, UTC), "in the past"),
            (datetime.min, "in the past"),  # noqa: DTZ901  # that is what is tested
            (signing.MAX_LIFETIME + 1, "longer than a year"),
            (float("inf"), "longer than a year"),
            (datetime.fromtimestamp(NOW + signing.MAX_LIFETIME + 1, UTC), "longer than a year"),
            ("3600", "seconds, a timedelta or a datetime"),
            (True, "seconds, a timedelta or a datetime"),
        ],
    )
    def test_a_lifetime_that_no_url_can_have_is_refused(self, lifetime: object, words: str) -> None:
        with pytest.raises(InvalidExpiryError, match=words):
            signing.expiry(lifetime, now=NOW)  # type: ignore[arg-type]
