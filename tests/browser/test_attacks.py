"""What a stranger, an unlucky program or a large site does to uploads, and what must not come of it."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from django import forms
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import IntegrityError, connection, transaction
from django.db.models.sql.compiler import SQLInsertCompiler
from django.forms import modelformset_factory
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.views.debug import ExceptionReporter

from cf_images.accounts import find_account
from cf_images.browser import limits, reservations, rollbacks
from cf_images.browser.direct_upload import DirectUpload
from cf_images.exceptions import ImageRejectedError
from cf_images.forms import DirectImagesField
from cf_images.models import Reservation, State
from cf_images.transfer import orphans
from cf_images.transfer.pacing import PacedRequests
from tests.app.models import Page, Photo
from tests.background.conftest import Clock
from tests.browser.conftest import URL, Visitor, photo_storage
from tests.browser.test_reservations import verified, work
from tests.forms.test_direct import PhotoForm, target_of
from tests.pictures import picture

pytestmark = pytest.mark.django_db

RowOf = Callable[[str], Reservation]
EVERYONE = {"DIRECT_UPLOADS_ALLOWED": lambda request, label: True}


def allow(settings: Any, **others: Any) -> None:
    """Let visitors without an account upload."""
    settings.CF_IMAGES = {**settings.CF_IMAGES, **EVERYONE, **others}


# Visitors without an account


@pytest.mark.parametrize("path", ["", "status/", "discard/", "preview/"])
def test_a_request_of_a_stranger_begins_no_session(path: str, db: None, cloudflare: Any) -> None:
    client, data = Client(), {"field": "app.Photo.file", "filename": "x", "size": 9, "value": "x"}
    if path == "preview/":
        assert client.get(f"{URL}{path}").status_code == 403
    else:
        client.post(f"{URL}{path}", json.dumps(data), content_type="application/json")
    assert not Session.objects.exists()
    assert "sessionid" not in client.cookies
    assert not cloudflare.requests


@pytest.mark.urls("tests.browser.page.urls")
@pytest.mark.parametrize("engine", ["db", "signed_cookies", "cache"])
def test_a_visitor_without_an_account_saves_an_upload_with_any_kind_of_session(
    engine: str, db: None, cloudflare: Any, settings: Any
) -> None:
    allow(settings)
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    client = Client()
    field = re.search(r'data-field="([^"]+)"', client.get("/photo/").content.decode())
    assert field
    data = {"field": field[1], "filename": "cat.png", "size": 99, "type": "image/png"}
    reserved = client.post(URL, json.dumps(data), content_type="application/json")
    assert reserved.status_code == 201, reserved.content
    Visitor.send(None, reserved.json()["upload_url"], picture())  # type: ignore[arg-type]  # it needs no visitor
    session = client.session
    session["basket"] = ["a session that changes is the same visitor's"]
    session.save()
    client.cookies["sessionid"] = session.session_key
    response = client.post("/photo/", {"title": "x", "file-upload": reserved.json()["value"]})
    assert b"Saved" in response.content
    assert "cat~~" in Photo.objects.get().file.name


def test_a_million_sessions_have_one_limit_together(
    visitor: Visitor, settings: Any, cloudflare: Any, clock: Clock
) -> None:
    allow(settings, DIRECT_UPLOADS_OPEN_ANONYMOUS=3)
    for _ in range(3):
        assert Visitor(None).reserve().status_code == 201
    before = len(cloudflare.requests)
    refused = Visitor(None).reserve()
    assert refused.status_code == 429
    assert refused["Retry-After"] == "60"
    assert len(cloudflare.requests) == before
    assert Reservation.objects.count() == 3
    assert visitor.reserve().status_code == 201, "those with an account have a limit of their own"
    clock.advance(hours=7)
    while work():
        pass
    clock.advance(hours=-7)  # Cloudflare's does not know of it
    assert Visitor(None).reserve().status_code == 201


def test_the_limit_of_all_sessions_reads_no_row_of_a_saved_upload(db: None) -> None:
    with CaptureQueriesContext(connection) as queries:
        limits.check("s" + "0" * 63, account="an account")
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {queries[-1]['sql']}")
        assert "cf_images_reservation_due (account=? AND next_attempt_at>?)" in str(cursor.fetchall())


def test_discarding_gives_no_new_uploads_to_strangers(settings: Any, db: None, cloudflare: Any) -> None:
    allow(settings, DIRECT_UPLOADS_OPEN_ANONYMOUS=2)
    for _ in range(2):
        stranger = Visitor(None)
        stranger.post("discard/", value=stranger.reserve().json()["value"])
        work()
    assert Visitor(None).reserve().status_code == 429


@pytest.mark.parametrize("hours", [-7, 7])
def test_a_server_whose_clock_is_wrong_says_that_uploads_are_not_possible(
    hours: int, visitor: Visitor, clock: Clock, caplog: Any
) -> None:
    field = visitor.target().sign(visitor.owner)
    clock.advance(hours=hours)
    response = visitor.reserve(field=field)
    assert response.status_code == 503
    assert "at the moment" in response.json()["error"]
    assert "expiry must be two minutes to six hours" in caplog.text
    assert not Reservation.objects.exists()


# Requests that no page sends


@pytest.mark.parametrize("size", [10**400, 2**63, -1, 1.5, 1e400])
def test_an_absurd_size_is_refused(size: Any, visitor: Visitor, cloudflare: Any) -> None:
    assert visitor.reserve(size=size).status_code in (400, 413)
    assert not cloudflare.requests


@pytest.mark.urls("tests.browser.page.urls")
def test_a_form_in_place_of_json_is_refused(visitor: Visitor) -> None:
    client = Client(enforce_csrf_checks=True)
    assert visitor.user
    client.force_login(visitor.user)
    token = re.search(r'csrfmiddlewaretoken" value="(\w+)"', client.get("/photo/").content.decode())
    assert token
    body = {"csrfmiddlewaretoken": token[1], "file": SimpleUploadedFile("x.png", picture())}
    assert client.post(URL, body).status_code == 400


NAMES = [
    "x" * 5_000,
    "名" * 255,
    "🐈" * 255,
    "\N{RIGHT-TO-LEFT OVERRIDE}gnp.x",
    "a\0b\ud83d.png",
    "..",
    "/",
    ".",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_may_have_any_name(name: str, visitor: Visitor) -> None:
    response = visitor.reserve(filename=name)
    if len(name) > 2_000:
        assert response.status_code == 400
        return
    reserved = response.json()
    visitor.send(reserved["upload_url"], picture())
    assert visitor.status(reserved["value"])["state"] == "uploaded"
    with visitor.page():
        form = PhotoForm({"file-upload": reserved["value"]})
        assert form.is_valid(), form.errors
        assert form.save().file.name.isascii()


def test_markup_in_a_file_name_is_text(visitor: Visitor) -> None:
    value = visitor.reserve(filename='"><img src=x onerror=alert(1)>.png').json()["value"]
    with visitor.page():
        form = PhotoForm({"file-upload": value})
        html = f"{form.errors}{form['file']}"
    assert "completely" in html
    assert "<img" not in html


def test_the_upload_url_is_a_secret(visitor: Visitor, caplog: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level("INFO")
    url = visitor.reserve().json()["upload_url"]
    row = Reservation.objects.get()
    kept = [repr(row), *(str(getattr(row, field.attname)) for field in row._meta.concrete_fields)]
    assert url not in "".join([*kept, *caplog.messages])


def test_an_error_report_does_not_have_the_upload_url(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []
    original = reservations._reserve_at_cloudflare

    def reserve(*args: Any) -> str:
        given.append(original(*args))
        return given[0]

    monkeypatch.setattr(reservations, "_reserve_at_cloudflare", reserve)
    monkeypatch.setattr(Reservation, "save", Mock(side_effect=IntegrityError("the database is away")))
    with pytest.raises(IntegrityError) as caught:
        reservations.reserve(visitor.target(), owner=visitor.owner, filename="cat.png", size=9)
    frames = caught.tb.tb_next  # without this test, which knows the URL
    report = ExceptionReporter(visitor.request, caught.type, caught.value, frames).get_traceback_html()
    assert "the database is away" in report
    assert "upload_url" in report
    assert given[0] not in report


# Transactions


class JpegForm(forms.Form):
    """A form for many photos of one kind."""

    images = DirectImagesField(formats=["jpeg"])


def test_a_form_in_a_transaction_writes_nothing_while_cloudflare_is_asked(visitor: Visitor) -> None:
    with visitor.page():
        target = target_of(JpegForm(), "images")
    kinds = ("JPEG", "PNG", "JPEG")  # the second is refused, and discarded
    values = [visitor.upload(picture(kind), target=target, type="image/jpeg") for kind in kinds]
    with visitor.page(), transaction.atomic(), CaptureQueriesContext(connection) as queries:
        assert len(JpegForm({"images-upload": values}).errors["images"]) == 1
    written = [query["sql"] for query in queries if query["sql"].startswith(("UPDATE", "INSERT", "DELETE"))]
    assert written == [], "SQLite would lock the whole database"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", ["", "status/"])
def test_no_view_is_in_a_transaction_while_it_asks_cloudflare(
    path: str, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = visitor.reserve().json()["value"]
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    seen = []
    name = "_is_at_cloudflare" if path else "_reserve_at_cloudflare"
    original = getattr(reservations, name)

    def watched(*args: Any) -> Any:
        seen.append(connection.in_atomic_block)
        return original(*args)

    monkeypatch.setattr(reservations, name, watched)
    assert (visitor.post(path, value=value) if path else visitor.reserve()).status_code in (200, 201)
    assert seen == [False]


def test_an_instance_that_is_saved_again_after_a_rollback_keeps_its_image(
    visitor: Visitor, row_of: RowOf, clock: Clock
) -> None:
    value = visitor.upload()
    photo = Photo(file=verified(visitor, value))
    with transaction.atomic():
        photo.save()
        transaction.set_rollback(True)  # what an error of the database does
    assert row_of(value).state == State.PENDING
    photo.save()
    assert (row_of(value).state, row_of(value).name) == (State.STORED, photo.file.name)
    clock.advance(hours=7)
    work()
    assert photo.file.storage.exists(photo.file.name)


def test_an_instance_that_is_saved_again_too_late_is_an_error(visitor: Visitor, clock: Clock) -> None:
    photo = Photo(file=verified(visitor, visitor.upload()))
    with transaction.atomic():
        photo.save()
        transaction.set_rollback(True)
    clock.advance(hours=6)
    with pytest.raises(ImageRejectedError, match="expired"), transaction.atomic():
        photo.save()


def test_an_instance_may_be_saved_twice_in_a_transaction(visitor: Visitor, commits: Any) -> None:
    with commits():
        photo = Photo.objects.create(file=verified(visitor, visitor.upload()))
        photo.save()
        photo.save(update_fields=["width"])
        assert photo.file.name in rollbacks._names
    assert photo.file.name not in rollbacks._names, "nothing is kept of what is committed"


@pytest.mark.django_db(transaction=True)
def test_a_form_that_cannot_write_its_row_leaves_the_upload_open(
    visitor: Visitor, row_of: RowOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(compiler: Any, *_: Any, **__: Any) -> None:
        compiler.as_sql()  # which saves the file
        raise IntegrityError

    value = visitor.upload()
    with visitor.page():
        form = PhotoForm({"file-upload": value})
        assert form.is_valid()
        with monkeypatch.context() as patch:
            patch.setattr(SQLInsertCompiler, "execute_sql", fail)
            with pytest.raises(IntegrityError):
                form.save()
        assert row_of(value).state == State.PENDING
        again = PhotoForm({"file-upload": value})
        assert again.is_valid()
        again.save()


def test_rows_that_are_created_together_are_saved(visitor: Visitor, clock: Clock) -> None:
    uploads = [verified(visitor, visitor.upload(picture(seed=seed))) for seed in range(3)]
    photos = Photo.objects.bulk_create([Photo(file=upload) for upload in uploads])
    clock.advance(hours=7)
    work()
    assert [photo.file.storage.exists(photo.file.name) for photo in photos] == [True] * 3


@pytest.mark.django_db(transaction=True)
def test_a_local_file_that_cannot_be_cleaned_up_is_no_error(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    target = visitor.target(Page._meta.get_field("back"))
    upload = DirectUpload(
        reservations.verify(value := visitor.upload(target=target), target, owner=visitor.owner), value
    )
    storage: Any = target.storage

    def fail(*_: Any) -> None:
        raise PermissionError("read-only")

    with monkeypatch.context() as patch:
        patch.setattr(type(storage), "delete", fail)
        with transaction.atomic():
            saved = storage.save("pages/cat.png", upload)
    assert "read-only" in caplog.text
    upload.close()
    storage.delete(saved)
    Path(storage.path(Reservation.objects.get().remote_id)).unlink()


# Forms


def test_one_upload_in_two_rows_is_saved_in_the_first(visitor: Visitor) -> None:
    photos = modelformset_factory(Photo, form=PhotoForm, extra=2)
    value = visitor.upload()
    data = {"form-TOTAL_FORMS": 2, "form-INITIAL_FORMS": 0}
    data |= {f"form-{row}-file-upload": value for row in range(2)}  # type: ignore[dict-item]  # it is a form
    with visitor.page():
        formset = photos(data, queryset=Photo.objects.none())
        assert formset.is_valid()
        with pytest.raises(ImageRejectedError, match="saved already"), transaction.atomic():
            formset.save()
    assert not Photo.objects.exists()


def test_an_upload_with_much_metadata_takes_two_requests(visitor: Visitor, cloudflare: Any) -> None:
    body = picture("JPEG")
    padded = body[:2] + (b"\xff\xe2\xff\xff" + bytes(65_533)) * 4 + body[2:]
    value = visitor.upload(padded, filename="cat.jpg", type="image/jpeg")
    before = len(cloudflare.requests)
    with visitor.page():
        form = PhotoForm({"file-upload": value})
        assert form.is_valid(), form.errors
        photo = form.save()
    assert photo.width
    assert len(cloudflare.requests) == before + 2


# What others see of uploads


def found_orphans(cloudflare: Any) -> list[str]:
    """Return the images that no row uses, of any age."""
    account = find_account("cloudflare_images")
    assert account
    cutoff = int(time.time()) + 30 * 24 * 3600
    options = orphans.Options(sites=[account.options.site], older_than=timedelta(0), cutoff=cutoff)
    found = orphans.Search(account, PacedRequests(account), options, progress=lambda _: None).run()
    return [orphan.image_id for orphan in found.orphans]


def test_an_open_upload_is_no_orphan_and_one_without_a_row_is(
    visitor: Visitor, row_of: RowOf, cloudflare: Any, settings: Any, clock: Clock
) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_RATE": None}
    value = visitor.upload()
    image_id = row_of(value).remote_id
    assert found_orphans(cloudflare) == [], "a form may still save it"
    name = verified(visitor, value).take_name(photo_storage(), "cat.png", max_length=100)
    assert found_orphans(cloudflare) == [image_id], "a script has died before it wrote its row"
    Photo.objects.create(file=name)
    assert found_orphans(cloudflare) == []
    row_of(visitor.upload())
    clock.advance(hours=6)
    assert len(found_orphans(cloudflare)) == 1, "no form can save it any more, whether a worker runs or not"


def test_a_list_of_images_has_the_names_of_saved_uploads(visitor: Visitor, row_of: RowOf) -> None:
    photo = Photo.objects.create(file=verified(visitor, visitor.upload()))
    is_open = row_of(visitor.upload()).remote_id
    storage = photo_storage()
    folders, files = storage.listdir("")
    assert (folders, files) == (["photos"], [is_open])
    folder, _, file = photo.file.name.rpartition("/")
    assert storage.listdir(folder) == ([], [file])


def test_a_list_needs_no_tables(images: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    reserved = images.client.create_direct_upload()
    images.client.upload_direct(reserved.upload_url, io.BytesIO(picture()))
    monkeypatch.setattr(Reservation._meta, "db_table", "of_an_app_that_is_not_migrated")
    assert images.listdir("") == ([], [reserved.id])


def test_a_user_who_logs_in_has_to_choose_the_file_again(settings: Any, db: None, cloudflare: Any) -> None:
    allow(settings)
    stranger = Visitor(None)
    value = stranger.upload()
    stranger.client.force_login(User.objects.create_user("joe"))
    assert stranger.status(value)["state"] == "gone"
