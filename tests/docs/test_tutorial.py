"""The tutorial, done in order in an empty folder: its files written, its commands run, its pages opened.

What a page says is compared, too: the output of a command with the block ``text`` behind it, and the source
of the page in the browser with the block ``html``. In both, ``…`` stands for anything.
"""

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
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

import httpx
import pytest

from tests.docs import pages
from tests.docs.pages import Block
from tests.pictures import picture

STEPS = ("first-image", "cloudflare", "responsive", "private", "background", "browser-uploads")
# Every file that the reader writes, in order.
FILES = """
# mysite/settings.py (add at the end)
# photos/models.py (the whole file)
# photos/admin.py (the whole file)
# photos/views.py (the whole file)
{# photos/templates/photos/index.html (a new file) #}
# mysite/urls.py (the whole file)
# emulator.env (a new file)
# mysite/settings.py (add at the end)
# mysite/settings.py (add at the end)
{# photos/templates/photos/index.html (the whole file) #}
# mysite/settings.py (add at the end)
# photos/models.py (the whole file)
# photos/admin.py (the whole file)
# photos/views.py (the whole file)
{# photos/templates/photos/documents.html (a new file) #}
# mysite/urls.py (the whole file)
# mysite/settings.py (add at the end)
# mysite/settings.py (add at the end)
# photos/forms.py (a new file)
# photos/views.py (the whole file)
{# photos/templates/photos/add.html (a new file) #}
# mysite/urls.py (the whole file)
"""
FILE = re.compile(r"(?:#|\{#) (?P<path>[\w./-]+) \((?P<how>the whole file|add at the end|a new file)\)")
TERMINAL = re.compile(r"# (?P<terminal>second|third) terminal(?P<stays> \(leave it running\))?\n")
SKIPPED = "You can skip this section"  # what needs an account
# What the environment of the tests has done already.
PREPARED = re.compile(r"^(python3 -m venv .*|\. \.venv/bin/activate|pip install .*)\n", re.M)
SERVERS = ("runserver", "cf_images.emulator", "run_huey")  # they run until Ctrl-C
SITE, EMULATOR = "127.0.0.1:8000", "127.0.0.1:8787"
OWN_VARIABLES = ("CF_", "ENV_NAME", "EMULATOR_URL", "SITE_URL", "DJANGO_", "PYTHONPATH", "COV")
USER = {"username": "jane", "password": "a long walk by the lake"}
SECONDS = 40  # for whatever a reader waits for a few seconds for; the machine may be busy
ACTION = re.compile(
    r"Stop the (?P<site>site) with Ctrl-C"
    r"|Press Ctrl-C in the (?P<terminal>second|third) terminal"
    r"|<(?P<url>http://[^>]+)>(?:[^<]*?the title \*(?P<title>\w+)\*)?"
    r"|(?P<forbidden>responds with the\s+status 403)"
    r"|the ID `(?P<check>cf_images\.\w+)`"
)


@dataclass
class Terminal:
    """A shell that keeps its folder and its variables, and at most one server that runs in it."""

    folder: Path
    variables: dict[str, str]
    output: str = ""
    server: subprocess.Popen[str] | None = None
    log: Path | None = None

    def run(self, script: str) -> None:
        """Run commands to their end; each must succeed."""
        end = self.folder.parent / "end-of-commands"
        script = f"set -e\n{script}\nenv -0 > '{end}'\n"
        done = self._start(script, stdout=subprocess.PIPE)
        self.output = done.communicate(timeout=120)[0]
        assert done.returncode == 0, f"{script}\n{self.output}"
        self.variables = dict(line.split("=", 1) for line in end.read_text().split("\0") if "=" in line)
        self.folder = Path(self.variables["PWD"])

    def serve(self, script: str, number: int) -> None:
        """Run commands of which the last one stays."""
        *before, last = script.strip().splitlines()
        if before:
            self.run("\n".join(before))
        self.log = self.folder.parent / f"log-{number}"
        with self.log.open("w") as log:
            self.server = self._start(f"exec {last}", stdout=log)

    def stop(self) -> None:
        """Press Ctrl-C."""
        assert self.server, "nothing runs in this terminal"
        self.server.send_signal(signal.SIGINT)
        try:
            self.server.wait(20)
        finally:
            self.server.kill()
            self.server = None

    def text(self) -> str:
        """Return what the last command has printed so far."""
        return self.log.read_text() if self.server and self.log else self.output

    def _start(self, script: str, **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["sh", "-c", script],
            cwd=self.folder,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            text=True,
            **options,
        )


