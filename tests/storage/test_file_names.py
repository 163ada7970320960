"""Names that are paths, empty or odd: what ``FileSystemStorage`` does with them, both storages do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PureWindowsPath
from typing import Any

import pytest
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, Storage, storages

from cf_images import background
from cf_images.exceptions import ImageNotFoundError
from cf_images.storage import LocalImagesStorage
from tests.conftest import point_at
from tests.pictures import picture

pytestmark = pytest.mark.django_db

PNG = picture()

Ask = Callable[[Storage, Any], Any]


@pytest.fixture
def django(tmp_path: Path) -> Storage:
    return FileSystemStorage(location=tmp_path / "django", base_url="/media/")


@pytest.fixture(params=["local", "direct", "pending", "stored"])
def storage(request: pytest.FixtureRequest, tmp_path: Path, settings: Any) -> Storage:
    """This package's storages, with given names, so that they are those of Django's storage."""
    if request.param == "local":
        settings.CF_IMAGES = {**settings.CF_IMAGES, "UNIQUE_NAMES": False}
        return LocalImagesStorage(location=tmp_path / "local", base_url="/media/")
    emulator = request.getfixturevalue("cf_images_emulator")
    is_direct = request.param == "direct"
    point_at(settings, emulator, background=not is_direct, queue="none", unique_names=False)
    storage = storages["cloudflare_images"]
    if request.param == "stored":
        save = storage.save

        def save_and_process(*arguments: Any) -> str:
            name = save(*arguments)
            background.process()
            return name

        request.getfixturevalue("monkeypatch").setattr(storage, "save", save_and_process)
    return storage


def outcome(ask: Ask, storage: Storage, name: Any) -> Any:
    """Return the result, or the kind of the error."""
    try:
        return ask(storage, name)
    except (SuspiciousFileOperation, FileNotFoundError, ValueError, TypeError) as error:
        known = (SuspiciousFileOperation, FileNotFoundError, ValueError, TypeError)
        return next(kind for kind in known if isinstance(error, kind))


def read(storage: Storage, name: Any) -> bytes:
    with storage.open(name) as file:
        return bytes(file.read())


def delete(storage: Storage, name: Any) -> list[str]:
    """Delete, and return what is left."""
    storage.delete(name)
    return storage.listdir("a")[1]


def save(storage: Storage, name: Any) -> str:
    return storage.save(name, ContentFile(PNG, name="fallback.png"))


ASKED: list[tuple[Ask, list[Any]]] = [
    (
        read,
        ["a/b.png", Path("a/b.png"), "./a/b.png", "a/./b.png", "a/c/../b.png", "..", "../b.png", "/b.png"],
    ),
    (read, [None, Path("a/c.png"), Path("../a/b.png")]),
    (
        lambda storage, name: storage.exists(name),
        [
            "a/b.png",
            Path("a/b.png"),
            Path("a/c.png"),
            "./a/b.png",
            "",
            ".",
            Path(),
            "..",
            Path(".."),
            "/b.png",
        ],
    ),
    (lambda storage, name: storage.exists(name), ["../a", None]),
    (lambda storage, name: storage.size(name), ["a/b.png", Path("a/b.png"), "a/./b.png", "..", None]),
    (
        lambda storage, name: type(storage.get_created_time(name)),
        ["a/b.png", Path("a/b.png"), "./a/b.png", Path("..")],
    ),
    (
        lambda storage, name: type(storage.get_modified_time(name)),
        ["a/b.png", Path("a/b.png"), "./a/b.png", Path("..")],
    ),
    (
        lambda storage, path: storage.listdir(path),
        ["", ".", Path(), "a", "a/", "./a/.", "a/../a", Path("a"), Path(), "..", "../a", "/", "/a"],
    ),
    (
        delete,
        [
            "a/b.png",
            Path("a/b.png"),
            "./a/b.png",
            "a/c.png",
            Path("a/c.png"),
            None,
            "",
            "..",
            Path("../b.png"),
        ],
    ),
    (
        save,
        ["a/d.png", Path("a/d.png"), Path("d.png"), None, "", "../d.png", Path("../d.png"), Path("/d.png")],
    ),
    (
        lambda storage, name: storage.generate_filename(name),
        ["a/d.png", Path("a/d.png"), Path("my d.png"), "../d.png", Path("../d.png")],
    ),
    (lambda storage, name: storage.get_valid_name(name), ["a b.png", Path("a b.png")]),
]


@pytest.mark.parametrize(
    ("ask", "name"), [pytest.param(ask, name, id=repr(name)) for ask, names in ASKED for name in names]
)
def test_a_name_means_what_it_means_to_django(django: Storage, storage: Storage, ask: Ask, name: Any) -> None:
    for each in (django, storage):
        each.save("a/b.png", ContentFile(PNG))
    assert outcome(ask, storage, name) == outcome(ask, django, name)


@pytest.mark.parametrize("name", [None, "", Path("a/b.png"), "a/b.png"])
def test_url_is_that_of_django_on_another_host(django: Storage, storage: Storage, name: Any) -> None:
    for each in (django, storage):
        each.save("a/b.png", ContentFile(PNG))
    path = django.url(name).removeprefix("/media/")
    if path:
        assert path in storage.url(name)
    else:
        assert storage.final_url("a/b.png", "public").startswith(storage.url(name))  # type: ignore[attr-defined]


def test_a_variant_of_no_name_is_an_error(cloudflare: Any) -> None:
    with pytest.raises(ValueError, match="without a name"):
        storages["cloudflare_images"].url("", "avatar")  # type: ignore[call-arg]


def test_a_private_image_is_found_by_its_path(cloudflare: Any, settings: Any) -> None:
    point_at(settings, cloudflare, require_signed_urls=True)
    storage = storages["cloudflare_images"]
    name = Path(storage.save("a/b.png", ContentFile(PNG)))
    assert storage.exists(name)  # type: ignore[arg-type]
    assert "sig=" in storage.url(name)  # type: ignore[arg-type]
    storage.delete(name)  # type: ignore[arg-type]
    assert not cloudflare.images


def test_a_path_of_windows_has_slashes(cloudflare: Any) -> None:
    storage = storages["cloudflare_images"]
    name = PureWindowsPath(storage.save("a/b.png", ContentFile(PNG)))
    assert storage.exists(name)  # type: ignore[arg-type]


def test_an_imported_id_that_only_looks_odd_is_itself(cloudflare: Any) -> None:
    storage = storages["cloudflare_images"]
    storage.client.upload(ContentFile(PNG), image_id="a//b.png")  # type: ignore[attr-defined]
    assert storage.exists("a//b.png")


def test_no_name_is_no_image(cloudflare: Any) -> None:
    with pytest.raises(ImageNotFoundError):
        storages["cloudflare_images"].open("")


def test_a_rendition_is_deleted_with_the_image_however_it_is_named(tmp_path: Path) -> None:
    local = LocalImagesStorage(location=tmp_path, base_url="/media/")
    name = local.save("a/b.png", ContentFile(PNG))
    rendition = local.rendition(name, "avatar")
    local.delete(Path(f"a/./../{name}"))
    assert not rendition.path.exists()
    assert not local.exists(name)
