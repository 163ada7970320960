"""``cf_images import``: files that rows refer to come to Cloudflare."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.management import CommandError, call_command
from django.db import router
from django.db.models import signals
from PIL import Image

from cf_images.background.transfers import new_row, transfers
from cf_images.management import watching
from cf_images.management.subcommands import import_
from cf_images.models import State
from cf_images.transfer import ledger
from tests.app.models import Album, Page, Photo, Picture, Profile
from tests.background import databases
from tests.chaos import servers
from tests.pictures import encoded, picture
from tests.transfer import conftest

UUID = "610a686f-3fa7-46ca-e36d-3c00bd791b00"
PROFILES = "app.Profile.image"


class _Router(databases._Router):
    """Models of the tests are in that database, too."""

    def db_for_write(self, model: Any, **_: Any) -> str | None:
        return databases.ALIAS if model._meta.app_label in ("cf_images", "app") else None

    db_for_read = db_for_write


media = conftest.media  # a fixture


@pytest.fixture(scope="module")
def template(
    tmp_path_factory: pytest.TempPathFactory, django_db_setup: Any, django_db_blocker: Any
) -> dict[str, Any]:
    """An empty database in a file, with all tables: threads of one process share it like other databases."""
    chosen = servers.sqlite(tmp_path_factory.mktemp("template"))
    with (
        pytest.MonkeyPatch.context() as patch,
        django_db_blocker.unblock(),
        databases.use(chosen, patch) as connection,
        connection.schema_editor() as editor,
    ):
        for model in apps.get_app_config("app").get_models():
            editor.create_model(model)
    return chosen


@pytest.fixture(autouse=True)
def database(
    template: dict[str, Any], tmp_path: Path, django_db_blocker: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """A copy of it."""
    chosen = servers.sqlite(tmp_path)
    shutil.copy(template["NAME"], chosen["NAME"])
    with django_db_blocker.unblock(), databases.use(chosen, monkeypatch) as found:
        monkeypatch.setattr(router, "routers", [_Router()])
        yield found


@pytest.fixture(autouse=True)
def _account(cloudflare: Any, settings: Any) -> None:
    """The emulator, without a limit, and no queue."""
    settings.CF_IMAGES = {**settings.CF_IMAGES, "API_RATE": None, "QUEUE": "none"}


@pytest.fixture
def put(media: Path) -> Callable[..., None]:
    """Write a picture and a profile that has it."""

    def write(name: str, body: bytes | None = None, *, seed: int = 1) -> None:
        path = media / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(seed=seed) if body is None else body)
        Profile.objects.bulk_create([Profile(image=name)])

    return write


class Ran:
    """What a command has printed, and its exit status."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        out, err = io.StringIO(), io.StringIO()
        self.status: Any = 0
        try:
            call_command("cf_images", "import", *arguments, stdout=out, stderr=err, no_color=True, **options)
        except SystemExit as stopped:
            self.status = stopped.code
        except CommandError as error:
            self.status = error.returncode
            err.write(str(error))
        self.out, self.err = out.getvalue(), err.getvalue()

    def __repr__(self) -> str:
        return f"{self.status}\n{self.out}\n{self.err}"


def ids(cloudflare: Any) -> set[str]:
    return {image.id for image in storages["cloudflare_images"].client.list_images()}


def original(name: str) -> bytes:
    with storages["cloudflare_images"].open(name) as file:
        return file.read()


