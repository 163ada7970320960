"""The page about deployment: its files can be read, and its processes start as they are written there."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from django.core.management import call_command

from dev import HOST, free_port
from tests.chaos import servers
from tests.docs import pages
from tests.pictures import picture

PAGE = "how-to/deploy.md"
TEXT = (pages.DOCS / PAGE).read_text(encoding="utf-8")
DEPLOY = pages.DOCS / "deploy"
BIN = Path(sys.executable).parent
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
# What systemd knows, as far as units of the page may use it (systemd.unit, systemd.service, systemd.exec).
DIRECTIVES = {
    "Unit": {"Description", "Wants", "After"},
    "Service": {
        *("Type", "NotifyAccess", "User", "Group", "WorkingDirectory", "EnvironmentFile", "ExecStart"),
        *("ExecReload", "KillMode", "TimeoutStopSec", "Restart", "RestartSec"),
        *("NoNewPrivileges", "PrivateTmp", "ProtectHome", "ProtectSystem"),
    },
    "Install": {"WantedBy"},
}
INSTRUCTIONS = {"FROM", "ENV", "WORKDIR", "RUN", "COPY", "USER", "EXPOSE", "CMD"}
# Added to the settings of the page: what the machine of the tests has, and views to look at.
FOR_TESTS = """
HUEY["name"] = os.environ["HUEY_NAME"]
"""
SLOW = """
import time
urlpatterns += [path("slow", lambda request: (time.sleep(1), HttpResponse("slow"))[1])]
"""
ENQUEUE = """
import io, sys
import django
django.setup()
from cf_images.background import upload_from_file
print(upload_from_file(io.BytesIO(sys.stdin.buffer.read()), filename="a.png"))
"""
RUN_LINES = """
import shlex, sys
from django.core.management import execute_from_command_line
for line in sys.stdin.read().splitlines():
    status = 0
    try:
        execute_from_command_line(shlex.split(line)[1:])
    except SystemExit as stopped:
        status = stopped.code
    print(f"== {status} {line}", flush=True)
