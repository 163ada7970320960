"""The example project: its one command, its settings, and what becomes of its processes."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from html import unescape
from pathlib import Path

import httpx
import pytest

fcntl = pytest.importorskip("fcntl", reason="the example needs Linux, macOS or WSL")

from example_project.processes import HOST, Children, DemoError, alone, answers, free_port  # noqa: E402
from example_project.visit import Visit  # noqa: E402
from tests.pictures import picture  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
# What may stand in the environment of whoever runs the tests, and would send images elsewhere.
OURS = ("CF_", "ENV_NAME", "EXAMPLE_", "DJANGO_SETTINGS_MODULE")

CHROMIUM = next((path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), "")
BROWSE = (
    *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--virtual-time-budget=5000", "--dump-dom"),
)
# A frame may be narrower than the narrowest window of a browser without a screen.
PHONE = """<!DOCTYPE html><meta charset="utf-8"><body><script>
const frame = document.createElement("iframe");
frame.width = 360;
frame.srcdoc = HTML;
frame.onload = () => {
  const page = frame.contentDocument, sides = [...page.querySelectorAll("main *")]
    .filter((element) => element.getBoundingClientRect().right > 360).map((element) => element.outerHTML);
  const width = page.documentElement.scrollWidth, columns = getComputedStyle(
    page.querySelector(".technique")).gridTemplateColumns.split(" ").length;
  document.body.textContent = "SEEN" + JSON.stringify({width, columns, sides});
};
document.body.append(frame);
</script>"""
SAMPLES = ("aurora", "city", "dawn", "dunes", "dusk", "night", "noon", "wood")
# The settings of the example are not those of these tests: whatever looks at its pages is a process.
GALLERY = """
import django
django.setup()
from django.test import Client
from example_project import content
content.prepare()
hung = content.hang()
html = Client(headers={"host": "127.0.0.1"}).get("/gallery/").content.decode()
"""


def python(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """``python -m`` in an empty home, with temporary files in a path that has a space."""
    temporary = folder / "a folder"
    temporary.mkdir(parents=True)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env={**clean, "HOME": str(folder), "TMPDIR": str(temporary), **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def page(tmp_path: Path) -> Callable[..., str]:
    """The gallery with a small photograph on each card, as the test's script prints it."""

    def run(script: str, **variables: str) -> str:
        for sample in SAMPLES:
            path = tmp_path / "samples" / f"{sample}.jpg"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(picture("JPEG", (300, 200)))
        (tmp_path / "gallery_script.py").write_text(GALLERY + script)
        ran = python(
            tmp_path,
            "gallery_script",
            PYTHONPATH=str(tmp_path),
            EXAMPLE_STATE=str(tmp_path),
            DJANGO_SETTINGS_MODULE="example_project.settings",
            **variables,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    return run


def wait_until(is_done: Callable[[], bool]) -> None:
    """Poll; the test's own timeout is the limit."""
    while not is_done():
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("env_name", "address", "pressed"),
    [
        pytest.param("demo", r"http://127\.0\.0\.1:\d+/\w+/avatars/%s-[\w-]+\.jpg/%s", 2, id="emulator"),
        pytest.param(
            "dev", r"http://127\.0\.0\.1:\d+/cf-images/local/%s/avatars/%s[\w-]*\.jpg", 1, id="local"
        ),
    ],
)
def test_once_fetches_the_first_pictures_and_the_gallery_back_in_every_size(
    tmp_path: Path, env_name: str, address: str, pressed: int
) -> None:
    run = python(tmp_path, "example_project", "--once", ENV_NAME=env_name)

    assert run.returncode == 0, run.stdout + run.stderr
    sizes = {"avatar": "240 x 240", "w=200": "200 x 133", "public": "1153 x 768"}
    for sample in ("dusk", "night"):
        for variant, size in sizes.items():
            parts = (variant, sample) if env_name == "dev" else (sample, variant)
            assert re.search(f"{size}  {address % parts}\n", run.stdout), run.stdout
    gallery = re.search(r"The gallery: (\d+) pictures looked at, (\d) buttons? pressed", run.stdout)
    assert gallery, run.stdout
    assert int(gallery[1]) > 25
    assert int(gallery[2]) == pressed
    assert re.search(r"Open +http://127\.0\.0\.1:\d+/\n", run.stdout)
    assert not list((tmp_path / "a folder").iterdir())  # nothing stays behind


