"""The official ``cloudflare`` SDK works with every Images call that it has.

Where the SDK itself is wrong, a test shows how: it sends bytes without a name as
``application/octet-stream``, and cannot read the pages of list v1. Where that is unknown (it flattens
metadata into separate fields, "metadata.a", and sends an empty form where no form would do), the emulator
accepts and logs it. The SDK for Node is tried where `npm install` has put it: see ``NODE_SDK``.
"""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cloudflare
import httpx
import pytest

from cf_images.emulator import Emulator
from tests.emulator.conftest import PNG

UPLOAD: Any = ("a.png", PNG, "image/png")
METADATA = {"a": 1, "b": {"c": [1, 2]}, "yes": True}
AS_TEXTS = {"a": "1", "b": {"c": ["1", "2"]}, "yes": "true"}
# As in .ci/run: npm install --prefix .venv/node cloudflare
NODE_SDK = Path(sys.prefix) / "node" / "node_modules" / "cloudflare"


@pytest.fixture
def sdk(emulator: Emulator) -> Iterator[Any]:
    """The SDK's ``images`` with the account filled in."""
    with httpx.Client(verify=False) as http:
        yield cloudflare.Cloudflare(
            api_token=emulator.api_token, base_url=emulator.api_url, http_client=http, max_retries=0
        ).images


@pytest.fixture
def account_id(emulator: Emulator) -> dict[str, str]:
    return {"account_id": emulator.account_id}


def test_an_image_is_uploaded_read_changed_downloaded_and_deleted(sdk: Any, account_id: Any) -> None:
    image = sdk.v1.create(file=UPLOAD, id="jane.png", creator="jane", **account_id)
    assert (image.id, image.filename, image.creator) == ("jane.png", "a.png", "jane")
    assert image.variants[0].endswith("/jane.png/public")
    changed = sdk.v1.edit("jane.png", metadata={"a": 1}, **account_id)
    assert changed.meta == {"a": 1}
    assert sdk.v1.get("jane.png", **account_id).meta == {"a": 1}
    assert sdk.v1.blobs.get("jane.png", **account_id).read() == PNG
    sdk.v1.delete("jane.png", **account_id)
    with pytest.raises(cloudflare.NotFoundError) as missing:
        sdk.v1.get("jane.png", **account_id)
    assert missing.value.errors[0].code == 5404


def test_a_private_image_is_uploaded(sdk: Any, account_id: Any) -> None:
    image = sdk.v1.create(file=UPLOAD, require_signed_urls=True, **account_id)
    assert image.require_signed_urls is True


def test_metadata_is_text_or_a_dict_which_the_sdk_flattens(sdk: Any, account_id: Any, caplog: Any) -> None:
    assert sdk.v1.create(file=UPLOAD, metadata='{"a": 1}', **account_id).meta == {"a": 1}
    assert guesses(caplog) == []
    assert sdk.v1.create(file=UPLOAD, metadata=METADATA, **account_id).meta == AS_TEXTS
    assert len(guesses(caplog)) == 1
    assert "(metadata.a)" in guesses(caplog)[0]


def test_bytes_without_a_name_are_an_error_as_the_sdk_sends_no_image_type(sdk: Any, account_id: Any) -> None:
    with pytest.raises(cloudflare.APIStatusError) as error:
        sdk.v1.create(file=PNG, **account_id)
    assert error.value.status_code == 415


def test_an_image_is_fetched_by_url(sdk: Any, account_id: Any, emulator: Emulator) -> None:
    with Emulator() as origin, httpx.Client(verify=False) as http:
        headers = {"Authorization": f"Bearer {origin.api_token}"}
        url = f"{origin.api_url}/accounts/{origin.account_id}/images/v1"
        response = http.post(url, files={"file": UPLOAD}, headers=headers)
        source = response.json()["result"]["variants"][0]
        image = sdk.v1.create(url=source, extra_body={"x": "y"}, **account_id)
    assert emulator.images[image.id].filename == "public"