@dataclass
class Reader:
    """Somebody who does what the tutorial says, with three terminals and a browser."""

    folder: Path
    written: list[str] = field(default_factory=list)
    loaded: int = 0
    checks: set[str] = field(default_factory=set)

    def __enter__(self) -> Self:
        python = str(Path(sys.executable).parent)
        clean = {name: value for name, value in os.environ.items() if not name.startswith(OWN_VARIABLES)}
        variables = {
            **clean,
            "PATH": os.pathsep.join([python, os.environ["PATH"]]),
            "PYTHONUNBUFFERED": "1",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
            "DJANGO_SUPERUSER_USERNAME": USER["username"],
            "DJANGO_SUPERUSER_PASSWORD": USER["password"],
            "DJANGO_SUPERUSER_EMAIL": "",
        }
        self.site, self.emulator = (f"127.0.0.1:{free_port()}" for _ in range(2))
        self.terminals = {
            name: Terminal(self.folder, dict(variables)) for name in ("first", "second", "third")
        }
        self.used = self.terminals["first"]
        self.browser = httpx.Client(follow_redirects=True, timeout=30, trust_env=False)
        self.url = self.html = ""
        return self

    def __exit__(self, *_: object) -> None:
        self.browser.close()
        for terminal in self.terminals.values():
            if terminal.server:
                terminal.server.kill()
                terminal.server.wait()

    def do(self, page: str) -> None:
        """Do all that a page says, from top to bottom."""
        for line, part in parts(page):
            try:
                if isinstance(part, Block):
                    self._block(part)
                else:
                    self._prose(part)
            except (AssertionError, httpx.HTTPError, OSError, LookupError) as error:
                error.add_note(f"in docs/{page}, line {line}")
                raise

    # Blocks

    def _block(self, block: Block) -> None:
        text = block.text.replace(SITE, self.site).replace(EMULATOR, self.emulator)
        if found := FILE.match(text):
            self._write(found["path"], found["how"], text)
        elif block.language == "sh":
            self._type(text)
        elif block.language == "text":
            self._eventually(lambda: matches(text, self.used.text(), "."), self.used.text, text)
        elif block.language == "html":
            self._eventually(lambda: matches(text, self._reloaded(), "[^<>]"), lambda: self.html, text)
        else:
            raise AssertionError(f"nobody knows what to do with this block: {text}")

    def _write(self, path: str, how: str, text: str) -> None:
        self.written.append(text.partition("\n")[0])
        file = self.terminals["first"].folder / path
        assert file.exists() == (how != "a new file"), f"{path}: {how}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{file.read_text()}\n{text}" if how == "add at the end" else text)

    def _type(self, text: str) -> None:
        """Type commands into the terminal that the first line names."""
        found = TERMINAL.match(text)
        name = found["terminal"] if found else "first"
        terminal = self.used = self.terminals[name]
        assert not terminal.server, f"a server still runs in the {name} terminal: {text}"
        terminal.folder = self.terminals["first"].folder  # the reader opens each one there
        script = PREPARED.sub("", TERMINAL.sub("", text))
        script = script.replace("createsuperuser", "createsuperuser --noinput")
        script = script.replace("runserver", f"runserver --noreload {self.site}")
        script = script.replace("cf_images.emulator", f"cf_images.emulator --port {self.emulator[-5:]}")
        if not any(server in script for server in SERVERS):
            assert not (found and found["stays"]), text
            return terminal.run(script)
        assert name == "first" or (found and found["stays"]), f"the page does not say that it stays: {text}"
        terminal.serve(script, len(list(terminal.folder.parent.glob("log-*"))))
        for server, address in (("runserver", self.site), ("cf_images.emulator", self.emulator)):
            if server in script:
                self._eventually(lambda address=address: listens(address), terminal.text, text)
        return None

    # Prose

    def _prose(self, text: str) -> None:
        for found in ACTION.finditer(text):
            if found["site"]:
                self.terminals["first"].stop()
            elif found["terminal"]:
                self.terminals[found["terminal"]].stop()
            elif found["url"]:
                self._open(found["url"].replace(SITE, self.site).replace(EMULATOR, self.emulator))
                self._act(found["title"])
            elif found["forbidden"]:
                unsigned = images(self.html)[0].partition("?")[0]
                assert self.browser.get(unsigned).status_code == 403
            else:
                self.checks.add(found["check"])

    def _open(self, url: str) -> None:
        """Open a page, log in where it asks for it, and load its images."""
        self.url = url
        response = self._get(url)
        if 'name="password"' in response.text:
            response = self._post(str(response.url), {**USER, "next": urlsplit(url).path})
        assert response.status_code == 200, response.text
        self.html = response.text
        for image in images(self.html):
            self._load(urljoin(url, image))

    def _load(self, url: str) -> None:
        try:
            response = self.browser.get(url)
        except httpx.ConnectError:  # "Cloudflare is down"
            assert not self.terminals["second"].server, url
            return
        assert response.status_code == 200, f"{url}: {response.status_code}"
        assert response.headers["Content-Type"].startswith("image/"), url
        self.loaded += 1

    def _act(self, title: str | None) -> None:
        """Fill in the form of the page, if the reader is to fill in one."""
        path = urlsplit(self.url).path
        assert bool(title) == path.startswith("/admin/photos/"), path
        if title:
            name = re.findall(r'<input type="file" name="(\w+)"', self.html)[0]
            self._send({"title": title}, {name: (f"{title.lower()}.jpg", photo(title), "image/jpeg")})
            assert f">{title}<" in self._get(urljoin(self.url, "..")).text
        elif path == "/add/":
            self._drop(["wave.jpg", "cliff.jpg"])

    def _drop(self, names: list[str]) -> None:
        """Drop photos on the element: what its script does."""
        element = re.findall(r'data-(reserve|field)="([^"]+)"', self.html)
        attributes = {name: unescape(value) for name, value in element}
        values = []
        for name in names:
            body = photo(name)
            asked = {"field": attributes["field"], "filename": name, "size": len(body), "type": "image/jpeg"}
            response = self.browser.post(
                urljoin(self.url, attributes["reserve"]),
                content=json.dumps(asked),
                headers={"X-CSRFToken": self._token(), "Content-Type": "application/json"},
            )
            reserved = response.raise_for_status().json()
            assert urlsplit(reserved["upload_url"]).netloc == self.emulator
            httpx.post(reserved["upload_url"], files={"file": (name, body)}).raise_for_status()
            values.append(reserved["value"])
        self._send({"photos-upload": values}, {})
        assert all(f'alt="{name}"' in self._get(f"http://{self.site}/").text for name in names)

    def _send(self, data: dict[str, Any], files: dict[str, Any]) -> None:
        response = self._post(self.url, data, files=files or {"none": ("", b"")})
        assert response.history, f"the form was not accepted: {response.text}"  # else it redirects

    def _get(self, url: str) -> httpx.Response:
        response = self.browser.get(url)
        assert response.status_code == 200, f"{url}: {response.text}\n{self.terminals['first'].text()}"
        return response

    def _post(self, url: str, data: dict[str, Any], **options: Any) -> httpx.Response:
        return self.browser.post(url, data={"csrfmiddlewaretoken": self._token(), **data}, **options)

    def _token(self) -> str:
        return str(self.browser.cookies["csrftoken"])

    def _reloaded(self) -> str:
        self.html = self._get(self.url).text
        return self.html

    def _eventually(self, holds: Callable[[], bool], found: Callable[[], str], wanted: str) -> None:
        deadline = time.monotonic() + SECONDS
        while not holds():
            ended = self.used.server and self.used.server.poll() is not None
            if ended or time.monotonic() > deadline:
                raise AssertionError(f"wanted:\n{wanted}\nfound:\n{found()}")
            time.sleep(0.1)


