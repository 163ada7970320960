"""The settings reader: where it looks up each option, what it keeps, and what it refuses."""

from __future__ import annotations

import copy
import pickle
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import storages
from django.views.debug import ExceptionReporter

from cf_images import conf
from cf_images.exceptions import InvalidVariantError
from cf_images.storage import CloudflareImagesStorage

SECRET = "s3cret-token-that-must-not-appear"
# For each option a value in OPTIONS, and another in CF_IMAGES.
VALUES: dict[str, tuple[Any, Any]] = {
    "account_id": ("given", "mapped"),
    "api_token": ("given", "mapped"),
    "account_hash": ("given", "mapped"),
    "api_url": ("https://given.example", "https://mapped.example"),
    "batch_url": ("https://given.example", "https://mapped.example"),
    "delivery_url": ("https://given.example", "https://mapped.example"),
    "variant": ("given", "mapped"),
    "background": (True, False),
    "require_signed_urls": (True, False),
    "fit_limits": (True, False),
    "unique_names": (False, True),
    "metadata": ({"a": 1}, {"b": 2}),
    "creator": ("given", "mapped"),
    "site": ("given", "mapped"),
    "timeout": (5, 7.5),
    "signing_keys": (["given"], ["older", "newer"]),
    "expire": (60, 90.5),
}


KEYS = "CF_IMG_SIGNING_KEYS"


