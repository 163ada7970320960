"""Names: unique, clean and short enough, whatever they are made from; and read back."""

# ruff: noqa: RUF001  # letters that only look like ours are what is tested

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cf_images.exceptions import InvalidNameError
from cf_images.images import names

NOW = 1_785_000_000
UUID_NAME = "083eb7b2-5392-4565-b69e-aff66acddd00"
UNIQUE = re.compile(r"avatars/jane-[0-9a-z]{6}-[0-9a-hjkmnp-tv-z]{16}\.jpg")
# Anything a browser, a script or an attacker may call a file.
any_name = st.one_of(
    st.text(max_size=60),
    st.text(alphabet="./\\~-_%?#\0\n\r aé…\uff0e\uff0f中😀", max_size=40),
    st.lists(st.sampled_from(["..", ".", "", "a", "variants", ".jpg", "~", UUID_NAME]), max_size=6).map(
        "/".join
    ),
)


def unique(name: str, *, max_length: int | None = None) -> str:
    return names.unique_name(name, seconds=NOW, max_length=max_length)


def test_a_unique_name_keeps_folder_stem_and_extension() -> None:
    assert UNIQUE.fullmatch(unique("avatars/jane.JPG"))


def test_names_of_one_second_differ() -> None:
    assert len({unique("jane.jpg") for _ in range(2_000)}) == 2_000


def test_the_random_part_has_eighty_bits() -> None:
    tail = unique("jane.jpg").rpartition("-")[2].removesuffix(".jpg")
    assert len(tail) * 5 == 80
    letters = set("".join(unique("x").rpartition("-")[2] for _ in range(500)))
    assert len(letters) == 32


@given(any_name)
@example("jane~doe.jpg")
@example(".....")
@example(".htaccess")
@example("a.b.jsonlines")
@example("x…y.\uff0e\uff0e/z\uff0ejpg")
@example(UUID_NAME)
@example("variants")
@example("keys.jpg")
def test_every_unique_name_can_be_an_image_id(name: str) -> None:
    made = unique(name)
    assert re.fullmatch(r"[A-Za-z0-9._/-]+", made)
    assert not made.startswith("/")
    assert not made.endswith("/")
    assert "//" not in made
    assert not {".", ".."} & set(made.split("/"))
    assert made not in names.RESERVED_IDS
    assert not re.fullmatch(r"(?i)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", made)
    assert len(made) <= names.MAX_ID_LENGTH
    assert names.image_id(made) == made
    assert names.given_name(made) == made


@given(any_name, st.integers(0, 300), st.sampled_from(["jpg", "webp", "heic"]))
@example("a/b.jpg", 30, "webp")
@example("a.b.jsonlines", 100, "jpg")
def test_a_unique_name_fits_also_with_the_longest_extension(
    name: str, max_length: int, extension: str
) -> None:
    try:
        made = unique(name, max_length=max_length)
    except InvalidNameError:
        return
    assert len(made) <= max_length
    assert len(names.with_extension(made, extension)) <= max_length


@given(any_name, st.sampled_from(["jpg", "webp", "heic"]))
@example("a.b.jsonlines", "jpg")
@example("john.doe.smithson", "jpg")
@example("my.photo.", "jpg")
def test_another_extension_keeps_everything_that_makes_the_name_unique(name: str, extension: str) -> None:
    made = unique(name)
    changed = names.with_extension(made, extension)
    kept = re.match(r".*[0-9a-z]{6}-[0-9a-z]{16}", made)
    assert kept is not None
    assert changed == f"{kept[0]}.{extension}"
    assert names.created_at(changed) == NOW


@given(any_name, st.integers(0, 36**7 - 1))
def test_the_second_of_birth_can_be_read_back(name: str, seconds: int) -> None:
    assert names.created_at(names.unique_name(name, seconds=seconds)) == seconds


@pytest.mark.parametrize(
    "name",
    ["", "jane.jpg", "avatars/jane-t9f2k0.jpg", "t9f2k0-short.jpg", "jane-t9f2k0-5p2kd0qj3m8v7x1c.jpg\n"],
)
def test_other_names_have_no_birth(name: str) -> None:
    assert names.created_at(name) is None


