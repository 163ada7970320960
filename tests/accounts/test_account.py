"""An account: its identity, its client, its URLs, and the aliases that share one."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import storages

from cf_images import conf
from cf_images.accounts import Account, accounts_by_key, backend_options, find_account, usable_accounts
from cf_images.delivery.urls import DeliveryURL
from cf_images.exceptions import InvalidVariantError
from cf_images.storage import CloudflareImagesStorage

CLOUDFLARE = "cf_images.storage.CloudflareImagesStorage"
SECRET = "s3cret-token-that-must-not-appear"
ID = "0123456789abcdef" * 2


def declare(settings: Any, **aliases: Any) -> None:
    """Let STORAGES have these aliases of the Cloudflare storage, by their OPTIONS."""
    settings.STORAGES = {
        "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
        **{alias: {"BACKEND": CLOUDFLARE, "OPTIONS": options} for alias, options in aliases.items()},
    }


class TestKey:
    def test_it_is_the_api_url_and_the_account_id(self) -> None:
        key = Account({"account_id": ID}).key
        assert key == f"https://api.cloudflare.com/client/v4/accounts/{ID}"

    def test_public_and_private_aliases_of_an_account_share_it(self, settings: Any) -> None:
        declare(settings, public={}, private={"require_signed_urls": True, "variant": "avatar"})
        public, private = find_account("public"), find_account("private")
        assert public
        assert private
        assert public.key == private.key
        ((key, accounts),) = accounts_by_key().items()
        assert key == public.key
        assert [account.alias for account in accounts] == ["public", "private"]

    def test_another_account_or_api_url_has_another(self, settings: Any) -> None:
        declare(settings, one={}, two={"account_id": "other"}, three={"api_url": "http://localhost:8787"})
        keys = accounts_by_key()
        assert [[account.alias for account in accounts] for accounts in keys.values()] == [
            ["one"],
            ["two"],
            ["three"],
        ]

    def test_a_slash_at_the_end_of_the_api_url_does_not_matter(self) -> None:
        with_slash = Account({"account_id": ID, "api_url": "http://localhost:8787/client/v4/"})
        assert with_slash.key == Account({"account_id": ID, "api_url": "http://localhost:8787/client/v4"}).key

    def test_neither_token_nor_hash_is_part_of_it(self) -> None:
        given = {"account_id": ID, "api_token": SECRET, "account_hash": "the-hash"}
        assert Account(given).key == Account({"account_id": ID}).key

    def test_without_an_account_id_it_is_that_of_the_alias(self, settings: Any) -> None:
        settings.CF_ACCT_ID = None
        assert Account({}, alias="one").key != Account({}, alias="two").key

    def test_it_fits_its_column(self) -> None:
        account = Account({"account_id": "x" * 300, "api_url": "https://" + "x" * 192})
        assert len(account.key) == 255

    def test_a_longer_api_url_is_refused(self) -> None:
        with pytest.raises(ImproperlyConfigured, match="more than 200 characters"):
            Account({"account_id": ID, "api_url": "https://" + "x" * 193}).key  # noqa: B018  # raises


class TestClient:
    def test_a_missing_credential_is_named(self, settings: Any) -> None:
        settings.CF_IMG_TOKEN = None
        with pytest.raises(ImproperlyConfigured, match=r"has no api_token: set .*CF_IMG_TOKEN"):
            Account({}).client()

    @pytest.mark.parametrize(("given", "maximum", "timeout"), [(30, 10, 10), (5, 10, 5)])
    def test_its_timeout_is_the_options_up_to_a_maximum(
        self, given: float, maximum: float, timeout: float
    ) -> None:
        client = Account({"timeout": given}).client(max_timeout=maximum)
        assert client._timeout == timeout

    def test_the_repr_has_the_alias_or_the_options_without_secrets(self) -> None:
        assert "one" in repr(Account({"api_token": SECRET}, alias="one"))
        assert SECRET not in repr(Account({"api_token": SECRET, "account_id": ID}))
        assert ID in repr(Account({"api_token": SECRET, "account_id": ID}))


class TestURL:
    def test_it_is_the_delivery_url_of_the_variant(self) -> None:
        account = Account({"account_hash": "h"})
        assert account.url("a b.jpg", "avatar") == "https://imagedelivery.net/h/a%20b.jpg/avatar"
        assert account.url("a.jpg") == "https://imagedelivery.net/h/a.jpg/public"

    def test_it_is_signed_until_the_expiry(self) -> None:
        account = Account({"account_hash": "h", "signing_keys": ["older", "newer"]})
        url = account.url("a.jpg", "avatar", expires_at=1893456000)
        assert url.startswith("https://imagedelivery.net/h/a.jpg/avatar?exp=1893456000&sig=")
        assert url == Account({"account_hash": "h", "signing_keys": ["newer"]}).url(
            "a.jpg", "avatar", expires_at=1893456000
        )

    def test_a_flexible_variant_cannot_be_signed(self) -> None:
        account = Account({"account_hash": "h", "signing_keys": ["key"]})
        with pytest.raises(InvalidVariantError, match="signs no flexible variants"):
            account.url("a.jpg", "w=20", expires_at=1893456000)

    def test_variants_of_visitors_do_not_fill_the_memory(self) -> None:
        account = Account({"account_hash": "h"})
        for width in range(1, 1500):
            assert account.url("a.jpg", f"w={width}").endswith(f"/w={width}")
        assert len(account._variants) == 1000

    @pytest.mark.parametrize(
        ("account_hash", "delivery_url", "owned"),
        [
            ("h", "https://imagedelivery.net", True),
            ("other", "https://imagedelivery.net", False),
            ("", "https://img.example.com/{variant}/{image_id}", True),
            ("", "https://other.example.com/{variant}/{image_id}", False),
        ],
    )
    def test_it_owns_the_urls_of_its_hash_or_of_its_own_template(
        self, account_hash: str, delivery_url: str, owned: bool
    ) -> None:
        account = Account(
            {"account_hash": "h", "delivery_url": "https://img.example.com/{variant}/{image_id}"}
        )
        url = DeliveryURL(
            delivery_url=delivery_url, account_hash=account_hash, image_id="a", variant="public"
        )
        assert account.owns(url) is owned


class TestStorage:
    """The account of a storage."""

    def test_it_is_kept_until_settings_change(self, settings: Any) -> None:
        storage: Any = storages["cloudflare_images"]
        before = storage.account
        assert storage.account is before
        settings.CF_ACCT_ID = "other"
        assert storage.account is not before
        assert storage.account.key.endswith("/accounts/other")

    def test_its_alias_is_found_by_class_and_options(self, settings: Any) -> None:
        declare(settings, one={}, two={"variant": "avatar"})
        assert [storages[alias].alias for alias in ("one", "two")] == ["one", "two"]  # type: ignore[attr-defined]
        assert CloudflareImagesStorage(variant="avatar").alias == "two"
        assert CloudflareImagesStorage(variant="hero").alias is None


class TestAliases:
    def test_other_storages_and_unknown_aliases_have_no_account(self, settings: Any) -> None:
        declare(settings, one={})
        assert find_account("default") is None
        assert find_account("nowhere") is None
        assert list(backend_options()) == ["one"]

    @pytest.mark.parametrize(
        ("options", "message"),
        [({"bucket": "x"}, "Unknown option .*: bucket"), ([("variant", "public")], "is not a dictionary")],
    )
    def test_wrong_options_of_one_alias_hide_no_other(
        self, settings: Any, options: Any, message: str
    ) -> None:
        declare(settings, wrong=options, right={})
        with pytest.raises(ImproperlyConfigured, match=message):
            find_account("wrong")
        assert [account.alias for account in usable_accounts()] == ["right"]

    def test_the_generation_of_an_account_is_that_of_its_settings(self) -> None:
        account = Account({})
        assert account.generation == conf.generation()
        conf.clear_cache()
        assert account.generation < conf.generation()
