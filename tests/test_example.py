"""The example project: ``dev.py run``, the settings, the processes, and what the pages show."""

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
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest

import cf_images
import dev
from dev import HOST
from tests.pictures import picture
from tests.smoke import Smoke

pytest.importorskip("fcntl", reason="the example needs Linux, macOS or WSL")

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "example_project"
# Variables of a developer's environment that would send images elsewhere.
FOREIGN = ("CF_", "ENV_NAME", "EMULATOR_URL", "SITE_URL", "EXAMPLE_", "DJANGO_SETTINGS_MODULE")
# dev.py with the interpreter of the tests instead of .venv
RUN = """
import pathlib, sys
import dev
dev.PYTHON = pathlib.Path(sys.executable)
"""

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
ACCOUNT = {"CF_ACCT_ID": "0" * 32, "CF_IMG_TOKEN": "token", "CF_IMG_HASH": "hash"}
SAMPLES = ("aurora", "autumn", "dawn", "dusk", "mist", "night", "noon", "twilight")
# The example has other settings than these tests, so its pages are rendered in another process.
GALLERY = """
import django
django.setup()
from django.core.management import call_command
from django.test import Client
call_command("migrate", verbosity=0)
call_command("demo")
client = Client(headers={"host": "127.0.0.1"})
html = client.get("/gallery/").content.decode()
"""