def parts(page: str) -> Iterator[tuple[int, Block | str]]:
    """Yield the blocks of a page and the prose between them, without the section that needs an account."""
    lines = (pages.DOCS / page).read_text(encoding="utf-8").splitlines()
    begin = 0
    is_skipped = False
    for block in [*pages.blocks(page), Block(page, len(lines) + 1, "", "")]:
        for section in re.split(r"^(?=## )", "\n".join(lines[begin : block.line - 1]), flags=re.M):
            if section.startswith("## "):
                is_skipped = SKIPPED in section
            if not is_skipped:
                yield begin + 1, section
        if block.text and not is_skipped:
            yield block.line, block
        begin = block.line + block.text.count("\n") + 1


def matches(wanted: str, found: str, anything: str) -> bool:
    """Return whether ``found`` has the text; ``…`` in it is any number of these characters."""
    words = [re.escape(" ".join(part.split())) for part in wanted.split("…")]
    pattern = rf"\s*{anything}*?\s*".join(words)
    return re.search(pattern, " ".join(found.split()), re.S) is not None


def images(html: str) -> list[str]:
    """Return the URLs of all images of a page, in all sizes."""
    found = []
    for element in re.findall(r"<img [^>]*>", html):
        found += re.findall(r' src="([^"]*)"', element)
        for candidates in re.findall(r' srcset="([^"]*)"', element):
            found += [candidate.split(" ")[0] for candidate in candidates.split(", ")]
    return [unescape(url) for url in found]


