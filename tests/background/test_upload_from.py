"""upload_from_url and upload_from_file: names, options, errors, and local storages."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db.models import FileField

from cf_images import images
from cf_images.background import (
    delete,
    open_pending,
    pending_size,
    timing,
    upload_from_file,
    upload_from_url,
)
from cf_images.exceptions import ImageRejectedError
from cf_images.images import names
from cf_images.models import State, Upload
from cf_images.signals import image_rejected, image_stored
from tests.app.models import Photo
from tests.background.conftest import ALIAS, Clock, use_background_storage, work
from tests.background.scripted_server import Response, ScriptedServer, serve_script
from tests.pictures import picture

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def local_sources(settings: Any) -> None:
    settings.CF_IMAGES = {
        **settings.CF_IMAGES,
        "QUEUE": "none",
        "UPLOAD_URL_SCHEMES": ["http", "https"],
        "UPLOAD_URL_LOCAL_HOSTS": ["127.0.0.1"],
    }


@pytest.fixture
def signals() -> Iterator[list[dict[str, Any]]]:
    """The arguments of each signal."""
    received: list[dict[str, Any]] = []

    def receive(**arguments: Any) -> None:
        received.append(arguments)

    image_stored.connect(receive)
    image_rejected.connect(receive)
    yield received
    image_stored.disconnect(receive)
    image_rejected.disconnect(receive)


class TestByURL:
    def test_cloudflare_fetches_it(self, cloudflare: Any, source: str, signals: list[dict[str, Any]]) -> None:
        name = upload_from_url(source, upload_to="avatars/%Y/", metadata={"who": "jane"}, creator="7")
        assert re.fullmatch(r"avatars/20\d\d/jane-[0-9a-z]{6}-[0-9a-z]{16}\.png", name)
        assert pending_size(name) == 0
        with open_pending(name) as file:
            assert file.read() == b""
        work()
        image = cloudflare.images[name]
        assert (image.body, image.creator, image.metadata["who"]) == (picture(), "7", "jane")
        assert (signals[0]["name"], signals[0]["width"], signals[0]["height"]) == (name, 64, 48)
        assert signals[0]["size"] == len(picture())

    @pytest.mark.parametrize(
        ("path", "extension"),
        [
            ("/a.JPEG?x=1", "jpg"),
            ("/a.webp#top", "webp"),
            ("/a.php", None),
            ("/", None),
            ("/a%20b.png", "png"),
        ],
    )
    def test_name_has_the_extension_of_an_image(
        self, cloudflare: Any, path: str, extension: str | None
    ) -> None:
        name = upload_from_url(f"https://example.com{path}")
        assert name.rpartition(".")[2] == extension if extension else not name.endswith(".php")
        assert len(name) <= 100

    @pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Niue"])  # never the same day
    def test_dates_in_upload_to_are_those_of_djangos_fields(
        self, cloudflare: Any, settings: Any, zone: str
    ) -> None:
        settings.TIME_ZONE = zone
        field = FileField(upload_to="%Y/%m/%d/")
        name = upload_from_url("https://example.com/a.png", upload_to="%Y/%m/%d/")
        assert name[:11] == field.generate_filename(None, "a.png")[:11]

    def test_long_names_fit_the_field(self, cloudflare: Any) -> None:
        name = upload_from_url(f"https://example.com/{'x' * 300}.jpg", upload_to="y" * 50)
        assert len(name) <= 100

    @pytest.mark.parametrize(
        "url",
        [
            "ftp://example.com/a.jpg",
            "https://user:secret@example.com/a.jpg",
            "https://10.0.0.1/a.jpg",
            "https://localhost/a.jpg",
            "https://[::1]/a.jpg",
            "not a url",
        ],
    )
    def test_refuses_at_once(self, cloudflare: Any, url: str) -> None:
        with pytest.raises(ValidationError):
            upload_from_url(url)
        assert not Upload.objects.exists()

    def test_page_that_is_not_an_image_is_rejected_with_cloudflares_message(
        self, cloudflare: Any, signals: list[dict[str, Any]]
    ) -> None:
        with serve_script() as server:
            server.respond("GET", Response(status=404, body=b"<html>not here</html>"))
            name = upload_from_url(f"{server.api_url}/a.png")
            work()
        row = Upload.objects.get(name=name)
        assert row.state == State.REJECTED
        assert row.last_error
        assert not cloudflare.images
        assert (signals[0]["name"], signals[0]["reason"]) == (name, row.last_error)

    def test_lost_response_stores_it_once(self, cloudflare: Any, source: str, clock: Clock) -> None:
        name = upload_from_url(source)
        cloudflare.faults.plan("reset_after")
        for _ in range(3):
            work()
            clock.advance(minutes=5)
        assert list(cloudflare.images) == [name]
        assert Upload.objects.get().state == State.STORED


class TestByFile:
    def test_options_are_sent(self, cloudflare: Any) -> None:
        file = SimpleUploadedFile("Jané Doe.png", picture())
        name = upload_from_file(file, upload_to="a/", metadata={"who": "jane"}, creator="7", storage=ALIAS)
        assert name.startswith("a/Jane-Doe-")
        assert not file.closed
        work()
        image = cloudflare.images[name]
        assert (image.creator, image.metadata["who"]) == ("7", "jane")
        assert image.metadata["cf_images"]["filename"] == "Jané Doe.png"

    def test_name_tells_the_format_of_the_bytes(self, cloudflare: Any) -> None:
        assert upload_from_file(io.BytesIO(picture()), filename="photo.jpg").endswith(".png")
        assert upload_from_file(io.BytesIO(picture())).startswith("image-")

    def test_storage_may_be_given_instead_of_its_alias(self, cloudflare: Any) -> None:
        name = upload_from_file(io.BytesIO(picture()), storage=storages[ALIAS])
        assert Upload.objects.get(name=name).storage == ALIAS

    def test_too_large_is_refused_or_reduced(self, cloudflare: Any, settings: Any) -> None:
        body = picture("JPEG", size=(12_001, 20))
        with pytest.raises(ImageRejectedError, match="12,000"):
            upload_from_file(io.BytesIO(body))
        use_background_storage(settings, cloudflare, fit_limits=True)
        row = Upload.objects.get(name=upload_from_file(io.BytesIO(body)))
        assert row.width <= 12_000

    def test_20_megabytes_are_refused_before_they_are_kept(self, cloudflare: Any) -> None:
        with pytest.raises(ImageRejectedError, match="10 MB"):
            upload_from_file(io.BytesIO(picture() + b"\0" * 20_000_000))
        with pytest.raises(ImageRejectedError, match="10 MB"):
            storages[ALIAS].save("large.png", ContentFile(picture() + b"\0" * 20_000_000))
        assert not Upload.objects.exists()

    def test_local_storage_saves_at_once(self, cloudflare: Any, settings: Any, tmp_path: Any) -> None:
        settings.MEDIA_ROOT = tmp_path
        name = upload_from_file(io.BytesIO(picture()), upload_to="a/%Y", filename="j.png", storage="default")
        assert (tmp_path / name).read_bytes() == picture()
        assert not Upload.objects.exists()


class TestLocalStorageByURL:
    """Without Cloudflare, the worker fetches the image."""

    @pytest.fixture
    def server(self) -> Iterator[ScriptedServer]:
        with serve_script() as server:
            server.respond("GET", Response(body=picture()))
            yield server

    @pytest.fixture(autouse=True)
    def local(self, settings: Any, tmp_path: Any) -> None:
        settings.ENV_NAME = "dev"
        settings.MEDIA_ROOT = tmp_path

    def accepted(self, server: ScriptedServer, path: str = "/jane.png") -> Upload:
        return Upload.objects.get(name=upload_from_url(f"{server.api_url}{path}", upload_to="avatars/"))

    def test_worker_fetches_and_saves(self, server: ScriptedServer, tmp_path: Any, signals: Any) -> None:
        row = self.accepted(server, "/jane.png?size=1")
        assert work() == 1
        assert (tmp_path / row.name).read_bytes() == picture()
        assert (signals[0]["name"], signals[0]["width"]) == (row.name, 64)

    def test_half_a_file_of_a_killed_worker_is_replaced(self, server: ScriptedServer, tmp_path: Any) -> None:
        row = self.accepted(server)
        (tmp_path / "avatars").mkdir()
        (tmp_path / row.name).write_bytes(picture()[:10])
        work()
        assert (tmp_path / row.name).read_bytes() == picture()

    @pytest.mark.parametrize(
        "response",
        [
            Response(body=b"<html>welcome</html>"),
            Response(body=b""),
            Response(status=404, body=picture()),
            Response(status=302, headers={"Location": "http://127.0.0.1/"}),
            Response(body=picture() + b"\0" * (10 * 1024 * 1024)),
        ],
        ids=["a page", "nothing", "an error", "a redirect", "11 MB"],
    )
    def test_response_that_is_not_an_image_is_rejected(
        self, server: ScriptedServer, tmp_path: Any, response: Response
    ) -> None:
        server.respond("GET", response)
        row = self.accepted(server)
        work()
        row.refresh_from_db()
        assert row.state == State.REJECTED
        assert row.last_error
        assert not (tmp_path / row.name).exists()

    @pytest.mark.parametrize(
        "response", [Response(status=503), Response(lost=True), Response(body=picture(), cut=True)]
    )
    def test_failure_that_may_pass_is_retried(
        self, server: ScriptedServer, tmp_path: Any, clock: Clock, response: Response
    ) -> None:
        server.respond("GET", response)
        row = self.accepted(server)
        work()
        row.refresh_from_db()
        assert row.state == State.PENDING
        assert row.last_error
        server.respond("GET", Response(body=picture()))
        clock.advance(minutes=1)
        work()
        assert (tmp_path / row.name).read_bytes() == picture()

    def test_until_it_is_fetched_the_model_loads_and_pages_show_a_placeholder(
        self,
        server: ScriptedServer,
        tmp_path: Any,
        client: Any,
        settings: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        settings.DEBUG = True
        monkeypatch.setattr(Photo._meta.get_field("file"), "storage", storages["default"])
        photo = Photo()
        photo.file = upload_from_url(f"{server.api_url}/jane.png")
        photo.save()
        assert (photo.file.size, photo.width) == (0, None)
        url = storages["default"].url(photo.file.name, variant="avatar")
        assert client.get(url)["Content-Type"] == "image/gif"
        assert client.get(photo.file.url)["Content-Type"] == "image/gif"
        later = storages["default"].final_url(photo.file.name, "avatar")  # as a page gives it later
        assert client.get(later)["Content-Type"] == "image/gif"
        work()
        photo = Photo.objects.get()
        assert (photo.file.size, photo.width) == (len(picture()), 64)
        photo.file.close()
        response = client.get(url, follow=True)
        assert (response.status_code, response["Content-Type"]) == (200, "image/png")
        response.close()

    def test_older_name_needs_no_view(self, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
        row = self.accepted(server)
        work()
        now = time.time
        monkeypatch.setattr(time, "time", lambda: now() + timing.ASSUME_PENDING_SECONDS + 1)
        assert storages["default"].url(row.name) == f"/media/{row.name}"

    def test_unknown_name_is_still_not_found(self, db: None) -> None:
        storage = storages["default"]
        for name in ("missing.png", names.unique_name("missing.png", seconds=int(time.time()))):
            with pytest.raises(FileNotFoundError):
                storage.open(name)
            with pytest.raises(FileNotFoundError):
                storage.size(name)

    @pytest.mark.parametrize("arrived", [False, True])
    def test_deleted_image_does_not_come_back(
        self, server: ScriptedServer, tmp_path: Any, *, arrived: bool
    ) -> None:
        row = self.accepted(server)
        if arrived:
            work()
        storages["default"].delete(row.name)
        work()
        assert not (tmp_path / row.name).exists()
        assert bool(server.requests) is arrived

    def test_image_deleted_while_it_is_fetched_does_not_survive(
        self, server: ScriptedServer, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        row = self.accepted(server)
        validate = images.validate

        def delete_then_validate(file: Any) -> Any:
            storages["default"].delete(row.name)
            return validate(file)

        monkeypatch.setattr(images, "validate", delete_then_validate)
        work()
        assert not (tmp_path / row.name).exists()
        assert not Upload.objects.exists()

    def test_image_deleted_before_it_was_fetched_is_never_requested(self, server: ScriptedServer) -> None:
        row = self.accepted(server)
        delete(row.name, row.storage)
        work()
        assert not Upload.objects.exists()
        assert not server.requests
