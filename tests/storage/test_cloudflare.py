"""CloudflareImagesStorage beyond the contract: names, options, secrets, costs, bad input."""

from __future__ import annotations

import io
import pickle
import time
from typing import Any

import httpx
import pytest
from django.core.exceptions import ImproperlyConfigured, SuspiciousFileOperation
from django.core.files.base import ContentFile, File
from django.core.files.storage import storages
from django.db import connection, transaction
from django.db.migrations.writer import MigrationWriter
from django.test.utils import CaptureQueriesContext
from PIL import Image

from cf_images.background import process
from cf_images.emulator import Emulator
from cf_images.exceptions import (
    CredentialsRefusedError,
    ImageExistsError,
    ImageNotFoundError,
    ImageRejectedError,
    InvalidNameError,
    InvalidVariantError,
)
from cf_images.storage import CloudflareImagesStorage, LocalImagesStorage, select_storage
from tests.app.models import Photo
from tests.conftest import point_at
from tests.pictures import encoded, picture

PNG = picture()
JPEG = picture("JPEG")
HASH_URL = "https://imagedelivery.net/test-hash"


def saved(storage: Any, name: str = "folder/photo.png", body: bytes = PNG) -> str:
    return storage.save(name, ContentFile(body, name=name))


class TestChoice:
    def test_dev_is_local_and_anything_else_is_cloudflare(self, settings: Any) -> None:
        settings.ENV_NAME = "dev"
        assert isinstance(select_storage(), LocalImagesStorage)
        settings.ENV_NAME = "production"
        assert isinstance(select_storage(), CloudflareImagesStorage)

    def test_the_environment_variable_decides_without_the_setting(
        self, settings: Any, monkeypatch: Any
    ) -> None:
        del settings.ENV_NAME
        monkeypatch.setenv("ENV_NAME", "dev")
        assert isinstance(select_storage(), LocalImagesStorage)

    def test_environments_and_aliases_can_be_named(self, settings: Any) -> None:
        settings.STORAGES = {**settings.STORAGES, "disk": settings.STORAGES["default"]}
        settings.CF_IMAGES = {"LOCAL_ENVS": ["laptop"], "LOCAL_ALIAS": "disk", "CLOUDFLARE_ALIAS": "default"}
        settings.ENV_NAME = "laptop"
        assert select_storage() is storages["disk"]
        settings.ENV_NAME = "dev"
        assert select_storage() is storages["default"]

    def test_a_migration_holds_only_its_path(self) -> None:
        assert MigrationWriter.serialize(select_storage)[0] == "cf_images.storage.select_storage"


class TestConstruction:
    def test_it_reads_no_credentials(self, settings: Any) -> None:
        del settings.CF_ACCT_ID, settings.CF_IMG_TOKEN, settings.CF_IMG_HASH
        CloudflareImagesStorage()

    def test_an_unknown_option_is_named_with_those_that_exist(self) -> None:
        with pytest.raises(
            ImproperlyConfigured, match=r"storage: acount_id\. The options are account_id, api_token"
        ):
            CloudflareImagesStorage(acount_id="x")

    def test_changed_settings_are_used_by_an_existing_storage(self, settings: Any) -> None:
        storage = storages["cloudflare_images"]
        assert storage.url("a.jpg") == f"{HASH_URL}/a.jpg/public"
        settings.CF_IMG_HASH = "other"
        assert storage.url("a.jpg") == "https://imagedelivery.net/other/a.jpg/public"

    def test_a_missing_hash_is_reported_when_a_url_is_needed(self, settings: Any) -> None:
        del settings.CF_IMG_HASH
        with pytest.raises(ImproperlyConfigured, match="CF_IMG_HASH"):
            storages["cloudflare_images"].url("a.jpg")

    def test_two_aliases_with_two_accounts_work_side_by_side(self, images: Any, settings: Any) -> None:
        with Emulator(account_id="f" * 32, token="other-token", account_hash="OtherHash") as other:
            options = {"account_id": "f" * 32, "api_token": "other-token", "account_hash": "OtherHash"}
            options |= {"api_url": other.api_url, "delivery_url": other.delivery_url}
            backend = {"BACKEND": "cf_images.storage.CloudflareImagesStorage", "OPTIONS": options}
            settings.STORAGES = {**settings.STORAGES, "second": backend}
            one, two = saved(storages["cloudflare_images"]), saved(storages["second"])
            assert list(other.images) == [two]
            assert storages["cloudflare_images"].exists(one)
            assert not storages["cloudflare_images"].exists(two)