def photo(seed: str) -> bytes:
    """Return a photograph of a phone, but smaller."""
    return picture("JPEG", (1600, 1067), seed=len(seed))


def free_port() -> int:
    """Return a free port; these have five digits everywhere."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(address: str) -> bool:
    """Return whether a server listens there."""
    host, port = address.split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


@pytest.mark.skipif(os.name == "nt" or not shutil.which("sh"), reason="the commands are for a shell")
@pytest.mark.timeout(600)  # 40 seconds on an idle machine
def test_the_tutorial_works_in_order_in_an_empty_folder(tmp_path: Path) -> None:
    with Reader(tmp_path) as reader:
        for step in STEPS:
            reader.do(f"tutorial/{step}.md")
            project = Terminal(reader.terminals["first"].folder, reader.terminals["first"].variables)
            project.run("python manage.py makemigrations --check")  # prints what the system checks say
            assert set(re.findall(r"\w+\.[EWI]\d+", project.output)) == reader.checks, step
    assert reader.written == FILES.strip().splitlines()
    assert reader.loaded > 40


def test_each_page_leads_to_the_next() -> None:
    index = (pages.DOCS / "tutorial/index.md").read_text(encoding="utf-8")
    titles = dict(re.findall(r"\| \[(.*?)\]\(([\w-]+)\.md\)", index))
    assert tuple(titles.values()) == STEPS
    texts = [(pages.DOCS / f"tutorial/{step}.md").read_text(encoding="utf-8") for step in STEPS]
    assert [text.partition("\n")[0] for text in texts] == [f"# {title}" for title in titles]
    for text, (title, step) in zip(texts, list(titles.items())[1:], strict=False):
        assert text.endswith(f"\nNext: [{title}]({step}.md)\n")


@pytest.mark.parametrize(
    ("wanted", "found", "is_there"),
    [
        ("a … c", "x a\n  b  c", True),
        ("a …\n", "a", True),
        ("1 file copied", "1 file  copied", True),
        ("2 files", "1 file", False),
        ("a … c", "a b", False),
    ],
)
def test_what_a_page_shows_is_compared(wanted: str, found: str, is_there: bool) -> None:
    assert matches(wanted, found, ".") == is_there