def test_images_are_listed(sdk: Any, account_id: Any) -> None:
    for number in range(3):
        sdk.v1.create(file=UPLOAD, id=f"image-{number}", creator="jane" if number else "joe", **account_id)
    first = sdk.v2.list(per_page=2, sort_order="asc", **account_id)
    assert [image.id for image in first.images] == ["image-0", "image-1"]
    rest = sdk.v2.list(continuation_token=first.continuation_token, sort_order="asc", **account_id)
    assert [image.id for image in rest.images] == ["image-2"]
    assert [image.id for image in sdk.v2.list(creator="joe", **account_id).images] == ["image-0"]


def test_images_are_filtered_by_metadata(sdk: Any, account_id: Any) -> None:
    sdk.v1.create(file=UPLOAD, id="a", metadata='{"status": "active"}', **account_id)
    sdk.v1.create(file=UPLOAD, id="b", **account_id)
    listed = sdk.v2.list(extra_query={"meta.status[eq]": "active"}, **account_id)
    assert [image.id for image in listed.images] == ["a"]


def test_list_v1_works_although_the_sdk_cannot_read_it(sdk: Any, account_id: Any) -> None:
    sdk.v1.create(file=UPLOAD, id="a", **account_id)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        page = sdk.v1.list(per_page=10, **account_id)
    assert page.result_info.total_count == 1
    assert list(page) == []  # it reads "items", but the service sends "images"
    assert page.result.model_extra["images"][0]["id"] == "a"


def test_stats_are_read(sdk: Any, account_id: Any) -> None:
    sdk.v1.create(file=UPLOAD, **account_id)
    count = sdk.v1.stats.get(**account_id).count
    assert (count.current, count.allowed) == (1, 100_000)


def test_variants_are_created_read_changed_and_deleted(sdk: Any, account_id: Any) -> None:
    options = {"fit": "cover", "width": 20, "height": 20, "metadata": "none"}
    made = sdk.v1.variants.create(id="hero", options=options, never_require_signed_urls=True, **account_id)
    assert (made.variant.id, made.variant.options.width) == ("hero", 20)
    assert sdk.v1.variants.list(**account_id).variants.hero.never_require_signed_urls is True
    changed = sdk.v1.variants.edit("hero", options=options | {"width": 30}, **account_id)
    assert changed.variant.options.width == 30
    assert sdk.v1.variants.get("hero", **account_id).variant.options.width == 30
    sdk.v1.variants.delete("hero", **account_id)
    with pytest.raises(cloudflare.NotFoundError):
        sdk.v1.variants.get("hero", **account_id)


def test_keys_are_listed_created_and_deleted(sdk: Any, account_id: Any) -> None:
    assert [key.name for key in sdk.v1.keys.list(**account_id).keys] == ["default"]
    assert [key.name for key in sdk.v1.keys.update("second", **account_id).keys] == ["default", "second"]
    assert [key.name for key in sdk.v1.keys.delete("default", **account_id).keys] == ["second"]


def test_an_upload_url_is_created_and_used(sdk: Any, account_id: Any) -> None:
    expiry = datetime.now(UTC) + timedelta(minutes=10)
    reservation = sdk.v2.direct_uploads.create(id="a/b", expiry=expiry, metadata='{"a": "1"}', **account_id)
    with httpx.Client(verify=False) as http:
        assert http.post(reservation.upload_url, files={"file": UPLOAD}).status_code == 200
    assert sdk.v1.get("a/b", **account_id).meta == {"a": "1"}


def test_an_upload_url_without_options_is_created_from_an_empty_form(
    sdk: Any, account_id: Any, caplog: Any
) -> None:
    reservation = sdk.v2.direct_uploads.create(**account_id)
    assert "empty form" in guesses(caplog)[0]
    with httpx.Client(verify=False) as http:
        assert http.post(reservation.upload_url, files={"file": UPLOAD}).status_code == 200
    assert sdk.v1.get(reservation.id, **account_id).meta == {}