class TestSecrets:
    def explicit(self) -> CloudflareImagesStorage:
        return CloudflareImagesStorage(account_id="acc", api_token="very-secret")

    def test_repr_has_the_alias_or_the_options_without_secrets(self) -> None:
        assert repr(storages["cloudflare_images"]) == "<CloudflareImagesStorage cloudflare_images>"
        assert repr(self.explicit()) == "<CloudflareImagesStorage {'account_id': 'acc'}>"

    def test_a_pickle_holds_the_alias(self) -> None:
        assert pickle.loads(pickle.dumps(storages["cloudflare_images"])) is storages["cloudflare_images"]

    def test_a_pickle_holds_no_secret(self) -> None:
        pickled = pickle.dumps(self.explicit())
        assert b"very-secret" not in pickled
        assert pickle.loads(pickled).options.account_id == "acc"

    def test_a_migration_holds_the_alias(self, settings: Any) -> None:
        options = {"api_token": "secret-of-the-options"}
        backend = {"BACKEND": "cf_images.storage.CloudflareImagesStorage", "OPTIONS": options}
        settings.STORAGES = {**settings.STORAGES, "cloudflare_images": backend}
        written, imports = MigrationWriter.serialize(storages["cloudflare_images"])
        assert written == "cf_images.storage.named('cloudflare_images')"
        assert imports == {"import cf_images.storage"}

    def test_a_migration_holds_no_secret(self) -> None:
        written, _ = MigrationWriter.serialize(self.explicit())
        assert written == "cf_images.storage.CloudflareImagesStorage(account_id='acc')"