@pytest.mark.parametrize(
    "command", [("check", "--fail-level", "WARNING"), ("makemigrations", "--check", "--dry-run")]
)
def test_the_settings_are_sound(tmp_path: Path, command: tuple[str, ...]) -> None:
    run = python(
        tmp_path, "django", *command, "--settings", "example_project.settings", EXAMPLE_STATE=str(tmp_path)
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_a_second_one_is_told_where_the_first_is(tmp_path: Path) -> None:
    with alone(tmp_path):
        (tmp_path / "address").write_text("http://127.0.0.1:8000/")
        with (
            pytest.raises(DemoError, match=r"running already, at http://127\.0\.0\.1:8000/"),
            alone(tmp_path),
        ):
            pass
    with alone(tmp_path):
        assert not (tmp_path / "address").exists()  # the next one is not told of the first


def test_a_taken_port_is_replaced_by_a_free_one() -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        assert free_port(port) not in (0, port)
    assert free_port(port) == port


def test_a_process_that_ends_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    children = Children(tmp_path)
    children.start("broken", "no_such_module")
    try:
        with pytest.raises(DemoError, match=r"The broken has ended(.|\n)*No module named '?no_such_module"):
            children.wait_for("nothing", lambda: False)
    finally:
        children.stop()


def test_the_optional_process_may_be_stopped_and_started_again(tmp_path: Path) -> None:
    children = Children(tmp_path)
    port = free_port()
    children.optional = server = children.start("server", "http.server", str(port), "--bind", HOST)
    try:
        children.wait_for("the start", lambda: answers(f"http://{HOST}:{port}/"))
        children.toggle_optional()
        children.check()
        assert not server.is_running
        children.toggle_optional()
        children.wait_for("the second start", lambda: answers(f"http://{HOST}:{port}/"))
    finally:
        children.stop()
    assert not answers(f"http://{HOST}:{port}/")


def test_children_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    port = free_port()
    parent = f"""
import pathlib, time
from example_project.processes import Children
Children(pathlib.Path({str(tmp_path)!r})).start("server", "http.server", "{port}", "--bind", "{HOST}")
time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", parent], cwd=ROOT)
    wait_until(lambda: answers(f"http://{HOST}:{port}/"))

    process.send_signal(signal.SIGKILL)
    process.wait()

    wait_until(lambda: not answers(f"http://{HOST}:{port}/"))


def test_the_code_on_the_gallery_is_the_code_that_made_the_pictures(page: Callable[..., str]) -> None:
    html = page("print(html)", ENV_NAME="dev")

    cards = re.findall(r'<section class="technique" id="(\w+)"(.*?)</section>', html, re.DOTALL)
    assert len(cards) == 10
    for slug, card in cards:
        shown = [unescape(code) for code in re.findall(r"<pre><code>(.*?)</code></pre>", card, re.DOTALL)]
        sources = re.findall(r'<div class="listing">\s*<p>([\w/.]+)', card)
        for source, code in zip(sources, shown, strict=False):  # the last one is what the browser gets
            folder = ROOT / "example_project"
            path = folder / ("gallery/templates/gallery/cards" if source.endswith(".html") else "") / source
            whole = path.read_text()
            assert code == whole.strip() if source.endswith(".html") else _is_part(code, whole), code
        if slug != "admin":
            assert sources[0] == f"{slug}.html"
            live = re.search(r'<div class="pictures">(.*?)</div>', card, re.DOTALL)
            assert live
            assert shown[-1] == live[1].strip()  # "What the browser gets" is what it gets


def test_each_picture_of_the_gallery_is_what_its_code_gives(page: Callable[..., str]) -> None:
    rendered = page(
        """
import re
from html import unescape
from django.template import Context, Template
from example_project.gallery import techniques
from example_project.gallery.cards import CARDS
photos = iter(hung)
for card in filter(lambda card: card.sample, CARDS):
    part = html.partition(f'id="{card.slug}"')[2]
    code = unescape(re.search("<pre><code>(.*?)</code>", part, re.DOTALL)[1])
    made = Template(code).render(Context({"photo": next(photos).instance, "square": techniques.square()}))
    assert "<img" in made
    live = re.search('<div class="pictures">(.*?)</div>', part, re.DOTALL)[1]
    print(card.slug, made.strip() == live.strip())
""",
        ENV_NAME="dev",
    )
    assert rendered.count("True") == len(rendered.splitlines()) == 9, rendered


def test_the_gallery_says_that_local_files_are_not_private(page: Callable[..., str]) -> None:
    html = page("print(html)", ENV_NAME="dev")
    assert "Local files are not private" in html
    assert 'id="bare"' not in html


def test_the_gallery_is_there_while_nobody_has_the_signing_keys(page: Callable[..., str]) -> None:
    html = page(
        """
from example_project.gallery.models import PrivatePhoto
PrivatePhoto.objects.update(file="private/night-t5x2k0~0c1e.jpg")  # one that has arrived
print(Client(headers={"host": "127.0.0.1"}).get("/gallery/").content.decode())
""",
        ENV_NAME="demo",
        EXAMPLE_EMULATOR=f"http://{HOST}:{free_port()}",
        CF_ACCT_ID="0" * 32,
        CF_IMG_TOKEN="token",
        CF_IMG_HASH="hash",
    )
    assert "The signing keys of private images cannot be fetched" in html
    assert html.count('<div class="pictures">') == 8


@pytest.mark.skipif(not CHROMIUM, reason="needs Debian's chromium: apt-get install chromium")
def test_the_gallery_needs_no_sideways_scrolling_on_a_phone(page: Callable[..., str], tmp_path: Path) -> None:
    style = (ROOT / "example_project/profiles/static/profiles/site.css").read_text()
    html = page("print(html)", ENV_NAME="dev").replace("</head>", f"<style>{style}</style></head>")
    (tmp_path / "phone.html").write_text(PHONE.replace("HTML", json.dumps(html).replace("</", "<\\/"), 1))

    command = [*BROWSE, f"--user-data-dir={tmp_path}/profile", (tmp_path / "phone.html").as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True).stdout

    seen = re.search(r"SEEN(\{.*\})", dom)
    assert seen, dom
    said = json.loads(unescape(seen[1]))
    assert said == {"width": said["width"], "columns": 1, "sides": []}
    assert 300 < said["width"] <= 360


@pytest.mark.parametrize(
    ("element", "flaw"),
    [
        ('<img src="/64" width="64" height="48" alt="">', ""),
        ('<img src="/64" width="64" height="64" alt="J">', "J: /64 is 64 x 48, not 64 x 64"),
        ('<img src="/64" srcset="/64 64w, /32 64w" sizes="9px" alt="J">', "J: /32 is 32 x 24, not 64 x any"),
        ('<img src="/64" width="64" height="48" srcset="/64 1x, /32 2x" alt="J">', "32 x 24, not 128 x any"),
        ('<img src="/64" style="background:url(&quot;/64&quot;)" alt="J">', "64 x 48, not 32 x any"),
        ('<img src="/missing" alt="J">', "no image at /missing"),
        ("", "shows no image"),
    ],
)
def test_the_visitor_of_the_gallery_notices_what_is_wrong(tmp_path: Path, element: str, flaw: str) -> None:
    answers = {"/gallery/": element.encode(), "/64": picture(), "/32": picture(size=(32, 24))}
    transport = httpx.MockTransport(
        lambda request: (
            httpx.Response(200, content=answers[request.url.path])
            if request.url.path in answers
            else httpx.Response(404)
        )
    )
    visit = Visit("http://site", Children(tmp_path), emulator="")
    visit.browser = httpx.Client(transport=transport, base_url="http://site")

    found = list(visit._pictures())

    assert len(found) == bool(flaw), found
    assert not found or flaw in found[0]


def _is_part(code: str, whole: str) -> bool:
    """Whether ``whole`` has these lines, at any indentation."""
    lines = [line.strip() for line in whole.splitlines()]
    wanted = [line.strip() for line in code.splitlines()]
    return any(lines[at : at + len(wanted)] == wanted for at in range(len(lines)))