NODE_SCRIPT = """
const Cloudflare = require(process.argv[1]);
const [apiToken, baseURL, account_id, metadata] = JSON.parse(process.argv[2]);
const images = new Cloudflare({ apiToken, baseURL, maxRetries: 0 }).images;
(async () => {
    const plain = await images.v2.directUploads.create({ account_id });
    const bytes = new Uint8Array(Buffer.from(process.argv[3], "hex"));
    const file = new File([bytes], "a.png", { type: "image/png" });
    const image = await images.v1.create({ account_id, file, metadata });
    console.log(JSON.stringify({ reserved: plain.id, meta: image.meta }));
})();
"""


@pytest.mark.skipif(
    not (shutil.which("node") and NODE_SDK.exists()),
    reason="needs node and its SDK: npm install --prefix .venv/node cloudflare",
)
def test_the_sdk_for_node_creates_an_upload_url_and_sends_metadata(emulator: Emulator, caplog: Any) -> None:
    given = json.dumps([emulator.api_token, emulator.api_url, emulator.account_id, METADATA])
    command = ["node", "-e", NODE_SCRIPT, str(NODE_SDK), given, PNG.hex()]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["meta"] == AS_TEXTS
    assert found["reserved"]
    assert [text.partition(": ")[2].split()[0] for text in guesses(caplog)] == ["an", "metadata"]


@pytest.mark.parametrize(
    "names",
    [
        ["metadata.a", "metadata.b.c[]", "metadata.b.c[]", "metadata.yes"],  # the SDK for Python
        ["metadata[a]", "metadata[b][c][]", "metadata[b][c][]", "metadata[yes]"],  # the one for Node
    ],
)
def test_the_fields_that_sdks_make_of_metadata_are_taken_for_an_object(
    emulator: Emulator, names: list[str]
) -> None:
    fields = [(name, (None, value)) for name, value in zip(names, ["1", "1", "2", "true"], strict=True)]
    assert post(emulator, fields).json()["result"]["meta"] == AS_TEXTS


def test_lists_of_objects_keep_their_values(emulator: Emulator) -> None:
    fields = [("metadata[a][][b]", (None, "1")), ("metadata[a][][b]", (None, "2"))]
    assert post(emulator, fields).json()["result"]["meta"] == {"a": [{"b": "1"}, {"b": "2"}]}


@pytest.mark.parametrize(
    "names",
    [
        ["metadata.a", "metadata.a.b"],
        ["metadata.a.b", "metadata.a"],
        ["metadata.a", "metadata.a"],
        ["metadata.a[]", "metadata.a.b"],
        ["metadata[]"],
        ["metadata.a", "metadata"],
        ["metadata" + "[a]" * 17],
        ["metadata" + "[a]" * 20_000],
        ["metadata.a" + "b" * 1_024],
    ],
    ids=[
        "leaf-first",
        "object-first",
        "twice",
        "list",
        "no-object",
        "json-too",
        "deep",
        "bottomless",
        "long",
    ],
)
def test_fields_that_are_no_object_are_an_error(emulator: Emulator, names: list[str]) -> None:
    response = post(emulator, [(name, (None, '{"a": 1}')) for name in names])
    assert response.status_code == 400, response.text
    assert response.json()["errors"][0]["code"] == 5400


@pytest.mark.parametrize("name", ["metadata[a", "metadata.", "metadata..a", "metadata]a[", "metadatas.a"])
def test_fields_of_other_names_are_ignored(emulator: Emulator, name: str) -> None:
    assert post(emulator, [(name, (None, "1"))]).json()["result"]["meta"] == {}


def post(emulator: Emulator, fields: list[Any]) -> httpx.Response:
    """Upload an image with these fields, as they are."""
    with httpx.Client(verify=False) as http:
        return http.post(
            f"{emulator.api_url}/accounts/{emulator.account_id}/images/v1",
            files=[("file", UPLOAD), *fields],
            headers={"Authorization": f"Bearer {emulator.api_token}"},
        )


def guesses(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what the emulator has logged as guessed."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "cf_images.emulator" and record.levelno == logging.WARNING
    ]