class TestFiles:
    """All files come to Cloudflare, byte for byte, under their names."""

    def test_are_copied_under_their_names_and_rows_stay(self, put: Any, cloudflare: Any) -> None:
        found = [
            "a.png",
            "sub folder/100%.png",
            "Cafe\u0301.png",
            "Caf\u00e9.png",
            "A.png",
            "holiday~2019.png",
        ]
        for seed, name in enumerate(found):
            put(name, seed=seed)
        before = list(Profile.objects.values())
        ran = Ran(PROFILES)
        assert ran.status == 0, ran
        assert ids(cloudflare) == set(found)
        for seed, name in enumerate(found):
            assert original(name) == picture(seed=seed)
        assert list(Profile.objects.values()) == before
        assert "6 files copied" in ran.out
        assert not ran.err

    def test_of_all_fields_at_cloudflare_are_copied_without_a_name(
        self, media: Path, cloudflare: Any, database: Any
    ) -> None:
        for model, field in (
            (Profile, "image"),
            (Photo, "file"),
            (Picture, "file"),
            (Album, "cover"),
        ):
            (media / f"{model.__name__}.png").write_bytes(picture())
            with database.cursor() as cursor:
                cursor.execute(
                    f"INSERT INTO {model._meta.db_table} ({field}) VALUES ('{model.__name__}.png')"
                )
        (media / "back.png").write_bytes(picture())
        page = Page(album=Album.objects.get(), back="back.png")
        Page.objects.bulk_create([page])
        assert Ran().status == 0
        assert ids(cloudflare) == {"Profile.png", "Photo.png", "Picture.png", "Album.png"}

    def test_that_rows_share_are_sent_once(self, put: Any, cloudflare: Any) -> None:
        put("a.png")
        put("a.png")
        assert Ran(PROFILES).status == 0
        assert len([request for request in cloudflare.requests if request.method == "POST"]) == 1

    def test_are_sent_without_loading_rows(self, put: Any) -> None:
        put("a.png")
        seen: list[Any] = []

        def see(**event: Any) -> None:
            seen.append(event["instance"])

        signals.post_init.connect(see, sender=Profile)
        try:
            assert Ran(PROFILES).status == 0
        finally:
            signals.post_init.disconnect(see, sender=Profile)
        assert not seen

    def test_are_not_sent_again(self, put: Any, cloudflare: Any) -> None:
        put("a.png")
        assert Ran(PROFILES).status == 0
        cloudflare.requests.clear()
        ran = Ran(PROFILES)
        assert ran.status == 0
        assert not cloudflare.requests
        assert ran.out.startswith("0 files copied (0 bytes) in ")
        assert ran.out.endswith("; 1 file is there now.\n")

    def test_of_another_storage_are_copied(self, cloudflare: Any, settings: Any) -> None:
        settings.STORAGES = {
            **settings.STORAGES,
            "memory": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
        }
        storages["memory"].save("a.png", ContentFile(picture()))
        Profile.objects.create(image="a.png")
        assert Ran(PROFILES, "--from", "memory").status == 0
        assert ids(cloudflare) == {"a.png"}

    def test_of_a_folder_are_copied_after_the_switch(
        self, tmp_path: Path, cloudflare: Any, settings: Any
    ) -> None:
        settings.ENV_NAME = "production"
        (tmp_path / "a.png").write_bytes(picture())
        Profile.objects.bulk_create([Profile(image="a.png")])
        assert Ran(PROFILES, "--from", str(tmp_path), "--to", "renditions").status == 0
        assert ids(cloudflare) == {"a.png"}

    def test_have_their_size_in_the_ledger_and_in_the_metadata(self, put: Any, cloudflare: Any) -> None:
        put("a.png")
        assert Ran(PROFILES).status == 0
        row = transfers().get()
        assert (row.size, row.width, row.height) == (len(picture()), 64, 48)
        assert storages["cloudflare_images"].size("a.png") == len(picture())


class TestNames:
    """Names that Cloudflare does not take."""

    def test_are_replaced_in_the_ledger_and_said_once(self, put: Any, cloudflare: Any) -> None:
        for seed, name in enumerate((UUID, "keys", f"jane~{UUID}.png", "y" * 250 + ".png", "a.png")):
            put(name, seed=seed)
        ran = Ran(PROFILES)
        assert ran.status == 0, ran
        assert ran.err.count("cf_images switch") == 1
        assert "3 files could not keep the name that rows have" in ran.err
        for row in transfers():
            assert original(row.name or "") == (Path(storages["default"].path(row.source_name))).read_bytes()

    def test_of_private_images_come_from_cloudflare(self, put: Any, cloudflare: Any, settings: Any) -> None:
        settings.CF_IMAGES = {**settings.CF_IMAGES, "REQUIRE_SIGNED_URLS": True}
        put("sub/a.png")
        ran = Ran(PROFILES)
        assert ran.status == 0, ran
        row = transfers().get()
        assert (row.name or "").startswith("sub/a~")
        assert original(row.name or "") == picture()
        assert "1 file could not keep the name" in ran.err
        Profile.objects.update(image=row.name)
        assert "could not keep" not in Ran(PROFILES).err, "switched"