def python(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python with an empty home, and temporary files in a path that has a space."""
    temporary = folder / "a folder"
    temporary.mkdir(parents=True)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**clean, "HOME": str(folder), "TMPDIR": str(temporary), **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def page(tmp_path: Path) -> Callable[..., str]:
    """Fill the gallery with a small photograph on each card; return what the script of the test prints."""

    def run(script: str, **variables: str) -> str:
        for sample in SAMPLES:
            path = tmp_path / "samples" / f"{sample}.jpg"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(picture("JPEG", (300, 200)))
        (tmp_path / "gallery_script.py").write_text(GALLERY + script)
        ran = python(
            tmp_path,
            *("-m", "gallery_script"),
            PYTHONPATH=os.pathsep.join([str(tmp_path), str(EXAMPLE)]),
            EXAMPLE_STATE=str(tmp_path),
            DJANGO_SETTINGS_MODULE="config.settings",
            **variables,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    return run


@pytest.fixture
def processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dev.Processes]:
    monkeypatch.setattr(dev, "PYTHON", Path(sys.executable))
    started = dev.Processes(tmp_path, dev.example_environment(tmp_path, ""))
    yield started
    started.stop()


def wait_until(is_done: Callable[[], bool]) -> None:
    """Poll until the timeout of the test."""
    while not is_done():
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("env_name", "url", "pressed"),
    [
        pytest.param("demo", r"http://127\.0\.0\.1:\d+/\w+/avatars/%s-[\w-]+\.jpg/%s", 10, id="emulator"),
        pytest.param(
            "dev", r"http://127\.0\.0\.1:\d+/cf-images/local/%s/avatars/%s[\w-]*\.jpg", 2, id="local"
        ),
    ],
)
def test_once_loads_the_sample_pictures_and_the_gallery_in_every_size(
    tmp_path: Path, env_name: str, url: str, pressed: int
) -> None:
    run = python(tmp_path, "-c", RUN + "sys.exit(dev.run(once=True))", ENV_NAME=env_name)

    assert run.returncode == 0, run.stdout + run.stderr
    sizes = {"avatar": "240 x 240", "w=200": "200 x 133", "public": "1153 x 768"}
    for sample in ("dusk", "night"):
        for variant, size in sizes.items():
            parts = (variant, sample) if env_name == "dev" else (sample, variant)
            assert re.search(f"{size}  {url % parts}\n", run.stdout), run.stdout
    gallery = re.search(r"The gallery: (\d+) pictures loaded, (\d+) buttons? pressed", run.stdout)
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
        tmp_path,
        *("example_project/manage.py", *command),
        PYTHONPATH=str(Path(cf_images.__file__).parent.parent),
        EXAMPLE_STATE=str(tmp_path),
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["--twice"], 2), (["--once", "now"], 2), (["--once", "--screenshots"], 2), (["--help"], 0)],
)
def test_run_with_other_arguments_prints_the_usage(tmp_path: Path, arguments: list[str], status: int) -> None:
    run = python(tmp_path, "dev.py", "run", *arguments)
    assert run.returncode == status
    assert "python3 dev.py run [--once]" in run.stdout


def test_a_second_one_is_told_where_the_first_is(tmp_path: Path) -> None:
    with dev.locked(tmp_path):
        (tmp_path / "url").write_text("http://127.0.0.1:8000/")
        with (
            pytest.raises(dev.ExampleError, match=r"already running, at http://127\.0\.0\.1:8000/"),
            dev.locked(tmp_path),
        ):
            pass
    with dev.locked(tmp_path):
        assert not (tmp_path / "url").exists()  # the next one is not told of the first


def test_a_taken_port_is_replaced_by_a_free_one(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        assert dev.free_port(port) not in (0, port)
        assert f"Port {port} is taken: using " in capsys.readouterr().out
    assert dev.free_port(port) == port
    assert not capsys.readouterr().out


def test_the_emulator_keeps_its_port_for_uploads_that_are_still_pending(tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as taken:
        (tmp_path / "emulator-port").write_text(str(taken.getsockname()[1]))
        port = dev.emulator_port(tmp_path, once=False)
    assert dev.emulator_port(tmp_path, once=False) == port


def test_a_process_that_ends_is_named_with_the_end_of_its_log(processes: dev.Processes) -> None:
    processes.start("broken", "no_such_module")
    with pytest.raises(
        dev.ExampleError, match=r"The broken has ended(.|\n)*No module named '?no_such_module"
    ):
        processes.wait_for("broken", lambda: False)


def test_a_command_that_fails_is_named_with_the_end_of_its_output(processes: dev.Processes) -> None:
    with pytest.raises(dev.ExampleError, match=r"no_such_command has failed(.|\n)*Unknown command"):
        processes.manage("no_such_command")


def test_a_killed_process_is_named_with_the_signal(processes: dev.Processes) -> None:
    processes.start("server", "http.server", str(dev.free_port(0)), "--bind", HOST)
    processes.check()
    processes.running["server"].kill()
    processes.running["server"].wait()
    with pytest.raises(dev.ExampleError, match=r"The server has ended \(killed by signal 9\)"):
        processes.check()


def test_a_proxy_in_the_environment_is_not_asked_for_local_servers(
    processes: dev.Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("http_proxy", f"http://{HOST}:{dev.free_port(0)}")
    port = dev.free_port(0)
    processes.start("server", "http.server", str(port), "--bind", HOST)
    processes.wait_for("server", lambda: dev.responds(f"http://{HOST}:{port}/"), seconds=10)
    assert dev.example_environment(processes.folder, "")["NO_PROXY"] == HOST


def test_processes_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    port = dev.free_port(0)
    parent = f"""{RUN}
import time
folder = pathlib.Path({str(tmp_path)!r})
processes = dev.Processes(folder, dev.example_environment(folder, ""))
processes.start("server", "http.server", "{port}", "--bind", "{HOST}")
time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", parent], cwd=ROOT)
    wait_until(lambda: dev.responds(f"http://{HOST}:{port}/"))

    process.send_signal(signal.SIGKILL)
    process.wait()

    wait_until(lambda: not dev.responds(f"http://{HOST}:{port}/"))


def test_the_outage_button_takes_the_emulator_down_and_brings_it_back(
    page: Callable[..., str], cf_images_emulator: Any
) -> None:
    delivery = f"{cf_images_emulator.url}/{cf_images_emulator.account_hash}/missing/public"

    seen = page(
        f"""
import httpx
def status(url):
    try:
        return httpx.get(url, trust_env=False).status_code
    except httpx.HTTPError as error:
        return type(error).__name__
for button in ("Take it down", "Bring it back", "Take it down"):
    assert button in client.get("/").content.decode()
    print(status({delivery!r}), status("{cf_images_emulator.api_url}/accounts"))
    client.post("/demo/outage/")
""",
        ENV_NAME="demo",
        EMULATOR_URL=cf_images_emulator.url,
        **ACCOUNT,
    )

    up, down, up_again = seen.splitlines()
    assert "Error" not in up
    assert down.count("Error") == 2
    assert up_again == up


def test_the_outage_button_says_that_the_emulator_does_not_respond(page: Callable[..., str]) -> None:
    url = f"http://{HOST}:{dev.free_port(0)}"
    html = page(
        'print(client.post("/demo/outage/", follow=True).content.decode())',
        ENV_NAME="demo",
        EMULATOR_URL=url,
        **ACCOUNT,
    )
    assert f"The emulator at {url} does not respond" in html


def test_the_code_on_the_gallery_is_the_code_that_made_the_pictures(page: Callable[..., str]) -> None:
    html = page("print(html)", ENV_NAME="dev")

    cards = re.findall(r'<section class="technique" id="(\w+)"(.*?)</section>', html, re.DOTALL)
    assert len(cards) == 10
    for slug, card in cards:
        shown = [text(code) for code in re.findall(r"<pre><code>(.*?)</code></pre>", card, re.DOTALL)]
        sources = re.findall(r'<div class="listing">\s*<p>([\w/.]+)', card)
        for source, code in zip(sources, shown, strict=False):  # the last one is the HTML
            path = EXAMPLE / ("gallery/templates/gallery/cards" if source.endswith(".html") else "") / source
            whole = path.read_text()
            assert code == whole.strip() if source.endswith(".html") else _is_part(code, whole), code
        if slug != "admin":
            assert sources[0] == f"{slug}.html"
            live = re.search(r'<div class="pictures">(.*?)</div>', card, re.DOTALL)
            assert live
            assert shown[-1] == live[1].strip()  # the HTML that the browser gets


def test_the_code_on_the_gallery_is_highlighted_by_classes_alone(page: Callable[..., str]) -> None:
    html = page("print(html)", ENV_NAME="dev")

    blocks = re.findall(r"<pre><code>(.*?)</code></pre>", html, re.DOTALL)
    assert len(blocks) > 20
    style = (EXAMPLE / "static/site.css").read_text()
    for block in blocks:
        assert "style=" not in re.sub(r">[^<]*<", "><", block)
        lines = block.split('<span class="line in')[1:]
        assert len(lines) == len(text(block).splitlines())
        for line in lines:
            depth, _, code = line.partition('">')
            spaces = len(text(code).rstrip("\n")) - len(text(code).rstrip("\n").lstrip(" "))
            assert int(depth) == spaces // 2 * 2
            assert depth == "0" or f".in{depth} {{ --in: {depth}; }}" in style
    classes = set(re.findall(r'<span class="(\w+)"', "".join(blocks)))
    assert {"k", "s2", "nf", "nt", "na"} <= classes


def test_each_picture_of_the_gallery_is_what_its_code_gives(page: Callable[..., str]) -> None:
    rendered = page(
        """
import re
from html import unescape
from django.template import Context, Template
from gallery import techniques
from gallery.cards import CARDS
for card in filter(lambda card: card.sample, CARDS):
    part = html.partition(f'id="{card.slug}"')[2]
    code = unescape(re.sub("<.*?>", "", re.search("<pre><code>(.*?)</code>", part, re.DOTALL)[1]))
    made = Template(code).render(Context({"photo": card.photos.first(), "square": techniques.square()}))
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
    assert 'id="unsigned"' not in html


def test_the_gallery_works_without_the_signing_keys(page: Callable[..., str]) -> None:
    html = page(
        """
from gallery.models import PrivatePhoto
PrivatePhoto.objects.update(file="private/night~610a686f-3fa7-46ca-e36d-3c00bd791b00.jpg")
print(client.get("/gallery/").content.decode())
""",
        ENV_NAME="demo",
        EMULATOR_URL=f"http://{HOST}:{dev.free_port(0)}",
        **ACCOUNT,
    )
    assert "The signing keys of private images cannot be fetched" in html
    assert html.count('<div class="pictures">') == 8


@pytest.mark.skipif(not CHROMIUM, reason="needs Debian's chromium: apt-get install chromium")
def test_the_gallery_needs_no_sideways_scrolling_on_a_phone(page: Callable[..., str], tmp_path: Path) -> None:
    style = (EXAMPLE / "static/site.css").read_text()
    html = page("print(html)", ENV_NAME="dev").replace("</head>", f"<style>{style}</style></head>")
    (tmp_path / "phone.html").write_text(PHONE.replace("HTML", json.dumps(html).replace("</", "<\\/"), 1))

    command = [*BROWSE, f"--user-data-dir={tmp_path}/profile", (tmp_path / "phone.html").as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True).stdout

    seen = re.search(r"SEEN(\{.*\})", dom)
    assert seen, dom
    said = json.loads(unescape(seen[1]))
    assert said == {"width": said["width"], "columns": 1, "sides": []}
    assert 300 < said["width"] <= 360


def test_photos_are_uploaded_by_the_browser_and_saved_together(
    page: Callable[..., str], tmp_path: Path
) -> None:
    script = """
import json, pathlib, re
from django.core.files.uploadedfile import SimpleUploadedFile
html = client.get("/photos/").content.decode()
field = re.search('data-field="([^"]+)"', html)[1]
values = []
for path in sorted(pathlib.Path("%s").glob("samples/*.jpg"))[:3]:
    given = {"field": field, "filename": path.name, "size": path.stat().st_size, "type": "image/jpeg"}
    url = "/cf-images/reservations/"
    reserved = client.post(url, json.dumps(given), content_type="application/json").json()
    file = SimpleUploadedFile(path.name, path.read_bytes(), "image/jpeg")
    print(client.post(reserved["upload_url"], {"file": file}).status_code)
    values.append(reserved["value"])
print(client.post("/photos/", {"photos-upload": values}).status_code)
print(re.findall('alt="([a-z]+).jpg"', client.get("/photos/").content.decode()))
print("cf-image-upload" in client.get("/").content.decode())
"""
    lines = page(script % tmp_path, ENV_NAME="dev").splitlines()[-6:]
    assert lines == ["200", "200", "200", "302", "['dawn', 'autumn', 'aurora']", "True"]


def test_the_page_about_moving_needs_a_cloudflare(page: Callable[..., str]) -> None:
    script = 'print(client.get("/moving/").content.decode(), client.post("/moving/import/").status_code)'
    text = page(script)
    assert "There is no Cloudflare here" in text
    assert text.rstrip().endswith("404")


def test_the_page_about_moving_does_not_switch_to_pictures_that_are_not_there(
    page: Callable[..., str],
) -> None:
    script = """
for action in ("nothing", "switch", "add"):
    print(client.post(f"/moving/{action}/").status_code)
print(client.get("/moving/").content.decode())
"""
    text = page(script, ENV_NAME="demo", EMULATOR_URL="http://127.0.0.1:9", **ACCOUNT)
    assert text.split()[:3] == ["404", "302", "302"]
    assert "import them first" in text
    assert text.count('<img src="/pictures/moving/') == len(SAMPLES) + 1
    assert '<span class="state pending">pending</span>' in text


def test_the_page_about_moving_shows_commands_that_exist(page: Callable[..., str]) -> None:
    script = """
import re
from html import unescape
from django.core.management import load_command_class
parser = load_command_class("cf_images", "cf_images").create_parser("manage.py", "cf_images")
html = client.get("/moving/").content.decode()
for code in re.findall("<code>manage.py cf_images (.*?)</code>", html):
    parser.parse_args(unescape(code).split())
    print("parsed", code.split()[0])
"""
    text = page(script, ENV_NAME="demo", EMULATOR_URL="http://127.0.0.1:9", **ACCOUNT)
    assert [f"parsed {name}" in text for name in ("import", "switch", "revert", "export")] == [True] * 4


@pytest.mark.parametrize(
    ("element", "problem"),
    [
        ('<img src="/64" width="64" height="48" alt="">', ""),
        ('<img src="/64" width="64" height="64" alt="J">', "J: /64 is 64 x 48, not 64 x 64"),
        ('<img src="/64" srcset="/64 64w, /32 64w" sizes="9px" alt="J">', "J: /32 is 32 x 24, not 64 x any"),
        ('<img src="/64" width="64" height="48" srcset="/64 1x, /32 2x" alt="J">', "32 x 24, not 128 x any"),
        ('<img src="/64" style="background:url(&quot;/64&quot;)" alt="J">', "64 x 48, not 32 x any"),
        ('<img src="/missing" alt="J">', "/missing: no image (Client error '404 Not Found'"),
        ("", "shows no image"),
    ],
)
def test_the_smoke_test_notices_what_is_wrong(element: str, problem: str) -> None:
    body = f"Stored on this machine <main>{element}".encode()

    found = smoke(body).images()

    assert len(found) == bool(problem), found
    assert not found or problem in found[0]


def test_the_smoke_test_notices_an_image_that_is_pending() -> None:
    assert smoke(b'<main><img src="/64" alt="J">').images() == ["J: /64 is pending"]


def smoke(gallery: bytes) -> Smoke:
    """Return the smoke test of a site with this gallery."""
    bodies = {"/gallery/": gallery, "/64": picture(), "/32": picture(size=(32, 24))}
    transport = httpx.MockTransport(
        lambda request: (
            httpx.Response(200, content=bodies[request.url.path])
            if request.url.path in bodies
            else httpx.Response(404)
        )
    )
    made = Smoke("http://site")
    made.browser = httpx.Client(transport=transport, base_url="http://site")
    return made


def text(html: str) -> str:
    """Return the text of highlighted code."""
    return unescape(re.sub(r"<.*?>", "", html))


def _is_part(code: str, whole: str) -> bool:
    """Return whether ``whole`` has these lines, at any indentation."""
    lines = [line.strip() for line in whole.splitlines()]
    wanted = [line.strip() for line in code.splitlines()]
    return any(lines[at : at + len(wanted)] == wanted for at in range(len(lines)))