@pytest.mark.parametrize(
    ("given_name", "clean"),
    [
        ("Ünïcödé Ñame.png", "Unicode-Name-"),
        ("中文.png", "ZhongWen-"),
        ("\ue000\u2800.png", ""),
        ("a\0b\nc%d.png", "a-b-c-d-"),
        ("C:\\photos\\jane.png", "C-photos-jane-"),
        ("...png", "png-"),
        (".hidden", "hidden-"),
        ("....", ""),
        ("", ""),
        ("jane.doe.png", "jane-doe-"),
        ("-jane-.png", "jane-"),
        ("a  b.png", "a-b-"),
        ("under_score.png", "under_score-"),
        ("../../etc/passwd", "etc/passwd-"),
        ("/absolute/jane.png", "absolute/jane-"),
        ("a//b/./c/jane.png", "a/b/c/jane-"),
        ("Fotos \u201926/jane.png", "Fotos-26/jane-"),
        ("日本/jane.png", "RiBen/jane-"),
        ("\ue000/jane.png", "jane-"),
    ],
)
def test_what_a_strange_name_becomes(given_name: str, clean: str) -> None:
    made = unique(given_name)
    assert re.fullmatch(r"[0-9a-z]{6}-[0-9a-z]{16}(\.png)?", made.removeprefix(clean))
    assert made.startswith(clean)


@pytest.mark.parametrize(
    ("name", "expiry"),
    [
        ("a.JPEG", ".jpeg"),
        ("a.jp g", ".jpg"),
        ("a.tar.gz", ".gz"),
        ("a.jsonlines", ""),
        ("a.é", ""),
        ("a.", ""),
    ],
)
def test_an_extension_is_short_and_in_lower_case(name: str, expiry: str) -> None:
    assert re.fullmatch(r"a(-tar)?-[0-9a-z]{6}-[0-9a-z]{16}" + re.escape(expiry), unique(name))


def test_two_thousand_characters_are_shortened() -> None:
    assert len(unique("x" * 2_000 + ".jpg")) <= 40 + 1 + 6 + 1 + 16 + 4


def test_a_name_that_just_fits_has_no_stem() -> None:
    fits = len("avatars/") + len("t9f2k0-5p2kd0qj3m8v7x1c") + len(".webp")
    made = unique("avatars/jane.jpg", max_length=fits)
    assert re.fullmatch(r"avatars/[0-9a-z]{6}-[0-9a-z]{16}\.jpg", made)


# Short fields


def test_a_short_field_gets_a_shorter_random_part_and_one_less_is_refused() -> None:
    shortest = names.shortest("avatars/", seconds=NOW)
    assert shortest == len("avatars/") + len("t9f2k05p2kd0qj") + len(".webp")
    made = unique("avatars/jane.jpg", max_length=shortest)
    assert re.fullmatch(r"avatars/[0-9a-z]{14}\.jpg", made)
    reason = rf"'avatars/jane.jpg' leaves no room .* in {shortest - 1} .* max_length to {shortest} or more"
    with pytest.raises(InvalidNameError, match=reason):
        unique("avatars/jane.jpg", max_length=shortest - 1)


@pytest.mark.parametrize("max_length", [20, 24, 28])
@pytest.mark.parametrize("seconds", [NOW, 36**6 - 1, 36**6, 36**6 + 1])
def test_twenty_characters_are_enough_until_the_year_4453(max_length: int, seconds: int) -> None:
    made = names.unique_name("jane.webp", seconds=seconds, max_length=max_length)
    assert len(made) <= max_length
    assert names.created_at(made) == seconds


def test_the_stem_of_a_short_field_gives_way_before_the_random_part() -> None:
    assert re.fullmatch(r"jan-[0-9a-z]{14}\.jpg", unique("jane.jpg", max_length=23))
    assert re.fullmatch(r"[0-9a-z]{6}-[0-9a-z]{16}\.jpg", unique("jane.jpg", max_length=28))