class TestNames:
    def test_the_extension_is_that_of_the_bytes(self, images: Any) -> None:
        assert saved(images, "photo.jpg", PNG).endswith(".png")
        assert saved(images, "photo", JPEG).endswith(".jpg")

    @pytest.mark.parametrize(
        "name",
        ["x" * 2000 + ".png", "Übung im Grünen.png", "日本.png", "a\nb\0c%41?#.png", "~.png", "a~b.png"],
    )
    def test_strange_file_names_work(self, images: Any, name: str) -> None:
        stored = images.save(images.generate_filename(f"folder/{name}"), ContentFile(PNG), max_length=100)
        assert len(stored) <= 100
        assert "~" not in stored
        with images.open(stored) as file:
            assert file.read() == PNG

    def test_unique_names_off_keeps_the_name(self, cloudflare: Any, settings: Any) -> None:
        point_at(settings, cloudflare, unique_names=False)
        storage = storages["cloudflare_images"]
        assert saved(storage, "thumbs/jane.jpg.200x200_q85.jpg", JPEG) == "thumbs/jane.jpg.200x200_q85.jpg"
        assert saved(storage, "thumbs/Übung.png") == "thumbs/Übung.png"
        assert storage.size("thumbs/Übung.png") == len(PNG)

    def test_unique_names_off_refuses_the_second_save(self, cloudflare: Any, settings: Any) -> None:
        point_at(settings, cloudflare, unique_names=False)
        storage = storages["cloudflare_images"]
        saved(storage, "a.png")
        with pytest.raises(FileExistsError) as caught:
            saved(storage, "a.png", picture(seed=2))
        assert isinstance(caught.value, ImageExistsError)
        with storage.open("a.png") as file:
            assert file.read() == PNG

    @pytest.mark.django_db
    def test_a_direct_save_that_was_rolled_back_says_how_to_save_again(
        self, cloudflare: Any, settings: Any
    ) -> None:
        point_at(settings, cloudflare, unique_names=False)
        storage = storages["cloudflare_images"]
        with transaction.atomic():
            saved(storage, "a.png")
            transaction.set_rollback(True)
        assert storage.exists("a.png")
        with pytest.raises(ImageExistsError, match=r"rolled back.*delete\('a.png'\)") as caught:
            saved(storage, "a.png", picture(seed=2))
        assert (caught.value.status, caught.value.code) == (409, 5409)
        storage.delete("a.png")
        assert saved(storage, "a.png", picture(seed=2)) == "a.png"

    @pytest.mark.parametrize(
        "name", ["variants", "083eb7b2-5392-4565-b69e-aff66acddd00", "a\nb.png", "x" * 1025]
    )
    def test_unique_names_off_refuses_what_cloudflare_cannot_have(
        self, cloudflare: Any, settings: Any, name: str
    ) -> None:
        point_at(settings, cloudflare, unique_names=False)
        with pytest.raises(InvalidNameError):
            saved(storages["cloudflare_images"], name)
        assert not cloudflare.requests

    @pytest.mark.parametrize("name", ["variants", "keys", "stats", "batch_token", "config", "direct_upload"])
    def test_words_of_the_api_never_reach_the_network(self, images: Any, cloudflare: Any, name: str) -> None:
        images.delete(name)
        assert not images.exists(name)
        with pytest.raises(ImageNotFoundError):
            images.open(name)
        assert not cloudflare.requests

    @pytest.mark.parametrize("name", ["..", "a/../../x", "/x", "../images/v1/x"])
    @pytest.mark.parametrize("method", ["delete", "exists", "open", "size", "image_id", "listdir"])
    def test_names_that_lead_outside_never_reach_the_network(
        self, images: Any, cloudflare: Any, name: str, method: str
    ) -> None:
        with pytest.raises(SuspiciousFileOperation, match="leads outside"):
            getattr(images, method)(name)
        assert not cloudflare.requests

    def test_deleting_the_empty_name_is_an_error_and_no_request(self, images: Any, cloudflare: Any) -> None:
        with pytest.raises(ValueError, match="must be given"):
            images.delete("")
        assert not cloudflare.requests

    @pytest.mark.parametrize("name", ["folder/%2e%2e/x", "a b%?#.png", "ü/日本.png", "a/variants"])
    def test_any_name_is_one_segment_of_the_path(self, images: Any, cloudflare: Any, name: str) -> None:
        assert not images.exists(name)
        images.delete(name)
        assert len(cloudflare.requests) == 2


class TestOlderNames:
    """Rows that older recipes wrote: a delivery URL where the name should be, or a bare generated ID."""

    @pytest.fixture
    def old(self, images: Any, cloudflare: Any) -> str:
        image = images.client.upload(io.BytesIO(PNG), filename="old.png", content_type="image/png")
        return f"{cloudflare.delivery_url}/{cloudflare.account_hash}/{image.id}/public"

    def test_url_gives_it_back(self, images: Any, old: str) -> None:
        assert images.url(old) == old

    def test_a_variant_replaces_its_last_segment(self, images: Any, old: str) -> None:
        assert images.url(old, variant="avatar") == old.replace("/public", "/avatar")

    def test_it_opens_and_is_deleted(self, images: Any, old: str) -> None:
        with images.open(old) as file:
            assert file.read() == PNG
        images.delete(old)
        assert not images.exists(old)

    @pytest.mark.parametrize(
        "name", ["https://example.com/a.jpg", f"{HASH_URL}x/a.png/public", "https://[bad"]
    )
    def test_a_foreign_url_is_no_image_of_the_account(self, images: Any, cloudflare: Any, name: str) -> None:
        assert images.url(name) == name
        assert not images.exists(name)
        images.delete(name)
        assert not cloudflare.requests

    def test_a_generated_id_resolves(self, images: Any, old: str) -> None:
        image_id = old.split("/")[-2]
        assert images.size(image_id) == len(PNG)
        assert images.url(image_id) == old