"""


# Files


def unit(path: Path) -> configparser.ConfigParser:
    parsed = configparser.ConfigParser(interpolation=None, strict=True)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]  # systemd's names have capitals
    parsed.read(path, encoding="utf-8")
    return parsed


def command_of(name: str) -> list[str]:
    """Return the command line of a unit, without the path of the virtual environment."""
    words = shlex.split(unit(DEPLOY / f"systemd/{name}.service")["Service"]["ExecStart"])
    assert words[0].startswith("/srv/mysite/.venv/bin/")
    return [Path(words[0]).name, *words[1:]]


def manifests() -> dict[tuple[str, str], dict[str, Any]]:
    """Return the manifests of Kubernetes by kind and name."""
    found = [
        document
        for path in sorted((DEPLOY / "kubernetes").glob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    ]
    return {(document["kind"], document["metadata"]["name"]): document for document in found}


def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / "compose/compose.yaml").read_text(encoding="utf-8")))


def variables_of_settings() -> set[str]:
    settings = pages.block(PAGE, "# mysite/settings.py, at the end").text
    return set(re.findall(r'os\.environ(?:\.get\(|\[)"(\w+)"', settings))


def container(kind: str, name: str) -> dict[str, Any]:
    (found,) = manifests()[kind, name]["spec"]["template"]["spec"]["containers"]
    return dict(found)


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_units_have_only_what_systemd_knows(path: Path) -> None:
    parsed = unit(path)
    for section, directives in DIRECTIVES.items():
        assert set(parsed[section]) <= directives
    assert set(parsed.sections()) == set(DIRECTIVES)
    assert path.read_text(encoding="utf-8").startswith(f"# /etc/systemd/system/{path.name}:")
    assert f"(../deploy/systemd/{path.name})" in TEXT


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_units_are_verified_by_systemd(tmp_path: Path) -> None:
    for path in UNITS:
        text = path.read_text(encoding="utf-8").replace("/srv/mysite/.venv/bin", str(BIN))
        (tmp_path / path.name).write_text(text.replace("/srv/mysite", str(tmp_path)))
    command = ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / path.name) for path in UNITS)]
    verified = subprocess.run(command, capture_output=True, text=True, check=False)
    mine = [line for line in verified.stderr.splitlines() if "mysite" in line]
    assert (mine, verified.returncode) == ([], 0), verified.stderr


def test_the_unit_in_the_page_is_a_part_of_the_file() -> None:
    (shown,) = pages.blocks(PAGE, "ini")
    file = (DEPLOY / "systemd/mysite-worker.service").read_text(encoding="utf-8").splitlines()
    assert set(shown.text.splitlines()) <= set(file)


def test_command_lines_are_the_same_everywhere() -> None:
    lines = [
        line.removeprefix("$ ") for block in pages.blocks(PAGE, "console") for line in block.text.splitlines()
    ]
    for name in ("mysite-web", "mysite-asgi"):
        assert shlex.join(command_of(name)) in lines
    worker = command_of("mysite-worker")
    services, web = (
        compose()["services"],
        ["0.0.0.0:8000" if word == f"{HOST}:8000" else word for word in command_of("mysite-web")],
    )
    assert services["web"]["command"] == container("Deployment", "mysite-web")["command"] == web
    assert services["worker"]["command"] == container("Deployment", "mysite-worker")["command"] == worker
    dockerfile = (DEPLOY / "compose/Dockerfile").read_text(encoding="utf-8")
    assert json.loads(dockerfile.rpartition("CMD ")[2]) == web
    migrate = container("Job", "mysite-migrate")["command"]
    assert services["migrate"]["command"] == migrate == ["python", "manage.py", "migrate", "--noinput"]
    assert f"$ {shlex.join(migrate)}" in TEXT


def test_a_process_has_longer_to_stop_than_it_takes() -> None:
    def seconds(name: str, option: str) -> int:
        words = command_of(name)
        return int(words[words.index(option) + 1])

    stops = {path.stem: int(unit(path)["Service"]["TimeoutStopSec"]) for path in UNITS}
    takes = {
        "mysite-web": seconds("mysite-web", "--graceful-timeout"),
        "mysite-asgi": seconds("mysite-asgi", "--timeout-graceful-shutdown"),
        "mysite-worker": seconds("mysite-worker", "-t"),
        "mysite-process": 80,  # two requests of a private image, at 40 seconds
    }
    assert stops.keys() == takes.keys()
    assert all(stops[name] > takes[name] for name in stops)
    for name in ("web", "worker"):
        assert compose()["services"][name]["stop_grace_period"] == f"{stops[f'mysite-{name}']}s"
        pod = manifests()["Deployment", f"mysite-{name}"]["spec"]["template"]["spec"]
        assert pod["terminationGracePeriodSeconds"] >= stops[f"mysite-{name}"]
    rows = re.findall(r"^\| (.+?) \| SIGTERM \|.*\| (\d+) seconds \|$", TEXT, re.M)
    assert [int(length) for _, length in rows] == [stops[name] for name in takes]


def test_dockerfile_is_made_of_instructions() -> None:
    lines = (DEPLOY / "compose/Dockerfile").read_text(encoding="utf-8").splitlines()
    instructions = [line.split()[0] for line in lines if not line.startswith("#")]
    assert set(instructions) == INSTRUCTIONS
    assert instructions[0] == "FROM"
    assert instructions.index("USER") > max(index for index, name in enumerate(instructions) if name == "RUN")
    packages = (DEPLOY / "compose/requirements.txt").read_text(encoding="utf-8").split()
    sentence = TEXT.partition("requirements.txt`]")[2].partition(".\n")[0].partition(": ")[2]
    assert re.findall(r"`([\w\[\]-]+)`", sentence)[: len(packages)] == packages


def test_compose_file_is_complete() -> None:
    file = compose()
    services = file["services"]
    assert set(file) == {"name", "x-app", "services", "volumes"}
    for service in services.values():
        assert "image" in service
        assert set(service.get("depends_on", {})) <= set(services)
        for volume in service.get("volumes", []):
            assert volume.partition(":")[0] in file["volumes"]
    example = (DEPLOY / "compose/env.example").read_text(encoding="utf-8")
    given = {*re.findall(r"^(\w+)=", example, re.M), *services["web"]["environment"]}
    credentials = {"CF_ACCT_ID", "CF_IMG_TOKEN", "CF_IMG_HASH"}
    assert given == (variables_of_settings() | credentials) - {"EMULATOR_URL"}
    code = services["web"]["healthcheck"]["test"][-1]
    compile(code, "healthcheck", "exec")
    assert "/healthz" in code


@pytest.mark.skipif(
    not shutil.which("docker")
    or subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode != 0,
    reason="no Docker Compose here",
)
def test_compose_file_is_read_by_docker(tmp_path: Path) -> None:
    shutil.copytree(DEPLOY / "compose", tmp_path, dirs_exist_ok=True)
    example = (tmp_path / "env.example").read_text().replace("DATABASE_PASSWORD=", "DATABASE_PASSWORD=x")
    (tmp_path / ".env").write_text(example)
    command = ["docker", "compose", "--project-directory", str(tmp_path), "config", "--quiet"]
    assert subprocess.run(command, capture_output=True, text=True, check=False).stderr == ""


def test_manifests_fit_together() -> None:
    found = manifests()
    config, secret = found["ConfigMap", "mysite"]["data"], found["Secret", "mysite"]["stringData"]
    credentials = {"CF_ACCT_ID", "CF_IMG_TOKEN", "CF_IMG_HASH"}
    assert {*config, *secret} == (variables_of_settings() | credentials) - {"EMULATOR_URL"}
    assert all(isinstance(value, str) for value in [*config.values(), *secret.values()])
    secrets = set(re.findall(r"^\| `(\w+)` \| yes \|", TEXT, re.M)) - {"CF_IMG_SIGNING_KEYS"}
    assert set(secret) == secrets, "and nothing that is secret is in the ConfigMap"
    images = set()
    for kind, name in (
        ("Deployment", "mysite-web"),
        ("Deployment", "mysite-worker"),
        ("Job", "mysite-migrate"),
    ):
        part = container(kind, name)
        images.add(part["image"])
        assert part["envFrom"] == [{"configMapRef": {"name": "mysite"}}, {"secretRef": {"name": "mysite"}}]
        pod = found[kind, name]["spec"]["template"]["spec"]
        assert {mount["name"] for mount in part.get("volumeMounts", [])} == {
            volume["name"] for volume in pod.get("volumes", [])
        }
        if kind == "Deployment":
            labels = found[kind, name]["spec"]["template"]["metadata"]["labels"]
            assert found[kind, name]["spec"]["selector"]["matchLabels"] == labels
    assert len(images) == 1
    web = container("Deployment", "mysite-web")
    assert found["Service", "mysite-web"]["spec"]["selector"] == {"app": "mysite-web"}
    (port,) = web["ports"]
    assert found["Service", "mysite-web"]["spec"]["ports"][0]["targetPort"] == port["name"]
    for probe in ("readinessProbe", "livenessProbe"):
        assert web[probe]["httpGet"]["path"] == "/healthz"
        assert web[probe]["httpGet"]["httpHeaders"][0]["value"] in config["ALLOWED_HOSTS"].split(",")
    for path in (DEPLOY / "kubernetes").glob("*.yaml"):
        assert f"(../deploy/kubernetes/{path.name})" in TEXT


def test_every_variable_of_the_settings_is_in_the_table() -> None:
    table = TEXT.partition("## Environment variables")[2].partition("\n## ")[0]
    assert variables_of_settings() - {"EMULATOR_URL"} <= set(re.findall(r"`(\w+)`", table))


def test_settings_for_sqlite_are_those_that_the_checks_ask_for(tmp_path: Path) -> None:
    names: dict[str, Any] = {"BASE_DIR": tmp_path}
    pages.block(PAGE, "# mysite/settings.py, for SQLite on one machine").run(names)
    assert "journal_mode=WAL" in names["DATABASES"]["default"]["OPTIONS"]["init_command"]
    assert names["HUEY"]["immediate"] is False


# Processes


@dataclass(frozen=True, kw_only=True)
class Project:
    """A new project with the settings of the page, at the emulator."""

    folder: Path
    env: dict[str, str]
    emulator: Any

    def start(self, command: list[str], **variables: str) -> subprocess.Popen[str]:
        """Start a process with the packages of the tests."""
        program = BIN / command[0] if command[0] != "python" else sys.executable
        return subprocess.Popen(
            [str(program), *command[1:]],
            cwd=self.folder,
            env={**self.env, **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, code: str, given: str | bytes) -> str:
        """Run Python with this input, and return what it prints."""
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=self.folder,
            env=self.env,
            input=given if isinstance(given, bytes) else given.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        assert done.returncode == 0, done.stdout.decode()
        return done.stdout.decode()


@pytest.fixture
def project(tmp_path: Path, cf_images_emulator: Any) -> Iterator[Project]:
    """On PostgreSQL and Redis where they are, as in the page; else on SQLite."""
    emulator, folder = cf_images_emulator, tmp_path / "srv"
    folder.mkdir()
    call_command("startproject", "mysite", str(folder))
    with (folder / "mysite/settings.py").open("a") as settings, ExitStack() as stack:
        settings.write("\n" + pages.block(PAGE, "# mysite/settings.py, at the end").text)
        variables = {"HUEY_NAME": "mysite"}
        if servers.refusal("PostgreSQL", "Redis"):
            (folder / "var").mkdir()
            settings.write(pages.block(PAGE, "# mysite/settings.py, for SQLite on one machine").text)
        else:
            database, huey = (
                stack.enter_context(servers.postgresql()),
                stack.enter_context(servers.redis_huey()),
            )
            variables = {f"DATABASE_{key}": str(database[key]) for key in ("HOST", "NAME", "USER")}
            variables |= {"REDIS_URL": huey["url"], "HUEY_NAME": huey["name"]}
        settings.write(FOR_TESTS)
        settings.flush()
        with (folder / "mysite/urls.py").open("a") as urls:
            urls.write("\n" + pages.block(PAGE, "# mysite/urls.py, at the end").text + SLOW)
        own = {
            key: value for key, value in os.environ.items() if not key.startswith(("CF_", "DJANGO_", "COV"))
        }
        env = {
            **own,
            **variables,
            "DJANGO_SETTINGS_MODULE": "mysite.settings",
            "PYTHONPATH": str(Path(pages.__file__).parent.parent.parent),
            "SECRET_KEY": "only-for-tests-" + "x" * 50,
            "ALLOWED_HOSTS": HOST,
            "SITE_URL": "https://www.example.com",
            "ENV_NAME": "production",
            "EMULATOR_URL": emulator.url,
            "CF_ACCT_ID": emulator.account_id,
            "CF_IMG_TOKEN": emulator.api_token,
            "CF_IMG_HASH": emulator.account_hash,
        }
        yield Project(folder=folder, env=env, emulator=emulator)


def release_lines() -> list[str]:
    """Return the commands of a release, in the order of the page."""
    section = TEXT.partition("## The order of a release")[2].partition("\n## ")[0]
    return re.findall(r"^\$ (python manage\.py .*)$", section, re.M)


def health_line() -> str:
    (line,) = re.findall(r"^\$ (python manage\.py cf_images uploads .*)$", TEXT, re.M)
    return str(line)


def answers(url: str, process: subprocess.Popen[str]) -> None:
    """Wait until a server answers."""
    for _ in range(600):
        assert process.poll() is None, process.communicate()[0]
        try:
            assert httpx.get(url, trust_env=False).status_code == 200
            return
        except httpx.TransportError:
            time.sleep(0.05)
    raise TimeoutError(url)


def stopped(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for the end; return the exit status and what was printed."""
    output, _ = process.communicate(timeout=60)
    return process.returncode, output


