"""The emulator behaves like Cloudflare: the same tests run on both.

On Cloudflare itself they need CF_ACCT_ID, CF_IMG_TOKEN and CF_IMG_HASH of an account with an Images
subscription in the environment. Everything is stored below a folder of its own and deleted afterwards.
"""

from __future__ import annotations

import io
import os
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from cf_images.client import CloudflareImagesClient
from cf_images.exceptions import (
    CloudflareImagesError,
    CredentialsRefusedError,
    ImageExistsError,
    ImageNotFoundError,
    ImageRejectedError,
)
from tests.pictures import picture

REAL = ("CF_ACCT_ID", "CF_IMG_TOKEN", "CF_IMG_HASH")
PNG = picture("PNG", (640, 480))


@dataclass
class Service:
    """One of the two, and the images that the test stored there."""

    client: CloudflareImagesClient
    delivery: str
    is_real: bool
    made: list[str] = field(default_factory=list)

    def new_id(self) -> str:
        """Return a new ID below a folder of the tests."""
        self.made.append(f"django-cf-images-parity/{secrets.token_hex(8)}/image.png")
        return self.made[-1]

    def upload(self, **options: Any) -> Any:
        """Upload the picture, under a new ID unless one is given."""
        options.setdefault("image_id", self.new_id())
        return self.client.upload(io.BytesIO(PNG), content_type="image/png", **options)

    def eventually(self, attempt: Callable[[], Any]) -> Any:
        """Try again for a while at Cloudflare, where fresh IDs are "not found" at times."""
        for pause in (1, 2, 4, 8) if self.is_real else ():
            try:
                return attempt()
            except (ImageNotFoundError, AssertionError):
                time.sleep(pause)
        return attempt()


@pytest.fixture(
    params=["emulator", pytest.param("cloudflare", marks=pytest.mark.cf_images_real_account)],
)
def service(request: pytest.FixtureRequest) -> Iterator[Service]:
    """The emulator, and Cloudflare where there are credentials."""
    if request.param == "emulator":
        emulator = request.getfixturevalue("cf_images_emulator")
        client = CloudflareImagesClient(emulator.account_id, emulator.api_token, api_url=emulator.api_url)
        yield Service(client, f"{emulator.delivery_url}/{emulator.account_hash}", is_real=False)
        return
    if missing := [name for name in REAL if not os.environ.get(name)]:
        pytest.skip(f"Cloudflare itself is not tested: no {', '.join(missing)} in the environment")
    account_id, token, account_hash = (os.environ[name] for name in REAL)
    client = CloudflareImagesClient(account_id, token)
    service = Service(client, f"https://imagedelivery.net/{account_hash}", is_real=True)
    yield service
    for image_id in service.made:
        try:
            client.delete(image_id)
        except ImageNotFoundError:
            pass


def test_an_upload_comes_back_as_it_was_sent(service: Service) -> None:
    image = service.upload(metadata={"key": "value", "nested": {"n": 1}}, creator="jane")
    assert image.id == service.made[0]
    assert image.metadata == {"key": "value", "nested": {"n": 1}}
    assert image.creator == "jane"
    assert image.filename == "image.png"
    assert image.uploaded_at is not None
    assert not image.draft
    assert not image.require_signed_urls
    assert any(url.endswith("/public") for url in image.variants)


def test_details_are_those_of_the_upload(service: Service) -> None:
    image = service.upload(metadata={"key": "value"})
    assert service.eventually(lambda: service.client.details(image.id)) == image


def test_the_original_comes_back_byte_for_byte(service: Service) -> None:
    image = service.upload()

    def original() -> bytes:
        with service.client.download(image.id) as download:
            return b"".join(download)

    assert service.eventually(original) == PNG


def test_the_same_id_again_is_refused(service: Service) -> None:
    image = service.upload()
    with pytest.raises(ImageExistsError) as caught:
        service.upload(image_id=image.id)
    assert (caught.value.status, caught.value.code) == (409, 5409)


def test_a_deleted_image_is_not_found(service: Service) -> None:
    image = service.upload()
    service.client.delete(image.id)

    def is_gone() -> None:
        with pytest.raises(ImageNotFoundError) as caught:
            service.client.details(image.id)
        assert (caught.value.status, caught.value.code) == (404, 5404)

    service.eventually(is_gone)


def test_deleting_an_unknown_image_is_not_found(service: Service) -> None:
    with pytest.raises(ImageNotFoundError):
        service.client.delete(service.new_id())


def test_metadata_are_replaced_as_a_whole(service: Service) -> None:
    image = service.upload(metadata={"old": 1})
    changed = service.eventually(lambda: service.client.update(image.id, metadata={"new": 2}))
    assert changed.metadata == {"new": 2}


def test_a_private_image_cannot_have_a_custom_id(service: Service) -> None:
    with pytest.raises(ImageRejectedError):
        service.upload(require_signed_urls=True)


@pytest.mark.parametrize(
    ("body", "content_type"), [(b"just a text", "text/plain"), (b"just a text", "image/png")]
)
def test_what_is_no_image_is_refused(service: Service, body: bytes, content_type: str) -> None:
    with pytest.raises(ImageRejectedError):
        service.client.upload(io.BytesIO(body), image_id=service.new_id(), content_type=content_type)