class TestWhatIsSent:
    def test_size_dimensions_and_the_users_file_name_are_metadata(self, images: Any, cloudflare: Any) -> None:
        name = images.save("folder/x.png", ContentFile(PNG, name="Jane on holiday.png"))
        added = cloudflare.images[name].metadata["cf_images"]
        assert len(added.pop("token")) == 16
        assert abs(added.pop("uploaded") - time.time()) < 60
        assert added == {
            "size": len(PNG),
            "width": 64,
            "height": 48,
            "site": "tests/test",
            "filename": "Jane on holiday.png",
        }

    def test_the_site_of_the_options_is_metadata(self, cloudflare: Any, settings: Any) -> None:
        point_at(settings, cloudflare, site="shop, Zürich")
        name = saved(storages["cloudflare_images"])
        assert cloudflare.images[name].metadata["cf_images"]["site"] == "shop, Zürich"

    def test_a_private_image_has_its_name_in_the_metadata(self, cloudflare: Any, settings: Any) -> None:
        point_at(settings, cloudflare, require_signed_urls=True)
        saved(storages["cloudflare_images"], "people/jane.png")
        (image,) = cloudflare.images.values()
        assert image.metadata["cf_images"]["name"] == "people/jane.png"

    def test_type_and_name_of_the_file_are_not_the_browsers(self, images: Any, cloudflare: Any) -> None:
        content = ContentFile(JPEG, name="evil.html")
        content.content_type = "text/html"
        name = images.save("folder/evil.html", content)
        assert cloudflare.images[name].content_type == "image/jpeg"
        assert cloudflare.images[name].filename == name.removeprefix("folder/")

    def test_metadata_and_creator_of_the_options_are_sent(self, cloudflare: Any, settings: Any) -> None:
        point_at(settings, cloudflare, metadata={"shop": "books"}, creator="site-7")
        storage = storages["cloudflare_images"]
        name = saved(storage)
        assert cloudflare.images[name].metadata["shop"] == "books"
        assert storage.client.details(name).creator == "site-7"

    def test_a_long_file_name_is_shortened_to_fit_the_metadata(self, images: Any, cloudflare: Any) -> None:
        name = images.save("x.png", ContentFile(PNG, name="日" * 400 + ".png"))
        assert cloudflare.images[name].metadata["cf_images"]["filename"].startswith("日日日")

    def test_a_file_name_is_cleaned_of_what_a_database_refuses(self, images: Any, cloudflare: Any) -> None:
        name = images.save("x.png", ContentFile(PNG, name="ja\0ne\n\ud800.png"))
        assert cloudflare.images[name].metadata["cf_images"]["filename"] == "jane.png"

    def test_metadata_that_leaves_no_room_is_refused_before_a_request(
        self, cloudflare: Any, settings: Any
    ) -> None:
        point_at(settings, cloudflare, metadata={"note": "x" * 1020})
        with pytest.raises(ImageRejectedError, match=r"metadata is \d+ bytes too long"):
            saved(storages["cloudflare_images"])
        assert not cloudflare.requests

    def test_the_limit_of_metadata_counts_bytes_as_they_are_sent(
        self, cloudflare: Any, settings: Any
    ) -> None:
        note = "é" * 200  # 400 bytes as sent; written as "\\u00e9" it would be over the limit
        point_at(settings, cloudflare, metadata={"note": note})
        name = saved(storages["cloudflare_images"])
        assert cloudflare.images[name].metadata["note"] == note
        assert cloudflare.images[name].metadata["cf_images"]["filename"] == "photo.png", "nothing was cut"
        point_at(settings, cloudflare, metadata={"note": "é" * 500})
        with pytest.raises(ImageRejectedError, match="too long"):
            saved(storages["cloudflare_images"])
        assert len(cloudflare.images) == 1


