"""Delivery URLs: built, taken apart, and what can be a variant in them."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cf_images.delivery import urls
from cf_images.exceptions import InvalidVariantError
from cf_images.variants import grammar

CLOUDFLARE = "https://imagedelivery.net"
CUSTOM = "https://img.example.com/cdn-cgi/imagedelivery"
EMULATOR = "http://127.0.0.1:8787"
HASH = "Vi7wi5KSItxGFsWRG2Us6Q"
ALL = [CLOUDFLARE, CUSTOM, EMULATOR]

# What Cloudflare accepts as a custom ID, and more: any text in segments that are not empty.
characters = st.characters(exclude_categories=["Cs"], exclude_characters="/")
segment = st.text(characters, min_size=1, max_size=20).filter(lambda text: text not in (".", ".."))
image_ids = st.lists(segment, min_size=1, max_size=4).map("/".join)
variants = st.one_of(
    st.text("abcXYZ019", min_size=1, max_size=99),
    st.sampled_from(["w=200,fit=cover", "width=200,background=#fff", "background=rgb(240,40,145),h=9"]),
)


@pytest.mark.parametrize("base", ALL)
@given(image_id=image_ids, variant=variants)
@example(image_id="100%.jpg", variant="public")
@example(image_id="a%2Fb", variant="public")
@example(image_id="a?b=c#d&e", variant="public")
@example(image_id="😀/中文 é.jpg", variant="w=200")
@example(image_id="a+b", variant="public")
@example(image_id="\n\t", variant="public")
@example(image_id="[::1]", variant="public")
def test_what_was_built_is_taken_apart_again(base: str, image_id: str, variant: str) -> None:
    url = urls.build_url(base, HASH, image_id, variant)
    assert url.isascii()
    assert url.isprintable()
    assert not set(' "<>?#\\') & set(url)
    assert urls.parse_url(url, ALL) == urls.DeliveryURL(
        delivery_url=base, account_hash=HASH, image_id=image_id, variant=variant
    )
    assert str(urls.parse_url(url, ALL)) == url


@pytest.mark.parametrize(
    ("image_id", "variant", "path"),
    [
        ("avatars/jane-x.jpg", "public", "avatars/jane-x.jpg/public"),
        ("100%.jpg", "public", "100%25.jpg/public"),
        ("a%20b", "public", "a%2520b/public"),
        ("a b?c#d.jpg", "public", "a%20b%3Fc%23d.jpg/public"),
        ("é.jpg", "w=200,fit=cover", "%C3%A9.jpg/w=200,fit=cover"),
        ("a", "background=#fff", "a/background=%23fff"),
        ("a", "background=rgb(1,2,3)", "a/background=rgb%281,2,3%29"),
        ("a", "trim=1;2;3;4,gravity=0.5x0.25", "a/trim=1;2;3;4,gravity=0.5x0.25"),
    ],
)
def test_everything_but_slashes_is_encoded_once(image_id: str, variant: str, path: str) -> None:
    assert urls.build_url(CLOUDFLARE, HASH, image_id, variant) == f"{CLOUDFLARE}/{HASH}/{path}"


def test_a_slash_at_the_end_of_the_delivery_url_does_not_matter() -> None:
    url = f"{CUSTOM}/{HASH}/a/public"
    assert urls.build_url(f"{CUSTOM}/", HASH, "a", "public") == url
    found = urls.parse_url(url, [f"{CUSTOM}/"])
    assert found is not None
    assert found.delivery_url == CUSTOM


def test_an_encoded_slash_belongs_to_the_id() -> None:
    found = urls.parse_url(f"{CLOUDFLARE}/{HASH}/a%2Fb/public", ALL)
    assert found is not None
    assert found.image_id == "a/b"


def test_the_longest_delivery_url_wins() -> None:
    found = urls.parse_url(f"{CUSTOM}/{HASH}/a/public", ["https://img.example.com", CUSTOM])
    assert found is not None
    assert (found.delivery_url, found.account_hash, found.image_id) == (CUSTOM, HASH, "a")


def test_a_changed_variant_keeps_the_query_unchanged() -> None:
    found = urls.parse_url(f"{CLOUDFLARE}/{HASH}/a/public?exp=1&b=%C3%A9+x", ALL)
    assert found is not None
    assert str(replace(found, variant="w=9")) == f"{CLOUDFLARE}/{HASH}/a/w=9?exp=1&b=%C3%A9+x"


@pytest.mark.parametrize(
    ("query", "signed"),
    [
        ("", False),
        ("exp=1", False),
        ("sig=abc", True),
        ("exp=1&sig=abc", True),
        ("sig", True),
        ("%73ig=abc", True),
        ("signature=abc", False),
    ],
)
def test_a_url_with_a_signature_is_signed(query: str, signed: bool) -> None:
    found = urls.parse_url(f"{CLOUDFLARE}/{HASH}/a/public?{query}", ALL)
    assert found is not None
    assert found.is_signed is signed


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a/b/c/d",
        CLOUDFLARE,
        f"{CLOUDFLARE}/",
        f"{CLOUDFLARE}/{HASH}",
        f"{CLOUDFLARE}/{HASH}/public",
        f"{CLOUDFLARE}/{HASH}//public",
        f"{CLOUDFLARE}//{HASH}/a/public",
        f"{CLOUDFLARE}/{HASH}/a/",
        f"{CLOUDFLARE}/{HASH}/a/public#top",
        f"{CLOUDFLARE}/?{HASH}/a/public",
        f"{CLOUDFLARE}//[/a/public",
        f"{CLOUDFLARE}.evil.example/{HASH}/a/public",
        f"{CLOUDFLARE}@evil.example/{HASH}/a/public",
        f"http://imagedelivery.net/{HASH}/a/public",
        f"//imagedelivery.net/{HASH}/a/public",
        f"https://evil.example/{CLOUDFLARE}/{HASH}/a/public",
        f"{EMULATOR}8/{HASH}/a/public",
        f"https://img.example.com/{HASH}/a/public",
        f" {CLOUDFLARE}/{HASH}/a/public",
    ],
)
def test_anything_else_is_no_delivery_url(url: str) -> None:
    assert urls.parse_url(url, ALL) is None


@pytest.mark.parametrize("base", [*ALL, "https://img.example.com/{variant}/{image_id}"])
@pytest.mark.parametrize(
    "image_id",
    ["x/../../OTHER/img", "../OTHER/img", "..", ".", "./a", "a/.", "a/..", "x/../../é", "a/./../b", "../.."],
)
def test_no_image_id_leads_to_another_path(base: str, image_id: str) -> None:
    url = urls.build_url(base, HASH, image_id, "public")
    # Browsers resolve these segments, and percent-encoded ones like them, before they send a request.
    assert not {".", "..", "%2e", "%2e%2e"} & set(url.lower().split("/"))
    assert urljoin(url, url) == url
    assert urls.leads_elsewhere(image_id)


@pytest.mark.parametrize(
    "image_id", ["x%2f..%2f..%2fOTHER%2fimg", "%2e%2e/OTHER/img", "x\\..\\..\\OTHER", "x%5c..%5cb"]
)
def test_an_id_that_leads_elsewhere_once_decoded_stays_encoded(image_id: str) -> None:
    assert urls.leads_elsewhere(image_id)
    url = urls.build_url(CLOUDFLARE, HASH, image_id, "public")
    assert {"..", "%2e%2e"}.isdisjoint(url.lower().split("/"))
    assert "%2f" not in url.lower()
    assert "%5c.." not in url.lower() or "\\" in image_id


@pytest.mark.parametrize(
    "image_id", ["a.png", "a../b", "..a", "...", "a/.../b", ".hidden", "a/.b", "100%.jpg"]
)
def test_an_id_with_dots_is_as_it_was(image_id: str) -> None:
    assert not urls.leads_elsewhere(image_id)
    assert urls.quote_id(image_id) == image_id.replace("%", "%25")


@given(st.text(max_size=50))
@example("//[")
@example("\n/\t/\r/")
def test_no_text_behind_a_delivery_url_raises(rest: str) -> None:
    found = urls.parse_url(f"{CLOUDFLARE}/{rest}", ALL)
    if found is not None:
        assert str(found).startswith(f"{CLOUDFLARE}/")
        assert urlsplit(str(found)).hostname == "imagedelivery.net"


@pytest.mark.parametrize(
    "variant",
    [
        "public",
        "Avatar2",
        "a" * 99,
        "w=200",
        "width=200,height=100,fit=scale-down",
        "slow-connection-quality=50",
        "trim.width=10,trim.left=5",
        "trim=1;2;3;4",
        "gravity=0.5x0.5",
        "background=#fff",
        "background=rgb(240,40,145),w=9",
        "background=rgba(0,0,0,0.5)",
        "w=" + "9" * 998,
        "f=auto,q=85",
    ],
)
def test_a_name_or_options_are_a_variant(variant: str) -> None:
    assert grammar.clean_variant(variant) == variant
    assert grammar.is_flexible(variant) == ("=" in variant)


@pytest.mark.parametrize(
    ("encoded", "decoded"),
    [
        ("background=%23fff", "background=#fff"),
        ("background=rgb%28240%2C40%2C145%29", "background=rgb(240,40,145)"),
        ("w%3D200", "w=200"),
    ],
)
def test_a_variant_may_come_encoded(encoded: str, decoded: str) -> None:
    assert grammar.clean_variant(encoded) == decoded


@pytest.mark.parametrize(
    "variant",
    [
        "",
        " ",
        ".",
        "..",
        "a-b",
        "a_b",
        "a" * 100,
        "é",
        "public/",
        "../public",
        "a/w=200",
        "w=200/../x",
        "w=200%2F..%2Fx",
        "w = 200",
        "w=200, h=100",
        "w=200\n",
        "public\n",
        "w=",
        "=200",
        "w=200,",
        ",w=200",
        "w=200,,h=9",
        'w="200"',
        "w='200'",
        "w=<script>",
        "w=1&h=2",
        "w=1?x",
        "w=1\\2",
        "w=\x00",
        "w=\x7f",
        "w=2\u00a00",
        "w=\u2028",
        "w=\udc80",
        "w=é",
        "\u017f=1",  # a letter that is an "s" when case is ignored
        "rgb(1,2,3)",
        "background=rgb(1,2,3",
        "background=(1)",
        "w=" + "9" * 999,
        "https://imagedelivery.net/hash/id/public",
        "https://evil.example/w=200",
        "//evil.example",
        "javascript:alert(1)",
    ],
)
def test_anything_else_is_no_variant(variant: str) -> None:
    with pytest.raises(InvalidVariantError, match="is not a variant: give a name of letters and digits"):
        grammar.clean_variant(variant)


def test_nothing_is_no_variant() -> None:
    with pytest.raises(InvalidVariantError, match="'' is not a variant"):
        grammar.clean_variant(None)  # type: ignore[arg-type]


@given(st.text(max_size=60))
@example("%2523")
def test_a_clean_variant_is_one_visible_segment(text: str) -> None:
    try:
        cleaned = grammar.clean_variant(text)
    except InvalidVariantError:
        return
    url = urls.build_url(CLOUDFLARE, HASH, "a", cleaned)
    assert url.count("/") == 5
    assert "?" not in url
    assert "#" not in url


@pytest.mark.parametrize(
    "part", ["a", "%", "a=", "a=b,", "a=b(", "a=b(,", "a-", "a=((((", ".", "/", "a/", "=", "%2", "a.a=b(b),"]
)
def test_a_hundred_thousand_characters_are_refused_at_once(part: str) -> None:
    long = (part * 100_000)[:100_000]
    with pytest.raises(InvalidVariantError) as refused:
        grammar.clean_variant(long)
    assert len(refused.value.message) < 300
    urls.parse_url(f"{CLOUDFLARE}/{long}", ALL)


@pytest.mark.parametrize(
    "part", ["a=b,", "a=b(,", "a-a.", "a=b(b),", "a" * 7 + "-", "a=(((", "a=b" * 3 + "("]
)
def test_options_of_the_maximum_length_are_matched_without_backtracking(part: str) -> None:
    with pytest.raises(InvalidVariantError):
        grammar.clean_variant(("x=y," + part * 1000)[:999] + "!\n")


PROXIES = [
    "https://img.example.com/{variant}/{image_id}",
    "https://img.example.com/{account_hash}/i/{image_id}/v/{variant}",
    "https://img.example.com/pictures/{image_id}/{variant}",
]


@pytest.mark.parametrize("template", PROXIES)
@pytest.mark.parametrize("image_id", ["a", "people/jane.png", "100%/ü ?#", "v/public/v/x"])
def test_the_url_template_of_a_proxy_is_built_and_read(template: str, image_id: str) -> None:
    url = urls.build_url(template, HASH, image_id, "w=200,fit=cover")
    found = urls.parse_url(f"{url}?exp=1&sig=2", [CLOUDFLARE, template])
    assert found is not None
    assert (found.image_id, found.variant) == (image_id, "w=200,fit=cover")
    assert found.account_hash == (HASH if "{account_hash}" in template else "")
    assert found.query == "exp=1&sig=2"
    assert str(found) == f"{url}?exp=1&sig=2"


def test_two_templates_that_begin_alike_are_told_apart() -> None:
    templates = ["https://img.example.com/{variant}/v/{image_id}", "https://img.example.com"]
    first = urls.parse_url("https://img.example.com/avatar/v/a/b", templates)
    second = urls.parse_url(f"https://img.example.com/{HASH}/a/avatar", templates)
    assert first is not None
    assert second is not None
    assert (first.image_id, second.image_id) == ("a/b", "a")


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("https://a/{image}/{variant}", "the placeholders are {account_hash}, {image_id}, {variant}"),
        ("https://a/x{image_id}/{variant}", "each between two slashes"),
        ("https://a/{variant.__class__}/{image_id}", "each between two slashes"),
        ("https://a/{image_id}/}", "each between two slashes"),
        ("https://a/{image_id}", "needs both"),
        ("https://a/{variant}/{account_hash}", "needs both"),
        ("https://a/{image_id}/{image_id}/{variant}", "twice"),
        ("https://a/{image_id}/{variant}?x=1", "query"),
        ("https://a/#top", "fragment"),
    ],
)
def test_the_problem_of_a_wrong_template_is_named(template: str, words: str) -> None:
    assert words in urls.url_template_problem(template)


@pytest.mark.parametrize("template", [CLOUDFLARE, CUSTOM, f"{CUSTOM}/", *PROXIES])
def test_a_right_template_has_no_problem(template: str) -> None:
    assert urls.url_template_problem(template) == ""
