"""The pages about costs, several accounts, domains and security: what they count and claim is measured."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core import checks
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.management import call_command
from django.db import models
from django.test.utils import isolate_apps

from cf_images import conf
from cf_images.background import upload_from_url
from cf_images.background.chunks import CHUNK_BYTES
from cf_images.background.pace import allowed_rate
from cf_images.emulator import Emulator
from cf_images.markup import variant_url
from cf_images.models import Chunk, Upload
from cf_images.transfer import plan
from tests.app.models import Profile
from tests.background import conftest as background
from tests.background.conftest import ALIAS, use_background_storage, work
from tests.docs import pages
from tests.pictures import picture

COSTS, ACCOUNTS = "how-to/costs.md", "how-to/several-accounts.md"
DOMAIN, SECURITY = "how-to/custom-domain.md", "how-to/security.md"
TEXT = (pages.DOCS / COSTS).read_text(encoding="utf-8")

cloudflare, fresh_process, source = background.cloudflare, background.fresh_process, background.source


# Costs


@pytest.fixture
def requests_of(cloudflare: Any, settings: Any, source: str) -> Callable[[str], tuple[int, int]]:
    """Return a function that carries out a row of the table, and counts the requests of site and worker."""
    direct = {"background": False}
    use_background_storage(settings, cloudflare, "direct", **direct)
    use_background_storage(settings, cloudflare, "direct_private", **direct, require_signed_urls=True)
    use_background_storage(settings, cloudflare, "private", require_signed_urls=True)
    allowed = {"UPLOAD_URL_SCHEMES": ["http"], "UPLOAD_URL_LOCAL_HOSTS": ["127.0.0.1"]}
    settings.CF_IMAGES = {**settings.CF_IMAGES, **allowed}

    def save(alias: str) -> str:
        return storages[alias].save("a.png", ContentFile(picture()))

    def saved(alias: str) -> str:
        name = save(alias)
        work()
        cloudflare.app.requests.clear()
        return name

    def count(operation: str) -> tuple[int, int]:
        name = saved("direct")
        in_background = saved(ALIAS) if operation == "`delete()`, background" else ""
        todo: dict[str, Callable[[], object]] = {
            "`url()`, the filter, the tags": lambda: variant_url(storages[ALIAS].url(name), "avatar"),
            "`save()` of a public image, direct": lambda: save("direct"),
            "`save()` of a private image, direct": lambda: save("direct_private"),
            "`save()` of a public image, background": lambda: save(ALIAS),
            "`save()` of a private image, background": lambda: save("private"),
            "`upload_from_url()`, public": lambda: upload_from_url(source, storage=ALIAS),
            "`open()` and `read()`": lambda: storages["direct"].open(name).read(),
            "`size()`": lambda: storages["direct"].size(name),
            "`exists()`": lambda: storages["direct"].exists(name),
            "`delete()`, direct": lambda: storages["direct"].delete(name),
            "`delete()`, background": lambda: storages[ALIAS].delete(in_background),
            "`listdir()` of up to 1,000 images": lambda: storages["direct"].listdir(""),
        }
        todo[operation]()
        by_site = len(cloudflare.requests)
        work()
        return by_site, len(cloudflare.requests) - by_site

    return count


OPERATIONS = re.findall(r"^\| (`.*?) \| (\d) \| (\d) \|$", TEXT, re.M)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("operation", "site", "worker"), OPERATIONS, ids=[row[0] for row in OPERATIONS])
def test_requests_of_an_operation_are_those_of_the_table(
    requests_of: Callable[[str], tuple[int, int]], operation: str, site: str, worker: str
) -> None:
    assert requests_of(operation) == (int(site), int(worker))


def test_table_has_all_operations() -> None:
    assert len(OPERATIONS) == 12


@pytest.mark.django_db
def test_pending_image_is_one_row_and_its_chunks(cloudflare: Any) -> None:
    assert CHUNK_BYTES == 512 * 1024
    body = picture(size=(64, 48)) + b"\0" * CHUNK_BYTES
    storages[ALIAS].save("a.png", ContentFile(body))
    assert (Upload.objects.count(), Chunk.objects.count()) == (1, 2)


def test_prices_are_those_of_the_dry_run() -> None:
    assert f"read in {plan.PRICES_OF}" in TEXT
    assert f"${plan.STORED_PRICE} a month for each {plan.PRICED_IMAGES:,}" in TEXT
    assert f"${plan.DELIVERED_PRICE} for each {plan.PRICED_IMAGES:,}" in TEXT


def test_images_an_hour_follow_from_the_pace() -> None:
    requests = (allowed_rate("any") or 0) * 3600
    public, private = re.findall(r"about ([\d,]+) public or ([\d,]+) private", TEXT.replace("\n", " "))[0]
    assert abs(int(public.replace(",", "")) - requests) < 100
    assert abs(int(private.replace(",", "")) - requests / 2) < 100


# Several accounts


@pytest.fixture
def other_account() -> Iterator[Emulator]:
    with Emulator(account_id="press", token="press-token", account_hash="press-hash") as emulator:
        yield emulator


@pytest.fixture
def accounts(
    cf_images_emulator: Any, other_account: Emulator, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """The settings of the page, each account at an emulator; ``STORAGES`` as it is then."""
    monkeypatch.setenv("PRESS_ACCT_ID", other_account.account_id)
    monkeypatch.setenv("PRESS_IMG_TOKEN", other_account.api_token)
    monkeypatch.setenv("PRESS_IMG_HASH", other_account.account_hash)
    names: dict[str, Any] = {"STORAGES": dict(settings.STORAGES)}
    pages.block(ACCOUNTS, "# settings.py, public and private images").run(names)
    pages.block(ACCOUNTS, "# settings.py, a second account").run(names)
    declared = names["STORAGES"]
    first = cf_images_emulator
    for alias, emulator in ((ALIAS, first), ("private_images", first), ("press_images", other_account)):
        urls = {"api_url": emulator.api_url, "delivery_url": emulator.delivery_url}
        own = {
            "account_id": first.account_id,
            "api_token": first.api_token,
            "account_hash": first.account_hash,
        }
        options = declared[alias]["OPTIONS"]
        declared[alias] = {**declared[alias], "OPTIONS": {**own, **options, **urls}}
    settings.STORAGES = declared
    settings.CF_IMAGES = {**settings.CF_IMAGES, "QUEUE": "none", "API_RATE": None}
    return dict(declared)


@pytest.mark.django_db(transaction=True)
def test_each_alias_is_an_account_of_its_own_or_a_part_of_one(
    accounts: dict[str, Any], cf_images_emulator: Any, other_account: Emulator
) -> None:
    names = {
        alias: storages[alias].save(f"{alias}.png", ContentFile(picture()))
        for alias in (ALIAS, "private_images", "press_images")
    }
    work()
    assert names[ALIAS] in cf_images_emulator.images
    assert len(cf_images_emulator.images) == 2
    assert list(other_account.images) == [names["press_images"]]
    assert storages[ALIAS].account.key == storages["private_images"].account.key
    assert storages["press_images"].account.key != storages[ALIAS].account.key
    call_command("cf_images", "variants", "--apply", "--storage", "press_images", stdout=io.StringIO())
    assert "avatar" in other_account.app.state.variants()


@isolate_apps("tests.app")
def test_fields_of_the_page(accounts: dict[str, Any]) -> None:
    names: dict[str, Any] = {"models": models, "__name__": "tests.app.models"}
    pages.block(ACCOUNTS, "# models.py, a field with the other alias").run(names)
    assert names["Contract"]._meta.get_field("scan").storage is storages["private_images"]
    pages.block(ACCOUNTS, "# storages.py, by environment").run(names)
    assert django_settings.ENV_NAME == "test"
    assert names["private_images_by_environment"]() is storages["private_images"]


@pytest.mark.django_db(transaction=True)
def test_moving_to_another_account(
    accounts: dict[str, Any],
    settings: Any,
    cf_images_emulator: Any,
    other_account: Emulator,
    cf_images_storage: Any,
) -> None:
    cf_images_storage(ALIAS)
    profile = Profile.objects.create(image=ContentFile(picture(), name="jane.png"))
    work()
    lines = re.findall(
        r"^\$ python manage\.py cf_images (.*)$", (pages.DOCS / ACCOUNTS).read_text("utf-8"), re.M
    )
    importing = next(line for line in lines if line.startswith("import"))
    verifying = next(line for line in lines if line.startswith("verify"))
    call_command("cf_images", *importing.split(), "app.Profile.image", stdout=io.StringIO())
    assert list(other_account.images) == [profile.image.name]
    names: dict[str, Any] = {}
    pages.block(ACCOUNTS, "# settings.py, the alias of the new account").run(names)
    settings.CF_IMAGES = {**settings.CF_IMAGES, **names["CF_IMAGES"]}
    cf_images_storage("press_images")
    call_command("cf_images", *verifying.split(), "app.Profile.image", stdout=io.StringIO())
    profile.refresh_from_db()
    assert profile.image.read() == picture()
    final = profile.image.storage.url(profile.image.name, final=True)
    assert final.startswith(other_account.delivery_url)
    assert profile.image.name in cf_images_emulator.images, "nothing is deleted in the old account"


# A domain of one's own


def delivery_url(beginning: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    pages.block(DOMAIN, beginning).run(names)
    return dict(names["CF_IMAGES"])


@pytest.mark.parametrize(
    "beginning", ["# settings.py, a domain of your own", "# settings.py, URLs with a path of your own"]
)
def test_urls_on_another_domain_are_those_of_the_page(settings: Any, beginning: str) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, **delivery_url(beginning)}
    settings.CF_IMG_HASH = "HASH"
    shown = [block.text.strip().replace("<account hash>", "HASH") for block in pages.blocks(DOMAIN, "text")]
    url = storages[ALIAS].url("avatars/jane-t9f2k0-5p2kd0qj3m8v7x1c.jpg", "avatar")
    assert url in shown
    assert variant_url(url, "public").endswith(
        ("/public", "/public/avatars/jane-t9f2k0-5p2kd0qj3m8v7x1c.jpg")
    )
    old = "https://imagedelivery.net/HASH/avatars/jane-t9f2k0-5p2kd0qj3m8v7x1c.jpg/avatar"
    assert variant_url(old, "public") == f"{old.removesuffix('avatar')}public"
    assert [message for message in checks.run_checks() if message.id == "cf_images.E001"] == []


def test_wrong_template_is_an_error_at_start_up(settings: Any) -> None:
    settings.CF_IMAGES = {**settings.CF_IMAGES, "DELIVERY_URL": "https://img.example.com/{variant}/{image}"}
    assert "cf_images.E001" in {message.id for message in checks.run_checks()}


# Security


def test_secret_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "cf_img_token").write_text("a-token\n")
    text = pages.block(SECURITY, "# settings.py, from files, as Docker and Kubernetes mount secrets").text
    names: dict[str, Any] = {}
    exec(text.replace("/run/secrets", str(tmp_path)), names)
    assert names["CF_IMG_TOKEN"] == "a-token"


def test_secrets_of_the_page_are_those_of_the_settings() -> None:
    table = (pages.DOCS / SECURITY).read_text("utf-8").partition("## Secrets")[2].partition("\n\n**")[0]
    secret = [option for option in conf.STORAGE_OPTIONS.values() if option.secret]
    for option in secret:
        assert any(f"`{name}`" in table for name in option.names)
    assert all(f"`{name}`" in table for name, option in conf.PACKAGE_OPTIONS.items() if option.secret)


def test_checks_that_pages_name_exist() -> None:
    sources = "".join(
        path.read_text("utf-8") for path in Path(sys.modules["cf_images"].__path__[0]).rglob("*.py")
    )
    for page in pages.all_pages():
        for check in re.findall(r"cf_images\.[EWI]\d{3}", (pages.DOCS / page).read_text("utf-8")):
            assert f'"{check}"' in sources, (page, check)