class TestPrivate:
    @pytest.fixture
    def private(self, cloudflare: Any, settings: Any) -> Any:
        point_at(settings, cloudflare, require_signed_urls=True)
        return storages["cloudflare_images"]

    def test_the_name_keeps_folder_and_extension_around_cloudflares_id(
        self, private: Any, cloudflare: Any
    ) -> None:
        name = saved(private, "avatars/jane.jpg", JPEG)
        image_id = next(iter(cloudflare.images))
        assert name == f"avatars/jane~{image_id}.jpg"
        assert private.client.details(image_id).require_signed_urls

    def test_it_reads_and_deletes_by_its_name(self, private: Any) -> None:
        name = saved(private)
        assert private.size(name) == len(PNG)
        with private.open(name) as file:
            assert file.read() == PNG
        private.delete(name)
        assert not private.exists(name)

    def test_it_fits_max_length(self, private: Any) -> None:
        name = private.save("avatars/" + "x" * 200 + ".jpg", ContentFile(JPEG), max_length=60)
        assert len(name) <= 60


class TestCosts:
    """Requests and queries of each operation, as the README promises them."""

    def cost(self, cloudflare: Any, operation: Any) -> int:
        before = len(cloudflare.requests)
        operation()
        return len(cloudflare.requests) - before

    @pytest.mark.django_db
    def test_requests_and_queries(self, images: Any, cloudflare: Any) -> None:
        name = saved(images)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert self.cost(cloudflare, lambda: images.url(name, variant="avatar")) == 0
            assert self.cost(cloudflare, lambda: saved(images)) == 1
            assert self.cost(cloudflare, lambda: images.open(name).close()) == 1
            assert self.cost(cloudflare, lambda: images.size(name)) == 1
            assert self.cost(cloudflare, lambda: images.exists(name)) == 1
            assert self.cost(cloudflare, lambda: images.get_modified_time(name)) == 1
            assert self.cost(cloudflare, lambda: images.listdir("")) == 1
            assert self.cost(cloudflare, lambda: images.delete(name)) == 1
        assert len(queries) == 0

    def test_a_private_save_takes_two_requests(self, cloudflare: Any, settings: Any) -> None:
        point_at(settings, cloudflare, require_signed_urls=True)
        assert self.cost(cloudflare, lambda: saved(storages["cloudflare_images"])) == 2

    @pytest.mark.django_db
    def test_a_row_with_its_dimensions_costs_no_request(self, images: Any, cloudflare: Any) -> None:
        photo = Photo(file=File(io.BytesIO(PNG), name="a.png"))
        photo.save()
        assert (photo.width, photo.height) == (64, 48)
        assert self.cost(cloudflare, lambda: Photo.objects.get().file.url) == 0

    @pytest.mark.django_db
    def test_a_row_without_its_dimensions_costs_one_request(self, images: Any, cloudflare: Any) -> None:
        Photo(file=File(io.BytesIO(PNG), name="a.png")).save()
        Photo.objects.update(width=None, height=None)
        assert self.cost(cloudflare, lambda: Photo.objects.get()) == 1

    def test_the_size_of_an_upload_without_metadata_is_counted(self, images: Any) -> None:
        image = images.client.upload(io.BytesIO(PNG), filename="a.png", content_type="image/png")
        assert images.size(image.id) == len(PNG)