@given(any_name, st.integers(18, 60), st.booleans())
def test_every_short_name_fits_and_is_recognized(name: str, max_length: int, is_private: bool) -> None:
    try:
        made = names.unique_name(name, seconds=NOW, max_length=max_length, is_private=is_private)
    except InvalidNameError:
        return
    changed = names.with_extension(made, "webp")
    assert max(len(made), len(changed)) <= max_length
    assert names.created_at(made) == names.created_at(changed) == NOW
    assert names.has_id_in_row(made) is is_private
    assert names.is_private(made) is is_private
    if not is_private:
        assert names.given_name(made) == made


@given(st.integers(18, 60), st.booleans())
def test_shortest_is_the_least_that_fits(max_length: int, is_private: bool) -> None:
    fits = max_length >= names.shortest("a/b/", seconds=NOW, is_private=is_private)
    try:
        names.unique_name("a/b/x.png", seconds=NOW, max_length=max_length, is_private=is_private)
    except InvalidNameError:
        assert not fits
    else:
        assert fits


@given(st.integers(0, 80))
def test_shortest_is_the_least_for_the_id_of_a_private_image(max_length: int) -> None:
    least = names.shortest("a/b/", seconds=NOW, has_id=True)
    if max_length >= least:
        names.private_stem("a/b/x.png", max_length=max_length)
        return
    with pytest.raises(InvalidNameError, match=f"max_length to {least} or more"):
        names.private_stem("a/b/x.png", max_length=max_length)


def test_short_names_of_one_second_differ() -> None:
    assert len({unique("jane.jpg", max_length=20) for _ in range(2_000)}) == 2_000


@pytest.mark.parametrize(
    "name",
    ["20240131123456.jpg", "photos-20240131.jpg", "holiday/internationally.jpg", "IMG-2024013112345.png"],
)
def test_names_of_cameras_and_people_are_not_taken_for_short_names(name: str) -> None:
    assert names.created_at(name) is None
    assert names.requested_name(name) == name


@pytest.mark.parametrize("is_private", [False, True])
def test_the_requested_name_of_a_short_one_is_without_what_was_added(is_private: bool) -> None:
    made = names.unique_name("a/jane.jpg", seconds=NOW, max_length=26, is_private=is_private)
    assert names.requested_name(made) in ("a/jane.jpg", "a/jan.jpg")


# Transliteration


@pytest.mark.parametrize(
    ("given_name", "valid"),
    [
        ("Straße.png", "Strasse.png"),
        ("Œuvre d’art.png", "Oeuvre-d-art.png"),
        ("Łódź.png", "Lodz.png"),
        ("Đà Nẵng.png", "Da-Nang.png"),
        ("İstanbul ığdır.png", "Istanbul-igdir.png"),
        ("Þórr Æsir Ðøgg.png", "Thorr-Aesir-Dogg.png"),
        ("Привет мир.png", "Privet-mir.png"),
        ("Αθήνα.png", "Athina.png"),
        ("北京.png", "BeiJing.png"),
        ("さくら.png", "sakura.png"),
        ("カメラ.png", "kamera.png"),
        ("서울.png", "SeoUl.png"),
        ("दिल्ली.png", "dilli.png"),
        ("กรุงเทพ.png", "krungethph.png"),
        ("שלום.png", "slvm.png"),
        ("مرحبا.png", "mrhb.png"),
        ("Հայաստան.png", "Hayastan.png"),
        ("თბილისი.png", "tbilisi.png"),
        ("😀.png", "grinning.png"),
        ("①Ⅷﬁ.png", "1VIIIfi.png"),
        ("e\u0301te\u0301.png", "ete.png"),
        ("a／b～c：d.png", "a-b-c-d.png"),
        ("\u202egnp.exe.png", "gnp-exe.png"),
    ],
)
def test_other_scripts_are_transliterated(given_name: str, valid: str) -> None:
    assert names.valid_filename(given_name) == valid
    stem = valid.removesuffix(".png")
    assert unique(f"a/{given_name}").startswith(f"a/{stem}-")
    assert names.private_stem(f"a/{given_name}") == f"a/{valid}"