class TestLeftBehind:
    """Each file that cannot be copied has one line; the others go on."""

    @pytest.fixture
    def bad(self, put: Any, media: Path) -> dict[str, str]:
        put("good.png")
        put("empty.png", b"")
        put("text.png", b"Hello, this is no picture.")
        put("photo.bmp", encoded(Image.new("RGB", (9, 9)), "BMP"))
        (media / "folder.png").mkdir()
        secret = media.parent / "secret.png"
        secret.write_bytes(picture())
        (media / "link.png").symlink_to(secret)
        others = [
            "folder.png",
            "link.png",
            "gone.png",
            "../secret.png",
            "/etc/hostname",
            "x" * 1025,
            "   ",
            "https://example.com/a.png",
            "https://imagedelivery.net/another/a/public",
            "=1+1.png",
        ]
        Profile.objects.bulk_create(Profile(image=name) for name in ["", *others])
        return {
            "empty.png": "The file is empty.",
            "text.png": "The file looks like plain text. JPEG, PNG, GIF, WebP, SVG and HEIC are supported.",
            "photo.bmp": "The file looks like a BMP image. JPEG, PNG, GIF, WebP, SVG and HEIC are supported.",
            "folder.png": "It is a folder, not a file.",
            "link.png": f"It is a symbolic link to {secret}, outside of the folder: "
            "put the file in its place.",
            "gone.png": "There is no file of this name.",
            "../secret.png": "The name leads out of the folder of the storage.",
            "/etc/hostname": "The name leads out of the folder of the storage.",
            "x" * 1025: "There is no file of this name: it is too long for the file system.",
            "   ": "The name has only spaces.",
            "https://example.com/a.png": ledger.FOREIGN_URL,
            "https://imagedelivery.net/another/a/public": ledger.FOREIGN_URL,
            "=1+1.png": "There is no file of this name.",
        }

    @pytest.mark.parametrize("dry_run", [True, False])
    def test_is_listed_with_its_reason_and_exits_with_1(
        self, bad: dict[str, str], cloudflare: Any, tmp_path: Path, *, dry_run: bool
    ) -> None:
        report = tmp_path / "report.jsonl"
        options = ["--dry-run"] if dry_run else []
        ran = Ran(PROFILES, "--report", str(report), *options)
        assert ran.status == 1, ran
        found = [json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()]
        assert {line["name"]: line["reason"] for line in found} == bad
        assert {line["field"] for line in found} == {PROFILES}
        assert f"13 files {'would be ' if dry_run else ''}left behind:" in ran.err
        for name, reason in bad.items():
            assert " ".join(f"{name!r} ({PROFILES}): {reason}".split()) in ran.err
        assert ids(cloudflare) == (set() if dry_run else {"good.png"})

    def test_is_safe_in_a_spreadsheet(self, bad: dict[str, str], tmp_path: Path) -> None:
        report = tmp_path / "report.csv"
        assert Ran(PROFILES, "--report", str(report)).status == 1
        with report.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        assert "'=1+1.png" in {row[1] for row in rows}
        assert len(rows) == len(bad) + 1

    def test_is_tried_again_and_forgotten_with_its_row(self, put: Any, media: Path) -> None:
        Profile.objects.bulk_create([Profile(image="late.png"), Profile(image="gone.png")])
        assert Ran(PROFILES).status == 1
        (media / "late.png").write_bytes(picture())
        Profile.objects.filter(image="gone.png").delete()
        ran = Ran(PROFILES)
        assert ran.status == 0, ran

    def test_is_converted_or_made_smaller_on_request(
        self, put: Any, cloudflare: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from cf_images.images import limits

        monkeypatch.setattr(limits, "MAX_SIDE", 60)
        put("large.png", picture(size=(90, 90)))
        put("photo.bmp", encoded(Image.new("RGB", (9, 9)), "BMP"))
        put("scan.tiff", encoded(Image.new("RGB", (9, 9)), "TIFF"))
        assert Ran(PROFILES).status == 1
        given = (PROFILES, "--fit-limits", "--convert", "bmp,tif=png")
        planned = Ran(*given, "--dry-run")
        assert planned.status == 0, planned
        assert "2 of them would be converted first" in planned.out
        assert "1 of them would be made smaller first" in planned.out
        ran = Ran(*given)
        assert ran.status == 0, ran
        with Image.open(io.BytesIO(original("large.png"))) as image:
            assert image.size == (60, 60)
        assert original("photo.bmp").startswith(b"\x89PNG")

    def test_is_an_image_at_cloudflare_with_the_same_name_and_other_bytes(
        self, put: Any, cloudflare: Any
    ) -> None:
        client = storages["cloudflare_images"].client
        for name, seed in (("same.png", 1), ("other.png", 2)):
            client.upload(
                io.BytesIO(picture(seed=seed)), image_id=name, filename=name, content_type="image/png"
            )
            put(name, seed=1)
        ran = Ran(PROFILES)
        assert ran.status == 1, ran
        assert transfers().get(source_name="same.png").state == State.STORED
        assert "'other.png'" in ran.err


class TestDryRun:
    """Nothing is sent and nothing is written."""

    def test_says_what_would_be_done(self, put: Any, cloudflare: Any, settings: Any) -> None:
        settings.CF_IMAGES = {**settings.CF_IMAGES, "API_RATE": (1200, 300)}
        put("a.png")
        put("b.jpg", picture("JPEG"))
        put("c.png", seed=3)
        put("keys")
        put("a.png")
        cloudflare.requests.clear()
        ran = Ran(PROFILES, "--dry-run")
        assert ran.status == 0, ran
        assert not cloudflare.requests
        assert not transfers().exists()
        lines = ran.out.splitlines()
        assert lines[0] == "4 files: 0 at Cloudflare Images already."
        assert lines[1].startswith("4 files would be copied, ")
        assert lines[1].endswith(": 3 PNG, 1 JPEG.")
        assert lines[2] == "1 of them would get a new name: it is a reserved word of Cloudflare's API."
        assert lines[3] == "4 requests would take at least 1 second at 3.2 a second; see --batch."
        assert lines[4] == (
            "Storing the images would cost $5 a month ($5 for each 100,000 stored; $1 for each 100,000 "
            "delivered comes on top; Cloudflare's prices of October 2026)."
        )

    def test_needs_no_credentials(self, put: Any, settings: Any) -> None:
        put("a.png")
        settings.CF_IMAGES = {**settings.CF_IMAGES, "ACCOUNT_ID": None, "API_TOKEN": None}
        settings.CF_ACCT_ID = settings.CF_IMG_TOKEN = None
        assert Ran(PROFILES, "--dry-run").status == 0
        assert Ran(PROFILES).status == 2


class TestSite:
    """Images are marked with the site: it has to be the same after the switch."""

    @pytest.mark.parametrize("arguments", [["--dry-run"], []])
    def test_that_changes_with_the_switch_is_said(self, settings: Any, arguments: list[str]) -> None:
        settings.ENV_NAME = "dev"
        ran = Ran(PROFILES, *arguments)
        assert ran.status == 0, ran
        assert "belong to the site 'tests/dev', which changes with ENV_NAME" in ran.err
        assert "give STORAGES['cloudflare_images'] the option \"site\" before." in ran.err

    def test_that_stays_is_not_mentioned(self, settings: Any) -> None:
        settings.ENV_NAME = "dev"
        settings.CF_IMAGES = {**settings.CF_IMAGES, "SITE": "shop"}
        assert not Ran(PROFILES).err


class TestSettings:
    """What keeps the command from running is one line, with the exit status 2."""

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["app.Photo"], "'app.Photo' is no file field"),
            (["--from", "gone"], "'gone' is no alias in STORAGES"),
            (["--from", "/no/such/folder"], "There is no folder '/no/such/folder'"),
            (["--to", "default"], "'default' is no storage of Cloudflare Images"),
            (["--report", "a.txt"], "The report 'a.txt' must end in .csv or .jsonl."),
            (["--enqueue", "--rate", "3"], "--rate is for this command; workers keep to CF_IMAGES"),
            (["--threads", "0"], "'0' is no number from 1 to"),
            (["--rate", "-1"], "'-1' is no number above 0"),
            (["--convert", "bmp"], "'bmp' does not say to which format"),
            (["--convert", "bmp="], "'' is none of jpeg, jpg, png, webp"),
            (["--convert", "bpm=png"], "Pillow reads no format 'bpm'"),
            (["--convert", "bmp=tiff"], "'tiff' is none of"),
        ],
    )
    def test_wrong_arguments(self, arguments: list[str], message: str) -> None:
        ran = Ran(*arguments)
        assert message in ran.err
        assert ran.status in (1, 2)  # argparse's own from a command line only
        assert ran.err.count("\n") <= 1

    def test_no_credentials(self, settings: Any) -> None:
        settings.CF_IMAGES = {**settings.CF_IMAGES, "API_TOKEN": None}
        settings.CF_IMG_TOKEN = None
        ran = Ran(PROFILES)
        assert ran.status == 2
        assert "has no api_token" in ran.err

    def test_a_refused_token(self, put: Any, settings: Any) -> None:
        put("a.png")
        Profile.objects.bulk_create([Profile(image="https://example.com/a.png")])
        settings.CF_IMAGES = {**settings.CF_IMAGES, "API_TOKEN": "revoked"}
        ran = Ran(PROFILES)
        assert ran.status == 2, ran
        assert "revoked" not in ran.err
        assert f"'https://example.com/a.png' ({PROFILES}): {ledger.FOREIGN_URL}" in ran.err
        assert transfers().get().state == State.PENDING

    @pytest.mark.parametrize(
        ("table", "message"),
        [
            ("cf_images_transfer", "has no table cf_images_transfer: run `manage.py migrate`"),
            ("app_profile", "no such table: app_profile"),
        ],
    )
    def test_a_missing_table(self, table: str, message: str, database: Any) -> None:
        with database.schema_editor() as editor:
            editor.execute(f"ALTER TABLE {table} RENAME TO elsewhere")
        try:
            ran = Ran(PROFILES)
        finally:
            with database.schema_editor() as editor:
                editor.execute(f"ALTER TABLE elsewhere RENAME TO {table}")
        assert ran.status == 2, ran
        assert message in ran.err
        assert ran.err.count("\n") == 0

    def test_a_read_only_database(self, put: Any, database: Any) -> None:
        put("a.png")
        with database.cursor() as cursor:
            cursor.execute("PRAGMA query_only = 1")
        try:
            ran = Ran(PROFILES)
        finally:
            with database.cursor() as cursor:
                cursor.execute("PRAGMA query_only = 0")
        assert ran.status == 2, ran
        assert "attempt to write a readonly database" in ran.err


