"""upload_from_url and upload_from_file: names, options, refusals, and local storages."""

from __future__ import annotations

import io
import re
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db.models import FileField

from cf_images import images, naming
from cf_images.background import (
    discard,
    fetching,
    open_pending,
    pending_size,
    upload_from_file,
    upload_from_url,
)
from cf_images.exceptions import ImageRejectedError
from cf_images.models import State, Upload
from cf_images.signals import image_rejected, image_stored
from tests.app.models import Photo
from tests.background.conftest import ALIAS, Clock, deliver_to, work
from tests.background.scripted import Said, Scripted, scripted
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
def told() -> Iterator[list[dict[str, Any]]]:
    heard: list[dict[str, Any]] = []

    def hear(**said: Any) -> None:
        heard.append(said)

    image_stored.connect(hear)
    image_rejected.connect(hear)
    yield heard
    image_stored.disconnect(hear)
    image_rejected.disconnect(hear)


class TestByURL:
    def test_cloudflare_fetches_it(self, cloudflare: Any, source: str, told: list[dict[str, Any]]) -> None:
        name = upload_from_url(source, upload_to="avatars/%Y/", metadata={"who": "jane"}, creator="7")
        assert re.fullmatch(r"avatars/20\d\d/jane-[0-9a-z]{6}-[0-9a-z]{16}\.png", name)
        assert pending_size(name) == 0
        with open_pending(name) as file:
            assert file.read() == b""
        work()
        image = cloudflare.images[name]
        assert (image.body, image.creator, image.metadata["who"]) == (picture(), "7", "jane")
        assert (told[0]["name"], told[0]["width"], told[0]["height"]) == (name, 64, 48)
        assert told[0]["size"] == len(picture())

    @pytest.mark.parametrize(
        ("path", "ending"),
        [
            ("/a.JPEG?x=1", "jpg"),
            ("/a.webp#top", "webp"),
            ("/a.php", None),
            ("/", None),
            ("/a%20b.png", "png"),
        ],
    )
    def test_name_has_the_extension_of_an_image(self, cloudflare: Any, path: str, ending: str | None) -> None:
        name = upload_from_url(f"https://example.com{path}")
        assert name.rpartition(".")[2] == ending if ending else not name.endswith(".php")
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

    def test_page_that_is_no_image_is_rejected_in_cloudflares_words(
        self, cloudflare: Any, told: list[dict[str, Any]]
    ) -> None:
        with scripted() as world:
            world.says("GET", Said(status=404, body=b"<html>not here</html>"))
            name = upload_from_url(f"{world.api_url}/a.png")
            work()
        row = Upload.objects.get(name=name)
        assert row.state == State.REJECTED
        assert row.last_error
        assert not cloudflare.images
        assert (told[0]["name"], told[0]["reason"]) == (name, row.last_error)

    def test_lost_answer_stores_it_once(self, cloudflare: Any, source: str, clock: Clock) -> None:
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

    def test_storage_may_be_given_as_such(self, cloudflare: Any) -> None:
        name = upload_from_file(io.BytesIO(picture()), storage=storages[ALIAS])
        assert Upload.objects.get(name=name).storage == ALIAS

    def test_too_large_is_refused_or_reduced(self, cloudflare: Any, settings: Any) -> None:
        body = picture("JPEG", size=(12_001, 20))
        with pytest.raises(ImageRejectedError, match="12,000"):
            upload_from_file(io.BytesIO(body))
        deliver_to(settings, cloudflare, fit_limits=True)
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
    """Without Cloudflare, our own worker fetches."""

    @pytest.fixture
    def world(self) -> Iterator[Scripted]:
        with scripted() as server:
            server.says("GET", Said(body=picture()))
            yield server

    @pytest.fixture(autouse=True)
    def local(self, settings: Any, tmp_path: Any) -> None:
        settings.ENV_NAME = "dev"
        settings.MEDIA_ROOT = tmp_path

    def accepted(self, world: Scripted, path: str = "/jane.png") -> Upload:
        return Upload.objects.get(name=upload_from_url(f"{world.api_url}{path}", upload_to="avatars/"))

    def test_worker_fetches_and_saves(self, world: Scripted, tmp_path: Any, told: Any) -> None:
        row = self.accepted(world, "/jane.png?size=1")
        assert work() == 1
        assert (tmp_path / row.name).read_bytes() == picture()
        assert (told[0]["name"], told[0]["width"]) == (row.name, 64)

    def test_half_a_file_of_a_killed_worker_is_replaced(self, world: Scripted, tmp_path: Any) -> None:
        row = self.accepted(world)
        (tmp_path / "avatars").mkdir()
        (tmp_path / row.name).write_bytes(picture()[:10])
        work()
        assert (tmp_path / row.name).read_bytes() == picture()

    @pytest.mark.parametrize(
        "said",
        [
            Said(body=b"<html>welcome</html>"),
            Said(body=b""),
            Said(status=404, body=picture()),
            Said(status=302, headers={"Location": "http://127.0.0.1/"}),
            Said(body=picture() + b"\0" * (10 * 1024 * 1024)),
        ],
        ids=["a page", "nothing", "an error", "a redirect", "11 MB"],
    )
    def test_what_is_no_image_is_rejected(self, world: Scripted, tmp_path: Any, said: Said) -> None:
        world.says("GET", said)
        row = self.accepted(world)
        work()
        row.refresh_from_db()
        assert row.state == State.REJECTED
        assert row.last_error
        assert not (tmp_path / row.name).exists()

    @pytest.mark.parametrize("said", [Said(status=503), Said(lost=True), Said(body=picture(), cut=True)])
    def test_what_may_pass_is_tried_again(
        self, world: Scripted, tmp_path: Any, clock: Clock, said: Said
    ) -> None:
        world.says("GET", said)
        row = self.accepted(world)
        work()
        row.refresh_from_db()
        assert row.state == State.PENDING
        assert row.last_error
        world.says("GET", Said(body=picture()))
        clock.advance(minutes=1)
        work()
        assert (tmp_path / row.name).read_bytes() == picture()

    def test_while_it_is_awaited_the_model_loads_and_pages_show_a_placeholder(
        self, world: Scripted, tmp_path: Any, client: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.DEBUG = True
        monkeypatch.setattr(Photo._meta.get_field("file"), "storage", storages["default"])
        photo = Photo()
        photo.file = upload_from_url(f"{world.api_url}/jane.png")
        photo.save()
        assert (photo.file.size, photo.width) == (0, None)
        address = storages["default"].url(photo.file.name, variant="avatar")
        assert client.get(address)["Content-Type"] == "image/gif"
        assert client.get(photo.file.url)["Content-Type"] == "image/gif"
        later = storages["default"].delivery_address(photo.file.name, "avatar")  # as a page gives it later
        assert client.get(later)["Content-Type"] == "image/gif"
        work()
        photo = Photo.objects.get()
        assert (photo.file.size, photo.width) == (len(picture()), 64)
        photo.file.close()
        answer = client.get(address, follow=True)
        assert (answer.status_code, answer["Content-Type"]) == (200, "image/png")
        answer.close()

    def test_older_name_needs_no_view(self, world: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
        row = self.accepted(world)
        work()
        now = time.time
        monkeypatch.setattr(time, "time", lambda: now() + 61)
        assert storages["default"].url(row.name) == f"/media/{row.name}"

    def test_unknown_name_is_still_not_found(self, db: None) -> None:
        storage = storages["default"]
        for name in ("missing.png", naming.unique_name("missing.png", seconds=int(time.time()))):
            with pytest.raises(FileNotFoundError):
                storage.open(name)
            with pytest.raises(FileNotFoundError):
                storage.size(name)

    @pytest.mark.parametrize("arrived", [False, True])
    def test_deleted_image_does_not_come_back(self, world: Scripted, tmp_path: Any, *, arrived: bool) -> None:
        row = self.accepted(world)
        if arrived:
            work()
        storages["default"].delete(row.name)
        work()
        assert not (tmp_path / row.name).exists()
        assert bool(world.requests) is arrived

    def test_image_deleted_while_it_is_fetched_does_not_survive(
        self, world: Scripted, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        row = self.accepted(world)
        validate = images.validate

        def overtaken(file: Any) -> Any:
            storages["default"].delete(row.name)
            return validate(file)

        monkeypatch.setattr(images, "validate", overtaken)
        work()
        assert not (tmp_path / row.name).exists()
        assert not Upload.objects.exists()

    def test_discarded_before_it_came(self, world: Scripted) -> None:
        row = self.accepted(world)
        discard(row.name, row.storage)
        work()
        assert not Upload.objects.exists()
        assert not world.requests

    def test_slow_host_is_given_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(fetching, "SECONDS", 0.2)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
            with pytest.raises(fetching.FetchError), fetching.fetch(url):
                pass

    def test_dripping_host_is_given_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each read is in time, all of them together are not: the watchdog ends it."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            connection = fetching._connection(
                fetching.urlsplit(f"http://127.0.0.1:{server.getsockname()[1]}/")
            )
            fetching._hang_up(connection)
            assert connection.sock.recv(1) == b""
            connection.close()
            fetching._hang_up(connection)

    @pytest.mark.parametrize(
        "address",
        [
            *(
                "127.0.0.1",
                "10.1.2.3",
                "192.168.1.1",
                "169.254.169.254",
                "172.16.0.1",
                "0.0.0.0",
                "224.0.0.1",
            ),
            *("::1", "fe80::1%eth0", "fd00::1", "::ffff:127.0.0.1", "2002:7f00:1::", "64:ff9b::a01:203"),
        ],
    )
    def test_inner_addresses_are_refused(
        self, monkeypatch: pytest.MonkeyPatch, settings: Any, address: str
    ) -> None:
        """Whatever the name server says, and however it says it."""
        found = [(0, 0, 0, "", ("8.8.8.8", 443)), (0, 0, 0, "", (address, 443))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        with pytest.raises(ImageRejectedError, match="not a public host"):
            fetching._resolved("example.com", 443)

    def test_public_addresses_are_connected_to_as_they_were_looked_at(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = [(0, 0, 0, "", ("8.8.8.8", 443)), (0, 0, 0, "", ("2001:4860:4860::8888", 443))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        asked: list[Any] = []

        def connect(address: Any, *_: Any) -> None:
            asked.append(address)
            raise ConnectionRefusedError

        monkeypatch.setattr(socket, "create_connection", connect)
        with (
            pytest.raises(fetching.FetchError, match=r"example\.com"),
            fetching.fetch("https://example.com/"),
        ):
            pass
        assert asked == [("8.8.8.8", 443)]

    def test_unknown_host_may_be_known_later(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def unknown(*_: Any, **__: Any) -> None:
            raise socket.gaierror

        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        with pytest.raises(fetching.FetchError, match="name server"), fetching.fetch("https://example.com/"):
            pass

    def test_credentials_of_the_address_are_sent(self) -> None:
        headers = fetching._headers(fetching.urlsplit("https://jane:p%40ss@example.com/"))
        assert headers["Authorization"] == "Basic amFuZTpwQHNz"