@given(st.text(max_size=100))
def test_transliteration_is_done_once_and_for_all(name: str) -> None:
    valid = names.valid_filename(name)
    assert names.valid_filename(valid) == valid


@given(st.text(st.characters(min_codepoint=0x80), min_size=1, max_size=60), st.integers(20, 80))
@example("\ufdfa" * 60, 40)  # one character, 18 letters
@example("ß" * 60, 40)
@example("😀" * 60, 40)
def test_what_becomes_longer_still_fits(name: str, max_length: int) -> None:
    made = unique(f"{name}.png", max_length=max_length)
    assert len(made) <= max_length
    assert re.fullmatch(r"[A-Za-z0-9_-]+\.png", made)


def test_a_million_characters_take_no_longer() -> None:
    assert unique("中" * 1_000_000 + ".png").startswith("ZhongZhong")


def test_the_stem_gives_way_letter_by_letter() -> None:
    full = len("a/jane-t9f2k0-5p2kd0qj3m8v7x1c.webp")
    assert unique("a/jane.webp", max_length=full).startswith("a/jane-")
    assert unique("a/jane.webp", max_length=full - 1).startswith("a/jan-")
    assert unique("a/x-ane.webp", max_length=full - 2).startswith("a/x-")


def test_a_folder_longer_than_an_id_is_refused_with_a_short_message() -> None:
    with pytest.raises(InvalidNameError) as refused:
        unique("x" * 2_000 + "/jane.jpg")
    assert "1024 characters" in str(refused.value)
    assert len(refused.value.message) < 300


# Private names


@given(any_name, st.integers(0, 300))
@example("jane.jpg", 37)
@example("jane.jpg", 0)
@example("x" * 300, 43)
def test_a_private_name_fits_with_its_id_and_gives_it_back(name: str, max_length: int) -> None:
    try:
        stem = names.private_stem(name, max_length=max_length)
    except InvalidNameError:
        return
    for ready in (stem, names.with_extension(stem, "webp")):
        stored = names.with_remote_id(ready, UUID_NAME)
        assert len(stored) <= max_length
        assert names.image_id(stored) == UUID_NAME
        assert re.fullmatch(r"[A-Za-z0-9._/~-]+", stored)


def test_a_private_name_keeps_folder_stem_and_extension() -> None:
    stem = names.private_stem("avatars/Jäne Doe.jpg", max_length=100)
    assert names.with_remote_id(stem, UUID_NAME) == f"avatars/Jane-Doe~{UUID_NAME}.jpg"


@given(any_name)
def test_a_private_name_of_our_own_tells_that_it_is_private(name: str) -> None:
    private = names.unique_name(name, seconds=NOW, is_private=True)
    assert re.sub("[0-9a-z]{16}", "", private.replace("~", "-")) == re.sub("[0-9a-z]{16}", "", unique(name))
    assert names.has_id_in_row(private)
    assert names.image_id(private) != private
    assert names.image_id(names.with_extension(private, "webp")) == names.image_id(private)


def test_a_private_name_without_a_stem_gets_one() -> None:
    assert names.private_stem("\ue000.jpg") == "image.jpg"


@pytest.mark.parametrize("max_length", [0, 37, 42])
def test_a_private_name_needs_room_for_the_id(max_length: int) -> None:
    with pytest.raises(InvalidNameError, match="raise the field's max_length"):
        names.private_stem("avatars/jane.jpg", max_length=max_length)


@pytest.mark.parametrize(
    "image_id",
    [
        UUID_NAME,
        UUID_NAME.upper(),
        "610a686f-3fa7-46ca-e36d-3c00bd791b00",  # no version of RFC 4122
        "2cdc28f0-017a-49c4-9ed7-87056c83901",  # a digit short, as in Cloudflare's documentation
    ],
)
@pytest.mark.parametrize("extension", ["", ".jpg", ".webp"])
def test_an_id_of_cloudflares_is_read_however_strict_its_shape(image_id: str, extension: str) -> None:
    assert names.image_id(f"avatars/jane~{image_id}{extension}") == image_id
    assert not names.has_id_in_row(f"avatars/jane~{image_id}{extension}")


