"""The guides to develop and test, and to combine packages: their tests pass, their settings are valid."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.management import call_command

from cf_images import pytest_plugin
from cf_images import test as testing
from cf_images.emulator.__main__ import parser
from tests.docs import how_to
from tests.docs.pages import DOCS, block, blocks
from tests.neighbors import settings as neighbors
from tests.pictures import picture

ROOT = DOCS.parent
PAGE = "how-to/tests.md"
OTHERS = "how-to/other-packages.md"

shop = how_to.shop

# What the examples of the page leave to the project.
FILE = """
import sys
from types import ModuleType
from tests.app import models
sys.modules["shop"], sys.modules["shop.models"] = ModuleType("shop"), models
pytestmark = pytest.mark.urls(__name__)

from django.http import HttpResponse
from django.template import Context, Template
from django.urls import include, path

def home(request):
    template = "{% load cf_images %}{% cf_image profile.image 'avatar' alt='' %}"
    return HttpResponse(Template(template).render(Context({"profile": models.Profile(image="a.png")})))

urlpatterns = [path("", home), path("cf-images/", include("cf_images.urls"))]
"""


def test_the_tests_of_the_guide_pass_as_a_file_of_their_own(tmp_path: Path) -> None:
    beginnings = [
        "import io\n",
        "# shop/tests/test_profiles.py",
        "# shop/tests.py",
        "import pytest\nfrom cf_images.exceptions",
        "import pytest\n\n@pytest.mark.cf_images_real_account",
    ]
    examples = [block(PAGE, beginning).text for beginning in beginnings]
    assert len(examples) == len(blocks(PAGE, "python")) - 1, "all but the settings"
    text = "\n".join(["import pytest", FILE, examples[0], "PNG = png()", *examples[1:]])
    file = tmp_path / "test_examples.py"
    file.write_text(text, encoding="utf-8")
    plugins = ["-p", "no:cacheprovider", "-p", "no:xdist"]
    options = ["-v", *plugins, "--ds=tests.settings", "-c", "pyproject.toml"]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(file)],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    for name in set(re.findall(r"^ *def (test_\w+)", text, re.M)):
        assert f"::{name} PASSED" in ran.stdout, name


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("environment", ["dev", "production"])
@pytest.mark.django_db
def test_the_first_test_passes_whatever_the_settings(
    shop: Any,
    cf_images_settings: Any,
    cf_images_storage: Any,
    settings: Any,
    background: bool,
    environment: str,
) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "BACKGROUND": background}
    settings.ENV_NAME = environment
    cf_images_storage("default" if environment == "dev" else "cloudflare_images")  # as at import
    names: dict[str, Any] = {**shop, "PNG": picture()}
    block(PAGE, "# shop/tests/test_profiles.py").run(names)
    names["test_an_image_is_stored"](cf_images_settings, cf_images_storage, None)


def test_the_fixtures_and_context_managers_of_the_guide_are_those_of_the_package() -> None:
    page = (DOCS / PAGE).read_text(encoding="utf-8")
    fixtures = {name for name in vars(pytest_plugin) if name.startswith("cf_images_")}
    described = set(re.findall(r"^\| `(cf_images_\w+)` \|", page, re.M))
    assert described == fixtures - {"cf_images_emulator_server"}
    for name in ("emulated", "in_memory", "fields_stored_in", "real_account"):
        assert hasattr(testing, name)
        assert f"`{name}(" in page


def test_the_emulator_of_the_guide_starts_where_its_settings_point(settings: Any) -> None:
    names: dict[str, Any] = {}
    block(PAGE, "# settings.py").run(names)
    page = (DOCS / PAGE).read_text(encoding="utf-8")
    (line,) = re.findall(r"^python -m cf_images\.emulator (.*)$", page, re.M)
    options = parser().parse_args(line.split())
    assert names["CF_IMAGES"] == {
        "API_URL": f"http://{options.host}:{options.port}/client/v4",
        "DELIVERY_URL": f"http://{options.host}:{options.port}",
    }
    for given in re.findall(r"`(--[a-z-]+(?:[ =][\w.=]+)?)`", page):
        if given not in ("--help", "--data", "--host"):
            parser().parse_args(re.split(r"[ ]", given, maxsplit=1))


def test_the_emulators_urls_are_as_in_the_guide(cf_images_emulator: Any) -> None:
    assert cf_images_emulator.api_url.endswith("/client/v4")
    assert cf_images_emulator.api_url == f"{cf_images_emulator.delivery_url}/client/v4"


# other-packages.md


def settings_of(settings: Any) -> dict[str, Any]:
    """Return the names that the examples of the page change."""
    return {"STORAGES": dict(settings.STORAGES)}


def messages(capsys: pytest.CaptureFixture[str]) -> str:
    call_command("check")
    return capsys.readouterr().err


def test_the_alias_for_renditions_satisfies_the_checks(
    settings: Any, images: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    names = settings_of(settings)
    block(OTHERS, "# settings.py\n").run(names)
    block(OTHERS, "# settings.py, for the packages that have such a setting").run(names)
    original = names["CF_IMAGES"]["VARIANTS"]
    settings.CF_IMAGES = {**settings.CF_IMAGES, "VARIANTS": original}
    settings.STORAGES = names["STORAGES"]
    for name in ("THUMBNAIL_DEFAULT_STORAGE_ALIAS", "THUMBNAIL_STORAGE", "IMAGEKIT_DEFAULT_FILE_STORAGE"):
        setattr(settings, name, names[name])
    found = messages(capsys)
    assert "W012" not in found
    assert "W031" not in found
    assert storages["renditions"].save("p/a.png", ContentFile(picture())) == "p/a.png"
    settings.THUMBNAIL_STORAGE = "cloudflare_images"
    assert "W012" in messages(capsys)


def test_filers_setting_is_the_one_of_the_tests() -> None:
    names: dict[str, Any] = {}
    block(OTHERS, "FILER_STORAGES = {").run(names)
    assert names["FILER_STORAGES"] == neighbors.FILER_STORAGES


def test_dbbackups_alias_keeps_given_names(settings: Any, cloudflare: Any) -> None:
    names = settings_of(settings)
    block(OTHERS, 'STORAGES["default"] = {').run(names)
    settings.STORAGES = names["STORAGES"]
    assert storages["default"].save("p/photo.png", ContentFile(picture())) == "p/photo.png"


def test_wagtails_alias_has_unique_names(settings: Any, cloudflare: Any) -> None:
    names = settings_of(settings)
    block(OTHERS, 'STORAGES["wagtail_renditions"] = {').run(names)
    settings.STORAGES = names["STORAGES"]
    storage = storages[names["WAGTAILIMAGES_RENDITION_STORAGE"]]
    assert storage.save("a.png", ContentFile(picture())) != "a.png"
    assert storage.url("a.png").endswith("/original")


def test_every_package_of_the_guide_is_in_the_test_environment() -> None:
    """The page says that the tests run with them."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8").lower()
    table = (DOCS / OTHERS).read_text(encoding="utf-8").partition("## Which work")[2].partition("\n## ")[0]
    packages = [name for row in re.findall(r"^\| ([\w, -]+?) \|", table, re.M) for name in row.split(", ")]
    named = {name.lower().replace("django rest framework", "djangorestframework") for name in packages}
    assert len(named) > 12
    assert {name for name in named - {"package", "---"} if f'"{name}' not in project} == set()