@pytest.fixture(autouse=True)
def bare(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No credential anywhere, and no CF_IMAGES."""
    settings.CF_IMAGES = {}
    for name in ("CF_ACCT_ID", "CF_ACCOUNT_ID", "CF_IMG_TOKEN", "CF_API_TOKEN", "CF_IMG_HASH", KEYS):
        setattr(settings, name, None)
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("ENV_NAME", raising=False)


def refusal(read: Callable[[], Any]) -> str:
    """Return the message of the error that ``read`` raises."""
    with pytest.raises(ImproperlyConfigured) as caught:
        read()
    return str(caught.value)


def test_every_option_of_a_storage_has_values_here() -> None:
    assert VALUES.keys() == conf.STORAGE_OPTIONS.keys()


@pytest.mark.parametrize("name", VALUES)
def test_options_win_over_the_dictionary_and_the_dictionary_over_the_default(
    name: str, settings: Any
) -> None:
    given, mapped = VALUES[name]
    assert conf.option(name, {}) == conf.STORAGE_OPTIONS[name].default
    settings.CF_IMAGES = {name.upper(): mapped}
    assert conf.option(name, {}) == mapped
    assert conf.option(name, {name: given}) == given


@pytest.mark.parametrize("name", conf.CREDENTIALS)
def test_a_credential_is_looked_up_in_five_places(
    name: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    flat = conf.STORAGE_OPTIONS[name].names[0]
    monkeypatch.setenv(flat, "environment")
    assert conf.option(name, {}) == "environment"
    setattr(settings, flat, "flat")
    assert conf.option(name, {}) == "flat"
    settings.CF_IMAGES = {name.upper(): "mapped"}
    assert conf.option(name, {}) == "mapped"
    assert conf.option(name, {name: "given"}) == "given"


@pytest.mark.parametrize("name", ["account_id", "api_token"])
def test_the_canonical_spelling_wins_but_the_other_will_do(
    name: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    canonical, other = conf.STORAGE_OPTIONS[name].names
    monkeypatch.setenv(other, "other")
    assert conf.option(name, {}) == "other"
    monkeypatch.setenv(canonical, "canonical")
    assert conf.option(name, {}) == "canonical"
    setattr(settings, other, "other-setting")
    assert conf.option(name, {}) == "other-setting", "any setting goes before the environment"
    setattr(settings, canonical, "canonical-setting")
    assert conf.option(name, {}) == "canonical-setting"


def test_the_documented_names_are_the_canonical_ones() -> None:
    names = {name: option.names for name, option in conf.STORAGE_OPTIONS.items() if option.names}
    assert names == {
        "account_id": ("CF_ACCT_ID", "CF_ACCOUNT_ID"),
        "api_token": ("CF_IMG_TOKEN", "CF_API_TOKEN"),
        "account_hash": ("CF_IMG_HASH",),
        "signing_keys": (KEYS,),
    }


@pytest.mark.parametrize("nothing", [None, ""])
def test_nothing_and_the_empty_string_mean_not_given(
    nothing: str | None, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CF_ACCT_ID", "environment")
    settings.CF_ACCT_ID = nothing
    settings.CF_IMAGES = {"ACCOUNT_ID": nothing, "LOCAL_ALIAS": nothing}
    assert conf.option("account_id", {"account_id": nothing}) == "environment"
    assert conf.setting("LOCAL_ALIAS") == "default"


def test_an_empty_environment_variable_is_none() -> None:
    assert conf.option("account_id", {}) is None


def test_false_and_zero_are_given() -> None:
    assert conf.option("unique_names", {"unique_names": False}) is False
    assert "timeout" in refusal(lambda: conf.option("timeout", {"timeout": 0}))


@pytest.mark.parametrize("timeout", [0, -1, -0.5, float("nan")])
def test_a_timeout_is_above_zero(timeout: float) -> None:
    message = refusal(lambda: conf.option("timeout", {"timeout": timeout}))
    assert message == f'OPTIONS["timeout"] is {timeout}; it must be above 0.'


def test_an_unknown_key_is_named_with_the_known_ones(settings: Any) -> None:
    settings.CF_IMAGES = {"VARIANT": "public", "VARAINTS": {}, "variants": {}}
    message = refusal(lambda: conf.setting("VARIANTS"))
    assert message.startswith("Unknown key in CF_IMAGES: VARAINTS, variants. The keys are ")
    for known in ("VARIANTS", "API_TOKEN", "LOCAL_ENVS", "TIMEOUT"):
        assert known in message


def test_an_unknown_option_is_named_with_the_known_ones() -> None:
    message = refusal(lambda: CloudflareImagesStorage(acount_id="a", tokn="b"))
    assert "acount_id, tokn" in message
    assert all(name in message for name in conf.STORAGE_OPTIONS)


def test_settings_that_are_no_dictionary_are_named(settings: Any) -> None:
    settings.CF_IMAGES = ["VARIANTS"]
    assert refusal(conf.variant_names) == "CF_IMAGES is a list, not a dictionary."


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("account_id", 5, 'OPTIONS["account_id"] is a int; it must be a str.'),
        ("background", "yes", 'OPTIONS["background"] is a str; it must be a bool.'),
        ("background", 1, 'OPTIONS["background"] is a int; it must be a bool.'),
        ("timeout", True, 'OPTIONS["timeout"] is a bool; it must be a int or float.'),
        ("timeout", "60", 'OPTIONS["timeout"] is a str; it must be a int or float.'),
        ("metadata", [("a", 1)], 'OPTIONS["metadata"] is a list; it must be a dict.'),
        ("variant", b"public", 'OPTIONS["variant"] is a bytes; it must be a str.'),
    ],
)
def test_a_wrong_type_is_named_with_its_place_and_the_right_one(name: str, value: Any, message: str) -> None:
    assert refusal(lambda: conf.option(name, {name: value})) == message


def test_a_wrong_type_in_the_dictionary_names_the_key(settings: Any) -> None:
    settings.CF_IMAGES = {"LOCAL_ENVS": "dev", "FIT_LIMITS": "no"}
    assert 'CF_IMAGES["LOCAL_ENVS"] is a str' in refusal(conf.is_local)
    assert 'CF_IMAGES["FIT_LIMITS"] is a str' in refusal(lambda: conf.option("fit_limits", {}))


def test_an_unresolved_reference_says_how_to_resolve_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CF_IMG_TOKEN", "op://vault/cloudflare/token")
    message = refusal(lambda: conf.option("api_token", {}))
    assert "the environment variable CF_IMG_TOKEN" in message
    assert "1Password" in message
    assert "`op run" in message
    assert "vault" not in message


@pytest.mark.parametrize("bad", [f"{SECRET}\n", f"{SECRET} ", f"\t{SECRET}", f"{SECRET}\x00", f"{SECRET}é"])
@pytest.mark.parametrize("name", conf.CREDENTIALS)
def test_a_credential_with_a_line_break_is_refused_before_it_reaches_a_header(name: str, bad: str) -> None:
    message = refusal(lambda: conf.option(name, {name: bad}))
    assert message.startswith(f'OPTIONS["{name}"] contains a line break, a space')
    assert SECRET not in message


def test_other_texts_may_have_spaces() -> None:
    assert conf.option("creator", {"creator": "Jane Doe, Åarhus"}) == "Jane Doe, Åarhus"


@pytest.mark.parametrize("name", conf.CREDENTIALS)
def test_a_missing_credential_names_every_place(name: str) -> None:
    message = refusal(lambda: conf.StorageOptions({}).require(name))
    assert name in message
    for place in (*conf.STORAGE_OPTIONS[name].names, f'CF_IMAGES["{name.upper()}"]', "OPTIONS"):
        assert place in message
    assert "environment variable" in message
    assert "Django setting" in message


def test_a_credential_that_is_given_is_returned() -> None:
    assert conf.StorageOptions({"account_id": "abc"}).require("account_id") == "abc"


def test_override_settings_works_on_an_existing_storage(settings: Any) -> None:
    storage = storages["cloudflare_images"]
    settings.CF_IMG_HASH = "first"
    assert storage.url("a.jpg") == "https://imagedelivery.net/first/a.jpg/public"
    settings.CF_IMG_HASH = "second"
    settings.CF_IMAGES = {"VARIANT": "small", "DELIVERY_URL": "https://img.example/cdn-cgi/imagedelivery/"}
    assert storage.url("a.jpg") == "https://img.example/cdn-cgi/imagedelivery/second/a.jpg/small"


@pytest.mark.parametrize(
    "break_it",
    [
        lambda: CloudflareImagesStorage(api_token=SECRET, account_hash=" ").url("a.jpg"),
        lambda: CloudflareImagesStorage(api_token=SECRET).account.client(),
        lambda: CloudflareImagesStorage(account_id="a", api_token=f"{SECRET}\n").account.client(),
        lambda: conf.StorageOptions({"api_token": SECRET}).require("account_id"),
    ],
    ids=["hash", "account", "token", "reader"],
)
def test_a_debug_page_about_a_wrong_setting_shows_no_token(break_it: Callable[[], Any]) -> None:
    try:
        break_it()
    except ImproperlyConfigured:
        reporter = ExceptionReporter(None, *sys.exc_info())
    package = str(Path(conf.__file__).parent)
    frames = [frame for frame in reporter.get_traceback_frames() if frame["filename"].startswith(package)]
    assert frames
    assert SECRET not in str([frame["vars"] for frame in frames])
    assert SECRET not in str(reporter.exc_value)


@pytest.mark.parametrize("kind", [conf.GivenOptions, conf.StorageOptions])
def test_the_repr_of_options_shows_everything_but_secrets(kind: Any) -> None:
    text = repr(kind({"account_id": "visible", "api_token": SECRET, "unknown": 1}))
    assert SECRET not in text
    assert "visible" in text


@pytest.mark.parametrize("copied", [pickle.dumps, copy.copy, copy.deepcopy])
def test_options_with_secrets_refuse_to_be_copied(copied: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match="secrets"):
        copied(conf.StorageOptions({"api_token": SECRET}))


def test_an_option_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(AttributeError, match="no option 'variants'; there are account_id, "):
        conf.StorageOptions({}).variants  # noqa: B018  # the access raises


def test_delivery_urls_are_those_of_every_storage_and_cloudflares(settings: Any) -> None:
    settings.CF_IMAGES = {"DELIVERY_URL": "https://img.example"}
    settings.STORAGES = {
        **settings.STORAGES,
        "second": {
            "BACKEND": "cf_images.storage.CloudflareImagesStorage",
            "OPTIONS": {"delivery_url": "https://second.example"},
        },
        "third": {"BACKEND": "cf_images.storage.CloudflareImagesStorage", "OPTIONS": None},
    }
    assert sorted(conf.delivery_urls()) == [
        "https://imagedelivery.net",
        "https://img.example",
        "https://second.example",
    ]


def declared() -> dict[str, dict[str, Any]]:
    """Return the options of each named variant."""
    found = {name: conf.named_variant(name) for name in conf.variant_names()}
    return {name: variant.given for name, variant in found.items() if variant}


def test_the_public_variant_is_always_declared_and_can_be_redeclared(settings: Any) -> None:
    assert declared() == {"public": {"width": 1366, "height": 768, "fit": "scale-down"}}
    settings.CF_IMAGES = {"VARIANTS": {"public": {"width": 9}, "avatar": {"width": 8}}}
    assert declared() == {"public": {"width": 9}, "avatar": {"width": 8}}


def test_a_wrong_declaration_is_an_error_for_its_own_variant_only(settings: Any) -> None:
    settings.CF_IMAGES = {"VARIANTS": {"wide": {"widht": 9}, "avatar": {"width": 8}}}
    assert conf.variant_names() == ("public", "wide", "avatar")
    assert conf.named_variant("avatar")
    assert conf.named_variant("unknown") is None
    for _ in range(2):
        with pytest.raises(InvalidVariantError, match=r'VARIANTS"\]\[\'wide\'\]: unknown option \'widht\''):
            conf.named_variant("wide")


def test_the_environment_name_is_a_setting_then_a_variable_then_nothing(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ENV_NAME = "setting"
    assert conf.env_name() == "setting"
    del settings.ENV_NAME  # pytest-django sends no signal for this
    conf.clear_cache()
    assert conf.env_name() == ""
    monkeypatch.setenv("ENV_NAME", "variable")
    conf.clear_cache()
    assert conf.env_name() == "variable"


@pytest.mark.parametrize(
    ("env_name", "alias"),
    [("dev", "default"), ("production", "cloudflare_images"), ("", "cloudflare_images")],
)
def test_only_a_local_environment_selects_the_local_alias(env_name: str, alias: str, settings: Any) -> None:
    settings.ENV_NAME = env_name
    assert conf.selected_alias() == alias


def test_environments_and_aliases_can_be_renamed(settings: Any) -> None:
    settings.CF_IMAGES = {"LOCAL_ENVS": {"laptop"}, "LOCAL_ALIAS": "disk", "CLOUDFLARE_ALIAS": "cloud"}
    settings.ENV_NAME = "laptop"
    assert conf.selected_alias() == "disk"
    settings.ENV_NAME = "dev"
    assert conf.selected_alias() == "cloud"


@pytest.mark.parametrize(
    ("debug", "setting", "served"),
    [(True, None, True), (False, None, False), (False, True, True), (True, False, False)],
)
def test_local_variants_are_served_in_debug_or_where_the_setting_says_so(
    debug: bool, setting: bool | None, served: bool, settings: Any
) -> None:
    settings.DEBUG = debug
    settings.CF_IMAGES = {"SERVE_LOCAL_VARIANTS": setting}
    assert conf.serves_local_variants() is served


def test_a_project_without_urls_serves_nothing(settings: Any) -> None:
    settings.DEBUG = True
    del settings.ROOT_URLCONF
    assert conf.serves_local_variants() is False


@pytest.mark.parametrize(
    "declared",
    [{"API_TOKEN": "s3cret", "TYPO": 1}, ["s3cret"], {"SIGNING_KEYS": ["s3cret", "op://x"]}],
    ids=["unknown key", "no dictionary", "bad key"],
)
def test_no_frame_of_an_error_shows_a_secret(settings: Any, declared: Any) -> None:
    settings.CF_IMAGES = declared
    with pytest.raises(ImproperlyConfigured) as caught:
        conf.StorageOptions({}).signing_keys  # noqa: B018  # reading it raises
    assert "s3cret" not in frames_of(caught.value)


def frames_of(error: Exception) -> str:
    """Return the variables that a debug page shows of the package's own frames."""
    frames = traceback.TracebackException.from_exception(error, capture_locals=True).stack
    return str([frame.locals for frame in frames if "/tests/" not in frame.filename])


@pytest.mark.parametrize(("value", "never"), [(True, True), ("true", True), ("false", False), (1, False)])
def test_a_variant_needs_no_signature_only_if_it_is_declared_so(
    settings: Any, value: object, never: bool
) -> None:
    settings.CF_IMAGES = {"VARIANTS": {"teaser": {"width": 9, "never_require_signed_urls": value}}}
    assert conf.is_never_signed("teaser") is never


# The site, by which images are told apart in a shared account


def test_the_site_is_by_default_the_projects_package_and_environment(settings: Any) -> None:
    settings.ROOT_URLCONF, settings.ENV_NAME = "shop.config.urls", "production"
    assert conf.StorageOptions({}).site == "shop/production"
    settings.ENV_NAME = ""
    assert conf.StorageOptions({}).site == "shop"


def test_without_urls_the_site_has_the_package_of_the_settings(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    del settings.ROOT_URLCONF
    settings.ENV_NAME = "dev"
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "workers.settings")
    assert conf.StorageOptions({}).site == "workers/dev"
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE")
    assert conf.StorageOptions({}).site == "dev"


def test_a_long_default_site_is_shortened_to_what_an_option_may_have(settings: Any) -> None:
    settings.ENV_NAME = "x" * 100
    assert len(conf.StorageOptions({}).site) == conf.MAX_SITE_LENGTH


def test_the_site_can_be_an_option_of_at_most_64_characters() -> None:
    assert conf.StorageOptions({"site": "a" * 64}).site == "a" * 64
    message = refusal(lambda: conf.StorageOptions({"site": "a" * 65}).site)
    assert message.endswith("it has more than 64 characters.")


# What is kept


def test_an_option_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []
    option = conf.option
    monkeypatch.setattr(conf, "option", lambda name, given: reads.append(name) or option(name, given))
    options = conf.StorageOptions({"account_hash": "a"})
    assert [options.account_hash, options.account_hash, options.variant] == ["a", "a", "public"]
    assert reads == ["account_hash", "variant"]


def test_a_token_is_not_kept_beside_what_pages_use() -> None:
    options = conf.StorageOptions({"api_token": SECRET})
    assert options.api_token == SECRET
    assert "api_token" not in vars(options)


def test_values_are_kept_until_settings_change(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    del settings.ENV_NAME
    monkeypatch.setenv("ENV_NAME", "first")
    assert conf.env_name() == "first"
    monkeypatch.setenv("ENV_NAME", "second")
    assert conf.env_name() == "first"
    settings.USE_TZ = False  # any setting: it sends setting_changed
    assert conf.env_name() == "second"


def test_clear_cache_reads_a_changed_environment(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = storages["cloudflare_images"]
    monkeypatch.setenv("CF_IMG_HASH", "first")
    first = storage.url("a.jpg")
    monkeypatch.setenv("CF_IMG_HASH", "second")
    assert storage.url("a.jpg") == first
    conf.clear_cache()
    assert storage.url("a.jpg") == first.replace("first", "second")


def test_a_changed_dictionary_is_read_again_after_clear_cache(settings: Any) -> None:
    settings.CF_IMAGES = {"LOCAL_ALIAS": "first"}
    assert conf.setting("LOCAL_ALIAS") == "first"
    settings.CF_IMAGES["LOCAL_ALIAS"] = "second"
    assert conf.setting("LOCAL_ALIAS") == "first"
    conf.clear_cache()
    assert conf.setting("LOCAL_ALIAS") == "second"


@pytest.mark.parametrize(
    "read",
    [
        lambda options: options.timeout,
        lambda options: options.signing_keys,
        lambda _: conf.setting("LOCAL_ENVS"),
        lambda _: conf.is_local(),
        lambda _: conf.variant_names(),
    ],
    ids=["option", "keys", "setting", "environment", "variants"],
)
def test_a_wrong_value_is_reported_at_each_use(read: Callable[[Any], Any], settings: Any) -> None:
    settings.CF_IMAGES = {"TIMEOUT": -1, "SIGNING_KEYS": 5, "LOCAL_ENVS": "dev", "VARIANTS": []}
    options = conf.StorageOptions({})
    messages = {refusal(lambda: read(options)) for _ in range(3)}
    assert len(messages) == 1
    assert "CF_IMAGES[" in messages.pop()


def test_a_corrected_value_is_read_although_the_wrong_one_was_reported(settings: Any) -> None:
    settings.CF_IMAGES = {"LOCAL_ALIAS": 5}
    refusal(lambda: conf.setting("LOCAL_ALIAS"))
    settings.CF_IMAGES["LOCAL_ALIAS"] = "disk"
    assert conf.setting("LOCAL_ALIAS") == "disk"


def test_the_generation_increases_with_each_change(settings: Any) -> None:
    generations = [conf.generation()]
    settings.DEBUG = True
    generations.append(conf.generation())
    conf.clear_cache()
    generations.append(conf.generation())
    assert generations == sorted(set(generations))
    assert conf.generation() == generations[-1], "reading changes nothing"


def test_what_was_read_while_settings_changed_is_not_kept() -> None:
    read: list[int] = []

    @conf.cached
    def value() -> int:
        read.append(len(read))
        if len(read) == 1:
            conf.clear_cache()  # as another thread might
        return read[-1]

    assert [value(), value(), value()] == [0, 1, 1]


def test_an_exception_is_not_kept() -> None:
    results = iter([ImproperlyConfigured("wrong"), None])

    @conf.cached
    def value() -> str:
        if error := next(results):
            raise error
        return "right"

    assert refusal(value) == "wrong"
    assert [value(), value()] == ["right", "right"]
