"""The settings reader: where each option is looked up, in which order, and what it refuses."""

from __future__ import annotations

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
from cf_images.storage import CloudflareImagesStorage

SECRET = "s3cret-token-that-nobody-may-see"
# For each option four values that it may have, the last one from an environment variable (always text).
VALUES: dict[str, tuple[Any, Any, Any]] = {
    "account_id": ("given", "mapped", "flat"),
    "api_token": ("given", "mapped", "flat"),
    "account_hash": ("given", "mapped", "flat"),
    "api_url": ("https://given.example", "https://mapped.example", None),
    "delivery_url": ("https://given.example", "https://mapped.example", None),
    "variant": ("given", "mapped", None),
    "background": (True, False, None),
    "require_signed_urls": (True, False, None),
    "fit_limits": (True, False, None),
    "unique_names": (False, True, None),
    "metadata": ({"a": 1}, {"b": 2}, None),
    "creator": ("given", "mapped", None),
    "timeout": (5, 7.5, None),
    "signing_keys": (["given"], ["older", "newer"], None),
    "expire": (60, 90.5, None),
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


def refusal(ask: Callable[[], Any]) -> str:
    with pytest.raises(ImproperlyConfigured) as refused:
        ask()
    return str(refused.value)


def test_every_option_of_a_storage_has_values_here() -> None:
    assert VALUES.keys() == conf.STORAGE_OPTIONS.keys()


@pytest.mark.parametrize("name", VALUES)
def test_options_win_over_the_dictionary_and_the_dictionary_over_the_default(
    name: str, settings: Any
) -> None:
    given, mapped, _ = VALUES[name]
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
    assert conf.package("LOCAL_ALIAS") == "default"


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
    message = refusal(lambda: conf.package("VARIANTS"))
    assert message.startswith("Unknown key in CF_IMAGES: VARAINTS, variants. Known are ")
    for known in ("VARIANTS", "API_TOKEN", "LOCAL_ENVS", "TIMEOUT"):
        assert known in message


def test_an_unknown_option_is_named_with_the_known_ones() -> None:
    message = refusal(lambda: CloudflareImagesStorage(acount_id="a", tokn="b"))
    assert "acount_id, tokn" in message
    assert all(name in message for name in conf.STORAGE_OPTIONS)


def test_settings_that_are_no_dictionary_are_named(settings: Any) -> None:
    settings.CF_IMAGES = ["VARIANTS"]
    assert refusal(conf.variants) == "CF_IMAGES is a list, not a dictionary."


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
    message = refusal(lambda: conf.credential(name, {}))
    assert name in message
    for place in (*conf.STORAGE_OPTIONS[name].names, f'CF_IMAGES["{name.upper()}"]', "OPTIONS"):
        assert place in message
    assert "environment variable" in message
    assert "Django setting" in message


def test_a_credential_that_is_there_is_returned() -> None:
    assert conf.credential("account_id", {"account_id": "abc"}) == "abc"


def test_override_settings_works_on_a_living_storage(settings: Any) -> None:
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
        lambda: CloudflareImagesStorage(api_token=SECRET).make_client(),
        lambda: CloudflareImagesStorage(account_id="a", api_token=f"{SECRET}\n").make_client(),
        lambda: conf.credential("account_id", conf.GivenOptions(api_token=SECRET)),
    ],
    ids=["hash", "account", "token", "reader"],
)
def test_a_debug_page_about_a_wrong_setting_shows_no_token(break_it: Callable[[], Any]) -> None:
    try:
        break_it()
    except ImproperlyConfigured:
        reporter = ExceptionReporter(None, *sys.exc_info())
    package = str(Path(conf.__file__).parent)
    ours = [frame for frame in reporter.get_traceback_frames() if frame["filename"].startswith(package)]
    assert ours
    assert SECRET not in str([frame["vars"] for frame in ours])
    assert SECRET not in str(reporter.exc_value)


def test_given_options_show_everything_but_secrets() -> None:
    shown = repr(conf.GivenOptions(account_id="visible", api_token=SECRET, unknown=1))
    assert SECRET not in shown
    assert "visible" in shown


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


def test_the_public_variant_is_always_declared_and_can_be_redeclared(settings: Any) -> None:
    assert conf.variants() == {"public": {"width": 1366, "height": 768, "fit": "scale-down"}}
    settings.CF_IMAGES = {"VARIANTS": {"public": {"width": 9}, "avatar": {"width": 8}}}
    assert conf.variants() == {"public": {"width": 9}, "avatar": {"width": 8}}


def test_the_environment_name_is_a_setting_then_a_variable_then_nothing(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ENV_NAME = "setting"
    assert conf.env_name() == "setting"
    del settings.ENV_NAME
    assert conf.env_name() == ""
    monkeypatch.setenv("ENV_NAME", "variable")
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
    ("debug", "asked", "served"),
    [(True, None, True), (False, None, False), (False, True, True), (True, False, False)],
)
def test_local_variants_are_served_in_debug_or_where_asked_for(
    debug: bool, asked: bool | None, served: bool, settings: Any
) -> None:
    settings.DEBUG = debug
    settings.CF_IMAGES = {"SERVE_LOCAL_VARIANTS": asked}
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
        conf.signing_keys({})
    assert "s3cret" not in shown_frames(caught.value)


def test_options_of_declared_storages_are_shown_without_secrets(settings: Any) -> None:
    backend = "cf_images.storage.CloudflareImagesStorage"
    settings.STORAGES = {"x": {"BACKEND": backend, "OPTIONS": {"api_token": "s3cret", "timeout": 5}}}
    assert "s3cret" not in repr(conf.storage_options())
    assert conf.storage_options()[0] == {"api_token": "s3cret", "timeout": 5}


def shown_frames(error: Exception) -> str:
    """What a debug page and an error tracker show of the package's own frames."""
    frames = traceback.TracebackException.from_exception(error, capture_locals=True).stack
    return str([frame.locals for frame in frames if "/tests/" not in frame.filename])


@pytest.mark.parametrize(("value", "everybody"), [(True, True), ("true", True), ("false", False), (1, False)])
def test_what_everybody_may_see_is_read_as_it_is_declared(
    settings: Any, value: object, everybody: bool
) -> None:
    settings.CF_IMAGES = {"VARIANTS": {"teaser": {"width": 9, "never_require_signed_urls": value}}}
    assert conf.is_never_signed("teaser") is everybody