@pytest.mark.parametrize(
    "name",
    [
        f"jane~{UUID_NAME}.jpg.240x240_q85.jpg",
        "DSC0~1/a.jpg",
        "DSC0~1.jpg",
        "a~",
        "a~.jpg",
        "plain.jpg",
        UUID_NAME,
        "photos/holiday~2019.jpg",
        "photos/holiday~2019-07-31.jpg",
        "photos/holiday~d41d8cd98f00b204e9800998ecf8427e.jpg",
        "avatars/jane~5p2kd0qj3m8v7x1c.jpg",  # random, but behind no second
        "avatars/jane~abcdefgh.jpg",
        "avatars/20190731~abcdefgh.jpg",
    ],
)
def test_other_names_are_their_own_id(name: str) -> None:
    assert names.image_id(name) == name
    assert not names.is_private(name)


def test_a_letter_of_the_name_stays_when_the_name_is_requested_again() -> None:
    assert names.requested_name("photos/holiday~2019.jpg") == "photos/holiday~2019.jpg"
    assert names.requested_name(f"photos/holiday~2019~{UUID_NAME}.jpg") == "photos/holiday~2019.jpg"


def test_addresses_with_a_tilde_are_not_private_names() -> None:
    assert not names.is_private("https://example.com/~jane")
    assert names.is_private(f"avatars/jane~{UUID_NAME}.jpg")


# Given names, where unique_names is off


@pytest.mark.parametrize(
    "name",
    [
        "jane.jpg",
        "Jäne Döe 中文 😀.jpg",
        "100%25.jpg",
        "a?b#c.jpg",
        "cache/ab/cd/abcdef.jpg",
        "jane.jpg.240x240_q85_crop.jpg",
        f"jane~{UUID_NAME}.jpg.240x240_q85_crop.jpg",
        "variants/public",
        f"{UUID_NAME}.jpg",
        "jane~x.jpg",
        "photos/holiday~2019.jpg",
        "x" * 1024,
    ],
)
def test_a_given_name_stays_exactly_as_it_is(name: str) -> None:
    assert names.given_name(name) == name


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("a\\b.jpg", "a/b.jpg"),
        ("a/", "a"),
        ("a//b", "a/b"),
        ("./a.jpg", "a.jpg"),
        (f"jane~{UUID_NAME}.jpg", f"jane-{UUID_NAME}.jpg"),
    ],
)
def test_a_given_name_is_cleaned_of_what_no_id_may_have(name: str, cleaned: str) -> None:
    assert names.given_name(name) == cleaned


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "it is empty, absolute or leaves its folder"),
        (".", "it is empty, absolute or leaves its folder"),
        ("/", "it is empty, absolute or leaves its folder"),
        ("/etc/passwd", "it is empty, absolute or leaves its folder"),
        ("//host/a.jpg", "it is empty, absolute or leaves its folder"),
        ("..", "it is empty, absolute or leaves its folder"),
        ("../a.jpg", "it is empty, absolute or leaves its folder"),
        ("a/../../b.jpg", "it is empty, absolute or leaves its folder"),
        ("a\0b.jpg", "it contains control characters"),
        ("a\nb.jpg", "it contains control characters"),
        ("a\u2028b.jpg", "it contains control characters"),
        ("a\udc80b.jpg", "it contains control characters"),
        (UUID_NAME, "Cloudflare reserves names in the form of a UUID"),
        (UUID_NAME.upper(), "Cloudflare reserves names in the form of a UUID"),
        *((word, "it is a reserved word of Cloudflare's API") for word in sorted(names.RESERVED_IDS)),
        ("variants/", "it is a reserved word of Cloudflare's API"),
        ("x" * 1025, "it has 1,025 characters; the limit is 1,024"),
    ],
)
def test_a_given_name_that_cannot_be_cleaned_is_refused_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(InvalidNameError) as refused:
        names.given_name(name)
    assert refused.value.message.endswith(f"cannot be the name of an image: {reason}.")


