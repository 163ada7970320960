"""Random requests to every route and to delivery get a documented response, without a bug or a hang."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from werkzeug.datastructures import FileStorage
from werkzeug.test import EnvironBuilder, TestResponse, run_wsgi_app
from werkzeug.wrappers import Request

from cf_images.emulator import Emulator
from cf_images.emulator.limits import Limits
from tests.emulator.conftest import PNG, picture
from tests.emulator.test_delivery import EVIL_SVG
from tests.emulator.test_uploads import animation

FUZZ = settings(
    max_examples=100,
    deadline=20_000,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
IMAGES = {
    "photo.jpg": picture("JPEG", (80, 60)),
    "alpha.png": picture("PNG", (50, 70), mode="RGBA", color=(1, 2, 3, 128)),
    "moving.gif": animation("GIF", 3, (30, 20)),
    "drawing.svg": EVIL_SVG,
}
WORDS = ("variants", "keys", "stats", "batch_token", "config", "direct_upload", "public", "default", *IMAGES)

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
methods = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
segments = st.one_of(
    st.sampled_from([*WORDS, "a%2Fb", "%", "%zz", "..", "%00", "%ff"]),
    texts.map(lambda text: quote(text, safe="")),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
fields = st.dictionaries(
    st.sampled_from(
        [
            *("id", "options", "metadata", "creator", "requireSignedURLs", "neverRequireSignedURLs"),
            *("flexible_variants", "browser_ttl", "expiry", "url", "file", "width", "x"),
        ]
    ),
    json_values,
    max_size=5,
)
queries = st.lists(
    st.tuples(
        st.sampled_from(["page", "per_page", "creator", "sort_order", "continuation_token", "exp", "sig"])
        | st.sampled_from(["meta.a[eq]", "meta.a[gt]", "meta.a[in:number]", "meta.a.b[eq:boolean]", "meta"])
        | texts,
        st.sampled_from(["1", "0", "-1", "1e400", "nan", "true", "a|b", "1-1", "desc"]) | texts,
    ),
    max_size=4,
)
contents = st.one_of(
    st.binary(max_size=200),
    st.sampled_from(
        [PNG, PNG[:40], *IMAGES.values(), b"\xff\xd8\xff", b"GIF89a", b"RIFF    WEBPVP8X", b"<svg"]
    ),
    st.tuples(st.sampled_from([PNG, *IMAGES.values()]), st.integers(0, 400), st.binary(max_size=8)).map(
        lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] + len(parts[2]) :]
    ),
)
kinds = st.sampled_from(["image/png", "image/jpeg", "image/gif", "image/svg+xml", "text/plain", ""])
option_values = st.one_of(
    st.sampled_from(
        ["auto", "cover", "pad", "0.5x0.5", "1;2;3;4", "red", "%23fff", "json", "avif", "webp", "border"]
    ),
    st.integers(-10, 3_000).map(str),
    st.floats().map(str),
    texts.map(lambda text: quote(text, safe="")),
)
option_names = st.sampled_from(
    [
        *(
            "w",
            "h",
            "width",
            "height",
            "fit",
            "gravity",
            "g",
            "dpr",
            "q",
            "quality",
            "f",
            "format",
            "background",
        ),
        *(
            "rotate",
            "flip",
            "trim",
            "trim.left",
            "blur",
            "sharpen",
            "brightness",
            "contrast",
            "gamma",
            "saturation",
        ),
        *("anim", "metadata", "onerror", "segment", "zoom", "compression", "upscale", "scq", "x"),
    ]
)
options = st.lists(st.tuples(option_names, option_values).map("=".join), min_size=1, max_size=6).map(",".join)


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[Emulator]:
    """An emulator with a few images, and with small limits so that allowed requests are fast."""
    limits = Limits(area=1_000_000, animation_area=1_000_000, upload_bytes=100_000)
    with Emulator(limits=limits) as emulator:
        for name, body in IMAGES.items():
            kind = {"jpg": "image/jpeg", "svg": "image/svg+xml"}.get(name[-3:], f"image/{name[-3:]}")
            response = call(emulator, "POST", "v1", data={"id": name, "file": (io.BytesIO(body), name, kind)})
            assert response.status_code == 200, response.text
        yield emulator


def call(emulator: Emulator, method: str, path: str, **options: Any) -> TestResponse:
    """Send an API request to the application; ``path`` is already encoded."""
    url = f"/client/v4/accounts/{emulator.account_id}/images/{path}"
    return ask(emulator, method, url, headers={"Authorization": f"Bearer {emulator.api_token}"}, **options)


def ask(emulator: Emulator, method: str, path: str, **options: Any) -> TestResponse:
    environ = EnvironBuilder("/", method=method, **options).get_environ()
    query = f"?{environ['QUERY_STRING']}" if environ["QUERY_STRING"] else ""
    environ["RAW_URI"] = environ["REQUEST_URI"] = path + query
    return run(emulator, environ)


def run(emulator: Emulator, environ: Any) -> TestResponse:
    """Return the response of the application for a WSGI environment."""
    return TestResponse(*run_wsgi_app(emulator.app, environ, buffered=True), request=Request(environ))


def is_documented(response: TestResponse) -> bool:
    """Return whether this is an envelope, a line of text with a code, an image, or an empty body."""
    if response.status_code >= 500:
        return False
    if response.mimetype == "application/json":
        body = json.loads(response.data or "{}")
        return not body or "original" in body or body["success"] is (response.status_code == 200)
    if response.mimetype == "text/plain" and response.data:
        return re.match(r"ERROR \d{4}: ", response.text) is not None
    return response.status_code in (200, 204, 304) or not response.data


@FUZZ
@given(method=methods, path=st.lists(segments, max_size=5).map("/".join), query=queries, body=fields)
def test_the_api_with_json(fuzzed: Emulator, method: str, path: str, query: Any, body: Any) -> None:
    response = call(
        fuzzed, method, path, query_string=query, data=json.dumps(body), content_type="application/json"
    )
    assert is_documented(response), response.text


@FUZZ
@given(
    method=methods,
    path=st.sampled_from(["v1", "v2", "v1/variants", "v1/keys", "v1/config", "v1/stats"])
    | st.tuples(st.sampled_from(["v1", "v1/variants", "v1/keys"]), segments).map("/".join)
    | segments.map("v1/{}/blob".format),
    query=queries,
    body=fields.map(json.dumps) | st.binary(max_size=50),
)
def test_every_route(fuzzed: Emulator, method: str, path: str, query: Any, body: Any) -> None:
    if method == "DELETE" and any(name in path for name in IMAGES):
        method = "GET"  # the images are needed by the other tests
    assert is_documented(call(fuzzed, method, path, query_string=query, data=body))


@FUZZ
@given(
    path=st.sampled_from(["v1", "v2/direct_upload"]),
    form=st.dictionaries(
        st.sampled_from(["id", "metadata", "creator", "requireSignedURLs", "expiry", "url", "other"]),
        texts
        | json_values.map(json.dumps)
        | st.sampled_from(["true", "http://127.0.0.1:1/", "http://[", "a/b"]),
        max_size=4,
    ),
    part=st.sampled_from(["file", "image"]),
    name=texts | st.none(),
    content=contents,
    kind=kinds,
)
def test_forms(
    fuzzed: Emulator, path: str, form: Any, part: str, name: str | None, content: bytes, kind: str
) -> None:
    data = form | {part: FileStorage(io.BytesIO(content), filename=name, content_type=kind)}
    response = call(fuzzed, "POST", path, data=data, content_type="multipart/form-data")
    assert is_documented(response), response.text
    if response.status_code == 200 and path == "v1":
        image = response.json["result"]  # type: ignore[index]
        assert is_documented(ask(fuzzed, "GET", urlsplit(image["variants"][0]).path))


@FUZZ
@given(body=st.binary(max_size=300), boundary=st.sampled_from(["b", "", "ü", "b;b"]))
@example(body=b"--b\r\n" * 200, boundary="b")
@example(body=b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--", boundary="b")
def test_malformed_forms(fuzzed: Emulator, body: bytes, boundary: str) -> None:
    for path in ("v1", "v2/direct_upload"):
        kind = f"multipart/form-data; boundary={boundary}"
        assert is_documented(call(fuzzed, "POST", path, data=body, content_type=kind))


@settings(FUZZ, max_examples=250)
@given(
    name=st.sampled_from(list(IMAGES)),
    chosen=options,
    accept=st.sampled_from(["", "*/*", "image/avif,image/webp", "image/webp", "x;q=ü"]),
    prefix=st.sampled_from(["", "/cdn-cgi/imagedelivery"]),
)
@example(name="photo.jpg", chosen="w=1e9", accept="", prefix="")
@example(name="photo.jpg", chosen="w=1e9,h=1e9,fit=squeeze", accept="", prefix="")
@example(name="photo.jpg", chosen="w=-1", accept="", prefix="")
@example(name="photo.jpg", chosen="blur=9999", accept="", prefix="")
@example(name="photo.jpg", chosen=",".join(["w=1"] * 500), accept="", prefix="")
@example(name="moving.gif", chosen="w=2000,h=2000,fit=pad", accept="image/webp", prefix="")
def test_options(fuzzed: Emulator, name: str, chosen: str, accept: str, prefix: str) -> None:
    path = f"{prefix}/{fuzzed.account_hash}/{name}/{chosen}"
    response = ask(fuzzed, "GET", path, headers={"Accept": accept.encode().decode("latin-1")})
    assert is_documented(response), response.text


@FUZZ
@given(
    method=methods, path=st.lists(segments, max_size=4).map("/".join), query=queries, headers=st.booleans()
)
def test_the_delivery_path(fuzzed: Emulator, method: str, path: str, query: Any, headers: bool) -> None:
    conditional = (
        {"If-None-Match": "*", "If-Modified-Since": "yesterday", "Range": "bytes=5-2"} if headers else {}
    )
    for prefix in ("/a/", f"/{fuzzed.account_hash}/", "/cdn-cgi/imagedelivery/"):
        response = ask(fuzzed, method, prefix + path, query_string=query, headers=conditional)
        assert is_documented(response), response.text


@FUZZ
@given(method=methods, path=st.lists(segments, max_size=3).map("/".join), body=fields.map(json.dumps))
def test_upload_urls_batch_host_and_controls(fuzzed: Emulator, method: str, path: str, body: str) -> None:
    for prefix in (
        f"/upload/{fuzzed.account_hash}/",
        "/upload/",
        "/images/",
        "/client/",
        "/__emulator__/thumbnails/",
    ):
        response = ask(fuzzed, method, prefix + path, data=body, content_type="application/json")
        assert response.status_code < 500
    response = ask(fuzzed, method, "/__emulator__/faults", data=body, content_type="application/json")
    assert response.status_code < 500


@FUZZ
@given(authorization=texts, host=texts)
def test_headers(fuzzed: Emulator, authorization: str, host: str) -> None:
    environ = EnvironBuilder("/", method="POST").get_environ()
    environ["RAW_URI"] = f"/client/v4/accounts/{fuzzed.account_id}/images/v2/direct_upload"
    environ["HTTP_AUTHORIZATION"] = authorization.encode().decode("latin-1")
    assert is_documented(run(fuzzed, environ))
    environ["HTTP_AUTHORIZATION"] = f"Bearer {fuzzed.api_token}"
    environ["HTTP_HOST"] = host.encode().decode("latin-1")
    assert run(fuzzed, environ).status_code < 500
