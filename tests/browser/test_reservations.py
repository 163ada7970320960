"""From a reservation to a saved image, and everything that must not work."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone
from PIL import Image

from cf_images.background import prune, reserved
from cf_images.background.leases import LeaseLostError, claim
from cf_images.background.worker import Batch, process_some
from cf_images.browser import reservations
from cf_images.browser.direct_upload import DirectUpload
from cf_images.browser.problems import UploadProblem
from cf_images.browser.targets import Target
from cf_images.exceptions import ImageRejectedError
from cf_images.models import Reservation, State
from tests.app.models import Page, Photo, Profile
from tests.background.conftest import Clock
from tests.browser.conftest import Visitor, photo_storage
from tests.images.builders import png_header
from tests.pictures import picture

pytestmark = pytest.mark.django_db

RowOf = Callable[[str], Reservation]
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>alert(1)</script></svg>'


def verified(visitor: Visitor, value: str, target: Target | None = None) -> DirectUpload:
    target = target or visitor.target()
    return DirectUpload(reservations.verify(value, target, owner=visitor.owner), value)


def work() -> int:
    """Let a worker process what is due; return how many rows."""
    total = 0
    while tried := process_some(Batch()).rows:
        total += tried
    return total


# What works


def test_an_upload_is_saved_under_a_name_with_its_id(
    visitor: Visitor, row_of: RowOf, cloudflare: Any
) -> None:
    value = visitor.upload(filename="Köln Dom.PNG")
    image_id = row_of(value).remote_id
    photo = Photo(file=verified(visitor, value))
    photo.save()
    assert photo.file.name.endswith(f"/Koln-Dom~~{image_id}.png")
    assert photo.file.url == f"{cloudflare.delivery_url}/{cloudflare.account_hash}/{image_id}/public"
    assert photo.file.read() == picture()
    assert (photo.width, photo.height) == Image.open(io.BytesIO(picture())).size
    assert row_of(value).state == State.STORED
    assert row_of(value).name == photo.file.name


def test_a_submit_makes_two_requests(visitor: Visitor, cloudflare: Any) -> None:
    value = visitor.upload()
    before = len(cloudflare.requests)
    Photo(file=verified(visitor, value)).save()
    assert [request.method for request in cloudflare.requests[before:]] == ["GET", "GET"]


def test_a_second_submit_of_a_verified_upload_reads_only_the_dimensions(
    visitor: Visitor, cloudflare: Any, commits: Any
) -> None:
    value = visitor.upload()
    with commits():
        verified(visitor, value)
    before = len(cloudflare.requests)
    assert verified(visitor, value).width == Image.open(io.BytesIO(picture())).width
    assert len(cloudflare.requests) == before


def test_a_private_upload_has_a_private_name(visitor: Visitor, settings: Any, row_of: RowOf) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "REQUIRE_SIGNED_URLS": True}
    value = visitor.upload()
    photo = Photo.objects.create(file=verified(visitor, value))
    assert f"~{row_of(value).remote_id}." in photo.file.name
    assert "~~" not in photo.file.name
    assert "sig=" in photo.file.url


def test_bytes_behind_the_head_are_read_from_cloudflare(visitor: Visitor) -> None:
    body = picture("PNG") + b"\0" * 200_000
    upload = verified(visitor, visitor.upload(body))
    assert upload.size == len(body)
    assert upload.read() == body
    upload.seek(-3, io.SEEK_END)
    assert upload.read() == b"\0\0\0"
    upload.close()


def test_an_upload_saved_in_another_storage_is_copied_there(visitor: Visitor, row_of: RowOf) -> None:
    value = visitor.upload()
    page = Page(back=verified(visitor, value))
    saved = page.back.storage.save("copy.png", verified(visitor, value))
    with page.back.storage.open(saved) as file:
        assert file.read() == picture()
    assert row_of(value).state == State.PENDING
    page.back.storage.delete(saved)


def test_a_long_field_gets_a_name_that_fits(visitor: Visitor) -> None:
    value = visitor.upload(filename=f"{'x' * 90}.png")
    photo = Photo.objects.create(file=verified(visitor, value))
    assert len(photo.file.name) <= 100


# Once, and by its owner, for its field and its storage


def test_an_upload_is_saved_once(visitor: Visitor) -> None:
    value = visitor.upload()
    one, two = verified(visitor, value), verified(visitor, value)
    Photo.objects.create(file=one)
    with pytest.raises(ImageRejectedError, match="saved already"), transaction.atomic():
        Photo.objects.create(file=two)
    with pytest.raises(UploadProblem, match="saved already"):
        verified(visitor, value)


def test_a_transaction_that_fails_leaves_the_upload_open(visitor: Visitor, row_of: RowOf) -> None:
    value = visitor.upload()
    with transaction.atomic():
        Photo.objects.create(file=verified(visitor, value))
        transaction.set_rollback(True)
    assert row_of(value).state == State.PENDING
    Photo.objects.create(file=verified(visitor, value))


@pytest.mark.parametrize("attack", ["owner", "field", "storage", "forged", "cut", "empty", "long"])
def test_a_value_of_another_kind_is_refused_without_a_request(
    attack: str, visitor: Visitor, other: Visitor, cloudflare: Any
) -> None:
    value, target, owner = visitor.upload(), visitor.target(), visitor.owner
    if attack == "owner":
        owner = other.owner
    elif attack == "field":
        target = visitor.target(Page._meta.get_field("front"))
    elif attack == "storage":
        target = Target(label=target.label, alias="renditions")
    else:
        value = {"forged": f"x{value}", "cut": value[:-3], "empty": "", "long": "x" * 100_000}[attack]
    before = len(cloudflare.requests)
    with pytest.raises(UploadProblem, match="not known here") as caught:
        reservations.verify(value, target, owner=owner)
    assert caught.value.status == 403
    assert len(cloudflare.requests) == before


def test_an_upload_that_never_arrived_is_refused(visitor: Visitor) -> None:
    value = visitor.reserve().json()["value"]
    with pytest.raises(UploadProblem, match="not been uploaded completely"):
        verified(visitor, value)


def test_an_expired_upload_is_refused_without_a_request(
    visitor: Visitor, clock: Clock, cloudflare: Any
) -> None:
    value = visitor.upload()
    clock.advance(hours=6)
    before = len(cloudflare.requests)
    with pytest.raises(UploadProblem, match="has expired"):
        verified(visitor, value)
    assert len(cloudflare.requests) == before


def test_an_upload_that_expires_between_the_form_and_its_saving_is_not_saved(
    visitor: Visitor, clock: Clock
) -> None:
    upload = verified(visitor, visitor.upload())
    clock.advance(hours=6)
    with pytest.raises(ImageRejectedError, match="has expired"):
        Photo.objects.create(file=upload)


def test_an_image_that_is_not_the_reserved_one_is_refused(visitor: Visitor, row_of: RowOf) -> None:
    value = visitor.upload()
    storage = photo_storage()
    foreign = storage.save("theirs.png", io.BytesIO(picture()))
    Reservation.objects.update(remote_id=foreign, uploaded_at=None)
    with pytest.raises(UploadProblem, match="not known here"):
        verified(visitor, value)
    assert storage.exists(foreign)


@pytest.mark.parametrize(("name", "body"), [("svg", SVG), ("area", png_header(9_000, 12_000) + bytes(9))])
def test_what_arrived_is_verified_by_the_server(
    name: str, body: bytes, visitor: Visitor, cloudflare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = visitor.upload()
    # Whatever Cloudflare has taken: the emulator would refuse some of it.
    monkeypatch.setattr(reservations, "opened", lambda row: io.BytesIO(body))
    with pytest.raises(UploadProblem) as caught:
        verified(visitor, value)
    assert caught.value.is_final
    assert ("SVG" if name == "svg" else "too large") in caught.value.message


def test_a_failure_of_cloudflare_is_not_final(visitor: Visitor, settings: Any) -> None:
    value = visitor.upload()
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_TOKEN": "expired"}
    with pytest.raises(UploadProblem) as caught:
        verified(visitor, value)
    assert not caught.value.is_final
    assert caught.value.status == 503


# What is never saved


def test_an_upload_that_is_never_saved_is_deleted_after_its_expiry(
    visitor: Visitor, cloudflare: Any, clock: Clock, row_of: RowOf
) -> None:
    image_id = row_of(visitor.upload()).remote_id
    assert work() == 0
    clock.advance(hours=5)
    assert work() == 0
    clock.advance(hours=1)
    assert work() == 1
    assert image_id not in cloudflare.images
    assert not Reservation.objects.exists()


def test_a_saved_upload_is_not_deleted(visitor: Visitor, cloudflare: Any, clock: Clock) -> None:
    photo = Photo.objects.create(file=verified(visitor, visitor.upload()))
    clock.advance(days=30)
    assert work() == 0
    assert photo.file.storage.exists(photo.file.name)


def test_another_image_with_the_id_is_not_deleted(visitor: Visitor, clock: Clock, cloudflare: Any) -> None:
    visitor.upload()
    storage = photo_storage()
    foreign = storage.save("theirs.png", io.BytesIO(picture()))
    Reservation.objects.update(remote_id=foreign)
    clock.advance(hours=7)
    work()
    assert storage.exists(foreign)
    assert not Reservation.objects.exists()


def test_what_arrives_after_it_was_discarded_is_deleted(
    visitor: Visitor, clock: Clock, cloudflare: Any
) -> None:
    reserved = visitor.reserve().json()
    assert visitor.post("discard/", value=reserved["value"]).status_code == 204
    work()
    assert visitor.send(reserved["upload_url"], picture()).status_code == 404
    clock.advance(hours=7)
    work()
    assert not Reservation.objects.exists()
    assert not cloudflare.images


def test_a_late_upload_to_a_draft_that_was_not_found_is_deleted(
    visitor: Visitor, clock: Clock, cloudflare: Any, row_of: RowOf
) -> None:
    value = visitor.upload()
    image_id = row_of(value).remote_id
    kept = cloudflare.snapshot()
    visitor.post("discard/", value=value)
    work()
    assert image_id not in cloudflare.images
    cloudflare.restore(kept)
    clock.advance(hours=7)
    work()
    assert image_id not in cloudflare.images
    assert not Reservation.objects.exists()


def test_a_worker_that_comes_first_wins_over_a_form(visitor: Visitor, row_of: RowOf) -> None:
    value = visitor.upload()
    upload = verified(visitor, value)
    reservations.discard(row_of(value))
    with pytest.raises(ImageRejectedError):
        Photo.objects.create(file=upload)


# Limits


def test_too_many_open_uploads_are_refused_without_a_request(
    visitor: Visitor, other: Visitor, settings: Any, cloudflare: Any
) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "DIRECT_UPLOADS_OPEN": 2}
    for _ in range(2):
        assert visitor.reserve().status_code == 201
    before = len(cloudflare.requests)
    response = visitor.reserve()
    assert response.status_code == 429
    assert int(response["Retry-After"]) > 0
    assert "not saved" in response.json()["error"]
    assert len(cloudflare.requests) == before
    assert other.reserve().status_code == 201


def test_uploads_that_begin_too_fast_are_refused(visitor: Visitor, settings: Any, clock: Clock) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "DIRECT_UPLOADS_RATE": (2, 60)}
    for _ in range(2):
        assert visitor.reserve().status_code == 201
    response = visitor.reserve()
    assert response.status_code == 429
    assert 1 <= int(response["Retry-After"]) <= 60
    clock.advance(seconds=61)
    assert visitor.reserve().status_code == 201


def test_an_upload_belongs_to_a_user_and_not_to_a_session(visitor: Visitor) -> None:
    value = visitor.upload()
    assert visitor.user
    phone = Visitor(User.objects.get(pk=visitor.user.pk))
    assert phone.status(value)["state"] == "uploaded"


def test_a_profile_and_a_photo_have_their_own_values(visitor: Visitor) -> None:
    target = visitor.target(Profile._meta.get_field("image"))
    value = visitor.upload(target=target)
    profile = Profile.objects.create(image=verified(visitor, value, target))
    assert profile.image.name.startswith("avatars/")


def test_prune_deletes_rows_of_saved_uploads_and_no_open_ones(
    visitor: Visitor, row_of: RowOf, clock: Clock
) -> None:
    is_open, saved = visitor.upload(), visitor.upload()
    photo = Photo.objects.create(file=verified(visitor, saved))
    clock.advance(days=2)
    assert prune(timedelta(days=1)) == 1
    assert row_of(is_open).state == State.PENDING
    assert photo.file.storage.exists(photo.file.name)


def test_a_server_whose_clock_is_late_saves_nothing_that_a_worker_has_begun_to_delete(
    visitor: Visitor, row_of: RowOf, clock: Clock
) -> None:
    value = visitor.upload()
    upload = verified(visitor, value)
    clock.advance(hours=6)
    (claimed,) = claim(Reservation, [row_of(value).pk])
    assert reserved.begin_deletion(claimed)
    clock.advance(hours=-6)
    with pytest.raises(ImageRejectedError), transaction.atomic():
        Photo.objects.create(file=upload)


def test_a_worker_that_is_late_deletes_nothing_that_a_form_has_saved(
    visitor: Visitor, row_of: RowOf, clock: Clock
) -> None:
    value = visitor.upload()
    upload = verified(visitor, value)
    clock.advance(hours=6)
    (claimed,) = claim(Reservation, [row_of(value).pk])
    clock.advance(hours=-6)
    photo = Photo.objects.create(file=upload)
    clock.advance(hours=6)
    with pytest.raises(LeaseLostError):
        reserved.begin_deletion(claimed)
    assert photo.file.storage.exists(photo.file.name)


def test_a_reservation_that_is_due_too_early_is_left_alone(visitor: Visitor, row_of: RowOf) -> None:
    value = visitor.upload()
    Reservation.objects.update(next_attempt_at=timezone.now())
    assert work() == 1
    assert row_of(value).state == State.PENDING
    assert verified(visitor, value)