def test_a_uuid_as_a_custom_id_is_refused(service: Service) -> None:
    service.made.append("083eb7b2-5392-4565-b69e-aff66acddd00")
    with pytest.raises(CloudflareImagesError):
        service.upload(image_id=service.made[-1])


def test_the_list_has_new_images_and_filters_by_creator(service: Service) -> None:
    creator = f"parity-{secrets.token_hex(4)}"
    ids = {service.upload(creator=creator).id for _ in range(3)}

    def are_listed() -> None:
        assert {image.id for image in service.client.list_images(creator=creator)} == ids

    service.eventually(are_listed)


def test_the_list_filters_by_metadata(service: Service) -> None:
    token = secrets.token_hex(8)
    image = service.upload(metadata={"cf_images": {"token": token}})

    def is_found() -> None:
        assert [found.id for found in service.client.list_images(meta={"cf_images.token": token})] == [
            image.id
        ]

    service.eventually(is_found)


def test_the_list_filters_by_ranges_of_numbers(service: Service) -> None:
    token = secrets.token_hex(8)
    ids = [
        service.upload(metadata={"cf_images": {"token": token, "uploaded": number}}).id for number in range(4)
    ]

    def are_found() -> None:
        meta = {
            "cf_images.token": token,
            "cf_images.uploaded[gte:number]": 1,
            "cf_images.uploaded[lt:number]": 3,
        }
        found = {image.id for image in service.client.list_images(meta=meta)}
        assert found == set(ids[1:3])

    service.eventually(are_found)


def test_a_direct_upload_is_a_draft_until_it_has_a_file(service: Service) -> None:
    reserved = service.client.create_direct_upload(require_signed_urls=True, metadata={"key": "value"})
    service.made.append(reserved.id)
    assert service.eventually(lambda: service.client.details(reserved.id)).draft
    image = service.client.upload_direct(reserved.upload_url, io.BytesIO(PNG), content_type="image/png")
    assert image.id == reserved.id
    assert image.metadata == {"key": "value"}
    assert image.require_signed_urls

    def is_complete() -> None:
        assert not service.client.details(reserved.id).draft

    service.eventually(is_complete)


def test_a_reserved_id_is_taken(service: Service) -> None:
    image_id = service.new_id()
    service.client.create_direct_upload(image_id=image_id)
    with pytest.raises(ImageExistsError):
        service.client.create_direct_upload(image_id=image_id)


def test_every_account_has_the_public_variant(service: Service) -> None:
    public = service.client.list_variants()["public"]
    assert public.options["fit"] in ("scale-down", "contain", "cover", "crop", "pad")
    assert service.client.variant("public") == public


def test_a_variant_name_with_a_hyphen_is_refused(service: Service) -> None:
    with pytest.raises(ImageRejectedError) as caught:
        service.client.create_variant("a-b", options={"fit": "cover", "width": 1, "height": 1})
    assert caught.value.code == 5400


def test_a_variant_is_created_changed_and_deleted(service: Service) -> None:
    name = f"parity{secrets.token_hex(4)}"
    options = {"fit": "cover", "width": 10, "height": 20, "metadata": "none"}
    created = service.client.create_variant(name, options=options)
    try:
        assert created.options == options
        changed = service.client.update_variant(name, options={**options, "width": 30})
        assert changed.options["width"] == 30
        with pytest.raises(ImageExistsError):
            service.client.create_variant(name, options=options)
    finally:
        service.client.delete_variant(name)


def test_statistics_count_images(service: Service) -> None:
    stats = service.client.stats()
    assert 0 <= stats.current <= stats.allowed


def test_a_wrong_token_is_refused(service: Service) -> None:
    other = CloudflareImagesClient(
        service.client._account_id, "not-a-token-of-this-account", api_url=service.client._api_url
    )
    with pytest.raises(CredentialsRefusedError):
        other.stats()


def test_delivery_negotiates_the_format(service: Service) -> None:
    image = service.upload()

    def is_delivered() -> None:
        response = httpx.get(f"{service.delivery}/{image.id}/public", headers={"Accept": "image/webp"})
        assert response.status_code == 200
        assert response.headers["content-type"] == "image/webp"
        assert response.headers["x-content-type-options"] == "nosniff"

    service.eventually(is_delivered)


def test_a_private_image_is_not_delivered_without_a_signature(service: Service) -> None:
    reserved = service.client.create_direct_upload(require_signed_urls=True)
    service.made.append(reserved.id)
    service.client.upload_direct(reserved.upload_url, io.BytesIO(PNG), content_type="image/png")

    def is_refused() -> None:
        assert httpx.get(f"{service.delivery}/{reserved.id}/public").status_code == 403

    service.eventually(is_refused)


def test_an_unknown_image_is_not_delivered(service: Service) -> None:
    assert httpx.get(f"{service.delivery}/{service.new_id()}/public").status_code == 404


def test_an_unknown_variant_is_not_delivered(service: Service) -> None:
    image = service.upload()
    assert httpx.get(f"{service.delivery}/{image.id}/nosuchvariant").status_code == 403