def test_a_given_name_obeys_the_fields_length() -> None:
    assert names.given_name("x" * 100, max_length=100) == "x" * 100
    with pytest.raises(InvalidNameError, match="it has 101 characters; the limit is 100"):
        names.given_name("x" * 101, max_length=100)
    with pytest.raises(InvalidNameError, match="the limit is 0"):
        names.given_name("x", max_length=0)


def test_a_refusal_shows_the_name_escaped_and_shortened() -> None:
    with pytest.raises(InvalidNameError) as refused:
        names.given_name("a\n" * 1000)
    assert "\n" not in str(refused.value)
    assert len(refused.value.message) < 250


@given(any_name)
def test_a_given_name_is_cleaned_once_and_for_all(name: str) -> None:
    try:
        cleaned = names.given_name(name)
    except InvalidNameError:
        return
    assert names.given_name(cleaned) == cleaned
    assert names.image_id(cleaned) == cleaned
    assert not cleaned.startswith("/")
    assert not cleaned.endswith("/")
    assert 0 < len(cleaned) <= names.MAX_ID_LENGTH


# Names that are kept


@pytest.mark.parametrize(
    "name",
    [
        "jane.jpg",
        "Jäne Döe 中文 😀.jpg",
        "Cafe\u0301.jpg",
        "100%25.jpg",
        "photos/holiday~2019.jpg",
        "variants/public",
        f"{UUID_NAME}.jpg",
        "avatars/jane-t9f2k0-5p2kd0qj3m8v7x1c.jpg",
        "x" * 1024,
    ],
)
def test_a_name_is_kept_where_it_can_be_an_id(name: str) -> None:
    assert names.id_problem(name) == ""
    assert names.image_id(name) == name


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "it is empty, absolute or leaves its folder"),
        ("/a.jpg", "it is empty, absolute or leaves its folder"),
        ("a/../../b.jpg", "it is empty, absolute or leaves its folder"),
        ("a/../b.jpg", "it is empty, absolute or leaves its folder"),
        ("a//b.jpg", "parts of its path are empty, dots or backslashes"),
        ("./b.jpg", "parts of its path are empty, dots or backslashes"),
        ("a.jpg/", "parts of its path are empty, dots or backslashes"),
        ("a\\b.jpg", "parts of its path are empty, dots or backslashes"),
        ("a\nb.jpg", "it contains control characters"),
        ("keys", "it is a reserved word of Cloudflare's API"),
        (UUID_NAME, "Cloudflare reserves names in the form of a UUID"),
        (f"jane~{UUID_NAME}.jpg", "it has the form of a private image's"),
        ("x-t9f2k0~5p2kd0qj3m8v7x1c.jpg", "it has the form of a private image's"),
        ("https://imagedelivery.net/hash/id/public", "it is a URL"),
        ("x" * 1025, "it has 1,025 characters; the limit is 1,024"),
    ],
)
def test_a_name_that_cannot_be_an_id_has_a_problem(name: str, problem: str) -> None:
    assert names.id_problem(name) == problem


def test_a_name_is_kept_within_a_limit_only() -> None:
    assert names.id_problem("x" * 256, max_length=255) == "it has 256 characters; the limit is 255"


@given(any_name)
def test_a_name_that_is_kept_is_read_as_itself(name: str) -> None:
    if not names.id_problem(name):
        assert names.given_name(name) == name
        assert names.image_id(name) == name
        assert not names.is_private(name)


# File names


@given(any_name)
def test_a_valid_filename_is_one_segment_with_a_stem(name: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,40}(\.[a-z0-9]{1,4})?", names.valid_filename(name))


@pytest.mark.parametrize(
    ("name", "valid"),
    [
        ("Jäne Doe.JPG", "Jane-Doe.jpg"),
        ("中.png", "Zhong.png"),
        ("\ue000.png", "image.png"),
        ("", "image"),
        ("a/b.png", "b.png"),
    ],
)
def test_what_a_filename_becomes(name: str, valid: str) -> None:
    assert names.valid_filename(name) == valid