class TestDimensions:
    """Empty columns are filled on request."""

    @pytest.fixture
    def photos(self, media: Path, database: Any) -> None:
        for name, size in (("a.png", (30, 20)), ("b.png", (10, 40))):
            (media / name).write_bytes(picture(size=size))
        with database.cursor() as cursor:
            cursor.execute(
                "INSERT INTO app_photo (file) VALUES ('a.png'), ('b.png'), ('a.png'), ('gone.png')"
            )
            cursor.execute("INSERT INTO app_photo (file, width, height) VALUES ('a.png', 1, 2)")

    def test_from_the_ledger(self, photos: None) -> None:
        rows = Photo.objects.order_by("pk").values_list("width", "height").all
        Ran("app.Photo.file")
        assert list(rows()) == [(None, None)] * 4 + [(1, 2)]
        ran = Ran("app.Photo.file", "--dimensions")
        assert ran.status == 1, ran
        assert "The dimensions of 3 rows were filled in." in ran.out
        assert list(rows()) == [(30, 20), (10, 40), (30, 20), (None, None), (1, 2)]


class TestStopping:
    """Ctrl-C, kill, and two at once."""

    def test_ctrl_c_stops_cleanly_and_says_how_to_continue(
        self, put: Any, cloudflare: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for seed in range(20):
            put(f"{seed}.png", seed=seed)
        real = ledger.totals

        def interrupted(routes: Any) -> Any:
            monkeypatch.setattr(ledger, "totals", real)
            os.kill(os.getpid(), 2)
            return real(routes)

        monkeypatch.setattr(ledger, "totals", interrupted)
        ran = Ran(PROFILES, "--threads", "2")
        assert ran.status == 1, ran
        assert "Finishing the current files …" in ran.err
        assert "Stopped: 20 files are left. The same command continues." in ran.err
        assert Ran(PROFILES).status == 0
        assert len(ids(cloudflare)) == 20

    def test_what_a_mirror_adds_meanwhile_is_not_left_behind(
        self, put: Any, cloudflare: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put("a.png", seed=1)
        real = import_.carry_out

        def carry_out(*arguments: Any, **options: Any) -> Any:
            problem = real(*arguments, **options)
            for seed, name in ((2, "late.png"), (3, "later.png")):
                put(name, seed=seed)
                new_row(source="default", target="cloudflare_images", source_name=name, name=name).save()
            return problem

        monkeypatch.setattr(import_, "carry_out", carry_out)
        ran = Ran(PROFILES)
        assert ran.status == 0, ran
        assert "2 files came meanwhile; the workers copy them." in ran.out
        assert ids(cloudflare) == {"a.png"}

    def test_two_at_once_share_the_work(self, put: Any, cloudflare: Any) -> None:
        for seed in range(30):
            put(f"{seed}.png", seed=seed)
        ran: list[Ran] = []
        threads = [threading.Thread(target=lambda: ran.append(Ran(PROFILES, "--threads", "2"))) for _ in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [found.status for found in ran] == [0, 0], ran
        assert len([request for request in cloudflare.requests if request.method == "POST"]) == 30
        assert len(ids(cloudflare)) == 30


class TestQueue:
    """With ``--enqueue`` workers copy the files."""

    def test_rows_are_for_workers_and_the_display_ends_with_them(
        self, put: Any, cloudflare: Any, settings: Any
    ) -> None:
        settings.CF_IMAGES = {**settings.CF_IMAGES, "QUEUE": None}  # huey, which works at once here
        for seed in range(5):
            put(f"{seed}.png", seed=seed)
        ran = Ran(PROFILES, "--enqueue")
        assert ran.status == 0, ran
        assert set(transfers().values_list("is_enqueued", flat=True)) == {True}
        assert len(ids(cloudflare)) == 5

    def test_without_a_queue_says_so_and_ctrl_c_ends_the_display(
        self, put: Any, cloudflare: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put("a.png")

        def interrupted(*_: Any, **__: Any) -> None:
            os.kill(os.getpid(), 2)

        monkeypatch.setattr(watching, "watch", interrupted)
        ran = Ran(PROFILES, "--enqueue")
        assert "There is no queue: run `manage.py cf_images process`" in ran.err
        assert "The workers go on." in ran.err
        assert "1 file is left to the workers. The same command shows how far they are." in ran.err
        assert ran.status == 1
        assert transfers().get().state == State.PENDING
        call_command("cf_images", "process", verbosity=0)
        assert ids(cloudflare) == {"a.png"}


def test_quiet_prints_nothing_but_problems(put: Any) -> None:
    put("a.png")
    ran = Ran(PROFILES, verbosity=0)
    assert (ran.status, ran.out, ran.err) == (0, "", "")


def test_names_and_reasons_stay_on_their_lines(put: Any) -> None:
    Profile.objects.bulk_create([Profile(image="a\nb\x1b[31m.png")])
    ran = Ran(PROFILES)
    assert ran.status == 1
    assert ran.err.splitlines()[-1].startswith("'a\\nb\\x1b[31m.png'")


def test_the_batch_host_is_used_on_request(put: Any, cloudflare: Any, settings: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "BATCH_URL": cloudflare.api_url.removesuffix("/client/v4")}
    put("a.png")
    ran = Ran(PROFILES, "--batch")
    assert ran.status == 0, ran
    assert ids(cloudflare) == {"a.png"}