@pytest.mark.heavy
@pytest.mark.timeout(300)
def test_release_site_and_workers_as_they_are_in_the_page(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One test, since they need the same project, which takes seconds to set up."""
    a_release_ends_with_a_doctor_that_is_content(project)
    for name in ("mysite-web", "mysite-asgi"):
        the_site_starts_answers_and_finishes_requests_when_it_is_stopped(project, name, tmp_path)
    for name in ("mysite-worker", "mysite-process"):
        a_worker_finishes_the_image_in_hand_when_it_is_stopped(project, name, monkeypatch)
    printed = project.run(RUN_LINES, health_line())
    assert f"== 0 {health_line()}" in printed
    assert re.search(r"^pending +0$", printed, re.M), "the outcomes were written down"


def a_release_ends_with_a_doctor_that_is_content(project: Project) -> None:
    lines = release_lines()
    printed = project.run(RUN_LINES, "\n".join(lines))
    assert len(lines) == 6
    assert re.findall(r"^== (\w+) ", printed, re.M) == ["0"] * 6, printed
    assert "cf_images.W" not in printed
    assert "cf_images.E" not in printed
    assert "0 failures" in printed


def the_site_starts_answers_and_finishes_requests_when_it_is_stopped(
    project: Project, name: str, tmp_path: Path
) -> None:
    port, variables = free_port(0), {}
    command = [
        word.replace(":8000", f":{port}") if word != "8000" else str(port) for word in command_of(name)
    ]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        if unit(DEPLOY / f"systemd/{name}.service")["Service"]["Type"] == "notify":
            notified.bind(str(tmp_path / "n"))
            notified.settimeout(30)
            variables = {"NOTIFY_SOCKET": str(tmp_path / "n")}
        process = project.start(command, **variables)
        try:
            answers(f"http://{HOST}:{port}/healthz", process)
            if variables:
                assert b"READY=1" in notified.recv(1000)
            with httpx.Client(base_url=f"http://{HOST}:{port}", trust_env=False) as client:
                login = client.get("/admin/login/", headers={"X-Forwarded-Proto": "https"})
                (style, *_) = re.findall(r'href="(/static/admin/css/base\.\w+\.css)"', login.text)
                assert client.get(style).status_code == 200, "WhiteNoise serves it under a hashed name"
                bodies: list[str] = []
                slow = threading.Thread(target=lambda: bodies.append(client.get("/slow", timeout=30).text))
                slow.start()
                time.sleep(0.4)  # the request is there by then, and takes a second
                process.send_signal(signal.SIGTERM)
                slow.join()
            assert bodies == ["slow"]
            status, output = stopped(process)
            assert status in (0, -signal.SIGTERM), output
            with pytest.raises(httpx.ConnectError):
                httpx.get(f"http://{HOST}:{port}/healthz", trust_env=False)
        finally:
            process.kill()
            process.communicate()


def a_worker_finishes_the_image_in_hand_when_it_is_stopped(
    project: Project, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = project.run(ENQUEUE, picture(seed=len(name))).split()[-1]
    sending, real = threading.Event(), project.emulator.faults.sleep

    def sleep(seconds: float) -> None:
        sending.set()
        real(seconds)

    monkeypatch.setattr(project.emulator.faults, "sleep", sleep)
    project.emulator.faults.set(latency=1)
    process = project.start(command_of(name))
    try:
        assert sending.wait(40), "no request is sent"
        assert image not in project.emulator.images
        process.send_signal(signal.SIGTERM)
        status, output = stopped(process)
    finally:
        process.kill()
        process.communicate()
        project.emulator.faults.set(latency=0)
    assert status == 0, output
    assert image in project.emulator.images
    assert [request.status for request in project.emulator.requests if request.method == "POST"][-1] == 200