class TestBadInput:
    @pytest.mark.parametrize(
        ("body", "words"),
        [
            (b"just a text", "looks like plain text"),
            (b"", "empty"),
            (b"%PDF-1.7\n", "PDF"),
            (picture("TIFF"), "TIFF"),
            (picture("BMP"), "BMP"),
        ],
        ids=["text", "empty", "pdf", "tiff", "bmp"],
    )
    def test_what_cloudflare_does_not_support_is_refused_before_a_request(
        self, images: Any, cloudflare: Any, body: bytes, words: str
    ) -> None:
        with pytest.raises(ImageRejectedError, match=rf"(?i){words}"):
            saved(images, "photo.png", body)
        assert not cloudflare.requests

    def test_a_text_stream_is_refused(self, images: Any) -> None:
        with pytest.raises(ImageRejectedError):
            images.save("photo.png", ContentFile("text"))

    def test_a_truncated_jpeg_passes_as_the_readme_says(self, images: Any) -> None:
        name = saved(images, "photo.jpg", picture("JPEG", (600, 400))[:2000])
        assert images.exists(name)

    def test_a_closed_file_is_refused(self, images: Any) -> None:
        content = File(io.BytesIO(PNG), name="a.png")
        content.close()
        with pytest.raises(ImageRejectedError, match="closed"):
            images.save("a.png", content)

    def test_an_image_over_ten_megabytes_is_refused_with_limit_and_size(
        self, images: Any, cloudflare: Any
    ) -> None:
        with pytest.raises(ImageRejectedError, match="10 MB"):
            saved(images, "photo.jpg", JPEG.ljust(11 * 1024 * 1024, b"\0"))
        assert not cloudflare.requests

    def test_fit_limits_reduces_it_instead(self, cloudflare: Any, settings: Any) -> None:
        point_at(settings, cloudflare, fit_limits=True)
        noise = Image.effect_noise((4400, 3300), 120).convert("RGB")
        large = encoded(noise, "JPEG", quality=95)
        assert len(large) > 10 * 1024 * 1024
        name = saved(storages["cloudflare_images"], "photo.jpg", large)
        assert len(cloudflare.images[name].body) <= 10 * 1024 * 1024

    @pytest.mark.parametrize("mode", ["wb", "r", "rb+", "ab"])
    def test_write_modes_are_refused(self, images: Any, mode: str) -> None:
        with pytest.raises(ValueError, match="never changed"):
            images.open("a.png", mode)

    @pytest.mark.parametrize("variant", ["a/b", "..", "a b", "'", "https://example.com/"])
    def test_what_is_no_variant_is_refused(self, images: Any, variant: str) -> None:
        with pytest.raises(InvalidVariantError):
            images.url("a.png", variant=variant)

    def test_an_empty_name_has_no_url(self, images: Any) -> None:
        with pytest.raises(ValueError, match="no URL"):
            images.url("", "avatar")

    def test_a_wrong_token_is_an_error_without_the_token(self, cloudflare: Any, settings: Any) -> None:
        point_at(settings, cloudflare, api_token="not-the-right-token")
        with pytest.raises(CredentialsRefusedError) as caught:
            saved(storages["cloudflare_images"])
        assert "not-the-right-token" not in str(caught.value)


def test_url_variant_is_url_with_a_variant(images: Any) -> None:
    assert images.url_variant("a.png", "avatar") == images.url("a.png", variant="avatar")


def test_a_stored_image_is_delivered(images: Any) -> None:
    name = saved(images, "photo.png", picture("PNG", (600, 400)))
    response = httpx.get(images.url(name, variant="w=300"))
    assert Image.open(io.BytesIO(response.content)).size == (300, 200)


class TestPendingURL:
    @pytest.fixture
    def background(self, cloudflare: Any, settings: Any, db: None) -> Any:
        point_at(settings, cloudflare, background=True, queue="none")
        return storages["cloudflare_images"]

    def test_a_pending_image_is_shown_by_the_view(self, background: Any, client: Any) -> None:
        name = saved(background)
        url = background.url(name, variant="avatar")
        assert url == f"/cf-images/pending/avatar/{name}"
        assert Image.open(io.BytesIO(client.get(url).content)).size == (240, 240)

    def test_its_url_redirects_to_cloudflare_afterwards(self, background: Any, client: Any) -> None:
        name = saved(background)
        url = background.url(name, variant="avatar")
        assert process() == 1
        assert client.get(url).headers["Location"] == background.final_url(name, "avatar")

    def test_a_foreign_url_as_a_name_is_not_found(self, background: Any, client: Any) -> None:
        assert client.get("/cf-images/pending/public/https://example.com/a.jpg").status_code == 404

    def test_without_background_the_url_is_cloudflares(self, images: Any, cloudflare: Any) -> None:
        assert images.url(saved(images)).startswith(cloudflare.delivery_url)

    def test_a_background_upload_needs_an_alias(self, cloudflare: Any, settings: Any, db: None) -> None:
        storage = CloudflareImagesStorage(background=True, creator="not in STORAGES")
        with pytest.raises(ImproperlyConfigured, match="Add it there"):
            saved(storage)
